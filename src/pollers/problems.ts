// What was wrong with a sample, as short sentences for people. It refuses to grow: what hosts send is bounded here.

const problemsMax = 40;
const problemCharsMax = 200;

/** Says that one thing in a file was not as it should be; the rest still counts. */
export type Problem = (what: string) => void;

export class Problems {
  readonly list: string[] = [];

  /** The reporter for one file. */
  of(file: string): Problem {
    return (what) => this.add(`${file}: ${what}`);
  }

  add(text: string): void {
    const problem = printable(text);
    if (this.list.includes(problem)) return;
    if (this.list.length < problemsMax) this.list.push(problem);
    else this.list[problemsMax - 1] = 'and more';
  }
}

function printable(text: string): string {
  const plain = text.slice(0, problemCharsMax).replaceAll(/[^\x20-\x7e]+/g, '?');
  return text.length > problemCharsMax ? `${plain}…` : plain;
}
