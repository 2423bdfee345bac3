// One service per data directory. The lock is a file that names its holder by pid, start time, boot and pid namespace,
// so that a crash leaves nothing to mend and a pid used again by another program is not taken for the holder. It refuses
// to guess about a holder it cannot see (another container): that one is asked through the store's socket.
import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, readlink, stat, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { HostError } from '../core/errors.js';
import { pingSocket } from './store-ping.js';

/** Rounds of "somebody else was faster" before giving up. */
const attemptsMax = 50;
const attemptPauseMs = 10;
const lockBytesMax = 4096;
/** How long a store of an unseen holder has to answer before it counts as gone. */
const strangerPingMs = 1_000;

export type LockHolder = {
  pid: number;
  /** Clock ticks from boot to the start of the process: with the pid, names a process for good. */
  startTicks?: string;
  bootId?: string;
  pidNamespace?: string;
  /** Where the holder's store listens. */
  socketPath: string;
};

export class DataDirLock {
  readonly #file: string;
  readonly #text: string;
  /** The record that a crash left behind, if one was found. */
  readonly abandoned: LockHolder | undefined;

  private constructor(file: string, text: string, abandoned: LockHolder | undefined) {
    this.#file = file;
    this.#text = text;
    this.abandoned = abandoned;
  }

  /**
   * Takes the lock of `dataDir` (made 0700 when missing).
   * @throws HostError STORE naming the pid that holds it, or the directory that cannot be used.
   */
  static async acquire(dataDir: string, socketPath: string): Promise<DataDirLock> {
    await makeDirectory(dataDir);
    const file = path.join(dataDir, 'outrigger.lock');
    const text = `${JSON.stringify({ ...(await ourselves()), socketPath })}\n`;
    let abandoned: LockHolder | undefined;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (await createWhole(file, text)) return new DataDirLock(file, text, abandoned);
      const found = await readLock(file);
      if (found === undefined) continue;
      const holder = parseHolder(found);
      if (holder && (await isAlive(holder))) throw taken(dataDir, holder);
      if (await discard(file, found, text)) abandoned = holder;
      else await delay(attemptPauseMs);
    }
    throw new HostError('STORE', {
      message: `several services are starting at once on the data directory ${dataDir}`,
      hint: 'Start one, and give every other service its own AGENT_DATA_DIR.',
    });
  }

  /** Gives the lock back; a lock that is no longer ours is left alone. */
  async release(): Promise<void> {
    if ((await readLock(this.#file)) === this.#text) await unlink(this.#file).catch(() => undefined);
  }
}

/** A directory only we can read, made when missing. */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    if (!(await stat(directory)).isDirectory()) throw new Error('not a directory');
  } catch (cause) {
    throw unusable(directory, cause);
  }
}

export function unusable(directory: string, cause: unknown): HostError {
  return new HostError('STORE', {
    message: `cannot use the data directory ${directory}`,
    hint: 'Set AGENT_DATA_DIR to a directory that this user may write.',
    cause,
  });
}

function taken(dataDir: string, { pid }: LockHolder): HostError {
  return new HostError('STORE', {
    message: `another outrigger (pid ${pid}) already uses the data directory ${dataDir}`,
    hint: `Stop process ${pid}, or set AGENT_DATA_DIR to another directory for this one.`,
  });
}

/** Creates the file with all its text at once, or says that it exists: nobody ever reads half a lock. */
async function createWhole(file: string, text: string): Promise<boolean> {
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    await writeFile(draft, text, { flag: 'wx', mode: 0o600 });
    await link(draft, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw unusable(path.dirname(file), error);
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}

/**
 * Removes the abandoned lock that was judged. Only the holder of the broom may, and it looks again first, so that nobody
 * removes the lock of a service that was faster.
 */
async function discard(file: string, judged: string, ours: string): Promise<boolean> {
  const broom = `${file}.broom`;
  if (!(await createWhole(broom, ours))) {
    const text = await readLock(broom);
    const holder = parseHolder(text ?? '');
    if (text !== undefined && !(holder && (await isAlive(holder))))
      await unlink(broom).catch(() => undefined);
    return false;
  }
  try {
    if ((await readLock(file)) !== judged) return false;
    await unlink(file);
    return true;
  } finally {
    await unlink(broom).catch(() => undefined);
  }
}

async function readLock(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).slice(0, lockBytesMax);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw unusable(path.dirname(file), error);
  }
}

function parseHolder(text: string): LockHolder | undefined {
  try {
    const holder = JSON.parse(text) as Partial<LockHolder> | null;
    if (!Number.isSafeInteger(holder?.pid) || typeof holder?.socketPath !== 'string') return undefined;
    return holder as LockHolder;
  } catch {
    return undefined;
  }
}

async function isAlive(holder: LockHolder): Promise<boolean> {
  const here = await ourselves();
  if (holder.bootId !== here.bootId) return false;
  if (holder.pidNamespace !== here.pidNamespace)
    return (await pingSocket(holder.socketPath, strangerPingMs)) !== 'absent';
  const startTicks = await processStart(holder.pid);
  if (startTicks !== 'unknown') return startTicks !== undefined && startTicks === holder.startTicks;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

async function ourselves(): Promise<Omit<LockHolder, 'socketPath'>> {
  const startTicks = await processStart(process.pid);
  const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => undefined);
  const pidNamespace = await readlink('/proc/self/ns/pid').catch(() => undefined);
  return {
    pid: process.pid,
    ...(startTicks && { startTicks }),
    ...(bootId && { bootId: bootId.trim() }),
    ...(pidNamespace && { pidNamespace }),
  };
}

/** Start time of a process in ticks since boot; undefined when it is gone; 'unknown' where there is no /proc. */
export async function processStart(pid: number): Promise<string | undefined> {
  let line: string;
  try {
    line = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return (await stat('/proc/self/stat').catch(() => undefined)) ? undefined : 'unknown';
  }
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}
