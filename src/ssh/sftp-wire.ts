// SFTP's packets (version 3), as far as reading files needs them: requests as bytes, and a stream of bytes as replies. It knows
// nothing of channels and files, has no request that writes, and refuses a length out of bounds before it reserves anything.
import { keepOne } from '../core/keep-one.js';

/** As OpenSSH bounds its own. */
export const packetBytesMax = 256 * 1024;
/** The protocol's own limit. */
export const handleBytesMax = 256;
const statusCharsMax = 200;
const lengthBytes = 4;
const wordBytes = 4;
/** Type and id. */
const headBytes = 5;

export const replyType = {
  version: 2,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attrs: 105,
  extended: 201,
} as const;
export const statusCode = { ok: 0, eof: 1, noSuchFile: 2, permissionDenied: 3, unsupported: 8 } as const;

export const protocolVersion = 3;
const readType = 5;
const readFlag = 1;
const noAttributes = 0;
const statvfs = 'statvfs@openssh.com';

/** Requests by name. Handles are what the server gave, one character a byte. */
export const encode = {
  init: () => packet(1, protocolVersion, []),
  open: (id: number, path: string) => packet(3, id, [bytesOf(path)], [readFlag, noAttributes]),
  close: (id: number, handle: string) => packet(4, id, [handle]),
  read: (id: number, handle: string, offset: number, length: number) => {
    const one = new Outgoing();
    one.addRead(id, handle, offset, length);
    return one.take();
  },
  opendir: (id: number, path: string) => packet(11, id, [bytesOf(path)]),
  readdir: (id: number, handle: string) => packet(12, id, [handle]),
  stat: (id: number, path: string) => packet(17, id, [bytesOf(path)]),
  readlink: (id: number, path: string) => packet(19, id, [bytesOf(path)]),
  statvfs: (id: number, path: string) => packet(200, id, [statvfs, bytesOf(path)]),
} as const;

/** The UTF-8 of a text, one character a byte. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function packet(type: number, id: number, strings: readonly string[], words: readonly number[] = []): Buffer {
  let size = lengthBytes + headBytes + words.length * wordBytes;
  for (const text of strings) size += wordBytes + text.length;
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeUInt32BE(size - lengthBytes, 0);
  bytes.writeUInt8(type, lengthBytes);
  let at = bytes.writeUInt32BE(id, lengthBytes + 1);
  for (const text of strings) {
    at = bytes.writeUInt32BE(text.length, at);
    at += bytes.write(text, at, 'latin1');
  }
  for (const word of words) at = bytes.writeUInt32BE(word, at);
  return bytes;
}

const outgoingBytes = 2048;
const none = Buffer.alloc(0);

/** Requests that leave together, in one buffer. */
export class Outgoing {
  #bytes = none;
  #end = 0;

  get isEmpty(): boolean {
    return this.#end === 0;
  }

  add(packet: Buffer): void {
    this.#makeRoom(packet.length);
    this.#end += packet.copy(this.#bytes, this.#end);
  }

  /** What `encode.read` says, without a buffer of its own: a host is asked so a hundred times a poll. */
  addRead(id: number, handle: string, offset: number, length: number): void {
    const size = lengthBytes + headBytes + wordBytes + handle.length + 3 * wordBytes;
    this.#makeRoom(size);
    const bytes = this.#bytes;
    let at = bytes.writeUInt32BE(size - lengthBytes, this.#end);
    at = bytes.writeUInt8(readType, at);
    at = bytes.writeUInt32BE(id, at);
    at = bytes.writeUInt32BE(handle.length, at);
    for (let index = 0; index < handle.length; index++) bytes[at++] = handle.charCodeAt(index);
    at = bytes.writeUInt32BE(Math.floor(offset / 2 ** 32), at);
    at = bytes.writeUInt32BE(offset >>> 0, at);
    this.#end = bytes.writeUInt32BE(length, at);
  }

  /** All of them, and holds none any more. */
  take(): Buffer {
    const together = this.#bytes.subarray(0, this.#end);
    this.#bytes = none;
    this.#end = 0;
    return together;
  }

  #makeRoom(size: number): void {
    if (this.#end + size <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(outgoingBytes, 2 * (this.#end + size)));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}

export class MalformedSftp extends Error {
  override readonly name = 'MalformedSftp';
}

/** One reply, read from its beginning. Throws MalformedSftp where it is shorter than it says. */
export class SftpReply {
  readonly type: number;
  /** Of the request; of the greeting, the server's version. */
  readonly id: number;
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start + headBytes;
    this.#end = end;
    this.type = bytes.readUInt8(start);
    this.id = bytes.readUInt32BE(start + 1);
  }

  uint(): number {
    return this.#bytes.readUInt32BE(this.#take(wordBytes));
  }

  /** Beyond 2^53 the nearest number. */
  uint64(): number {
    return this.uint() * 2 ** 32 + this.uint();
  }

  /** A window on what arrived: not to be kept. */
  data(): Buffer {
    const size = this.uint();
    const start = this.#take(size);
    return this.#bytes.subarray(start, start + size);
  }

  /** How many bytes of data or text follow: to be asked before they are taken. */
  get dataBytes(): number {
    const end = this.#end - this.#at;
    return end < wordBytes ? 0 : this.#bytes.readUInt32BE(this.#at);
  }

  text(): string {
    const size = this.uint();
    const start = this.#take(size);
    return this.#bytes.toString('utf8', start, start + size);
  }

  handle(): string {
    const bytes = this.data();
    if (bytes.length > handleBytesMax) throw new MalformedSftp(`a handle of ${bytes.length} bytes`);
    return bytes.toString('latin1');
  }

  /** Names of a directory's entries, or where a link points. */
  names(): string[] {
    const names: string[] = [];
    for (let left = this.uint(); left > 0; left--) {
      names.push(this.text());
      this.data();
      this.mode();
    }
    return names;
  }

  /** Of a file's attributes, the type and the rights; 0 when the server does not tell. */
  mode(): number {
    const flags = this.uint();
    if (flags & 1) this.uint64();
    if (flags & 2) this.uint64();
    const mode = flags & 4 ? this.uint() : 0;
    if (flags & 8) this.uint64();
    if (flags >>> 31) for (let left = 2 * this.uint(); left > 0; left--) this.data();
    return mode;
  }

  /** Servers may leave the message out. */
  status(): { code: number; message: string } {
    const code = this.uint();
    const message = this.#at < this.#end ? this.text().slice(0, statusCharsMax) : '';
    return { code, message };
  }

  #take(size: number): number {
    const start = this.#at;
    if (size > this.#end - start) throw new MalformedSftp('a reply is shorter than it says');
    this.#at += size;
    return start;
  }
}

keepOne(new SftpReply(Buffer.alloc(headBytes), 0, headBytes));

/** Cuts a stream of chunks of any size into replies. Those that lie whole within a chunk are not copied. */
export class SftpReplies {
  /** The beginning of a packet that is not complete. */
  #held = Buffer.alloc(0);
  #heldBytes = 0;

  /** The replies that `chunk` completes, made as they are asked for. Throws MalformedSftp: the stream is then of no use. */
  *push(chunk: Buffer): Generator<SftpReply, void, void> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#heldBytes === 0 && chunk.length - at >= lengthBytes) {
        const start = at + lengthBytes;
        const end = start + checkedLength(chunk.readUInt32BE(at));
        if (end <= chunk.length) {
          at = end;
          yield new SftpReply(chunk, start, end);
          continue;
        }
      }
      at += this.#hold(chunk, at);
      const whole = this.#heldBytes >= lengthBytes && this.#heldBytes === this.#wantedBytes();
      if (whole) yield this.#release();
    }
  }

  /** Up to the end of the length word, or of the packet once its length is known. */
  #wantedBytes(): number {
    if (this.#heldBytes < lengthBytes) return lengthBytes;
    return lengthBytes + checkedLength(this.#held.readUInt32BE(0));
  }

  #hold(chunk: Buffer, at: number): number {
    const wanted = this.#wantedBytes();
    if (wanted > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(wanted);
      this.#held.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    const copied = chunk.copy(this.#held, this.#heldBytes, at, at + wanted - this.#heldBytes);
    this.#heldBytes += copied;
    return copied;
  }

  #release(): SftpReply {
    const reply = new SftpReply(this.#held, lengthBytes, this.#heldBytes);
    this.#held = Buffer.alloc(0);
    this.#heldBytes = 0;
    return reply;
  }
}

function checkedLength(length: number): number {
  if (length >= headBytes && length <= packetBytesMax) return length;
  throw new MalformedSftp(`a packet of ${length} bytes`);
}
