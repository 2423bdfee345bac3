// Prometheus' text format 0.0.4 and OpenMetrics 1.0.0: label escaping, numbers, lines. Label values come from hosts: they
// are bounded, and what the formats cannot carry is replaced. It refuses to write a figure that is not there: no NaN, no
// invented 0.
import { type Compat, renameLabels } from './compat.js';
import type { FamilyName } from './families.js';
import type { Family } from './family.js';
import { FamilyText } from './family-text.js';
import { LabelBytes } from './label-bytes.js';

const labelCharsMax = 1024;
const noBytes: Buffer = Buffer.alloc(0);

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

/** A thing and its labels, which are escaped, those of `host()` the first. */
export type Row<T> = readonly [T, string];

/** What a thing has to say, by family. */
export type Columns<T> = readonly (readonly [FamilyName, (thing: T) => unknown])[];

/** Each thing with its labels, once for the same labels: a host may say the same name twice, and a page may not. */
export function eachOnce<T>(things: Iterable<T>, labelsOf: (thing: T) => string): Row<T>[] {
  const seen = new Set<string>();
  const rows: Row<T>[] = [];
  for (const thing of things) {
    const labels = labelsOf(thing);
    if (seen.size < seen.add(labels).size) rows.push([thing, labels]);
  }
  return rows;
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

export type LinesOptions = {
  /** All when absent. */
  families?: Iterable<FamilyName>;
  /** Beyond so many bytes only sizes are counted, and no text is kept. */
  bytesMax?: number;
  /** All lines are of one host: its label is left out. */
  alone?: boolean;
  compat?: Compat | undefined;
};

/** Collects lines by family. */
export class Lines {
  readonly #texts: Map<FamilyName, FamilyText>;
  readonly #all: boolean;
  readonly #bytesMax: number;
  readonly #alone: boolean;
  readonly #compat: Compat | undefined;
  readonly #encode = new LabelBytes();
  /** Of the last line added by itself: lines of one thing come in a row. */
  #labels: string | undefined;
  #labelBytes = noBytes;
  #bytes = 0;
  /** Of the part that writes now. */
  kind = '';

  constructor({ families, bytesMax = Number.POSITIVE_INFINITY, alone = false, compat }: LinesOptions = {}) {
    this.#alone = alone;
    this.#compat = compat;
    this.#texts = new Map([...(families ?? [])].map((name) => [name, this.#newText(name)]));
    this.#all = families === undefined;
    this.#bytesMax = bytesMax;
  }

  /** What the labels of a host's lines begin with: nothing where all lines are of one host. */
  host(instance: string): string {
    return this.#alone ? '' : label('instance', instance);
  }

  /** Adds nothing when the value is not a finite number. `labels` are escaped already, those of `host()` the first. */
  add(family: FamilyName, labels: string, value: unknown): void {
    if (typeof value !== 'number' || !Number.isFinite(value)) return;
    const text = this.#textOf(family);
    if (!text) return;
    text.writtenBy(this.kind);
    if (this.isOver) {
      text.count(labels);
      return;
    }
    if (labels !== this.#labels) {
      this.#labels = labels;
      this.#encode.forget();
      this.#labelBytes = this.#encode.of(labels);
    }
    this.#write(text, this.#renamed(family, labels) ?? this.#labelBytes, value);
  }

  /**
   * The same for each row and column. Of many things it is quicker, since a family's lines are written in a row; `rowsOf` is
   * asked only when a column is wanted.
   */
  addTable<T>(columns: Columns<T>, rowsOf: () => readonly Row<T>[]): void {
    let rows: readonly Row<T>[] | undefined;
    const encoded: Buffer[] = [];
    this.#labels = undefined;
    this.#encode.forget();
    for (const [family, figureOf] of columns) {
      const text = this.#textOf(family);
      if (!text) continue;
      rows ??= rowsOf();
      for (const [n, [thing, labels]] of rows.entries()) {
        const value = figureOf(thing);
        if (typeof value !== 'number' || !Number.isFinite(value)) continue;
        text.writtenBy(this.kind);
        if (this.isOver) {
          text.count(labels);
          continue;
        }
        encoded[n] ??= this.#encode.of(labels);
        this.#write(text, this.#renamed(family, labels) ?? encoded[n], value);
      }
    }
  }

  /** More text came than `bytesMax`: it is gone, sizes are there. */
  get isOver(): boolean {
    return this.#bytes > this.#bytesMax;
  }

  /** What it takes, with lines or without. */
  get capacity(): number {
    let bytes = 0;
    for (const text of this.#texts.values()) bytes += text.capacity;
    return bytes;
  }

  /** Of each family that has lines: its bytes, and the kinds of parts that wrote it. */
  written(): ReadonlyMap<FamilyName, { size: number; kinds: ReadonlySet<string> }> {
    return new Map([...this.#texts].filter(([, { size }]) => size > 0));
  }

  /** Complete lines of a family, and forgets them; good until the next line is added. */
  take(family: FamilyName): Buffer[] {
    return this.#texts.get(family)?.take() ?? [];
  }

  /** Undefined when the family is not wanted. */
  #textOf(family: FamilyName): FamilyText | undefined {
    const known = this.#texts.get(family);
    if (known || !this.#all) return known;
    const text = this.#newText(family);
    this.#texts.set(family, text);
    return text;
  }

  #newText(family: FamilyName): FamilyText {
    return new FamilyText(this.#compat?.get(family)?.name ?? family);
  }

  /** Labels that have other names in this family. */
  #renamed(family: FamilyName, labels: string): Buffer | undefined {
    const renames = this.#compat?.get(family)?.labels;
    return renames && this.#encode.of(renameLabels(labels, renames));
  }

  #write(text: FamilyText, labels: Buffer, value: number): void {
    this.#bytes += text.append(labels, value);
    if (this.isOver) for (const held of this.#texts.values()) held.drop();
  }
}
