// The files of a host over SFTP. Read-only by construction. Files of /proc and /sys are opened once and read again from
// the start at each poll, in one round trip as a rule; what does not exist is not asked for again for a while; a file
// that hangs the SFTP server (a dead NFS mount) costs that session, not the poller. Refuses unbounded anything.
import { type Clock, systemClock } from '../core/clock.js';
import { abortError } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { recurring } from '../core/recurring.js';
import { Waits } from '../core/waits.js';
import {
  type Asked,
  asKeptText,
  asMode,
  asNames,
  asParsed,
  asSpace,
  asTarget,
  asText,
  type Keeper,
  type Kind,
  Operation,
  Round,
  timeoutOf,
  type Waiting,
} from './file-operations.js';
import {
  type FileReader,
  type FilesystemStats,
  fileMissing,
  isMissing,
  type ReadOptions,
  readerClosed,
  type Taker,
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

const settled = Promise.resolve();

/** Rejects in the next turn, when somebody listens: Node keeps account of rejections that nobody listens to yet. */
function rejected(error: HostError): Promise<never> {
  return settled.then(() => {
    throw error;
  });
}

/** Files of /proc and /sys keep their handle; others are opened each time, since they are replaced by renaming. */
function keepsHandle(path: string, { once }: ReadOptions): boolean {
  return !once && (path.startsWith('/proc/') || path.startsWith('/sys/'));
}

const operationsMax = 64;
/** Of stat(2). */
const [fileTypeMask, socketType] = [0o170000, 0o140000];
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
  readonly #queue: Asked[] = [];
  #running = 0;
  /** By path: until when. */
  readonly #missing = new Map<string, number>();
  readonly #hangs = new Map<string, { count: number; avoidUntilMs: number }>();
  readonly closed: Promise<HostError>;
  readonly #keeper: Keeper = {
    onAnswer: (path, session, error) => this.#onAnswer(path, session, error),
    onEnd: (asked) => this.#ended(asked),
    onHang: (asked) => this.#onHang(asked),
    isKnownToMiss: (path) => this.#isKnownToMiss(path),
    timeout: (path, timeoutMs) => this.#timeout(`${path}: no answer within ${timeoutMs} ms`),
  };
  #session: Promise<SftpSession> | undefined;
  /** What that became. */
  #opened: SftpSession | undefined;
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
    try {
      this.#opened = await opening;
      return this.#opened;
    } catch (error) {
      if (this.#session === opening) this.#session = undefined;
      throw error;
    }
  }

  read(path: string, o: ReadOptions = {}): Promise<string> {
    return this.#run(path, o, keepsHandle(path, o) ? asKeptText : asText);
  }

  parsed<T>(path: string, o: ReadOptions, parse: (text: string) => T): Promise<T | undefined> {
    return this.#run(path, o, asParsed(keepsHandle(path, o), parse));
  }

  readAll(paths: readonly string[], o: ReadOptions, taker: Taker): Promise<void> {
    if (paths.length === 0) return settled;
    return this.#ask(paths, o, (waiting) => new Round(paths, o, taker, waiting));
  }

  list(path: string, o: WaitOptions = {}): Promise<string[]> {
    return this.#run(path, o, asNames);
  }

  readlink(path: string, o: WaitOptions = {}): Promise<string> {
    return this.#run(path, o, asTarget);
  }

  statvfs(path: string, o: WaitOptions = {}): Promise<FilesystemStats> {
    return this.#run(path, o, asSpace);
  }

  async stat(path: string, o: WaitOptions = {}): Promise<FileStat> {
    const bits = await this.#run(path, o, asMode);
    return { mode: bits & 0o7777, isSocket: (bits & fileTypeMask) === socketType };
  }

  #run<A, T>(path: string, o: ReadOptions, kind: Kind<A, T>): Promise<T> {
    if (kind.remembers && this.#isKnownToMiss(path)) {
      return kind.missing ? Promise.resolve(kind.missing.is) : rejected(fileMissing(this.#o.host, path));
    }
    return this.#ask([path], o, (waiting) => new Operation(path, o, kind as Kind<unknown, unknown>, waiting));
  }

  /** The watch for a hang goes on when the caller has left: its poll may be shorter than our patience. */
  #ask<T>(paths: readonly string[], o: ReadOptions, of: (waiting: Waiting) => Asked): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#hangs.size > 0) for (const path of paths) this.#refuseAvoided(path);
      if (o.signal?.aborted) throw abortError(o.signal);
      const caller = { resolve: resolve as (value: unknown) => void, reject };
      const asked = of({ keeper: this.#keeper, caller, dueMs: this.#clock.monotonicMs() + timeoutOf(o) });
      this.#startSoon(asked);
    });
  }

  /** At once, or when one before it has ended. */
  #startSoon(asked: Asked): void {
    this.#waits.add(asked);
    if (this.#running < operationsMax) this.#start(asked);
    else this.#queue.push(asked);
  }

  #isKnownToMiss(path: string): boolean {
    const untilMs = this.#missing.get(path);
    if (untilMs === undefined) return false;
    if (this.#clock.monotonicMs() < untilMs) return true;
    this.#missing.delete(path);
    return false;
  }

  #start(asked: Asked): void {
    this.#running++;
    const session = this.#opened;
    if (asked.isLeft) this.#ended(asked);
    else if (session && !session.ended && !this.#closedWith) asked.begin(session);
    else
      this.#live(asked.timeoutMs).then(
        (opened) => asked.begin(opened),
        (error: unknown) => asked.neverBegan(error),
      );
  }

  /** Whether the caller has left or not. */
  #onAnswer(path: string, session: SftpSession | undefined, error: unknown): void {
    if (isMissing(error)) {
      if (this.#missing.size >= missingMax) this.#missing.clear();
      this.#missing.set(recurring(path), Math.ceil(this.#clock.monotonicMs()) + missingForMs);
    }
    if (session && error === undefined) this.#hangs.delete(path);
  }

  #ended(asked: Asked): void {
    this.#waits.delete(asked);
    this.#running--;
    const next = this.#queue.shift();
    if (next) this.#start(next);
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
  #onHang({ session, timeoutMs }: Asked): void {
    if (!session || session.ended) return;
    const guilty = session.waitsFor;
    if (guilty === undefined) return;
    const count = (this.#hangs.get(guilty)?.count ?? 0) + 1;
    if (this.#hangs.size >= missingMax) this.#hangs.clear();
    this.#hangs.set(guilty, { count, avoidUntilMs: this.#clock.monotonicMs() + avoidedForMs });
    session.end(this.#timeout(`SFTP gave no answer within ${timeoutMs} ms, held up by ${guilty}`));
  }
}
