// The store that comes with the service: a supervised valkey-server or redis-server on a unix socket, so that a newcomer
// installs nothing but a package. One per data directory. A child that dies or hangs is started again; its data is never
// deleted, not even when it is damaged. It refuses to be reached over a network.
//
//   start ─► lock the data directory ─► end an orphan ─► spawn ─► PING ─► up ─┬─ child ends ──► wait (backoff) ─► spawn …
//                                                                             ├─ hung ─► SIGKILL ─► as above
//                                                                             └─ stop() ─► SIGTERM ─► SIGKILL ─► unlock
import { realpath } from 'node:fs/promises';
import { type Backoff, fullJitterMs } from '../core/backoff.js';
import { type Clock, systemClock, type Timer } from '../core/clock.js';
import { asHostError, describe, HostError, hintOf } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import type { StoreAddress } from './connection.js';
import { DataDirLock, makeDirectory } from './data-dir-lock.js';
import {
  findStoreBinary,
  planStoreFiles,
  removeAbandonedSocket,
  removeTraces,
  type StoreFiles,
  writeStoreFiles,
} from './store-files.js';
import { pingSocket } from './store-ping.js';
import { endOrphan, StoreProcess } from './store-process.js';

const restartBackoff: Backoff = { baseMs: 200, capMs: 10_000, factor: 2 };
/** A child that lived this long starts the backoff anew. */
const steadyAfterMs = 60_000;
const readyTimeoutMs = 60_000;
const healthEveryMs = 5_000;
const healthTimeoutMs = 2_000;
/** A store silent for this long is killed and started again. */
const hungAfterMs = 60_000;
const stopTimeoutMs = 8_000;

export type EmbeddedStoreOptions = {
  dataDir: string;
  log?: Log;
  clock?: Clock;
  /** Called after each restart of a child that ended by itself. */
  onRestart?: () => void;
  /** Where binaries are looked for; PATH by default. */
  searchPath?: string;
  readyTimeoutMs?: number;
  healthEveryMs?: number;
  hungAfterMs?: number;
};

export type EmbeddedState = {
  state: 'up' | 'down' | 'stopped';
  /** Wall clock, milliseconds. */
  sinceMs: number;
  why: string | undefined;
  restarts: number;
  pid: number | undefined;
};

export class EmbeddedStore implements AsyncDisposable {
  readonly address: StoreAddress;
  readonly #options: EmbeddedStoreOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #files: StoreFiles;
  readonly #lock: DataDirLock;
  readonly #binary: string;
  #process: StoreProcess | undefined;
  #state: EmbeddedState;
  #stopping: Promise<void> | undefined;
  #failures = 0;
  #upSinceMs = 0;
  /** The last reason why a restart failed: told once. */
  #startFailure: string | undefined;
  #silentSinceMs: number | undefined;
  #restartTimer: Timer | undefined;
  #healthTimer: Timer | undefined;
  #restarting: Promise<void> | undefined;

  private constructor(options: EmbeddedStoreOptions, binary: string, files: StoreFiles, lock: DataDirLock) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
    this.#binary = binary;
    this.#files = files;
    this.#lock = lock;
    this.address = { kind: 'socket', path: files.socketPath };
    this.#state = {
      state: 'down',
      sinceMs: this.#clock.wallMs(),
      why: 'starting',
      restarts: 0,
      pid: undefined,
    };
  }

  /**
   * Resolves when the store answers.
   * @throws HostError STORE: no binary, data directory taken or unusable, damaged file, no answer in time.
   */
  static async start(options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
    const { log = silentLog, clock = systemClock } = options;
    const binary = await findStoreBinary(options.searchPath);
    await makeDirectory(options.dataDir);
    const dataDir = await realpath(options.dataDir);
    const files = await planStoreFiles(dataDir);
    let lock: DataDirLock | undefined;
    try {
      lock = await DataDirLock.acquire(dataDir, files.socketPath);
      await endOrphan(files, clock, log);
      if (lock.abandoned) await removeAbandonedSocket(lock.abandoned.socketPath);
      const store = new EmbeddedStore(options, binary, files, lock);
      await store.#launch();
      return store;
    } catch (error) {
      if (lock) await removeTraces(files);
      else if (files.temporary) await removeAbandonedSocket(files.socketPath);
      await lock?.release();
      throw error;
    }
  }

  state(): EmbeddedState {
    return { ...this.#state };
  }

  /** Ends the child and gives the data directory back, within `timeoutMs` and two seconds for the kill. */
  stop(timeoutMs = stopTimeoutMs): Promise<void> {
    this.#stopping ??= this.#stop(timeoutMs);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(timeoutMs: number): Promise<void> {
    this.#restartTimer?.cancel();
    this.#healthTimer?.cancel();
    await this.#process?.end(this.#clock, timeoutMs);
    await this.#restarting;
    this.#enter('stopped', undefined);
    await removeTraces(this.#files).catch((error) => this.#log.warn({ error }, 'store files left behind'));
    await this.#lock.release();
  }

  async #launch(): Promise<void> {
    await writeStoreFiles(this.#files);
    const child = await StoreProcess.spawn(this.#binary, this.#files, this.#log);
    this.#process = child;
    try {
      if (this.#stopping) throw new HostError('ABORTED', { message: 'stopped before it was up' });
      await child.ready(this.#clock, this.#options.readyTimeoutMs ?? readyTimeoutMs);
    } catch (error) {
      await child.end(this.#clock, 0);
      this.#process = undefined;
      throw error;
    }
    this.#upSinceMs = this.#clock.monotonicMs();
    this.#silentSinceMs = undefined;
    this.#startFailure = undefined;
    this.#enter('up', undefined);
    this.#log.info({ pid: child.pid, store: this.#binary }, 'store up');
    void child.exited.then(({ code, signal, complaint }) => {
      if (this.#stopping || this.#process !== child) return;
      this.#process = undefined;
      this.#healthTimer?.cancel();
      const why = `the store ended (${signal ?? `exit code ${code}`})`;
      this.#log.error({ pid: child.pid, code, signal, complaint }, 'store ended, starting it again');
      if (this.#clock.monotonicMs() - this.#upSinceMs > steadyAfterMs) this.#failures = 0;
      this.#enter('down', why);
      this.#planRestart();
    });
    this.#planHealthCheck(child);
  }

  #planRestart(): void {
    if (this.#stopping) return;
    this.#failures++;
    const delayMs = fullJitterMs(restartBackoff, this.#failures);
    this.#restartTimer = this.#clock.after(delayMs, () => {
      this.#restarting = this.#restart();
    });
  }

  async #restart(): Promise<void> {
    if (this.#stopping) return;
    this.#state.restarts++;
    try {
      await this.#launch();
      this.#options.onRestart?.();
    } catch (error) {
      if (this.#stopping) return;
      const why = describe(error);
      if (why !== this.#startFailure) this.#log.error({ error: asHostError(error) }, 'store does not start');
      this.#startFailure = why;
      const hint = hintOf(error);
      this.#enter('down', hint ? `${why} (${hint})` : why);
      this.#planRestart();
    }
  }

  #planHealthCheck(child: StoreProcess): void {
    this.#healthTimer = this.#clock.after(this.#options.healthEveryMs ?? healthEveryMs, () => {
      void this.#checkHealth(child);
    });
  }

  async #checkHealth(child: StoreProcess): Promise<void> {
    const answer = await pingSocket(this.#files.socketPath, healthTimeoutMs);
    if (this.#stopping || this.#process !== child) return;
    const now = this.#clock.monotonicMs();
    if (answer === 'up' || answer === 'loading') this.#silentSinceMs = undefined;
    else this.#silentSinceMs ??= now;
    if (
      this.#silentSinceMs !== undefined &&
      now - this.#silentSinceMs >= (this.#options.hungAfterMs ?? hungAfterMs)
    ) {
      this.#log.error({ pid: child.pid }, 'store hangs, killing it');
      child.signal('SIGKILL');
      return;
    }
    this.#planHealthCheck(child);
  }

  #enter(state: EmbeddedState['state'], why: string | undefined): void {
    this.#state = { ...this.#state, state, why, sinceMs: this.#clock.wallMs(), pid: this.#process?.pid };
  }
}
