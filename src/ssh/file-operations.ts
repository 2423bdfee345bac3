// What is asked of a host's files: one thing, or files that are read together, each with its deadline and the caller who waits for
// it. It refuses to decide when it is asked, and what follows from a session that hangs: the reader of the files does.
import { abortError } from '../core/deadline.js';
import type { HostError } from '../core/errors.js';
import type { Wait } from '../core/waits.js';
import {
  type FilesystemStats,
  fileLimits,
  isMissing,
  isOfFile,
  type ReadOptions,
  type Taker,
} from './file-reader.js';
import type { Reader } from './sftp-once.js';
import type { SftpSession } from './sftp-session.js';

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

export type Kind<A, T> = {
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
export const asText = { work: readOnce, take: same<string>, remembers: true };
export const asKeptText = { work: readKept, take: same<string>, remembers: true };
export const asNames = { work: list, take: same<string[]>, remembers: true };
export const asTarget = { work: readlink, take: same<string>, remembers: true };
export const asSpace = { work: statvfs, take: same<FilesystemStats>, remembers: false };
export const asMode = { work: mode, take: same<number>, remembers: false };

/** Undefined where there is no such file. */
export function asParsed<T>(keepsHandle: boolean, parse: (text: string) => T): Kind<string, T | undefined> {
  return { work: keepsHandle ? readKept : readOnce, take: parse, remembers: true, missing: isUndefined };
}

const isUndefined = { is: undefined };

type Caller = { readonly resolve: (value: unknown) => void; readonly reject: (error: unknown) => void };

/** Who decides when it begins, and goes on when it has ended. */
export type Keeper = {
  /** This path was answered, or failed with `error`. */
  readonly onAnswer: (path: string, session: SftpSession | undefined, error?: unknown) => void;
  readonly onEnd: (asked: Asked) => void;
  readonly onHang: (asked: Asked) => void;
  readonly isKnownToMiss: (path: string) => boolean;
  readonly timeout: (path: string, timeoutMs: number) => HostError;
};

/** Whose it is, and until when. */
export type Waiting = { readonly keeper: Keeper; readonly caller: Caller; readonly dueMs: number };

/** Something asked of the host: its deadline, and the caller who waits for it. */
export abstract class Asked implements Wait {
  session: SftpSession | undefined;
  /** The caller does not wait any more. */
  isLeft = false;
  /** For `Waits`. */
  place = 0;
  readonly dueMs: number;
  protected readonly options: ReadOptions;
  protected readonly caller: Caller;
  protected readonly keeper: Keeper;

  constructor(options: ReadOptions, { keeper, caller, dueMs }: Waiting) {
    this.options = options;
    this.keeper = keeper;
    this.caller = caller;
    this.dueMs = dueMs;
  }

  get bytesMax(): number {
    return this.options.bytesMax ?? fileLimits.readBytesMax;
  }

  get timeoutMs(): number {
    return timeoutOf(this.options);
  }

  get signal(): AbortSignal | undefined {
    return this.options.signal;
  }

  begin(session: SftpSession): void {
    this.session = session;
    this.ask(session);
  }

  onDue(): void {
    this.leave(this.keeper.timeout(this.waitsFor, this.timeoutMs));
    this.keeper.onHang(this);
  }

  onAbort(signal: AbortSignal): void {
    this.leave(abortError(signal));
  }

  protected leave(error: unknown): void {
    this.isLeft = true;
    this.caller.reject(error);
  }

  /** There was no session to be had. */
  abstract neverBegan(error: unknown): void;
  protected abstract ask(session: SftpSession): void;
  /** A path of it that has no answer. */
  protected abstract get waitsFor(): string;
}

/** One thing. */
export class Operation extends Asked implements Reader {
  readonly path: string;
  readonly #kind: Kind<unknown, unknown>;

  constructor(path: string, options: ReadOptions, kind: Kind<unknown, unknown>, waiting: Waiting) {
    super(options, waiting);
    this.path = path;
    this.#kind = kind;
  }

  follow(answer: Promise<unknown>): void {
    answer.then(
      (value) => this.done(value),
      (error: unknown) => this.failed(error),
    );
  }

  done(value: unknown): void {
    try {
      this.caller.resolve(this.#kind.take(value));
    } catch (error) {
      this.caller.reject(error);
    }
    this.#end();
  }

  failed(error: unknown): void {
    const { missing } = this.#kind;
    if (missing && isMissing(error)) this.caller.resolve(missing.is);
    else this.caller.reject(error);
    this.#end(error);
  }

  neverBegan(error: unknown): void {
    this.failed(error);
  }

  protected ask(session: SftpSession): void {
    this.#kind.work(session, this);
  }

  protected get waitsFor(): string {
    return this.path;
  }

  #end(error?: unknown): void {
    if (error === undefined || this.#kind.remembers) this.keeper.onAnswer(this.path, this.session, error);
    this.keeper.onEnd(this);
  }
}

/** Of one round's files. */
const askedMax = 64;

/** Files that keep their handle, read together: what a path has wrong for itself is the taker's. */
export class Round extends Asked implements Reader {
  readonly #paths: readonly string[];
  readonly #taker: Taker;
  #next = 0;
  #underWay = 0;

  constructor(paths: readonly string[], options: ReadOptions, taker: Taker, waiting: Waiting) {
    super(options, waiting);
    this.#paths = paths;
    this.#taker = taker;
  }

  done(text: string, place: number): void {
    this.keeper.onAnswer(this.#pathAt(place), this.session);
    this.#tell(place, text);
    this.#answered();
  }

  failed(error: unknown, place: number): void {
    this.keeper.onAnswer(this.#pathAt(place), this.session, error);
    if (!isOfFile(error)) this.leave(error);
    else this.#tell(place, undefined, isMissing(error) ? undefined : error);
    this.#answered();
  }

  neverBegan(error: unknown): void {
    this.leave(error);
    this.keeper.onEnd(this);
  }

  protected ask(session: SftpSession): void {
    for (; this.#next < this.#paths.length && this.#underWay < askedMax; this.#next += 1) {
      const path = this.#pathAt(this.#next);
      if (this.keeper.isKnownToMiss(path)) this.#tell(this.#next, undefined);
      else {
        this.#underWay += 1;
        session.readKept(path, this.bytesMax, this, this.#next);
      }
    }
    if (this.#underWay > 0) return;
    this.caller.resolve(undefined);
    this.keeper.onEnd(this);
  }

  /** What was asked is waited for, and nothing more is asked. */
  protected override leave(error: unknown): void {
    super.leave(error);
    this.#next = this.#paths.length;
  }

  protected get waitsFor(): string {
    return this.session?.waitsFor ?? this.#pathAt(0);
  }

  #answered(): void {
    this.#underWay -= 1;
    if (this.session) this.ask(this.session);
  }

  #tell(place: number, text: string | undefined, why?: HostError): void {
    if (this.isLeft) return;
    try {
      if (text === undefined) this.#taker.lack(place, why);
      else this.#taker.take(place, text);
    } catch (error) {
      this.leave(error);
    }
  }

  #pathAt(place: number): string {
    return this.#paths[place] as string;
  }
}

export function timeoutOf({ timeoutMs = fileLimits.fileTimeoutMs }: ReadOptions): number {
  return timeoutMs;
}
