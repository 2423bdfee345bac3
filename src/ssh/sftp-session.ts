// The files of one SFTP session: the handles that are kept open, and the reading of a file that says nothing of its size. It refuses
// to keep more than it was asked for between two readings.
import { HostError } from '../core/errors.js';
import { recurring } from '../core/recurring.js';
import { type FilesystemStats, fileLimits, fileTooLarge, tooManyEntries } from './file-reader.js';
import { type SftpRequests, unlessEof, wanted } from './sftp-requests.js';
import { encode, MalformedSftp, replyType, type SftpReply } from './sftp-wire.js';

type Handle = {
  id: string;
  /** Bytes of each read of the last whole reading: where to expect the pieces and the end this time. */
  layout: readonly number[] | undefined;
  inUse: boolean;
};

const firstReadBytes = 32 * 1024;
const readBytesMin = 512;
/** More than expected is asked for, so that growth shows in the same round trip. */
const growthBytes = 256;
/** What a poll reads each time on a large host; a process may open 1024 files as a rule. */
const handlesMax = 512;
const piecesMax = 64;
const pageBytes = 4096;
const readOnlyFlag = 1;

export class SftpSession {
  readonly #host: string;
  readonly #requests: SftpRequests;
  /** In order of use, oldest first. */
  readonly #handles = new Map<string, Handle>();

  constructor(requests: SftpRequests) {
    this.#host = requests.host;
    this.#requests = requests;
  }

  get ended(): HostError | undefined {
    return this.#requests.ended;
  }

  /** Files open on the host. */
  get handlesOpen(): number {
    return this.ended ? 0 : this.#handles.size;
  }

  end(error: HostError): void {
    this.#requests.end(error);
    this.#handles.clear();
  }

  #request<T>(path: string, bytes: (id: number) => Buffer, take: (reply: SftpReply) => T): Promise<T> {
    return this.#requests.ask(path, bytes, take);
  }

  /** Reads with a handle that stays open for the next time. A handle that went stale is opened anew, once. */
  async readKept(path: string, bytesMax: number): Promise<string> {
    const kept = this.#handles.get(path);
    if (kept) {
      try {
        return await this.#use(path, kept, bytesMax);
      } catch (error) {
        if (this.ended || isTooLarge(error)) throw error;
      }
    }
    const handle: Handle = { id: recurring(await this.#open(path)), layout: undefined, inUse: false };
    this.#handles.set(recurring(path), handle);
    this.#evict();
    return await this.#use(path, handle, bytesMax);
  }

  /** Opens, reads and closes: for files that are replaced by renaming, where an open handle shows the old one. */
  async readOnce(path: string, bytesMax: number): Promise<string> {
    const id = await this.#open(path);
    try {
      return await this.#readWhole(path, { id, layout: undefined, inUse: true }, bytesMax);
    } finally {
      this.#close(id);
    }
  }

  async #use(path: string, handle: Handle, bytesMax: number): Promise<string> {
    this.#handles.delete(path);
    this.#handles.set(recurring(path), handle);
    handle.inUse = true;
    try {
      return await this.#readWhole(path, handle, bytesMax);
    } catch (error) {
      if (this.#handles.get(path) === handle) this.#handles.delete(path);
      this.#close(handle.id);
      throw error;
    } finally {
      handle.inUse = false;
    }
  }

  #evict(): void {
    for (const [path, handle] of this.#handles) {
      if (this.#handles.size <= handlesMax) return;
      if (handle.inUse) continue;
      this.#handles.delete(path);
      this.#close(handle.id);
    }
  }

  #open(path: string): Promise<string> {
    return this.#request(path, (id) => encode.open(id, path), handleOf);
  }

  #close(handle: string): void {
    if (this.ended) return;
    this.#request(
      '',
      (id) => encode.close(id, handle),
      () => undefined,
    ).catch(() => {});
  }

  /** Nothing at the end of the file. */
  #readAt(path: string, handle: string, offset: number, length: number): Promise<Buffer> {
    return this.#request(
      path,
      (id) => encode.read(id, handle, offset, length),
      (reply) => {
        const data = unlessEof(reply, replyType.data)?.data() ?? nothing;
        if (data.length > length) throw new MalformedSftp('more data than was asked for');
        return data;
      },
    );
  }

  async #readWhole(path: string, handle: Handle, bytesMax: number): Promise<string> {
    const pieces =
      (await this.#readAsBefore(path, handle)) ?? (await this.#readOnward(path, handle.id, bytesMax));
    const whole = pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces);
    if (whole.length > bytesMax) throw fileTooLarge(this.#host, path, bytesMax);
    handle.layout = pieces.length <= piecesMax ? pieces.map(({ length }) => length) : undefined;
    return whole.toString('utf8');
  }

  /** Piece after piece until the end. */
  async #readOnward(path: string, id: string, bytesMax: number): Promise<Buffer[]> {
    const pieces: Buffer[] = [];
    let offset = 0;
    while (offset <= bytesMax) {
      const piece = await this.#readAt(path, id, offset, firstReadBytes);
      if (piece.length === 0) return pieces;
      pieces.push(piece);
      if (isLast(path, piece, firstReadBytes)) return pieces;
      offset += piece.length;
    }
    throw fileTooLarge(this.#host, path, bytesMax);
  }

  /**
   * All pieces and the end asked for in one round trip, on the guess that they lie where they lay the last time.
   * Undefined when the guess was wrong: what came is then dropped, since it may be of two moments.
   */
  async #readAsBefore(path: string, handle: Handle): Promise<Buffer[] | undefined> {
    const { layout, id } = handle;
    if (!layout) return undefined;
    const before = layout.at(-1);
    const lastAsked = asksFor(before ?? 0);
    const endIsKnown = before !== undefined && isLast(path, { length: before }, lastAsked);
    const asked: Promise<Buffer>[] = [];
    let offset = 0;
    for (const length of endIsKnown ? layout : [...layout, 0]) {
      asked.push(this.#readAt(path, id, offset, asksFor(length)));
      offset += length;
    }
    const pieces = await Promise.all(asked);
    const end = pieces.pop();
    if (!end || !pieces.every((piece, index) => piece.length === layout[index])) return undefined;
    if (!endIsKnown) return end.length === 0 ? pieces : undefined;
    return isLast(path, end, lastAsked) ? [...pieces, end] : undefined;
  }

  async list(path: string): Promise<string[]> {
    const handle = await this.#request(path, (id) => encode.opendir(id, path), handleOf);
    const names: string[] = [];
    try {
      for (;;) {
        const batch = await this.#request(
          path,
          (id) => encode.readdir(id, handle),
          (reply) => unlessEof(reply, replyType.name)?.names(),
        );
        if (!batch || batch.length === 0) return names;
        for (const name of batch) if (name !== '.' && name !== '..') names.push(name);
        if (names.length > fileLimits.listEntriesMax) throw tooManyEntries(this.#host, path);
      }
    } finally {
      this.#close(handle);
    }
  }

  readlink(path: string): Promise<string> {
    return this.#request(
      path,
      (id) => encode.readlink(id, path),
      (reply) => wanted(reply, replyType.name).names()[0] ?? '',
    );
  }

  /** Type and rights, as in stat(2). */
  mode(path: string): Promise<number> {
    return this.#request(
      path,
      (id) => encode.stat(id, path),
      (reply) => wanted(reply, replyType.attrs).mode(),
    );
  }

  statvfs(path: string): Promise<FilesystemStats> {
    return this.#request(path, (id) => encode.statvfs(id, path), filesystemOf);
  }
}

const nothing = Buffer.alloc(0);

/** In the order of OpenSSH's PROTOCOL, 3.4. */
function filesystemOf(reply: SftpReply): FilesystemStats {
  const fields = wanted(reply, replyType.extended);
  const next = () => fields.uint64();
  const [blockSize, fragmentSize, blocks, blocksFree, blocksAvailable] = [
    next(),
    next(),
    next(),
    next(),
    next(),
  ];
  const [files, filesFree, filesAvailable] = [next(), next(), next()];
  next();
  const readOnly = (next() & readOnlyFlag) !== 0;
  const nameMax = next();
  return {
    blockSize,
    fragmentSize,
    blocks,
    blocksFree,
    blocksAvailable,
    files,
    filesFree,
    filesAvailable,
    readOnly,
    nameMax,
  };
}

function handleOf(reply: SftpReply): string {
  return wanted(reply, replyType.handle).handle();
}

function asksFor(expected: number): number {
  return Math.max(readBytesMin, expected + growthBytes);
}

/**
 * Whether nothing comes after this piece. Attributes of /sys and settings of /proc/sys are given whole. Other files of /proc are
 * given as many lines at a time as fit in a page, so that a short piece may have more behind it; but where half a page was left,
 * the next line would have fit.
 */
function isLast(path: string, piece: { length: number }, asked: number): boolean {
  if (piece.length === 0 || piece.length >= asked) return piece.length === 0;
  return piece.length < pageBytes / 2 || /^\/(sys|proc\/sys)\//.test(path);
}

function isTooLarge(error: unknown): boolean {
  return error instanceof HostError && error.code === 'FILE_ERROR' && error.cause === undefined;
}
