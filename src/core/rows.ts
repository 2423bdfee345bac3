// Which row of a table belongs to which key. Tens of thousands of VMs have a few numbers each: they lie in one array for each
// host, where a number takes its bytes and no object, and the garbage collector has nothing to walk through. Rows lie close:
// where one goes, the last one takes its place. It refuses to hold the numbers: whoever has the array moves them.
type Numbers = Uint16Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

export class Rows {
  readonly #byKey = new Map<string, number>();
  /** By row. */
  readonly #keys: string[] = [];

  get count(): number {
    return this.#keys.length;
  }

  of(key: string): number | undefined {
    return this.#byKey.get(key);
  }

  /** The key must be new. */
  add(key: string): number {
    const row = this.#keys.push(key) - 1;
    this.#byKey.set(key, row);
    return row;
  }

  /** Forgets all other keys. `move` is told which row takes the place of which. */
  retain(keys: { has(key: string): boolean }, move: (from: number, to: number) => void): void {
    for (let row = this.#keys.length - 1; row >= 0; row--) {
      const key = this.#keys[row] as string;
      if (keys.has(key)) continue;
      this.#byKey.delete(key);
      const last = this.#keys.pop() as string;
      if (last === key) continue;
      this.#keys[row] = last;
      this.#byKey.set(last, row);
      move(this.#keys.length, row);
    }
  }
}

/** For rows of `width` numbers: the same array while it fits, else a copy with a little room; `empty` where nothing was. */
export function fitted<N extends Numbers>(numbers: N, width: number, rows: number, empty: number): N {
  const wanted = rows * width;
  if (wanted <= numbers.length && numbers.length <= 2 * wanted) return numbers;
  const room = numbers.length === 0 ? 0 : Math.floor(rows / 8) * width;
  const copy = new (numbers.constructor as new (length: number) => N)(wanted + room).fill(empty) as N;
  copy.set(numbers.subarray(0, Math.min(numbers.length, copy.length)));
  return copy;
}

export function moveRow(numbers: Numbers, width: number, from: number, to: number): void {
  numbers.copyWithin(to * width, from * width, (from + 1) * width);
}
