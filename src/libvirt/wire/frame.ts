// libvirt's packets: a 28-byte header, then a payload. It knows bytes and lengths only; it refuses a length out of
// bounds before it reserves anything, and after one it stays broken: a stream is never searched for a new beginning.
import { protocolError } from './xdr.js';

export const headerBytes = 28;
/** Of a whole packet: libvirt's own limit (16 MiB in old versions). */
export const frameBytesMax = 32 * 1024 * 1024;

/** What a frame's `program`, `type` and `status` may be. */
export const program = { remote: 0x20008086, keepalive: 0x6b656570 } as const;
export const programVersion = 1;
export const frameType = { call: 0, reply: 1, event: 2 } as const;
export const frameStatus = { ok: 0, error: 1 } as const;

export type FrameHeader = {
  program: number;
  version: number;
  procedure: number;
  type: number;
  serial: number;
  status: number;
};
export type Frame = FrameHeader & { payload: Buffer };

const lengthBytes = 4;
const emptyBuffer: Buffer = Buffer.alloc(0);

export function encodeFrame(header: FrameHeader, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + payload.length);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(header.program, 4);
  bytes.writeUInt32BE(header.version, 8);
  bytes.writeUInt32BE(header.procedure, 12);
  bytes.writeUInt32BE(header.type, 16);
  bytes.writeUInt32BE(header.serial, 20);
  bytes.writeUInt32BE(header.status, 24);
  bytes.set(payload, headerBytes);
  return bytes;
}

/** Room for frames that come in pieces, for all connections: a poll's answer is large, and held only for a moment. */
const spare: Buffer[] = [];
const spareMax = 8;
const spareBytesMax = 1024 * 1024;
/** Sizes that are lent, so that rooms fit the next frame, too. */
const spareBytesStep = 64 * 1024;

function borrow(bytes: number): Buffer {
  const found = spare.findIndex(({ length }) => length >= bytes && length <= bytes * 2 + spareBytesStep);
  if (found >= 0) return spare.splice(found, 1)[0] as Buffer;
  return Buffer.allocUnsafeSlow(Math.ceil(bytes / spareBytesStep) * spareBytesStep);
}

function giveBack(room: Buffer): void {
  if (room.length < spareBytesStep || room.length > spareBytesMax) return;
  if (spare.length >= spareMax) spare.shift();
  spare.push(room);
}

/**
 * Cuts a stream of chunks of any size into frames. Frames that lie whole within a chunk are not copied. With `lend` a frame's
 * payload is lent: once it has been taken, its bytes are somebody else's. Memory that comes and goes with each poll
 * would make Node collect all of its garbage every other second.
 */
export class FrameReader {
  readonly #lend: boolean;
  /** The beginning of a frame that is not complete. Its capacity: at most twice what has arrived, or the last such frame's. */
  #held = emptyBuffer;
  #heldBytes = 0;
  #frameBytes = 0;
  /** Of the last frame that came in pieces: the next one of that size is given its room at once. */
  #lastFrameBytes = 0;
  #broken: Error | undefined;

  constructor({ lend = false }: { lend?: boolean } = {}) {
    this.#lend = lend;
  }

  /**
   * Hands over the frames that `chunk` completes, each before the next is made. Their payloads share memory with the chunk.
   * Throws PROTOCOL_ERROR at a length out of bounds, then and ever after.
   */
  push(chunk: Buffer, take: (frame: Frame) => void): void {
    if (this.#broken) throw this.#broken;
    let at = 0;
    while (at < chunk.length) {
      const left = chunk.length - at;
      if (this.#heldBytes === 0 && left >= lengthBytes) {
        const frameBytes = this.#checkLength(chunk.readUInt32BE(at));
        if (left >= frameBytes) {
          take(decodeFrame(chunk, at, frameBytes));
          at += frameBytes;
          continue;
        }
      }
      at += this.#hold(chunk, at);
      if (this.#heldBytes === lengthBytes) this.#frameBytes = this.#checkLength(this.#held.readUInt32BE(0));
      if (this.#heldBytes > lengthBytes && this.#heldBytes === this.#frameBytes) this.#release(take);
    }
  }

  /** Copies from `chunk` up to the end of the length word, or of the frame once its length is known. */
  #hold(chunk: Buffer, at: number): number {
    const wanted = this.#heldBytes < lengthBytes ? lengthBytes : this.#frameBytes;
    const size = Math.min(wanted - this.#heldBytes, chunk.length - at);
    const needed = this.#heldBytes + size;
    if (needed > this.#held.length) {
      const capacity = Math.max(needed, this.#held.length * 2, this.#lastFrameBytes);
      const bytes = Math.min(wanted, capacity);
      const larger = this.#lend && bytes > spareBytesStep / 2 ? borrow(bytes) : Buffer.allocUnsafeSlow(bytes);
      this.#held.copy(larger, 0, 0, this.#heldBytes);
      if (this.#lend) giveBack(this.#held);
      this.#held = larger;
    }
    chunk.copy(this.#held, this.#heldBytes, at, at + size);
    this.#heldBytes = needed;
    return size;
  }

  #release(take: (frame: Frame) => void): void {
    const room = this.#held;
    this.#lastFrameBytes = this.#heldBytes;
    this.#held = emptyBuffer;
    this.#heldBytes = 0;
    take(decodeFrame(room, 0, this.#lastFrameBytes));
    if (this.#lend) giveBack(room);
  }

  #checkLength(length: number): number {
    if (length >= headerBytes && length <= frameBytesMax) return length;
    this.#broken = protocolError(
      `a packet of ${length} bytes, where ${headerBytes} to ${frameBytesMax} are possible`,
    );
    throw this.#broken;
  }
}

function decodeFrame(bytes: Buffer, at: number, length: number): Frame {
  return {
    program: bytes.readUInt32BE(at + 4),
    version: bytes.readUInt32BE(at + 8),
    procedure: bytes.readUInt32BE(at + 12),
    type: bytes.readUInt32BE(at + 16),
    serial: bytes.readUInt32BE(at + 20),
    status: bytes.readUInt32BE(at + 24),
    payload: bytes.subarray(at + headerBytes, at + length),
  };
}
