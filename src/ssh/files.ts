// The files of a host over SFTP. Read-only by construction. Files of /proc and /sys are opened once and read again from
// the start at each poll, in one round trip as a rule; what does not exist is not asked for again for a while; a file
// that hangs the SFTP server (a dead NFS mount) costs that session, not the poller. Refuses unbounded anything.
import { type Clock, systemClock } from '../core/clock.js';
import { abortError } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { recurring } from '../core/recurring.js';
import { Waits } from '../core/waits.js';
import {
  type FileReader,
  type FilesystemStats,
  fileLimits,
  fileMissing,
  type ReadOptions,
  readerClosed,
} from './file-reader.js';
import type { SftpSession } from './sftp-session.js';
import type { WaitOptions } from './target.js';

export type { FileReader, FilesystemStats, ReadOptions } from './file-reader.js';

export type SftpFileReaderOptions = {
  host: string;
  /** Opens one SFTP session; called again after a session was lost. */
  open: (o: WaitOptions) => Promise<SftpSession>;
  clock?: Clock;
};

export type FileStat = { mode: number; isSocket: boolean };

type Operation = { path: string; session: SftpSession | undefined };

/** Of stat(2). */
const [fileTypeMask, socketType] = [0o170000, 0o140000];
const operationsMax = 32;
const missingForMs = 5 * 60_000;
const missingMax = 1024;
/** A path that made two sessions in a row hang is left alone this long. */
const avoidedForMs = 10 * 60_000;
const hangsMax = 2;

export class SftpFileReader implements FileReader {
  readonly #o: SftpFileReaderOptions;
  readonly #clock: Clock;
  readonly #waits: Waits;
  /** Oldest first. */
  readonly #queue: (() => void)[] = [];
  #running = 0;
  readonly #missingUntil = new Map<string, number>();
  readonly #hangs = new Map<string, { count: number; avoidUntilMs: number }>();
  /** Oldest first: the SFTP server works in order, so the first of them is what it is at. */
  readonly #inFlight = new Set<Operation>();
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly closed: Promise<HostError>;
  #session: Promise<SftpSession> | undefined;
  #closedWith: HostError | undefined;
  #resolveClosed: (reason: HostError) => void = () => {};

  constructor(o: SftpFileReaderOptions) {
    this.#o = o;
    this.#clock = o.clock ?? systemClock;
    this.#waits = new Waits(this.#clock);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  get closedWith(): HostError | undefined {
    return this.#closedWith;
  }

  /** Opens the session when there is none. Throws SFTP_DENIED, TIMEOUT, CLOSED. */
  async ready(o: WaitOptions = {}): Promise<void> {
    await this.#live(o.timeoutMs);
  }

  /** Files held open on the host now. */
  async handlesOpen(): Promise<number> {
    return (await this.#session)?.handlesOpen ?? 0;
  }

  async close(reason: HostError = readerClosed(this.#o.host)): Promise<void> {
    if (this.#closedWith) return;
    this.#closedWith = reason;
    this.#resolveClosed(reason);
    const session = await this.#session?.catch(() => undefined);
    this.#session = undefined;
    session?.end(reason);
  }

  /** Opening is shared by all who wait for it, so no caller's signal may end it. */
  async #live(timeoutMs?: number): Promise<SftpSession> {
    if (this.#closedWith) throw this.#closedWith;
    const current = this.#session;
    if (current) {
      const session = await current.catch(() => undefined);
      if (session && !session.ended) return session;
      if (this.#session === current) this.#session = undefined;
      if (this.#closedWith) throw this.#closedWith;
    }
    this.#session ??= this.#o.open(timeoutMs === undefined ? {} : { timeoutMs });
    const opening = this.#session;
    return await opening.catch((error: unknown) => {
      if (this.#session === opening) this.#session = undefined;
      throw error;
    });
  }

  /** Files of /proc and /sys keep their handle; others are opened each time, since they are replaced by renaming. */
  async read(path: string, o: ReadOptions = {}): Promise<string> {
    const { bytesMax = fileLimits.readBytesMax, once = false } = o;
    const keeps = !once && /^\/(proc|sys)\//.test(path);
    return await this.#remembering(path, () =>
      this.#run(path, o, (session) =>
        keeps ? this.#inTurn(path, () => session.readKept(path, bytesMax)) : session.readOnce(path, bytesMax),
      ),
    );
  }

  async list(path: string, o: WaitOptions = {}): Promise<string[]> {
    return await this.#remembering(path, () => this.#run(path, o, (session) => session.list(path)));
  }

  async readlink(path: string, o: WaitOptions = {}): Promise<string> {
    return await this.#remembering(path, () => this.#run(path, o, (session) => session.readlink(path)));
  }

  async statvfs(path: string, o: WaitOptions = {}): Promise<FilesystemStats> {
    return await this.#run(path, o, (session) => session.statvfs(path));
  }

  async stat(path: string, o: WaitOptions = {}): Promise<FileStat> {
    const mode = await this.#run(path, o, (session) => session.mode(path));
    return { mode: mode & 0o7777, isSocket: (mode & fileTypeMask) === socketType };
  }

  async #remembering<T>(path: string, work: () => Promise<T>): Promise<T> {
    const untilMs = this.#missingUntil.get(path);
    if (untilMs !== undefined) {
      if (this.#clock.monotonicMs() < untilMs) throw fileMissing(this.#o.host, path);
      this.#missingUntil.delete(path);
    }
    try {
      return await work();
    } catch (error) {
      if (error instanceof HostError && error.code === 'FILE_MISSING') {
        if (this.#missingUntil.size >= missingMax) this.#missingUntil.clear();
        this.#missingUntil.set(recurring(path), this.#clock.monotonicMs() + missingForMs);
      }
      throw error;
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

  /** The watch for a hang goes on when the caller has left: its poll may be shorter than our patience. */
  #run<T>(path: string, o: WaitOptions, work: (session: SftpSession) => Promise<T>): Promise<T> {
    const { timeoutMs = fileLimits.fileTimeoutMs, signal } = o;
    return new Promise<T>((resolve, reject) => {
      this.#refuseAvoided(path);
      if (signal?.aborted) throw abortError(signal);
      const operation: Operation = { path, session: undefined };
      let left = false;
      const leave = (error: Error) => {
        left = true;
        reject(error);
      };
      const wait = {
        dueMs: this.#clock.monotonicMs() + timeoutMs,
        onDue: () => {
          this.#onHang(operation, timeoutMs);
          leave(this.#timeout(`${path}: no answer within ${timeoutMs} ms`));
        },
        signal,
        onAbort: (why: AbortSignal) => leave(abortError(why)),
      };
      const start = async () => {
        try {
          if (left) return;
          const session = await this.#live(timeoutMs);
          operation.session = session;
          this.#inFlight.add(operation);
          resolve(await work(session));
          this.#hangs.delete(path);
        } catch (error) {
          reject(error);
        } finally {
          this.#waits.delete(wait);
          this.#inFlight.delete(operation);
          this.#running--;
          this.#queue.shift()?.();
        }
      };
      this.#waits.add(wait);
      this.#inTime(() => void start());
    });
  }

  /** At once, or when an operation before it has ended. */
  #inTime(start: () => void): void {
    const begin = () => {
      this.#running++;
      start();
    };
    if (this.#running < operationsMax) begin();
    else this.#queue.push(begin);
  }

  #refuseAvoided(path: string): void {
    const hang = this.#hangs.get(path);
    if (!hang || hang.count < hangsMax) return;
    if (this.#clock.monotonicMs() >= hang.avoidUntilMs) {
      this.#hangs.delete(path);
      return;
    }
    throw this.#timeout(
      `${path}: not tried, it hung the SFTP server before`,
      'Look for a dead network filesystem on the host.',
    );
  }

  #timeout(message: string, hint?: string): HostError {
    return new HostError('TIMEOUT', { host: this.#o.host, message, ...(hint && { hint }) });
  }

  /** The session is given up: its server works in order and would answer nothing else before this. */
  #onHang({ session }: Operation, timeoutMs: number): void {
    if (!session || session.ended) return;
    const guilty = [...this.#inFlight].find((operation) => operation.session === session);
    if (!guilty) return;
    const count = (this.#hangs.get(guilty.path)?.count ?? 0) + 1;
    if (this.#hangs.size >= missingMax) this.#hangs.clear();
    this.#hangs.set(guilty.path, { count, avoidUntilMs: this.#clock.monotonicMs() + avoidedForMs });
    session.end(this.#timeout(`SFTP gave no answer within ${timeoutMs} ms, held up by ${guilty.path}`));
  }
}
