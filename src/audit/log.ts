// The audit log: who did what to which VM, on disk before it is done. Lines are only ever added, each chained to the one
// before. `append` resolves when the line is on the disk; appends that come together share one fsync. It refuses to say
// that a line is written when it may not be: then it rejects, and takes back what it had begun to write.
import { chmod, constants, type FileHandle, mkdir, open, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { silentLog } from '../core/log.js';
import type { ActsIndex, BegunAct, InterruptedJob } from './acts.js';
import { type LogFile, logFile, readHead, syncDirectory, writeHead } from './files.js';
import { type AuditEntry, type AuditLine, entryFields, formLine, type Link, tornFields } from './line.js';
import { type TakenUp, takeUp } from './take-up.js';

export type { BegunAct, InterruptedJob } from './acts.js';
export type { AuditEntry } from './line.js';

export type AuditLogOptions = {
  /** Made 0700 when missing. One service at a time. */
  dir: string;
  clock: Clock;
  log?: Log;
  /** A file that has grown to this is followed by the next one. */
  rotateBytes?: number;
};

const rotateBytesDefault = 16 * 1024 * 1024;
/** One write and one fsync for so many lines at most. */
const batchLinesMax = 64;
/** Appends that wait for the disk; more are refused. */
const waitingMax = 4_096;
/** A disk that takes longer is taken for a broken one. */
const appendTimeoutMs = 10_000;
/** How far the head file may be behind the log. */
export const headDelayMs = 1_000;
const closeTimeoutMs = 5_000;
/** Names tried for a new file when others are in the way. */
const namesTriedMax = 100;

const writeExisting = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW;
const createNew = writeExisting | constants.O_CREAT | constants.O_EXCL;

type Waiting = {
  fields: Record<string, unknown>;
  resolve: () => void;
  reject: (error: HostError) => void;
};

/** The file that is written to: nobody else writes there, so its size is what we left. */
type OpenFile = LogFile & { handle: FileHandle; sizeBytes: number; inode: number };

export class AuditLog {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #rotateBytes: number;
  readonly #acts: ActsIndex;
  #end: Link;
  #file: OpenFile | undefined;
  #resume: TakenUp['file'];
  #torn: TakenUp['torn'];
  /** What a failed write may have left after `sizeBytes`. */
  #dirty = false;
  #waiting: Waiting[] = [];
  #flushing: Promise<void> | undefined;
  #headTimer: Timer | undefined;
  #headWriting: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  private constructor({ dir, clock, log, rotateBytes }: AuditLogOptions, found: TakenUp) {
    this.#dir = dir;
    this.#clock = clock;
    this.#log = log ?? silentLog;
    this.#rotateBytes = rotateBytes ?? rotateBytesDefault;
    this.#acts = found.acts;
    this.#end = found.end;
    this.#resume = found.file;
    this.#torn = found.torn;
  }

  /** Takes up the log that is there. Throws AUDIT when the directory cannot be used. */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    const { dir, clock, log = silentLog } = options;
    try {
      if (await mkdir(dir, { recursive: true, mode: 0o700 })) await syncDirectory(dirname(dir));
      else await chmod(dir, 0o700);
      const found = await takeUp(dir, clock.wallMs());
      const audit = new AuditLog(options, found);
      if ((await readHead(dir)) === 'absent') await audit.#writeHead();
      const { seq, hash } = found.end;
      log.info({ dir, seq, hash }, 'audit log opened');
      if (found.torn)
        log.warn({ dir, bytes: found.torn.bytes }, 'a crash tore the last line of the audit log');
      for (const damage of found.damage) log.error({ dir, damage }, 'the audit log is damaged');
      return audit;
    } catch (cause) {
      throw failure(`cannot use the audit log in ${dir}`, cause);
    }
  }

  /** The newest line that is on the disk. */
  get end(): Link {
    return this.#end;
  }

  /** Resolves when the line is on the disk. Rejects with AUDIT; then it is not there, or, after a timeout, may be. */
  async append(entry: AuditEntry): Promise<void> {
    if (this.#closing) throw failure('the audit log is closed');
    if (this.#waiting.length >= waitingMax) throw failure(`${waitingMax} lines wait for the audit log`);
    const fields = entryFields(entry);
    let mine: Waiting | undefined;
    const written = new Promise<void>((resolve, reject) => {
      mine = { fields, resolve, reject };
      this.#waiting.push(mine);
    });
    this.#flushing ??= this.#flush();
    await withDeadline(() => written, {
      timeoutMs: appendTimeoutMs,
      clock: this.#clock,
      onTimeout: () => {
        this.#waiting = this.#waiting.filter((waiting) => waiting !== mine);
        return failure(`the disk of the audit log did not answer within ${appendTimeoutMs} ms`);
      },
    });
  }

  /** Every act of this request that the log knows to have begun. */
  begun(requestId: string): readonly BegunAct[] {
    return this.#acts.begun(requestId);
  }

  /** Jobs with an act that has no end. */
  interrupted(): readonly InterruptedJob[] {
    return this.#acts.interrupted();
  }

  /** Writes what waits, then lets go of the files; resolves within its deadline, whatever hangs. */
  close(): Promise<void> {
    this.#closing ??= withDeadline(() => this.#close(), {
      timeoutMs: closeTimeoutMs,
      clock: this.#clock,
      onTimeout: () => failure('the audit log did not close in time'),
    });
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#flushing;
    this.#headTimer?.cancel();
    try {
      await this.#writeHead();
    } finally {
      await this.#file?.handle.close();
      this.#file = undefined;
    }
  }

  async #flush(): Promise<void> {
    // Whoever appends in this turn of the loop shares the first write.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, batchLinesMax);
      try {
        await this.#write(batch);
        for (const { resolve } of batch) resolve();
      } catch (cause) {
        const error = cause instanceof HostError ? cause : failure('the audit log cannot be written', cause);
        this.#log.error({ dir: this.#dir, error }, 'the audit log cannot be written');
        for (const { reject } of batch) reject(error);
      }
    }
    this.#flushing = undefined;
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const file = await this.#fileToWrite();
    const nowMs = this.#clock.wallMs();
    const lines: AuditLine[] = [];
    let text = this.#torn && !this.#torn.endsLine ? '\n' : '';
    let end = this.#end;
    for (const fields of [
      ...(this.#torn ? [tornFields(this.#torn)] : []),
      ...batch.map((one) => one.fields),
    ]) {
      const line = formLine(end, nowMs, fields);
      text += line.text;
      end = line;
      lines.push(line);
    }
    const data = Buffer.from(text);
    this.#dirty = true;
    try {
      await writeWhole(file.handle, data);
      await file.handle.datasync();
    } catch (cause) {
      await this.#takeBack(file).catch(() => undefined);
      throw cause;
    }
    this.#dirty = false;
    this.#torn = undefined;
    file.sizeBytes += data.length;
    this.#end = { seq: end.seq, hash: end.hash };
    for (const line of lines) this.#acts.take(line);
    this.#acts.forgetOld(nowMs);
    this.#headSoon();
  }

  /** The open file, whole up to its size; a new one when it is full, or when somebody else had a hand in it. */
  async #fileToWrite(): Promise<OpenFile> {
    const file = this.#file ?? (await this.#openFound());
    if (!file) return await this.#create(this.#resume?.number ?? 0);
    if (this.#dirty) await this.#takeBack(file);
    if (await this.#touched(file)) {
      this.#log.error({ dir: this.#dir, file: file.name }, 'somebody else changed the audit log');
      this.#torn = undefined;
    } else if (this.#torn || file.sizeBytes < this.#rotateBytes) {
      return file;
    }
    const next = await this.#create(file.number);
    await file.handle.close().catch(() => undefined);
    return next;
  }

  async #openFound(): Promise<OpenFile | undefined> {
    if (!this.#resume) return undefined;
    const file = logFile(this.#dir, this.#resume.number);
    let handle: FileHandle;
    try {
      handle = await open(file.path, writeExisting);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const { sizeBytes } = this.#resume;
    this.#file = { ...file, handle, sizeBytes, inode: (await handle.stat()).ino };
    return this.#file;
  }

  async #create(after: number): Promise<OpenFile> {
    for (let number = after + 1; number <= after + namesTriedMax; number++) {
      const file = logFile(this.#dir, number);
      let handle: FileHandle;
      try {
        handle = await open(file.path, createNew, 0o600);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
        throw error;
      }
      try {
        const { ino } = await handle.stat();
        await syncDirectory(this.#dir);
        this.#file = { ...file, handle, sizeBytes: 0, inode: ino };
        this.#dirty = false;
        return this.#file;
      } catch (error) {
        await handle.close();
        await unlink(file.path).catch(() => undefined);
        throw error;
      }
    }
    throw failure(`no free name for a new file of the audit log in ${this.#dir}`);
  }

  async #touched(file: OpenFile): Promise<boolean> {
    try {
      const { ino, size } = await stat(file.path);
      return ino !== file.inode || size !== file.sizeBytes;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
      throw error;
    }
  }

  /** A line that was refused must not be found later as one that was written. */
  async #takeBack(file: OpenFile): Promise<void> {
    await file.handle.truncate(file.sizeBytes);
    await file.handle.datasync();
    this.#dirty = false;
  }

  #headSoon(): void {
    this.#headTimer ??= this.#clock.after(headDelayMs, () => {
      this.#headTimer = undefined;
      this.#writeHead().catch((error) =>
        this.#log.warn({ error }, 'the head of the audit log is not written'),
      );
    });
  }

  #writeHead(): Promise<void> {
    const file = this.#file?.number ?? this.#resume?.number ?? 0;
    const head = { ...this.#end, file };
    this.#headWriting = this.#headWriting.catch(() => undefined).then(() => writeHead(this.#dir, head));
    return this.#headWriting;
  }
}

async function writeWhole(handle: FileHandle, data: Buffer): Promise<void> {
  for (let written = 0; written < data.length; ) {
    const { bytesWritten } = await handle.write(data, written);
    if (bytesWritten === 0) throw new Error('the disk takes no more');
    written += bytesWritten;
  }
}

const hints: Readonly<Record<string, string>> = {
  ENOSPC: 'Free space on the disk of AGENT_DATA_DIR: no VM is touched before its audit line is written.',
  EDQUOT: 'Raise the quota of AGENT_DATA_DIR: no VM is touched before its audit line is written.',
  EROFS: 'Make AGENT_DATA_DIR writable: no VM is touched before its audit line is written.',
  EACCES: 'Let this user write to AGENT_DATA_DIR/audit: no VM is touched before its audit line is written.',
};

function failure(message: string, cause?: unknown): HostError {
  const hint = hints[(cause as NodeJS.ErrnoException | undefined)?.code ?? ''];
  return new HostError('AUDIT', {
    outcome: 'not-sent',
    message,
    ...(hint && { hint }),
    ...(cause !== undefined && { cause }),
  });
}
