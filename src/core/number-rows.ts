// Rows of numbers, each with a key: a network device's counters, a CPU's times. All numbers of a list lie in one array, and a row
// is a view of it with getters, since an object with a property each is several times as large and a fleet keeps millions of them
// from poll to poll. What a row lacks is NaN in the array and undefined in the row. It refuses to let anybody write. Fields are
// enumerable but not own properties: `for in` and JSON find them, a spread and Object.keys do not.
import { keepOne } from './keep-one.js';

type Key = string | number;

export type RowShape<Row> = {
  readonly width: number;
  row(key: Key, numbers: Float64Array, at: number): Row;
  /** A copy in which a number is another. */
  changed(row: Row, field: keyof Row & string, value: number): Row;
};

/** `key` is the property that a row is called by; `fields` are the others, in the order of their numbers. */
export function rowShape<Row extends object>(
  key: keyof Row & string,
  fields: readonly (keyof Row & string)[],
): RowShape<Row> {
  const width = fields.length;
  class View {
    readonly #numbers: Float64Array;
    readonly #at: number;

    constructor(name: Key, numbers: Float64Array, at: number) {
      (this as unknown as Record<string, unknown>)[key] = name;
      this.#numbers = numbers;
      this.#at = at;
    }

    /** With properties of its own. */
    toJSON(): Record<string, unknown> {
      const record = this as unknown as Record<string, unknown>;
      return Object.fromEntries([key, ...fields].map((field) => [field, record[field]]));
    }

    static at(index: number): (this: View) => number | undefined {
      return function () {
        const value = this.#numbers[this.#at + index];
        return Number.isNaN(value) ? undefined : value;
      };
    }

    static changed(row: View, field: keyof Row & string, value: number): View {
      const numbers = row.#numbers.slice(row.#at, row.#at + width);
      numbers[fields.indexOf(field)] = value;
      return new View((row as unknown as Record<string, unknown>)[key] as Key, numbers, 0);
    }
  }
  for (const [index, field] of fields.entries())
    Object.defineProperty(View.prototype, field, { get: View.at(index), enumerable: true });
  return {
    width,
    row: (name, numbers, at) => new View(name, numbers, at) as Row,
    changed: (row, field, value) => View.changed(row as unknown as View, field, value) as Row,
  };
}

/** Gathers the rows of one list, number by number. */
export class RowList<Row> {
  readonly #shape: RowShape<Row>;
  /** Where the row of a key begins. */
  readonly #places = new Map<Key, number>();
  #numbers: Float64Array;
  #end = 0;
  #at = 0;

  constructor(shape: RowShape<Row>, rowsExpected: number) {
    this.#shape = shape;
    this.#numbers = new Float64Array(rowsExpected * shape.width);
  }

  has(key: Key): boolean {
    return this.#places.has(key);
  }

  /** Its numbers are pushed next; those that are not are absent. A key that comes again has a new row in the place of the old. */
  begin(key: Key): void {
    const place = this.#places.get(key) ?? this.#end;
    const end = place + this.#shape.width;
    if (place === this.#end) this.#reserve(end);
    this.#places.set(key, place);
    this.#numbers.fill(Number.NaN, place, end);
    this.#at = place;
  }

  push(value: number): void {
    this.#numbers[this.#at++] = value;
  }

  /** Forgets the row of a key that was new when it began, and is the last that did. */
  drop(key: Key): void {
    if (this.#places.delete(key)) this.#end -= this.#shape.width;
  }

  rows(): Row[] {
    const numbers = this.#end === this.#numbers.length ? this.#numbers : this.#numbers.slice(0, this.#end);
    const rows: Row[] = [];
    for (const [key, place] of this.#places) rows.push(this.#shape.row(key, numbers, place));
    return rows;
  }

  #reserve(end: number): void {
    this.#end = end;
    if (end <= this.#numbers.length) return;
    const larger = new Float64Array(2 * end);
    larger.set(this.#numbers);
    this.#numbers = larger;
  }
}

keepOne(new RowList(rowShape<{ key: string }>('key', []), 0));
