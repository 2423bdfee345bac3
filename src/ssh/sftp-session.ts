// One SFTP session as promises: requests in flight, the handles that are kept open, and the reading of a file that says
// nothing of its size. It refuses to wait for a session that has ended: every request in flight fails at once.
import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2';
import { HostError } from '../core/errors.js';
import {
  type FilesystemStats,
  fileLimits,
  fileMissing,
  fileTooLarge,
  tooManyEntries,
} from './file-reader.js';

type Done<T> = (error: Error | null | undefined, value: T) => void;
type Handle = {
  id: Buffer;
  /** Bytes of each read of the last whole reading: where to expect the pieces and the end this time. */
  layout: readonly number[] | undefined;
  inUse: boolean;
};

const firstReadBytes = 32 * 1024;
/** Of a file that is known to be small: Node takes buffers below 4 KiB from a pool. */
const smallReadBytes = 2048;
const readBytesMin = 512;
/** More than expected is asked for, so that growth shows in the same round trip. */
const growthBytes = 256;
/** What a poll reads each time on a large host; a process may open 1024 files as a rule. */
const handlesMax = 512;
const piecesMax = 64;
const pageBytes = 4096;
/** What /sys gives at most of one attribute. */
const attributeBytes = pageBytes;
const readOnlyFlag = 1;

const status = { eof: 1, noSuchFile: 2, permissionDenied: 3, unsupported: 8 } as const;

export class SftpSession {
  readonly #sftp: SFTPWrapper;
  readonly #host: string;
  readonly #rejects = new Set<(error: HostError) => void>();
  /** In order of use, oldest first. */
  readonly #handles = new Map<string, Handle>();
  #ended: HostError | undefined;

  constructor(host: string, sftp: SFTPWrapper) {
    this.#host = host;
    this.#sftp = sftp;
    const onEnd = () => this.end(new HostError('CLOSED', { host, message: 'the SFTP session ended' }));
    sftp.on('end', onEnd).on('close', onEnd).on('error', onEnd);
  }

  get ended(): HostError | undefined {
    return this.#ended;
  }

  /** Files open on the host. */
  get handlesOpen(): number {
    return this.#handles.size;
  }

  end(error: HostError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#handles.clear();
    for (const reject of this.#rejects) reject(error);
    this.#rejects.clear();
    this.#sftp.end();
  }

  #request<T>(path: string, start: (sftp: SFTPWrapper, done: Done<T>) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#rejects.add(reject);
      const done: Done<T> = (error, value) => {
        this.#rejects.delete(reject);
        if (error) reject(this.#ended ?? fileError(this.#host, path, error));
        else resolve(value);
      };
      try {
        start(this.#sftp, done);
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)), undefined as T);
      }
    });
  }

  /** Reads with a handle that stays open for the next time. A handle that went stale is opened anew, once. */
  async readKept(path: string, bytesMax: number): Promise<string> {
    const kept = this.#handles.get(path);
    if (kept) {
      try {
        return await this.#use(path, kept, bytesMax);
      } catch (error) {
        if (this.#ended || isTooLarge(error)) throw error;
      }
    }
    // A copy: what ssh2 gives is a window on all that arrived with it, which would be kept too.
    const id = Buffer.from(await this.#open(path));
    const handle: Handle = { id, layout: undefined, inUse: false };
    this.#handles.set(path, handle);
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
    this.#handles.set(path, handle);
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

  #open(path: string): Promise<Buffer> {
    return this.#request(path, (sftp, done: Done<Buffer>) => sftp.open(path, 'r', done));
  }

  #close(id: Buffer): void {
    if (this.#ended) return;
    this.#request('', (sftp, done: Done<void>) => sftp.close(id, (error) => done(error, undefined))).catch(
      () => {},
    );
  }

  #readAt(path: string, id: Buffer, offset: number, length: number): Promise<Buffer> {
    return this.#request(path, (sftp, done: Done<Buffer>) => {
      const buffer = Buffer.allocUnsafe(length);
      sftp.read(id, buffer, 0, length, offset, (error, bytes) => done(error, buffer.subarray(0, bytes)));
    });
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
  async #readOnward(path: string, id: Buffer, bytesMax: number): Promise<Buffer[]> {
    const pieces: Buffer[] = [];
    const asked = bytesMax <= attributeBytes ? smallReadBytes : firstReadBytes;
    let offset = 0;
    while (offset <= bytesMax) {
      const piece = await this.#readAt(path, id, offset, asked);
      if (piece.length === 0) return pieces;
      pieces.push(piece);
      if (isLast(path, piece, asked)) return pieces;
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
    const id = await this.#request(path, (sftp, done: Done<Buffer>) => sftp.opendir(path, done));
    const names: string[] = [];
    try {
      for (;;) {
        const batch = await this.#request(path, (sftp, done: Done<FileEntryWithStats[] | undefined>) =>
          sftp.readdir(id, (error, entries) => {
            if (codeOf(error) === status.eof) done(undefined, undefined);
            else done(error, entries);
          }),
        );
        if (!batch || batch.length === 0) return names;
        for (const { filename } of batch) if (filename !== '.' && filename !== '..') names.push(filename);
        if (names.length > fileLimits.listEntriesMax) throw tooManyEntries(this.#host, path);
      }
    } finally {
      this.#close(id);
    }
  }

  readlink(path: string): Promise<string> {
    return this.#request(path, (sftp, done: Done<string>) => sftp.readlink(path, done));
  }

  stat(path: string): Promise<Stats> {
    return this.#request(path, (sftp, done: Done<Stats>) => sftp.stat(path, done));
  }

  async statvfs(path: string): Promise<FilesystemStats> {
    const raw = await this.#request(path, (sftp, done: Done<Record<string, number | bigint>>) =>
      sftp.ext_openssh_statvfs(path, done),
    );
    const number = (name: string) => Number(raw[name] ?? 0);
    return {
      blockSize: number('f_bsize'),
      fragmentSize: number('f_frsize'),
      blocks: number('f_blocks'),
      blocksFree: number('f_bfree'),
      blocksAvailable: number('f_bavail'),
      files: number('f_files'),
      filesFree: number('f_ffree'),
      filesAvailable: number('f_favail'),
      readOnly: (number('f_flag') & readOnlyFlag) !== 0,
      nameMax: number('f_namemax'),
    };
  }
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

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function isTooLarge(error: unknown): boolean {
  return error instanceof HostError && error.code === 'FILE_ERROR' && error.cause === undefined;
}

function fileError(host: string, path: string, error: Error): HostError {
  switch (codeOf(error)) {
    case status.noSuchFile:
      return fileMissing(host, path);
    case status.permissionDenied:
      return new HostError('FILE_ERROR', {
        host,
        message: `${path}: permission denied`,
        hint: 'Let the polling user read it.',
        cause: error,
      });
    case status.unsupported:
      return new HostError('FILE_ERROR', {
        host,
        message: `${path}: not supported by the SFTP server`,
        cause: error,
      });
    default:
      return new HostError('FILE_ERROR', { host, message: `${path}: cannot be read`, cause: error });
  }
}
