// The lines of one family as bytes, in a buffer that grows and is used again. It refuses to know what a line means.
import { numberBytesMax, writeNumber } from './numbers.js';

const blockBytesMin = 256;
/** A block grows up to this; what comes then begins another. */
const blockBytesMax = 16 * 1024;
/** What a value takes, about, where only sizes are counted. */
const valueBytesTypical = 12;
const newline = 0x0a;
const none = Buffer.alloc(0);

export class FamilyText {
  readonly #name: Buffer;
  /** Those that are full. */
  #blocks: Buffer[] = [];
  #bytes = none;
  #length = 0;
  /** Bytes of its lines, those included that were only counted. */
  size = 0;
  /** Kinds of parts that have written it, and the last of them. */
  readonly kinds = new Set<string>();
  #kind = '';

  constructor(name: string) {
    this.#name = Buffer.from(name);
  }

  /** Bytes that it takes, with lines or without. */
  get capacity(): number {
    return this.#bytes.length;
  }

  writtenBy(kind: string): void {
    if (kind === this.#kind) return;
    this.#kind = kind;
    this.kinds.add(kind);
  }

  /** `labels` with their braces and what follows them. Bytes of the new line. */
  append(labels: Buffer, value: number): number {
    const name = this.#name;
    const bytes = this.#room(name.length + labels.length + numberBytesMax + 1);
    const start = this.#length;
    bytes.set(name, start);
    bytes.set(labels, start + name.length);
    let at = writeNumber(bytes, start + name.length + labels.length, value);
    bytes[at++] = newline;
    this.#length = at;
    this.size += at - start;
    return at - start;
  }

  /** As if a line with these labels had been appended: about its size. */
  count(labels: string): void {
    this.size += this.#name.length + labels.length + valueBytesTypical;
  }

  /** Its lines, and forgets them; good until the next line is appended. */
  take(): Buffer[] {
    const blocks = this.#blocks;
    if (this.#length > 0) blocks.push(this.#bytes.subarray(0, this.#length));
    this.#blocks = [];
    this.#length = 0;
    return blocks;
  }

  /** Forgets its lines, and what they took. */
  drop(): void {
    this.#blocks = [];
    this.#bytes = none;
    this.#length = 0;
  }

  /** Where the line that comes has room. */
  #room(lineBytesMax: number): Buffer {
    const [bytes, length] = [this.#bytes, this.#length];
    if (bytes.length - length >= lineBytesMax) return bytes;
    if (bytes.length >= blockBytesMax) {
      this.#blocks.push(bytes.subarray(0, length));
      this.#bytes = Buffer.allocUnsafe(Math.max(blockBytesMax, lineBytesMax));
      this.#length = 0;
    } else {
      this.#bytes = Buffer.allocUnsafe(Math.max(blockBytesMin, 2 * bytes.length, length + lineBytesMax));
      bytes.copy(this.#bytes, 0, 0, length);
    }
    return this.#bytes;
  }
}
