// The files of a host over SFTP. Read-only by construction. Files of /proc and /sys are opened once and read again from
// the start at each poll, in one round trip as a rule; what does not exist is not asked for again for a while; a file
// that hangs the SFTP server (a dead NFS mount) costs that session, not the poller. Refuses unbounded anything.
import { type Clock, systemClock } from '../core/clock.js';
import { abortError } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { recurring } from '../core/recurring.js';
import { type Wait, Waits } from '../core/waits.js';
import {
  type FileReader,
  type FilesystemStats,
  fileLimits,
  fileMissing,
  isMissing,
  type ReadOptions,
  readerClosed,
} from './file-reader.js';
import type { Reader } from './sftp-once.js';
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

/** Asks the session, and tells the operation. */
type Work = (session: SftpSession, operation: Operation) => void;

const readKept: Work = (session, operation) =>
  session.readKept(operation.path, operation.bytesMax, operation);
const readOnce: Work = (session, operation) =>
  session.readOnce(operation.path, operation.bytesMax, operation);
const list: Work = (session, operation) => operation.follow(session.list(operation.path));
const readlink: Work = (session, operation) => operation.follow(session.readlink(operation.path));
const statvfs: Work = (session, operation) => operation.follow(session.statvfs(operation.path));
const mode: Work = (session, operation) => operation.follow(session.mode(operation.path));

type Kind<A, T> = {
  work: Work;
  /**
   * Makes of the answer what the caller is given, before anything waits: a promise that has waited long for a text would keep it
   * for long, too.
   */
  take: (answer: A) => T;
  /** Whether a path that is missing is not asked for again for a while. */
  remembers: boolean;
  /** What a path that is missing resolves with, where that is no error. */
  missing?: { is: T };
};

const same = <T>(answer: T): T => answer;
const asText = { work: readOnce, take: same<string>, remembers: true };
const asKeptText = { work: readKept, take: same<string>, remembers: true };
const asNames = { work: list, take: same<string[]>, remembers: true };
const asTarget = { work: readlink, take: same<string>, remembers: true };
const asSpace = { work: statvfs, take: same<FilesystemStats>, remembers: false };
const asMode = { work: mode, take: same<number>, remembers: false };
const isUndefined = { is: undefined };

type Caller = { resolve: (value: unknown) => void; reject: (error: unknown) => void };

type Keeper = {
  onEnd: (operation: Operation, error?: unknown) => void;
  onHang: (operation: Operation) => void;
  timeout: (operation: Operation) => HostError;
};

/** One thing asked of the host: its deadline, and the caller who waits for it. */
class Operation implements Wait, Reader {
  session: SftpSession | undefined;
  /** The caller does not wait any more. */
  isLeft = false;
  place = 0;
  readonly path: string;
  readonly dueMs: number;
  readonly kind: Kind<unknown, unknown>;
  readonly #o: ReadOptions;
  readonly #caller: Caller;
  readonly #keeper: Keeper;

  constructor(
    path: string,
    o: ReadOptions,
    {
      kind,
      dueMs,
      caller,
      keeper,
    }: { kind: Kind<unknown, unknown>; dueMs: number; caller: Caller; keeper: Keeper },
  ) {
    this.path = path;
    this.#o = o;
    this.kind = kind;
    this.dueMs = dueMs;
    this.#caller = caller;
    this.#keeper = keeper;
  }

  get bytesMax(): number {
    return this.#o.bytesMax ?? fileLimits.readBytesMax;
  }

  get timeoutMs(): number {
    return timeoutOf(this.#o);
  }

  get signal(): AbortSignal | undefined {
    return this.#o.signal;
  }

  follow(answer: Promise<unknown>): void {
    answer.then(
      (value) => this.done(value),
      (error: unknown) => this.failed(error),
    );
  }

  done(value: unknown): void {
    try {
      this.#caller.resolve(this.kind.take(value));
    } catch (error) {
      this.#caller.reject(error);
    }
    this.#keeper.onEnd(this);
  }

  failed(error: unknown): void {
    const { missing } = this.kind;
    if (missing && isMissing(error)) this.#caller.resolve(missing.is);
    else this.#caller.reject(error);
    this.#keeper.onEnd(this, error);
  }

  onDue(): void {
    this.isLeft = true;
    this.#caller.reject(this.#keeper.timeout(this));
    this.#keeper.onHang(this);
  }

  onAbort(signal: AbortSignal): void {
    this.isLeft = true;
    this.#caller.reject(abortError(signal));
  }
}

function timeoutOf({ timeoutMs = fileLimits.fileTimeoutMs }: ReadOptions): number {
  return timeoutMs;
}

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

/** Of stat(2). */
const [fileTypeMask, socketType] = [0o170000, 0o140000];
const operationsMax = 64;
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
  readonly #queue: Operation[] = [];
  #running = 0;
  /** By path: until when. */
  readonly #missing = new Map<string, number>();
  readonly #hangs = new Map<string, { count: number; avoidUntilMs: number }>();
  readonly closed: Promise<HostError>;
  readonly #keeper: Keeper = {
    onEnd: (operation, error) => this.#ended(operation, error),
    onHang: (operation) => this.#onHang(operation),
    timeout: ({ path, timeoutMs }) => this.#timeout(`${path}: no answer within ${timeoutMs} ms`),
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
    const work = keepsHandle(path, o) ? readKept : readOnce;
    return this.#run<string, T | undefined>(path, o, {
      work,
      take: parse,
      remembers: true,
      missing: isUndefined,
    });
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

  /** The watch for a hang goes on when the caller has left: its poll may be shorter than our patience. */
  #run<A, T>(path: string, o: ReadOptions, kind: Kind<A, T>): Promise<T> {
    if (kind.remembers && this.#isKnownToMiss(path)) {
      return kind.missing ? Promise.resolve(kind.missing.is) : rejected(fileMissing(this.#o.host, path));
    }
    return new Promise<T>((resolve, reject) => {
      this.#refuseAvoided(path);
      if (o.signal?.aborted) throw abortError(o.signal);
      const operation = new Operation(path, o, {
        kind: kind as Kind<unknown, unknown>,
        dueMs: this.#clock.monotonicMs() + timeoutOf(o),
        caller: { resolve: resolve as (value: unknown) => void, reject },
        keeper: this.#keeper,
      });
      this.#waits.add(operation);
      // At once, or when an operation before it has ended.
      if (this.#running < operationsMax) this.#start(operation);
      else this.#queue.push(operation);
    });
  }

  #isKnownToMiss(path: string): boolean {
    const untilMs = this.#missing.get(path);
    if (untilMs === undefined) return false;
    if (this.#clock.monotonicMs() < untilMs) return true;
    this.#missing.delete(path);
    return false;
  }

  #start(operation: Operation): void {
    this.#running++;
    const session = this.#opened;
    if (operation.isLeft) this.#ended(operation);
    else if (session && !session.ended && !this.#closedWith) this.#begin(operation, session);
    else
      this.#live(operation.timeoutMs).then(
        (opened) => this.#begin(operation, opened),
        (error: unknown) => operation.failed(error),
      );
  }

  #begin(operation: Operation, session: SftpSession): void {
    operation.session = session;
    operation.kind.work(session, operation);
  }

  /** Whether the caller has left or not. */
  #ended(operation: Operation, error?: unknown): void {
    const { path } = operation;
    if (operation.kind.remembers && isMissing(error)) {
      if (this.#missing.size >= missingMax) this.#missing.clear();
      this.#missing.set(recurring(path), Math.ceil(this.#clock.monotonicMs()) + missingForMs);
    }
    if (operation.session && error === undefined) this.#hangs.delete(path);
    this.#waits.delete(operation);
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
  #onHang({ session, timeoutMs }: Operation): void {
    if (!session || session.ended) return;
    const guilty = session.waitsFor;
    if (guilty === undefined) return;
    const count = (this.#hangs.get(guilty)?.count ?? 0) + 1;
    if (this.#hangs.size >= missingMax) this.#hangs.clear();
    this.#hangs.set(guilty, { count, avoidUntilMs: this.#clock.monotonicMs() + avoidedForMs });
    session.end(this.#timeout(`SFTP gave no answer within ${timeoutMs} ms, held up by ${guilty}`));
  }
}
