// Prometheus' text format 0.0.4 and OpenMetrics 1.0.0: the first lines of a family, its lines, the end of a page. It refuses
// to write a figure that is not there: no NaN, no invented 0.
import { type Compat, renameLabels } from './compat.js';
import type { FamilyName } from './families.js';
import type { Family } from './family.js';
import { FamilyText } from './family-text.js';
import { escapeLabel, LabelBytes, type Labels, noLabels } from './label-bytes.js';

/** Things of one name are found by going through them up to so many, by a set beyond. */
const fewThingsMax = 4;

export type Format = 'text' | 'openmetrics';

/** What a thing has to say, by family. */
export type Columns<T> = readonly (readonly [FamilyName, (thing: T) => unknown])[];

/** The things of different names, as they are on a page: a host may say the same name twice, and a page may not. */
export function eachOnce<T>(things: readonly T[], nameOf: (thing: T) => string): readonly T[] {
  return eachKeyOnce(things, (thing) => escapeLabel(nameOf(thing)));
}

export function eachKeyOnce<T>(things: readonly T[], keyOf: (thing: T) => string): readonly T[] {
  if (things.length < 2) return things;
  if (things.length <= fewThingsMax) {
    const keys = things.map(keyOf);
    return things.filter((_, n) => keys.indexOf(keys[n] as string) === n);
  }
  const seen = new Set<string>();
  return things.filter((thing) => seen.size < seen.add(keyOf(thing)).size);
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
  readonly #labels = new LabelBytes();
  /** Those of each table, undefined where not wanted; undefined altogether where none is. */
  readonly #columns = new Map<Columns<never>, readonly (FamilyText | undefined)[] | undefined>();
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
  host(instance: string): Labels {
    return this.#alone ? noLabels : this.label(noLabels, 'instance', instance);
  }

  /** `labels` and one more, whose value is escaped here. What was put behind `labels` before is no good any more. */
  label(labels: Labels, name: string, value: string): Labels {
    return this.#labels.put(labels, name, value);
  }

  /** Adds nothing when the value is not a finite number. `labels` begin with those of `host()`. */
  add(family: FamilyName, labels: Labels, value: unknown): void {
    if (typeof value !== 'number' || !Number.isFinite(value)) return;
    const text = this.#textOf(family);
    if (text) this.#write(text, family, labels, value);
  }

  /** The same for all columns: quicker than one by one. */
  addAll<T>(columns: Columns<T>, labels: Labels, thing: T): void {
    const texts = this.#textsOf(columns);
    if (!texts) return;
    for (let n = 0; n < columns.length; n++) {
      const [text, column] = [texts[n], columns[n]];
      if (!text || !column) continue;
      const value = column[1](thing);
      if (typeof value === 'number' && Number.isFinite(value)) this.#write(text, column[0], labels, value);
    }
  }

  /** Whether any of these columns is wanted. */
  wants(columns: Columns<never>): boolean {
    return this.#textsOf(columns) !== undefined;
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
    this.#bytes -= this.size(family);
    return this.#texts.get(family)?.take() ?? [];
  }

  /** The same into `page`. Where they end. */
  takeInto(page: Buffer, start: number, family: FamilyName): number {
    this.#bytes -= this.size(family);
    return this.#texts.get(family)?.takeInto(page, start) ?? start;
  }

  /** Bytes of the lines of a family. */
  size(family: FamilyName): number {
    return this.#texts.get(family)?.size ?? 0;
  }

  /** Undefined when none of the columns is wanted. */
  #textsOf(columns: Columns<never>): readonly (FamilyText | undefined)[] | undefined {
    if (this.#columns.has(columns)) return this.#columns.get(columns);
    const all = columns.map(([family]) => this.#textOf(family));
    const texts = all.some((text) => text !== undefined) ? all : undefined;
    this.#columns.set(columns, texts);
    return texts;
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

  #write(text: FamilyText, family: FamilyName, labels: Labels, value: number): void {
    text.writtenBy(this.kind);
    if (this.isOver) {
      text.count(labels);
      return;
    }
    const renames = this.#compat?.get(family)?.labels;
    const bytes = this.#labels.of(labels);
    const shown = renames ? Buffer.from(renameLabels(bytes.toString(), renames)) : bytes;
    this.#bytes += text.append(shown, value);
    if (this.isOver) for (const held of this.#texts.values()) held.drop();
  }
}
