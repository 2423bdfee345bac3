// The files of the machine we run on, for the sidecar case: what SftpFileReader is for a host over SSH. Read-only.
import { constants, type Dirent } from 'node:fs';
import { open, opendir, readlink, statfs } from 'node:fs/promises';
import { type Clock, systemClock } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import {
  type FileReader,
  type FilesystemStats,
  fileLimits,
  fileMissing,
  fileTooLarge,
  isMissing,
  isOfFile,
  type ReadOptions,
  readerClosed,
  type Taker,
  tooManyEntries,
} from './file-reader.js';
import type { WaitOptions } from './target.js';

const chunkBytes = 64 * 1024;
const nameMaxOfLinux = 255;
/** A path that hung (a dead network filesystem) holds a thread of ours: it is left alone this long. */
const avoidedForMs = 10 * 60_000;

export class LocalFileReader implements FileReader {
  readonly #host: string;
  readonly #clock: Clock;
  readonly #avoidUntilMs = new Map<string, number>();
  readonly closed: Promise<HostError>;
  #closedWith: HostError | undefined;
  #resolveClosed: (reason: HostError) => void = () => {};

  constructor(host: string, clock: Clock = systemClock) {
    this.#host = host;
    this.#clock = clock;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  async close(): Promise<void> {
    this.#closedWith ??= readerClosed(this.#host);
    this.#resolveClosed(this.#closedWith);
  }

  read(path: string, o: ReadOptions = {}): Promise<string> {
    const { bytesMax = fileLimits.readBytesMax } = o;
    return this.#run(path, o, async () => {
      // Without O_NONBLOCK the opening of a FIFO would hold a thread for ever.
      await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const pieces: Buffer[] = [];
      let total = 0;
      for (;;) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, total);
        if (bytesRead === 0) return Buffer.concat(pieces).toString('utf8');
        pieces.push(buffer.subarray(0, bytesRead));
        total += bytesRead;
        if (total > bytesMax) throw fileTooLarge(this.#host, path, bytesMax);
      }
    });
  }

  async parsed<T>(path: string, o: ReadOptions, parse: (text: string) => T): Promise<T | undefined> {
    const text = await this.read(path, o).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    return text === undefined ? undefined : parse(text);
  }

  async readAll(paths: readonly string[], o: ReadOptions, taker: Taker): Promise<void> {
    let hasFailed = false;
    const one = async (path: string, place: number) => {
      try {
        const text = await this.read(path, o);
        if (!hasFailed) taker.take(place, text);
      } catch (error) {
        if (hasFailed) return;
        hasFailed = !isOfFile(error);
        if (!isOfFile(error)) throw error;
        taker.lack(place, isMissing(error) ? undefined : error);
      }
    };
    await Promise.all(paths.map(one));
  }

  list(path: string, o: WaitOptions = {}): Promise<string[]> {
    return this.#run(path, o, async () => {
      const names: string[] = [];
      for await (const entry of (await opendir(path)) as AsyncIterable<Dirent>) {
        names.push(entry.name);
        if (names.length > fileLimits.listEntriesMax) throw tooManyEntries(this.#host, path);
      }
      return names;
    });
  }

  readlink(path: string, o: WaitOptions = {}): Promise<string> {
    return this.#run(path, o, () => readlink(path));
  }

  /** statfs(2) knows neither mount flags nor name lengths: the first are read from /proc/self/mounts. */
  statvfs(path: string, o: WaitOptions = {}): Promise<FilesystemStats> {
    return this.#run(path, o, async () => {
      const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
      return {
        blockSize: bsize,
        fragmentSize: bsize,
        blocks,
        blocksFree: bfree,
        blocksAvailable: bavail,
        files,
        filesFree: ffree,
        filesAvailable: ffree,
        readOnly: mountIsReadOnly(await this.read('/proc/self/mounts'), path),
        nameMax: nameMaxOfLinux,
      };
    });
  }

  async #run<T>(path: string, o: WaitOptions, work: () => Promise<T>): Promise<T> {
    const { timeoutMs = fileLimits.fileTimeoutMs, signal } = o;
    if (this.#closedWith) throw this.#closedWith;
    const untilMs = this.#avoidUntilMs.get(path);
    if (untilMs !== undefined && this.#clock.monotonicMs() < untilMs) {
      throw new HostError('TIMEOUT', { host: this.#host, message: `${path}: not tried, it hung before` });
    }
    try {
      return await withDeadline(work, {
        timeoutMs,
        signal,
        clock: this.#clock,
        onTimeout: () => {
          this.#avoidUntilMs.set(path, this.#clock.monotonicMs() + avoidedForMs);
          return new HostError('TIMEOUT', {
            host: this.#host,
            message: `${path}: no answer within ${timeoutMs} ms`,
          });
        },
      });
    } catch (error) {
      if (error instanceof HostError) throw error;
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'ENOENT' || code === 'ENOTDIR') throw fileMissing(this.#host, path);
      const message = code === 'EACCES' ? `${path}: permission denied` : `${path}: cannot be read`;
      throw new HostError('FILE_ERROR', { host: this.#host, message, cause: error });
    }
  }
}

/** Of the mount that holds `path`: the longest mount point that it begins with; the last of equals lies on top. */
export function mountIsReadOnly(mounts: string, path: string): boolean {
  let best = '';
  let readOnly = false;
  for (const line of mounts.split('\n')) {
    const [, point, , options] = line.split(' ');
    if (!point || !options) continue;
    const at = point.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const holds = at === '/' || path === at || path.startsWith(`${at}/`);
    if (!holds || at.length < best.length) continue;
    best = at;
    readOnly = options.split(',').includes('ro');
  }
  return readOnly;
}
