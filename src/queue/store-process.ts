// One run of the store's process: spawn, wait until it answers, end it within a deadline. It refuses to restart anything
// (the supervisor does) and gives the child no environment of ours: no token reaches it.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { type Clock, sleep } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { processStart } from './data-dir-lock.js';
import type { StoreFiles } from './store-files.js';
import { type PingAnswer, pingSocket } from './store-ping.js';

const pingTimeoutMs = 1_000;
const readyPollMs = 20;
const killWaitMs = 1_000;
const orphanTermMs = 3_000;
const exitPollMs = 20;
/** Its last lines may come a little after the process; a child of its own may hold the pipe for long. */
const lastWordsMs = 500;
/** Longest log line passed on, in characters. */
const lineCharsMax = 500;
/** Last lines kept to explain an early end. */
const linesKeptMax = 20;

export type ProcessExit = {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The last line that the store marked as grave. */
  complaint: string | undefined;
  lastLine: string | undefined;
};

export class StoreProcess {
  readonly pid: number;
  /** Resolves when the process ended. Never rejects. */
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  readonly #files: StoreFiles;
  readonly #lines: string[] = [];

  private constructor(child: ChildProcess, pid: number, files: StoreFiles, binary: string, log: Log) {
    this.#child = child;
    this.pid = pid;
    this.#files = files;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        const settle = () => {
          clearTimeout(timer);
          resolve({ code, signal, complaint: this.#lines.findLast(isGrave), lastLine: this.#lines.at(-1) });
        };
        const timer = setTimeout(settle, lastWordsMs);
        child.once('close', settle);
      });
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => this.#onLine(line, path.basename(binary), log));
    }
  }

  /** Starts `binary` in its own session, so that a Ctrl-C on the terminal reaches the service and not the store. */
  static async spawn(binary: string, files: StoreFiles, log: Log): Promise<StoreProcess> {
    const child = spawn(binary, [files.configFile], {
      cwd: files.directory,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH ?? '', LC_ALL: 'C', ...(process.env.TZ && { TZ: process.env.TZ }) },
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause) =>
        reject(new HostError('STORE', { message: `cannot run ${binary}`, cause })),
      );
    });
    return new StoreProcess(child, child.pid ?? 0, files, binary, log);
  }

  /**
   * Resolves when the store answers.
   * @throws HostError STORE when it ends before that, or does not answer within `timeoutMs`.
   */
  async ready(clock: Clock, timeoutMs: number): Promise<void> {
    const end = clock.monotonicMs() + timeoutMs;
    let ended: ProcessExit | undefined;
    void this.exited.then((exit) => {
      ended = exit;
    });
    let answer: PingAnswer = 'absent';
    while (clock.monotonicMs() < end) {
      answer = await pingSocket(this.#files.socketPath, pingTimeoutMs);
      if (answer === 'up') return;
      if (ended) throw endedEarly(ended, this.#files.directory);
      await sleep(clock, readyPollMs);
    }
    throw new HostError('STORE', {
      message: `the store (pid ${this.pid}) did not answer within ${Math.round(timeoutMs / 1000)} s: ${answer}`,
      hint: `Look at its log lines above, and at the size of ${path.join(this.#files.directory, 'appendonlydir')}.`,
    });
  }

  /** SIGTERM (the store writes its file and goes), then SIGKILL; returns within `timeoutMs` plus a second. */
  async end(clock: Clock, timeoutMs: number): Promise<void> {
    this.signal('SIGTERM');
    if (await this.#exitsWithin(clock, timeoutMs)) return;
    this.signal('SIGKILL');
    await this.#exitsWithin(clock, killWaitMs);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async #exitsWithin(clock: Clock, timeoutMs: number): Promise<boolean> {
    const timer = new AbortController();
    const late = sleep(clock, timeoutMs, timer.signal).then(
      () => false,
      () => false,
    );
    const inTime = await Promise.race([this.exited.then(() => true), late]);
    timer.abort();
    return inTime;
  }

  #onLine(raw: string, binary: string, log: Log): void {
    const line = raw.slice(0, lineCharsMax);
    this.#lines.push(line);
    if (this.#lines.length > linesKeptMax) this.#lines.shift();
    const text = line.replace(/^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ /, '');
    const fields = { store: binary, line: text };
    if (isGrave(line)) log.warn(fields, 'store log');
    else log.debug(fields, 'store log');
  }
}

/** Redis marks with # what its operators should see, and some greetings and goodbyes that they need not. */
function isGrave(line: string): boolean {
  return / # /.test(line) && !ordinary.test(line);
}

const ordinary =
  /oO0Oo|just started|Configuration loaded|Server initialized|overcommit|User requested shutdown|ready to exit/;

function endedEarly({ code, signal, complaint, lastLine }: ProcessExit, directory: string): HostError {
  const last = (complaint ?? lastLine)?.replace(/^.*? # /, '') ?? 'it said nothing';
  const appendOnly = path.join(directory, 'appendonlydir');
  if (/append only file|AOF/i.test(last) && /Bad file format|Unexpected end|redis-check-aof/i.test(last)) {
    const manifest = path.join(appendOnly, 'appendonly.aof.manifest');
    return new HostError('STORE', {
      message: `the store's file in ${appendOnly} is damaged and the store will not read it; nothing was deleted`,
      hint: `Copy ${appendOnly} elsewhere, run: redis-check-aof --fix ${manifest} (valkey-check-aof with valkey), and start again.`,
      cause: new Error(last),
    });
  }
  if (/rdb|wrong signature/i.test(last)) {
    return new HostError('STORE', {
      message: `the store's base file in ${appendOnly} is damaged and the store will not read it; nothing was deleted`,
      hint: `Restore ${appendOnly} from a backup, or move it aside to start empty: schedules come back by themselves, waiting VM jobs do not.`,
      cause: new Error(last),
    });
  }
  return new HostError('STORE', {
    message: `the store ended as it started (${signal ?? `exit code ${code}`})`,
    hint: `See why below; its data is in ${directory}.`,
    cause: new Error(last),
  });
}

/**
 * Ends the store that a killed service left behind in this directory. A process is only ever touched when it is a store
 * that works in exactly this directory, whatever its pid was used for since.
 */
export async function endOrphan({ directory, pidFile }: StoreFiles, clock: Clock, log: Log): Promise<void> {
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10);
  if (!Number.isSafeInteger(pid) || pid <= 1 || !(await isStoreOf(pid, directory))) return;
  const startTicks = await processStart(pid);
  log.warn({ pid }, 'ending the store that a killed service left behind');
  for (const [signal, waitMs] of [
    ['SIGTERM', orphanTermMs],
    ['SIGKILL', killWaitMs],
  ] as const) {
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    const end = clock.monotonicMs() + waitMs;
    while (clock.monotonicMs() < end) {
      if ((await processStart(pid)) !== startTicks) return;
      await delay(exitPollMs); // not the clock's: nothing else keeps the process alive here
    }
  }
  throw new HostError('STORE', {
    message: `the store of an earlier run (pid ${pid}) still holds ${directory} and does not end`,
    hint: `End process ${pid}, then start again.`,
  });
}

async function isStoreOf(pid: number, directory: string): Promise<boolean> {
  const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
  if (name !== 'redis-server' && name !== 'valkey-server') return false;
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '');
  return cwd === directory;
}
