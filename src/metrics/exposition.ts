// Prometheus' text format 0.0.4 and OpenMetrics 1.0.0: label escaping, numbers, lines. Label values come from hosts: they
// are bounded, and what the formats cannot carry is replaced. It refuses to write a figure that is not there: no NaN, no
// invented 0.
import { type Compat, renameLabels } from './compat.js';
import type { FamilyName } from './families.js';
import type { Family } from './family.js';

const labelCharsMax = 1024;

/** A family's text goes from the JavaScript heap into a buffer when it is this long: garbage collection copies none of it. */
const pendingCharsMax = 16 * 1024;
/** What a value takes, about, where only sizes are counted. */
const valueCharsTypical = 12;

export type Format = 'text' | 'openmetrics';

/** A label value as it stands between the quotes. */
export function escapeLabel(value: string): string {
  // Almost all names need nothing: one test instead of four passes.
  if (value.length <= labelCharsMax && /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(value)) return value;
  const bounded = value.length > labelCharsMax ? `${value.slice(0, labelCharsMax - 1)}…` : value;
  return (
    bounded
      .replaceAll('\\', '\\\\')
      .replaceAll('"', '\\"')
      .replaceAll('\n', '\\n')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
      .replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f\p{Surrogate}]/gu, '\ufffd')
  );
}

/** `name="value"`, escaped. */
export function label(name: string, value: string): string {
  return `${name}="${escapeLabel(value)}"`;
}

/** Each thing with its labels, once for the same labels: a host may say the same name twice, and a page may not. */
export function* eachOnce<T>(things: Iterable<T>, labelsOf: (thing: T) => string): Generator<[T, string]> {
  const seen = new Set<string>();
  for (const thing of things) {
    const labels = labelsOf(thing);
    if (seen.has(labels)) continue;
    seen.add(labels);
    yield [thing, labels];
  }
}

/**
 * `# HELP` and `# TYPE`, each with its newline. In OpenMetrics a counter's family has no `_total` (its samples do), untyped is
 * unknown, and *_info stay gauges, as client_golang has them: an info family would have another name in either format.
 */
export function familyHead(name: string, { help, type }: Family, format: Format = 'text'): string {
  let escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  if (format === 'text') return `# HELP ${name} ${escaped}\n# TYPE ${name} ${type}\n`;
  escaped = escaped.replaceAll('"', '\\"');
  const family = type === 'counter' ? name.replace(/_total$/, '') : name;
  return `# HELP ${family} ${escaped}\n# TYPE ${family} ${type === 'untyped' ? 'unknown' : type}\n`;
}

/** What ends a page; in OpenMetrics a page without it was cut off. */
export function pageEnd(format: Format): string {
  return format === 'openmetrics' ? '# EOF\n' : '';
}

/** The lines of one family. */
class FamilyText {
  #pending = '';
  #blocks: Buffer[] = [];
  chars = 0;
  /** Kinds of parts that have written it, and the last of them. */
  readonly kinds = new Set<string>();
  #kind = '';

  writtenBy(kind: string): void {
    if (kind === this.#kind) return;
    this.#kind = kind;
    this.kinds.add(kind);
  }

  append(line: string): void {
    this.chars += line.length;
    this.#pending += line;
    if (this.#pending.length >= pendingCharsMax) this.#flush();
  }

  take(): Buffer[] {
    if (this.#pending) this.#flush();
    const blocks = this.#blocks;
    this.#blocks = [];
    return blocks;
  }

  #flush(): void {
    this.#blocks.push(Buffer.from(this.#pending));
    this.#pending = '';
  }
}

export type LinesOptions = {
  /** All when absent. */
  families?: Iterable<FamilyName>;
  /** Beyond so many characters only sizes are counted, and no text is kept. */
  charsMax?: number;
  /** Leaves out the label `instance` of this host. */
  without?: string;
  compat?: Compat | undefined;
};

/** Collects lines by family. */
export class Lines {
  readonly #texts: Map<FamilyName, FamilyText>;
  readonly #all: boolean;
  readonly #charsMax: number;
  readonly #own: string;
  readonly #compat: Compat | undefined;
  #chars = 0;
  /** Of the part that writes now. */
  kind = '';

  constructor({ families, charsMax = Number.POSITIVE_INFINITY, without, compat }: LinesOptions = {}) {
    this.#compat = compat;
    this.#texts = new Map([...(families ?? [])].map((name) => [name, new FamilyText()]));
    this.#all = families === undefined;
    this.#charsMax = charsMax;
    this.#own = without === undefined ? '' : label('instance', without);
  }

  /** Adds nothing when the value is not a finite number. `labels` are escaped already, `instance` the first. */
  add(family: FamilyName, labels: string, value: unknown): void {
    if (typeof value !== 'number' || !Number.isFinite(value)) return;
    const text = this.#texts.get(family) ?? this.#begin(family);
    if (!text) return;
    text.writtenBy(this.kind);
    if (this.isOver) text.chars += family.length + labels.length + valueCharsTypical;
    else this.#write(text, family, labels, value);
  }

  /** More text came than `charsMax`: it is gone, sizes are there. */
  get isOver(): boolean {
    return this.#chars > this.#charsMax;
  }

  /** Of each family that has lines: its characters, and the kinds of parts that wrote it. */
  written(): ReadonlyMap<FamilyName, { chars: number; kinds: ReadonlySet<string> }> {
    return new Map([...this.#texts].filter(([, { chars }]) => chars > 0));
  }

  /** Complete lines of a family, and forgets them. */
  take(family: FamilyName): Buffer[] {
    return this.#texts.get(family)?.take() ?? [];
  }

  #begin(family: FamilyName): FamilyText | undefined {
    if (!this.#all) return undefined;
    const text = new FamilyText();
    this.#texts.set(family, text);
    return text;
  }

  #write(text: FamilyText, family: FamilyName, labels: string, value: number): void {
    let shown = labels;
    if (this.#own && labels.startsWith(this.#own)) shown = labels.slice(this.#own.length + 1);
    const renamed = this.#compat?.get(family);
    if (renamed?.labels) shown = renameLabels(shown, renamed.labels);
    const name = renamed?.name ?? family;
    const line = shown ? `${name}{${shown}} ${value}\n` : `${name} ${value}\n`;
    text.append(line);
    this.#chars += line.length;
    if (this.isOver) for (const held of this.#texts.values()) held.take();
  }
}
