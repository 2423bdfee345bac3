// Which row of a table belongs to which key. Tens of thousands of VMs have a few numbers each: they lie in one array for each
// host, where a number takes its bytes and no object, and the garbage collector has nothing to walk through. Rows lie close:
// where one goes, the last one takes its place. It refuses to hold the numbers: whoever has the array moves them.
type Numbers = Uint16Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** Up to so many keys are looked through: a table of them would take more than the numbers of some. */
const lookedThroughMax = 256;

export class Rows {
  /** By row. */
  readonly #keys: string[] = [];
  /** Of more than `lookedThroughMax`. */
  #byKey: Map<string, number> | undefined;
  /** After the last one that was asked for: keys come in the same order again. */
  #next = 0;

  get count(): number {
    return this.#keys.length;
  }

  of(key: string): number | undefined {
    if (this.#keys[this.#next] === key) return this.#next++;
    const row = this.#byKey ? (this.#byKey.get(key) ?? -1) : this.#keys.indexOf(key);
    if (row < 0) return undefined;
    this.#next = row + 1;
    return row;
  }

  /** The key must be new. */
  add(key: string): number {
    const row = this.#keys.push(key) - 1;
    this.#byKey?.set(key, row);
    if (row >= lookedThroughMax) this.#byKey ??= new Map(this.#keys.map((key, row) => [key, row]));
    return row;
  }

  /** Forgets all other keys. `move` is told which row takes the place of which. */
  retain(keys: { has(key: string): boolean }, move: (from: number, to: number) => void): void {
    for (let row = this.#keys.length - 1; row >= 0; row--) {
      const key = this.#keys[row] as string;
      if (keys.has(key)) continue;
      this.#byKey?.delete(key);
      const last = this.#keys.pop() as string;
      if (last === key) continue;
      this.#keys[row] = last;
      this.#byKey?.set(last, row);
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
