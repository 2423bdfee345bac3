// Labels as they stand between a name and its value, in bytes. It refuses to escape: that is done where labels are made.

const none = Buffer.alloc(0);
const noLabels = Buffer.from(' ');
const [opening = 0, closing = 0, space = 0, comma = 0] = Buffer.from('{} ,');
/** Labels lie side by side in one buffer, at first this large: a buffer each would cost more than what is in it. */
const slabBytesMin = 4 * 1024;
/** A character of a string takes no more in UTF-8. */
const charBytesMax = 3;

export class LabelBytes {
  #slab = none;
  #used = 0;

  /** Labels made before may be written over from here on. */
  forget(): void {
    this.#used = 0;
  }

  /** Good until `forget()`. */
  of(labels: string): Buffer {
    if (!labels) return noLabels;
    const bytesMax = labels.length * charBytesMax + '{} '.length;
    if (this.#slab.length - this.#used < bytesMax) this.#begin(bytesMax);
    const [slab, begin] = [this.#slab, this.#used];
    // The brace takes the place of the comma where labels begin with one, since the host's was left out.
    const start = labels.charCodeAt(0) === comma ? begin + 1 : begin;
    let end = begin + 1 + slab.write(labels, begin + 1);
    slab[start] = opening;
    slab[end++] = closing;
    slab[end++] = space;
    this.#used = end;
    return slab.subarray(start, end);
  }

  #begin(bytesMin: number): void {
    this.#slab = Buffer.allocUnsafe(Math.max(slabBytesMin, 2 * this.#slab.length, bytesMin));
    this.#used = 0;
  }
}
