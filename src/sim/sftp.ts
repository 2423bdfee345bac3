// SFTP version 3, read-only, on a session channel: what OpenSSH's internal-sftp -R does for our client, statvfs@openssh.com
// included. (ssh2's own server cannot announce extensions.) A file's text is made at a read from its start and kept until its end was
// read, so that pieces of one reading belong together. The replies of one turn leave together, as OpenSSH's do. Writes are refused;
// handles, packets and paths are bounded.
import type { Duplex } from 'node:stream';
import type { FaultAction, Faults } from './faults.js';
import { type Node, nodeAt, spaceAt } from './files.js';
import type { SimHost } from './host.js';

const packet = {
  init: 1,
  version: 2,
  open: 3,
  close: 4,
  read: 5,
  lstat: 7,
  fstat: 8,
  opendir: 11,
  readdir: 12,
  realpath: 16,
  stat: 17,
  readlink: 19,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attrs: 105,
  extended: 200,
  extendedReply: 201,
} as const;
const status = {
  ok: 0,
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  unsupported: 8,
} as const;
const openRead = 1;
const mode = { file: 0o100444, directory: 0o040555, socket: 0o140770, socketOfAll: 0o140777 } as const;
const attrFlag = { size: 1, permissions: 4 } as const;
const packetBytesMax = 256 * 1024;
const readBytesMax = 64 * 1024;
const handlesMax = 1_024;
const pathBytesMax = 4_096;
const namesAtATime = 256;
const statvfs = 'statvfs@openssh.com';
const noBytes = Buffer.alloc(0);

/** `textBytes`: of the last text, also when it is no longer kept. */
type Handle = { node: Node; text?: Buffer | undefined; textBytes?: number; names?: string[] };

export function serveSftp(stream: Duplex, host: SimHost, faults: Faults): void {
  new SftpServer(stream, host, faults);
}

class SftpServer {
  readonly #stream: Duplex;
  readonly #host: SimHost;
  readonly #faults: Faults;
  readonly #handles = new Map<number, Handle>();
  #nextHandle = 1;
  #held: Buffer = noBytes;
  #hung = false;
  /** Replies of this turn. */
  #replies: Buffer[] = [];

  constructor(stream: Duplex, host: SimHost, faults: Faults) {
    this.#stream = stream;
    this.#host = host;
    this.#faults = faults;
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', () => stream.destroy());
    stream.on('end', () => stream.end());
  }

  #receive(chunk: Buffer): void {
    if (this.#hung) return;
    let bytes = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk;
    while (bytes.length >= 5) {
      const length = bytes.readUInt32BE(0);
      if (length === 0 || length > packetBytesMax) return void this.#stream.destroy();
      if (bytes.length < 4 + length) break;
      this.#take(new Packet(bytes.subarray(4, 4 + length)));
      bytes = bytes.subarray(4 + length);
    }
    this.#held = bytes.length === 0 ? noBytes : Buffer.from(bytes);
  }

  #take(request: Packet): void {
    try {
      const type = request.byte();
      const id = request.uint();
      if (type === packet.init) {
        this.#reply(packet.version, uint(3), text(statvfs), text('2'));
        return;
      }
      this.#request(type, id, request);
    } catch {
      this.#stream.destroy();
    }
  }

  #request(type: number, id: number, request: Packet): void {
    switch (type) {
      case packet.open: {
        const path = request.path();
        const flags = request.uint();
        this.#suffering(id, path, () => this.#open(id, path, flags));
        return;
      }
      case packet.opendir: {
        const path = request.path();
        this.#suffering(id, path, () => this.#openDirectory(id, path));
        return;
      }
      case packet.read:
        this.#read(id, request.handle(), request.offset(), request.uint());
        return;
      case packet.readdir:
        this.#readDirectory(id, request.handle());
        return;
      case packet.close:
        this.#status(id, this.#handles.delete(request.handle()) ? status.ok : status.failure);
        return;
      case packet.stat:
      case packet.lstat: {
        const path = request.path();
        this.#suffering(id, path, () => this.#attrs(id, nodeAt(this.#host, path)));
        return;
      }
      case packet.fstat:
        this.#attrs(id, this.#handles.get(request.handle())?.node);
        return;
      case packet.realpath: {
        const path = request.path();
        this.#reply(packet.name, uint(id), uint(1), text(path === '.' ? '/' : path), text(path), uint(0));
        return;
      }
      case packet.readlink:
        this.#status(id, nodeAt(this.#host, request.path()) ? status.failure : status.noSuchFile);
        return;
      case packet.extended: {
        if (request.string() !== statvfs) {
          this.#status(id, status.unsupported);
          return;
        }
        const path = request.path();
        this.#suffering(id, path, () => this.#statvfs(id, path));
        return;
      }
      default:
        this.#status(id, type < packet.extended ? status.permissionDenied : status.unsupported);
        return;
    }
  }

  #suffering(id: number, path: string, serve: () => void): void {
    const fault: FaultAction | undefined = this.#faults.at(`sftp ${path}`);
    switch (fault?.action) {
      case undefined:
        serve();
        return;
      case 'delay':
        this.#host.clock.after(fault.delayMs, serve);
        return;
      case 'error':
        this.#status(id, status.failure);
        return;
      case 'garbage':
        this.#flush();
        this.#stream.write(Buffer.alloc(64, 0xff));
        return;
      case 'hang':
        this.#flush();
        this.#hung = true;
        return;
      case 'close':
        this.#flush();
        this.#stream.destroy();
        return;
      default:
        return;
    }
  }

  #open(id: number, path: string, flags: number): void {
    if (flags !== openRead) {
      this.#status(id, status.permissionDenied);
      return;
    }
    const node = nodeAt(this.#host, path);
    if (!node) {
      this.#status(id, status.noSuchFile);
      return;
    }
    if (node.type !== 'file') {
      this.#status(id, status.failure);
      return;
    }
    this.#keep(id, { node });
  }

  #openDirectory(id: number, path: string): void {
    const node = nodeAt(this.#host, path);
    if (!node) {
      this.#status(id, status.noSuchFile);
      return;
    }
    if (node.type !== 'directory') {
      this.#status(id, status.failure);
      return;
    }
    this.#keep(id, { node, names: node.names() });
  }

  #keep(id: number, handle: Handle): void {
    if (this.#handles.size >= handlesMax) {
      this.#status(id, status.failure);
      return;
    }
    const number = this.#nextHandle++;
    this.#handles.set(number, handle);
    this.#reply(packet.handle, uint(id), uint(4), uint(number));
  }

  #read(id: number, number: number, offset: number, length: number): void {
    const handle = this.#handles.get(number);
    if (handle?.node.type !== 'file') {
      this.#status(id, status.failure);
      return;
    }
    if (offset > 0 && offset >= (handle.textBytes ?? Number.POSITIVE_INFINITY)) {
      this.#status(id, status.eof);
      return;
    }
    const kept = offset === 0 ? undefined : handle.text;
    const text = kept ?? Buffer.from(handle.node.text());
    const piece = text.subarray(offset, offset + Math.min(length, readBytesMax));
    handle.textBytes = text.length;
    handle.text = offset + piece.length < text.length ? text : undefined;
    if (piece.length === 0) {
      this.#status(id, status.eof);
      return;
    }
    const head = Buffer.allocUnsafe(13);
    head.writeUInt32BE(9 + piece.length, 0);
    head[4] = packet.data;
    head.writeUInt32BE(id, 5);
    head.writeUInt32BE(piece.length, 9);
    this.#send(head, piece);
  }

  #readDirectory(id: number, number: number): void {
    const names = this.#handles.get(number)?.names;
    if (!names) {
      this.#status(id, status.failure);
      return;
    }
    const some = names.splice(0, namesAtATime);
    if (some.length === 0) {
      this.#status(id, status.eof);
      return;
    }
    const entries = some.flatMap((name) => [text(name), text(name), uint(0)]);
    this.#reply(packet.name, uint(id), uint(some.length), ...entries);
  }

  #attrs(id: number, node: Node | undefined): void {
    if (!node) {
      this.#status(id, status.noSuchFile);
      return;
    }
    const bits = node.type === 'socket' && node.openToAll ? mode.socketOfAll : mode[node.type];
    this.#reply(packet.attrs, uint(id), uint(attrFlag.size | attrFlag.permissions), ulong(0), uint(bits));
  }

  #statvfs(id: number, path: string): void {
    if (!nodeAt(this.#host, path)) {
      this.#status(id, status.noSuchFile);
      return;
    }
    const { blocks, free, files, blockBytes } = spaceAt(this.#host, path);
    const filesFree = Math.floor(files * 0.98);
    const values = [blockBytes, blockBytes, blocks, free, free, files, filesFree, filesFree, 0, 0, 255];
    this.#reply(packet.extendedReply, uint(id), ...values.map(ulong));
  }

  #status(id: number, code: number): void {
    const bytes = Buffer.allocUnsafe(21);
    bytes.writeUInt32BE(17, 0);
    bytes[4] = packet.status;
    bytes.writeUInt32BE(id, 5);
    bytes.writeUInt32BE(code, 9);
    // No message, in no language.
    bytes.fill(0, 13);
    this.#send(bytes);
  }

  #reply(type: number, ...parts: Buffer[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, 1);
    this.#send(uint(length), Buffer.of(type), ...parts);
  }

  #send(...bytes: Buffer[]): void {
    if (this.#hung || this.#stream.destroyed) return;
    if (this.#replies.length === 0) process.nextTick(() => this.#flush());
    this.#replies.push(...bytes);
  }

  #flush(): void {
    if (this.#replies.length === 0) return;
    const replies = this.#replies;
    this.#replies = [];
    if (!this.#stream.destroyed) this.#stream.write(Buffer.concat(replies));
  }
}

/** Throws RangeError where it is cut short. */
class Packet {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#at++);
  }

  uint(): number {
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  offset(): number {
    return this.uint() * 2 ** 32 + this.uint();
  }

  string(): string {
    const length = this.uint();
    if (length > pathBytesMax || this.#at + length > this.#bytes.length)
      throw new RangeError('a string is cut short');
    this.#at += length;
    return this.#bytes.toString('utf8', this.#at - length, this.#at);
  }

  /** Without what leads nowhere else. */
  path(): string {
    const path = this.string();
    return path.length > 1 ? path.replace(/\/+$/, '') : path;
  }

  /** Ours are numbers. */
  handle(): number {
    return this.uint() === 4 ? this.uint() : -1;
  }
}

function uint(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function ulong(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), 0);
  bytes.writeUInt32BE(value % 2 ** 32, 4);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint(bytes.length), bytes]);
}
