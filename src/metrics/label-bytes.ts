// Labels as they stand between a name and its value, in bytes. It refuses to escape: that is done where labels are made.

const none = Buffer.alloc(0);
const noLabels = Buffer.from(' ');
const [opening = 0, closing = 0, space = 0] = Buffer.from('{} ');
/** Labels lie side by side in one buffer, at first this large: a buffer each would cost more than what is in it. */
const slabBytesMin = 4 * 1024;
/** A character of a string takes no more in UTF-8. */
const charBytesMax = 3;

export class LabelBytes {
  #slab = none;
  #used = 0;
  #own = '';
  #ownBytes = 0;

  /** A label that is left out where it is the first. */
  leaveOut(own: string): void {
    this.#own = own;
    this.#ownBytes = Buffer.byteLength(own);
  }

  /** Labels made before may be written over from here on. */
  forget(): void {
    this.#used = 0;
  }

  /** Good until `forget()`. */
  of(labels: string): Buffer {
    const bytesMax = labels.length * charBytesMax + '{} '.length;
    if (this.#slab.length - this.#used < bytesMax) this.#begin(bytesMax);
    const [slab, begin] = [this.#slab, this.#used];
    // The brace takes the place before the first label: where that is left out, the place of the comma after it.
    const start = this.#own && labels.startsWith(this.#own) ? begin + 1 + this.#ownBytes : begin;
    let end = begin + 1 + slab.write(labels, begin + 1);
    if (end <= start + 1) return noLabels;
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
