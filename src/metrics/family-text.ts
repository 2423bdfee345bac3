// The lines of one family as bytes, in a buffer that grows and is used again. It refuses to know what a line means.
import { numberBytesMax, writeNumber } from './numbers.js';

const bytesMin = 256;
/** What a value takes, about, where only sizes are counted. */
const valueBytesTypical = 12;
const newline = 0x0a;
const none = Buffer.alloc(0);

export class FamilyText {
  readonly #name: Buffer;
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
    const [name, start] = [this.#name, this.#length];
    let at = start + name.length;
    const bytes = this.#room(at + labels.length + numberBytesMax + 1);
    bytes.set(name, start);
    bytes.set(labels, at);
    at = writeNumber(bytes, at + labels.length, value);
    bytes[at++] = newline;
    this.#length = at;
    this.size += at - start;
    return at - start;
  }

  /** As if a line with these labels had been appended: about its size. */
  count(labels: Buffer): void {
    this.size += this.#name.length + labels.length + valueBytesTypical;
  }

  /** Its lines, and forgets them; good until the next line is appended. */
  take(): Buffer {
    const lines = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return lines;
  }

  /** Forgets its lines, and what they took. */
  drop(): void {
    this.#bytes = none;
    this.#length = 0;
  }

  #room(bytesNeeded: number): Buffer {
    if (this.#bytes.length >= bytesNeeded) return this.#bytes;
    const larger = Buffer.allocUnsafe(Math.max(bytesMin, 2 * bytesNeeded));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
    return larger;
  }
}
