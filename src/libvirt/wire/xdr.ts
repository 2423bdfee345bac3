// XDR (RFC 4506) as libvirt uses it: big-endian, padded to 4 bytes. Every length is compared with a limit and with the
// bytes that are really there before anything is allocated. It refuses to guess: bytes that make no sense are
// PROTOCOL_ERROR, and there is no way to go on after one. It makes no BigInt: 64-bit integers become the nearest double.
import { HostError } from '../../core/errors.js';
import { keepOne } from '../../core/keep-one.js';

/** libvirt's own limit for a string. */
export const stringBytesMax = 4 * 1024 * 1024;

const twoTo32 = 4_294_967_296;
const asciiMax = 0x7f;

export function protocolError(message: string): HostError {
  return new HostError('PROTOCOL_ERROR', {
    message,
    outcome: 'unknown',
    hint: 'make sure that it is a libvirt socket that answers there',
  });
}

export class XdrReader {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#at;
  }

  /** Over all of the bytes, for loops that read without this reader's help; `seek` then takes it along. */
  get view(): DataView {
    return this.#view;
  }

  /** Goes on reading at `position`. */
  seek(position: number): void {
    if (position < 0 || position > this.#bytes.length) throw new RangeError(`no position ${position}`);
    this.#at = position;
  }

  int(): number {
    return this.#view.getInt32(this.#take(4));
  }

  uint(): number {
    return this.#view.getUint32(this.#take(4));
  }

  bool(): boolean {
    return this.int() !== 0;
  }

  /** Signed 64-bit. The high word is exact as a double, so the sum is rounded once, to nearest. */
  hyper(): number {
    const at = this.#take(8);
    return this.#view.getInt32(at) * twoTo32 + this.#view.getUint32(at + 4);
  }

  /** Unsigned 64-bit, rounded as `hyper` is. */
  uhyper(): number {
    const at = this.#take(8);
    return this.#view.getUint32(at) * twoTo32 + this.#view.getUint32(at + 4);
  }

  double(): number {
    return this.#view.getFloat64(this.#take(8));
  }

  string(): string {
    const length = this.uint();
    if (length > stringBytesMax) throw protocolError(`a string of ${length} bytes`);
    const at = this.#take(padded(length));
    return this.#bytes.toString('utf8', at, at + length);
  }

  /** Reads the next string if it is `expected` and plain ASCII, else reads nothing. */
  skipAscii(expected: string): boolean {
    const at = this.#at;
    const { length } = expected;
    const left = this.#bytes.length - at;
    if (left < 4 || this.#view.getUint32(at) !== length || padded(length) > left - 4) return false;
    for (let index = 0; index < length; index++) {
      const byte = this.#view.getUint8(at + 4 + index);
      if (byte > asciiMax || byte !== expected.charCodeAt(index)) return false;
    }
    this.#at = at + 4 + padded(length);
    return true;
  }

  /** What was read since `position` was `start`. */
  wordsSince(start: number): number[] {
    const words: number[] = [];
    for (let at = start; at < this.#at; at += 4) words.push(this.#view.getInt32(at));
    return words;
  }

  /** `length` bytes as they are, not copied. */
  opaque(length: number): Buffer {
    const at = this.#take(padded(length));
    return this.#bytes.subarray(at, at + length);
  }

  /** Everything that is left, not copied. */
  rest(): Buffer {
    return this.opaque(this.remaining);
  }

  /** How many elements follow: at most `countMax`, each of at least `elementBytesMin` bytes. */
  count(elementBytesMin: number, countMax: number): number {
    const count = this.uint();
    if (count > countMax) throw protocolError(`a list of ${count} elements, where ${countMax} is the most`);
    if (count * elementBytesMin > this.remaining)
      throw protocolError(`a list of ${count} elements is cut short`);
    return count;
  }

  #take(size: number): number {
    const at = this.#at;
    if (size > this.#bytes.length - at) throw protocolError('a message is cut short');
    this.#at = at + size;
    return at;
  }
}

keepOne(new XdrReader(Buffer.alloc(0)));

export class XdrWriter {
  #bytes = Buffer.allocUnsafe(256);
  #at = 0;

  int(value: number): void {
    const at = this.#grow(4);
    this.#bytes.writeInt32BE(value, at);
  }

  uint(value: number): void {
    const at = this.#grow(4);
    this.#bytes.writeUInt32BE(value, at);
  }

  bool(value: boolean): void {
    this.int(value ? 1 : 0);
  }

  hyper(value: number): void {
    const at = this.#grow(8);
    this.#bytes.writeInt32BE(Math.floor(value / twoTo32), at);
    this.#bytes.writeUInt32BE(lowWord(value), at + 4);
  }

  uhyper(value: number): void {
    const at = this.#grow(8);
    this.#bytes.writeUInt32BE(Math.floor(value / twoTo32), at);
    this.#bytes.writeUInt32BE(lowWord(value), at + 4);
  }

  double(value: number): void {
    const at = this.#grow(8);
    this.#bytes.writeDoubleBE(value, at);
  }

  string(value: string): void {
    const length = Buffer.byteLength(value);
    if (length > stringBytesMax)
      throw new RangeError(`a string of ${length} bytes, where ${stringBytesMax} is the most`);
    this.uint(length);
    const at = this.#grow(padded(length));
    this.#bytes.fill(0, at + length, at + padded(length)).write(value, at);
  }

  opaque(value: Uint8Array): void {
    const size = padded(value.length);
    const at = this.#grow(size);
    this.#bytes.fill(0, at + value.length, at + size).set(value, at);
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  #grow(size: number): number {
    const at = this.#at;
    this.#at += size;
    if (this.#at > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#at, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }
}

keepOne(new XdrWriter());

function padded(length: number): number {
  return (length + 3) & ~3;
}

function lowWord(value: number): number {
  return value - Math.floor(value / twoTo32) * twoTo32;
}
