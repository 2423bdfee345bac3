// The lines of one family as bytes, in blocks that are used again. It refuses to know what a line means.
import { numberBytesMax, writeNumber } from './numbers.js';

const blockBytesMin = 256;
/** A block grows up to this; what comes then goes into another. */
const blockBytesMax = 16 * 1024;
/** What a value takes, about, where only sizes are counted. */
const valueBytesTypical = 12;
const [opening = 0, closing = 0, space = 0, newline = 0] = Buffer.from('{} \n');
/** What stands in a line beside name, labels and value. */
const otherBytes = '{} \n'.length;

/** `length`: of its lines. */
type Block = { bytes: Buffer; length: number };

export class FamilyText {
  readonly #name: Buffer;
  /** Those with lines are the first; the others wait to be used again. */
  #blocks: Block[] = [newBlock(0)];
  /** Of the block that is written. */
  #last = 0;
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
    return this.#blocks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  writtenBy(kind: string): void {
    if (kind === this.#kind) return;
    this.#kind = kind;
    this.kinds.add(kind);
  }

  /** `labels` as they stand between the braces. Bytes of the new line. */
  append(labels: Buffer, value: number): number {
    const name = this.#name;
    const block = this.#room(name.length + labels.length + numberBytesMax + otherBytes);
    const { bytes, length: start } = block;
    bytes.set(name, start);
    let at = start + name.length;
    if (labels.length > 0) {
      bytes[at++] = opening;
      bytes.set(labels, at);
      at += labels.length;
      bytes[at++] = closing;
    }
    bytes[at++] = space;
    at = writeNumber(bytes, at, value);
    bytes[at++] = newline;
    block.length = at;
    this.size += at - start;
    return at - start;
  }

  /** As if a line with labels of this length had been appended: about its size. */
  count(labelsLength: number): void {
    this.size += this.#name.length + labelsLength + valueBytesTypical;
  }

  /** Its lines, and forgets them; good until the next line is appended. */
  take(): Buffer[] {
    const filled = this.#blocks.slice(0, this.#last + 1).filter(({ length }) => length > 0);
    const lines = filled.map(({ bytes, length }) => bytes.subarray(0, length));
    this.#forget();
    return lines;
  }

  /** The same into `page`. Where they end. */
  takeInto(page: Buffer, start: number): number {
    let end = start;
    for (let n = 0; n <= this.#last; n++) {
      const block = this.#blocks[n];
      if (block) end += block.bytes.copy(page, end, 0, block.length);
    }
    this.#forget();
    return end;
  }

  /** Forgets its lines, and what they took. */
  drop(): void {
    this.#blocks = [newBlock(0)];
    this.#last = 0;
  }

  #forget(): void {
    for (const block of this.#blocks) block.length = 0;
    this.#last = 0;
    this.size = 0;
  }

  /** Where the line that comes has room. */
  #room(lineBytesMax: number): Block {
    const block = this.#blocks[this.#last] ?? newBlock(0);
    const { bytes, length } = block;
    if (bytes.length - length >= lineBytesMax) return block;
    if (bytes.length < blockBytesMax) {
      block.bytes = Buffer.allocUnsafe(Math.max(blockBytesMin, 2 * bytes.length, length + lineBytesMax));
      bytes.copy(block.bytes, 0, 0, length);
      return block;
    }
    let next = this.#blocks[++this.#last];
    if (!next || next.bytes.length < lineBytesMax) next = newBlock(Math.max(blockBytesMax, lineBytesMax));
    this.#blocks[this.#last] = next;
    return next;
  }
}

function newBlock(size: number): Block {
  return { bytes: Buffer.allocUnsafe(size), length: 0 };
}
