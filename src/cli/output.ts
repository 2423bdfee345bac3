// What the commands print: tables that line up, colour on a terminal only. It refuses to decide what is good or bad.
import { stripVTControlCharacters, styleText } from 'node:util';

export type Style = 'green' | 'yellow' | 'red' | 'gray' | 'bold';

/** `text` in colour where the stream is a terminal and NO_COLOR is not set. */
export function painter(stream: NodeJS.WriteStream): (style: Style, text: string) => string {
  const colours = stream.isTTY && !process.env.NO_COLOR;
  return (style, text) => (colours ? styleText(style, text) : text);
}

/** Rows as lines with columns padded to their widest cell, two spaces apart; colours do not count. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, stripVTControlCharacters(cell).length);
    }
  }
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - stripVTControlCharacters(cell).length))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** Text from a host, safe for a terminal: control characters are shown, not obeyed. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u2028\u2029]/gu,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
