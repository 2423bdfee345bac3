// The polls queue as the service sees it: say what to poll, ask how the store is, close. BullMQ schedules and shows the
// polls; the watchdog sees to it that they happen, with or without a store. It refuses to wait for the store: starting,
// changing schedules and closing all end in bounded time when it is away.
import { Queue, type Worker } from 'bullmq';
import { type Clock, sleep, systemClock, type Timer } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import { type StoreAddress, StoreClients } from './connection.js';
import { ErrorGate } from './error-gate.js';
import { type PollRun, PollRunner, type SkipCause } from './poll-runner.js';
import { createPollsWorker } from './polls-worker.js';
import { oldestWaitMs } from './queue-readings.js';
import {
  type Diagnosis,
  diagnose,
  type PollJob,
  type PollSchedule,
  PollSchedules,
  scheduleId,
} from './schedules.js';
import { StoreMonitor, type StoreState } from './store-monitor.js';
import { keyPrefix } from './store-names.js';
import { decide, type Watched } from './watchdog.js';
import { closeWorker } from './worker-close.js';

const tickMs = 250;
/** A tick this late means that our own process slept: nobody else is to blame for late polls. */
const sleptMs = 2_000;
const directPollsMax = 256;
const repairsPerTickMax = 200;
const repairTimeoutMs = 20_000;
const reconcileTimeoutMs = 60_000;
const reconcileRetryMs = 3_000;
const statsTimeoutMs = 2_000;
/** How long a stranger's scheduler stays on a store that others may share: longer than a rolling update. */
const strangerGraceMs = 600_000;
const strangersMax = 10_000;
/** Part of the closing time kept for cutting connections. */
const cutMs = 250;
const eventsKeptMax = 1_000;
const examplesMax = 5;

export type RepairCause = Exclude<Diagnosis, 'moving'>;

export type PollQueueOptions = {
  store: StoreAddress;
  run: PollRun;
  log?: Log;
  clock?: Clock;
  /** A scheduler was removed and set anew. */
  onRepair?: (host: string, poller: string, cause: RepairCause) => void;
  /** A poll job was not run: its poll still runs, or its host is unknown. */
  onSkip?: (host: string, poller: string, cause: SkipCause) => void;
  onStoreState?: (state: StoreState) => void;
  /** Nobody else uses the store: what is not wanted may be removed at once. Default: true on a socket. */
  exclusive?: boolean;
  concurrency?: number;
  strangerGraceMs?: number;
};

export type PollQueueStats = {
  waiting: number;
  active: number;
  delayed: number;
  completed: number;
  failed: number;
  /** How long the job that waits longest has been due. */
  oldestWaitMs: number;
};

export class PollQueue implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: PollQueueOptions;
  readonly #exclusive: boolean;
  readonly #clients: StoreClients;
  readonly #monitor: StoreMonitor;
  readonly #runner: PollRunner;
  readonly #errors: ErrorGate;
  #wanted: ReadonlyMap<string, PollSchedule> = new Map();
  /** Schedulers of hosts that left this inventory, until they are gone from the store. */
  readonly #leaving = new Set<string>();
  readonly #strangers = new Map<string, number>();
  #queue: Queue<PollJob> | undefined;
  #schedules: PollSchedules | undefined;
  #worker: Worker | undefined;
  #storeChanges = 0;
  #trustedSinceMs: number;
  #lastTickMs: number;
  /** Of the last look: before this there is nothing to find, while the store stays as it was. */
  #quietUntilMs = 0;
  #storeWasUp = false;
  #tickTimer: Timer | undefined;
  #reconcileTimer: Timer | undefined;
  #dirty = false;
  #reconciling: Promise<void> | undefined;
  #repairing: Promise<void> | undefined;
  #repairs = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: PollQueueOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
    this.#exclusive = options.exclusive ?? options.store.kind === 'socket';
    this.#clients = new StoreClients(options.store);
    this.#errors = new ErrorGate(this.#clock, this.#log);
    this.#runner = new PollRunner({ clock: this.#clock, run: options.run, onSkip: options.onSkip });
    this.#trustedSinceMs = this.#lastTickMs = this.#clock.monotonicMs();
    this.#monitor = new StoreMonitor({
      clients: this.#clients,
      clock: this.#clock,
      log: this.#log,
      onChange: (state) => this.#onStoreState(state),
    });
    this.#planTick();
  }

  /**
   * Returns at once, whether the store is there or not. Polls begin with the first `setSchedules`.
   * @throws HostError SETTINGS when the store's URL is not one.
   */
  static start(options: PollQueueOptions): PollQueue {
    return new PollQueue(options);
  }

  /** Replaces what is polled. Resolves when the store has been brought to it; at once while the store is away. */
  async setSchedules(list: readonly PollSchedule[]): Promise<void> {
    if (this.#closing) return;
    const wanted = new Map(list.map((schedule) => [scheduleId(schedule), schedule]));
    for (const id of this.#wanted.keys()) if (!wanted.has(id)) this.#leaving.add(id);
    for (const id of wanted.keys()) {
      this.#leaving.delete(id);
      this.#strangers.delete(id);
    }
    this.#wanted = wanted;
    this.#runner.setSchedules(wanted);
    this.#quietUntilMs = 0;
    this.#worker ??= createPollsWorker({
      clients: this.#clients,
      runner: this.#runner,
      onError: (error) => this.#errors.report(error),
      onStranger: (id) => void this.#onStranger(id),
      ...(this.#options.concurrency && { concurrency: this.#options.concurrency }),
    });
    this.#dirty = true;
    await this.#reconcile();
  }

  /** Of the queue in the store. */
  get name(): string {
    return this.#clients.names.polls;
  }

  state(): StoreState {
    return this.#monitor.state();
  }

  /** Monotonic milliseconds of the last start, whoever asked for it. */
  lastStartedMs(host: string, poller: string): number | undefined {
    return this.#runner.lastStartedMs(host, poller);
  }

  get repairs(): number {
    return this.#repairs;
  }

  get skipped(): number {
    return this.#runner.skipped;
  }

  /** Job counts; undefined when the store is away or does not answer in time. */
  async stats(): Promise<PollQueueStats | undefined> {
    const queue = this.#queue;
    if (!queue || !this.#monitor.isUp() || this.#closing) return undefined;
    try {
      const [counts, waitMs] = await this.#bounded(statsTimeoutMs, () =>
        Promise.all([
          queue.getJobCounts('waiting', 'active', 'delayed', 'completed', 'failed'),
          oldestWaitMs(queue, this.#clock.wallMs()),
        ]),
      );
      const { waiting = 0, active = 0, delayed = 0, completed = 0, failed = 0 } = counts;
      return { waiting, active, delayed, completed, failed, oldestWaitMs: waitMs };
    } catch {
      return undefined;
    }
  }

  /** Ends polls and connections; resolves within `deadlineMs`, whatever the store does. */
  close(deadlineMs = 10_000): Promise<void> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(deadlineMs: number): Promise<void> {
    this.#tickTimer?.cancel();
    this.#reconcileTimer?.cancel();
    const graceful = Promise.allSettled([
      this.#runner.idle(),
      this.#monitor.isUp() ? closeWorker(this.#worker, this.#monitor.client) : this.#worker?.close(true),
    ]);
    const timeout = new AbortController();
    await Promise.race([
      graceful,
      sleep(this.#clock, Math.max(0, deadlineMs - cutMs), timeout.signal).catch(() => undefined),
    ]);
    timeout.abort();
    this.#monitor.stop();
    this.#queue?.close().catch(() => undefined);
    this.#clients.disconnectAll();
  }

  #onStoreState(state: StoreState): void {
    this.#storeChanges++;
    this.#options.onStoreState?.(state);
    if (state.state !== 'up' || this.#closing) return;
    this.#trustedSinceMs = this.#clock.monotonicMs();
    if (!this.#queue) {
      this.#queue = new Queue<PollJob>(this.#clients.names.polls, {
        connection: this.#monitor.client,
        prefix: keyPrefix,
        streams: { events: { maxLen: eventsKeptMax } },
      });
      this.#queue.on('error', (error) => this.#errors.report(error));
      this.#schedules = new PollSchedules(this.#queue, () => this.#clock.wallMs());
    }
    this.#dirty = true;
    void this.#reconcile();
  }

  /** Brings the store to the wanted list; one run at a time, again if the list changed meanwhile. */
  async #reconcile(): Promise<void> {
    if (this.#canReconcile()) this.#reconciling ??= this.#reconcileWhileDirty();
    await this.#reconciling;
  }

  #canReconcile(): boolean {
    const ready = this.#dirty && this.#schedules && this.#worker && this.#monitor.isUp();
    return Boolean(ready) && !this.#closing;
  }

  async #reconcileWhileDirty(): Promise<void> {
    this.#reconcileTimer?.cancel();
    // A scheduler that is being repaired is away for a moment, and would come back after it was to go.
    await this.#repairing;
    while (this.#canReconcile() && this.#schedules) {
      this.#dirty = false;
      const schedules = this.#schedules;
      const wanted = this.#wanted;
      const leaving = [...this.#leaving];
      const mayRemove = (id: string) => this.#exclusive || leaving.includes(id);
      const startedMs = this.#clock.monotonicMs();
      try {
        const done = await this.#bounded(reconcileTimeoutMs, () => schedules.reconcile(wanted, mayRemove));
        for (const id of leaving) if (!this.#wanted.has(id)) this.#leaving.delete(id);
        for (const schedule of done.thawed) this.#countRepair(schedule, 'frozen');
        const { kept, set, removed, thawed } = done;
        const durationMs = Math.round(this.#clock.monotonicMs() - startedMs);
        this.#log.info({ kept, set, removed, repaired: thawed.length, durationMs }, 'poll schedules set');
      } catch (error) {
        this.#dirty = true;
        this.#errors.report(error);
        this.#reconcileTimer = this.#clock.after(reconcileRetryMs, () => void this.#reconcile());
        break;
      }
    }
    this.#reconciling = undefined;
  }

  #planTick(): void {
    this.#tickTimer = this.#clock.after(tickMs, () => {
      this.#tick();
      if (!this.#closing) this.#planTick();
    });
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lastTickMs > tickMs + sleptMs) this.#trustedSinceMs = nowMs;
    this.#lastTickMs = nowMs;
    const storeUp = this.#monitor.isUp();
    if (nowMs < this.#quietUntilMs && storeUp === this.#storeWasUp) return;
    const { poll, repair, quietUntilMs } = decide(this.#runner.watched(), {
      nowMs,
      storeUp,
      trustedSinceMs: this.#trustedSinceMs,
      pollsMax: directPollsMax - this.#runner.direct,
      repairsMax: this.#repairing || this.#reconciling ? 0 : repairsPerTickMax,
    });
    this.#quietUntilMs = quietUntilMs;
    this.#storeWasUp = storeUp;
    for (const entry of poll) this.#runner.startDirect(entry);
    if (repair.length > 0)
      this.#repairing = this.#repair(repair).finally(() => {
        this.#repairing = undefined;
      });
  }

  async #repair(entries: readonly Watched[]): Promise<void> {
    const schedules = this.#schedules;
    if (!schedules) return;
    try {
      const causes = await this.#bounded(repairTimeoutMs, () =>
        Promise.all(entries.map((entry) => this.#repairOne(schedules, entry))),
      );
      const repaired = entries
        .filter((_, index) => causes[index])
        .map(({ schedule }) => scheduleId(schedule));
      if (repaired.length === 0) return;
      const examples = repaired.slice(0, examplesMax);
      const cause = causes.find((found) => found);
      this.#log.warn({ schedulers: repaired.length, examples, cause }, 'schedulers repaired');
    } catch (error) {
      this.#errors.report(error);
    }
  }

  async #repairOne(schedules: PollSchedules, entry: Watched): Promise<RepairCause | undefined> {
    const { schedule } = entry;
    const changes = this.#storeChanges;
    const next = await schedules.nextMs(schedule);
    if (changes !== this.#storeChanges) return undefined; // it hung: the schedulers had no chance
    const found = diagnose(next, entry.seenNextMs, schedule.intervalMs, this.#clock.wallMs());
    if (next !== undefined) entry.seenNextMs = next;
    entry.repairedMs = this.#clock.monotonicMs();
    if (found === 'moving') {
      entry.scheduledMs = entry.repairedMs;
      return undefined;
    }
    if (!this.#wanted.has(scheduleId(schedule))) return undefined;
    await schedules.renew(schedule);
    this.#countRepair(schedule, found);
    return found;
  }

  #countRepair({ host, poller }: PollSchedule, cause: RepairCause): void {
    this.#repairs++;
    this.#options.onRepair?.(host, poller, cause);
  }

  async #onStranger(id: string): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const sinceMs = this.#strangers.get(id) ?? nowMs;
    if (this.#strangers.size < strangersMax) this.#strangers.set(id, sinceMs);
    const graceMs = this.#exclusive ? 0 : (this.#options.strangerGraceMs ?? strangerGraceMs);
    if (nowMs - sinceMs < graceMs || !this.#schedules || this.#wanted.has(id)) return;
    this.#strangers.delete(id);
    try {
      await this.#schedules.remove(id);
      this.#log.info({ scheduler: id }, 'scheduler of an unknown host removed');
    } catch (error) {
      this.#errors.report(error);
    }
  }

  #bounded<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
    return withDeadline(work, {
      timeoutMs,
      clock: this.#clock,
      onTimeout: () => new HostError('STORE', { message: `the store did not answer in ${timeoutMs} ms` }),
    });
  }
}
