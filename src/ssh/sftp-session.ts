// The files of one SFTP session: the handles that are kept open, and the reading of a file that says nothing of its size. It refuses
// to keep more than it was asked for between two readings.
import { HostError } from '../core/errors.js';
import { recurring } from '../core/recurring.js';
import { type FilesystemStats, fileLimits, fileTooLarge, tooManyEntries } from './file-reader.js';
import { OnceReading, type Reader, readBytes } from './sftp-once.js';
import { type SftpRequests, unlessEof, wanted } from './sftp-requests.js';
import { isLast, type KeptHandle, Rereading, type Wanted } from './sftp-rereading.js';
import { encode, MalformedSftp, replyType, type SftpReply } from './sftp-wire.js';

/** What a poll reads each time on a large host; a process may open 1024 files as a rule. */
const handlesMax = 512;
const piecesMax = 64;
const readOnlyFlag = 1;

export class SftpSession {
  readonly #host: string;
  readonly #requests: SftpRequests;
  readonly #handles = new Map<string, KeptHandle>();
  #uses = 0;
  /** Of readings that are more than one round trip, by path. */
  readonly #turns = new Map<string, Promise<unknown>>();

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

  /** The path that the server is at now. */
  get waitsFor(): string | undefined {
    return this.#requests.waitsFor;
  }

  end(error: HostError): void {
    this.#requests.end(error);
    this.#handles.clear();
  }

  #request<T>(path: string, bytes: (id: number) => Buffer, take: (reply: SftpReply) => T): Promise<T> {
    return this.#requests.ask(path, bytes, take);
  }

  /**
   * Reads with a handle that stays open for the next time: in one round trip and without any promise when the file has the size
   * of the last time. A handle that went stale is opened anew, once. `place`: for the reader.
   */
  readKept(path: string, bytesMax: number, reader: Reader, place = 0): void {
    const handle = this.#handles.get(path);
    if (this.ended || !handle?.layout || handle.inUse || this.#turns.has(path)) {
      this.#inTurn(path, () => this.#readAnew(path, bytesMax)).then(
        (text) => reader.done(text, place),
        (error: unknown) => reader.failed(error, place),
      );
      return;
    }
    this.#begin(handle);
    Rereading.of(this, path, handle, handle.layout, bytesMax, reader, place).ask(this.#requests);
  }

  onReread({ path, handle, bytesMax, reader, place }: Wanted, text: string | undefined, error?: Error): void {
    free(handle);
    if (text !== undefined) reader.done(text, place);
    else if (error && this.ended) reader.failed(error, place);
    else {
      if (error) this.#drop(path, handle);
      else handle.layout = undefined;
      this.readKept(path, bytesMax, reader, place);
    }
  }

  /** One reader of a handle at a time: /proc keeps a position in it. */
  async #inTurn<T>(path: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(path) ?? Promise.resolve();
    const mine = before.then(work, work);
    this.#turns.set(path, mine);
    try {
      return await mine;
    } finally {
      if (this.#turns.get(path) === mine) this.#turns.delete(path);
    }
  }

  async #readAnew(path: string, bytesMax: number): Promise<string> {
    const kept = this.#handles.get(path);
    if (kept?.inUse)
      await new Promise<void>((resolve) => {
        kept.onFree = resolve;
      });
    if (kept && this.#handles.get(path) === kept) {
      try {
        return await this.#use(path, kept, bytesMax);
      } catch (error) {
        if (this.ended || isTooLarge(error)) throw error;
      }
    }
    const handle = unused(recurring(await this.#open(path)));
    this.#handles.set(recurring(path), handle);
    this.#evict();
    return await this.#use(path, handle, bytesMax);
  }

  /** Opens, reads and closes. */
  readOnce(path: string, bytesMax: number, reader: Reader): void {
    if (this.ended) reader.failed(this.ended, 0);
    else new OnceReading(this.#requests, path, bytesMax, reader).begin();
  }

  async #use(path: string, handle: KeptHandle, bytesMax: number): Promise<string> {
    this.#begin(handle);
    try {
      return await this.#readWhole(path, handle, bytesMax);
    } catch (error) {
      this.#drop(path, handle);
      throw error;
    } finally {
      free(handle);
    }
  }

  #begin(handle: KeptHandle): void {
    handle.usedAt = ++this.#uses;
    handle.inUse = true;
  }

  #drop(path: string, handle: KeptHandle): void {
    if (this.#handles.get(path) === handle) this.#handles.delete(path);
    this.#close(handle.id);
  }

  #evict(): void {
    while (this.#handles.size > handlesMax) {
      let oldest: [string, KeptHandle] | undefined;
      for (const one of this.#handles)
        if (!one[1].inUse && (!oldest || one[1].usedAt < oldest[1].usedAt)) oldest = one;
      if (!oldest) return;
      this.#drop(...oldest);
    }
  }

  #open(path: string): Promise<string> {
    return this.#request(path, (id) => encode.open(id, path), handleOf);
  }

  #close(handle: string): void {
    this.#requests.tell((id) => encode.close(id, handle));
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

  async #readWhole(path: string, handle: KeptHandle, bytesMax: number): Promise<string> {
    const pieces = await this.#readOnward(path, handle.id, bytesMax);
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
      const piece = await this.#readAt(path, id, offset, readBytes);
      if (piece.length === 0) return pieces;
      pieces.push(piece);
      if (isLast(path, piece.length, readBytes)) return pieces;
      offset += piece.length;
    }
    throw fileTooLarge(this.#host, path, bytesMax);
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

function unused(id: string): KeptHandle {
  return { id, layout: undefined, inUse: false, usedAt: 0 };
}

function free(handle: KeptHandle): void {
  handle.inUse = false;
  handle.onFree?.();
}

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

function isTooLarge(error: unknown): boolean {
  return error instanceof HostError && error.code === 'FILE_ERROR' && error.cause === undefined;
}
