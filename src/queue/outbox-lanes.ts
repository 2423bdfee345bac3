// Who delivers: one BullMQ job for each host that has entries, so that a host's entries go one at a time and in order and
// on-call sees what waits for whom. A delivery that fails puts its host off, longer each time; the others go on. An entry
// that the backend will never take is set aside as a failed job, which can be retried by hand. It refuses to rest on
// BullMQ's clock alone: what is overdue is called by the sweep.
import { DelayedError, type Job, type KeepJobs, Queue, UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { type Backoff, fullJitterMs } from '../core/backoff.js';
import type { Clock } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { describe, HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { StoreClients } from './connection.js';
import type { OutboxRecords } from './outbox-records.js';
import type { OutboxEntry } from './outbox-types.js';
import { keyPrefix } from './store-names.js';
import { closeWorker } from './worker-close.js';

export type Deliver = (entry: OutboxEntry, signal: AbortSignal) => Promise<void>;

/** Deliveries at a time, over all hosts. */
const concurrencyDefault = 16;
/** A host's turn ends after so much; then the next host has one. */
const turnEntriesMax = 50;
const turnMs = 5_000;
export const outboxBackoff: Backoff = { baseMs: 1_000, capMs: 60_000, factor: 2 };
/** A backend may ask for no longer a rest than this. */
const retryAfterMaxMs = 600_000;
const deliverTimeoutMs = 180_000;
const lockMs = 15_000;
const stalledCheckMs = 5_000;
const stallsMax = 1_000_000;
/** A lane whose time has come is called by the sweep this long after. */
const overdueMs = 1_000;
/** A lane that waits for its turn is looked at again after this. */
const recheckMs = 30_000;
/** Somebody else on a shared store has taken our job, or nobody: then we go without it. */
const alonePastMs = 300;
/** Rests of another collector's lane on a shared store, until that one takes it. */
const strangerBackoff = { baseMs: 25, capMs: 30_000, factor: 2 };
/** Age in seconds. */
const keepRefused: KeepJobs = { age: 30 * 86_400, count: 1_000 };
const deliverName = 'deliver';
const refusedName = 'refused';

type LaneJob = { instance: string; life: string; host: string };
type RefusedJob = { instance: string; entry: OutboxEntry; why: string };

export type LanesOptions = {
  clients: StoreClients;
  /** A producer's connection. */
  client: Redis;
  records: OutboxRecords;
  instanceId: string;
  life: string;
  clock: Clock;
  log: Log;
  deliver: Deliver;
  backoff?: Backoff;
  concurrency?: number;
  onDelivered: () => void;
  onFailure: (why: string) => void;
  onRefused: (entry: OutboxEntry) => void;
  onError: (error: unknown) => void;
};

export class OutboxLanes {
  readonly #options: LanesOptions;
  readonly #stop = new AbortController();
  readonly #attempts = new Map<string, number>();
  /** Monotonic milliseconds at which a host that was put off has its next turn. */
  readonly #due = new Map<string, number>();
  readonly #active = new Set<string>();
  /** Monotonic milliseconds at which the store was last given a host's job. */
  readonly #called = new Map<string, number>();
  #queue: Queue | undefined;
  #worker: Worker | undefined;

  constructor(options: LanesOptions) {
    this.#options = options;
  }

  /** The store is there, for the first time or again. */
  ready(): void {
    this.#called.clear();
    if (this.#queue || this.#stop.signal.aborted) return;
    const { client, clients, concurrency, onError } = this.#options;
    this.#queue = new Queue(clients.names.outbox, { connection: client, prefix: keyPrefix });
    this.#queue.on('error', onError);
    this.#worker = new Worker(clients.names.outbox, (job: Job, token?: string) => this.#run(job, token), {
      connection: clients.create('worker', 'outrigger:outbox'),
      prefix: keyPrefix,
      name: 'outrigger',
      concurrency: concurrency ?? concurrencyDefault,
      lockDuration: lockMs,
      stalledInterval: stalledCheckMs,
      maxStalledCount: stallsMax,
      runRetryDelay: 1_000,
    });
    this.#worker.on('error', onError);
    this.#worker.on('completed', (job) => this.#ended(job));
    this.#worker.on('failed', (job) => job && this.#ended(job));
  }

  /** Sees to it that the host has a turn, unless it has been put off. */
  async call(host: string): Promise<void> {
    const queue = this.#queue;
    if (!queue || this.#stop.signal.aborted || this.#due.has(host)) return;
    const { clock, instanceId: instance, life } = this.#options;
    this.#called.set(host, clock.monotonicMs());
    const data: LaneJob = { instance, life, host };
    await queue.add(deliverName, data, {
      jobId: this.#jobId(host),
      removeOnComplete: true,
      removeOnFail: true,
    });
  }

  /** Calls what has entries and waits for nothing. */
  async sweep(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    for (const host of await this.#options.records.lanes()) {
      const dueMs = this.#due.get(host);
      if (this.#active.has(host) || (dueMs !== undefined && nowMs < dueMs + overdueMs)) continue;
      const calledMs = this.#called.get(host);
      if (dueMs !== undefined) await this.#wake(host);
      else if (calledMs === undefined || nowMs - calledMs >= recheckMs) await this.call(host);
      else if (nowMs - calledMs >= alonePastMs) this.#goAlone(host);
    }
  }

  /** The backend is there again: hosts that were put off have their turn now. */
  async retryNow(): Promise<void> {
    this.#attempts.clear();
    for (const host of [...this.#due.keys()]) await this.#wake(host);
  }

  /** Cuts deliveries off: they are made again in the next life. */
  async close(): Promise<void> {
    this.#stop.abort(new HostError('ABORTED', { message: 'the service stops' }));
    await closeWorker(this.#worker, this.#options.client);
  }

  /** To be called when the connections are cut. */
  closeQueue(): void {
    this.#queue?.close().catch(() => undefined);
  }

  async #run(job: Job, token: string | undefined): Promise<void> {
    if (job.name === refusedName) return this.#runRefused(job as Job<RefusedJob>, token);
    const { instance, life, host } = job.data as LaneJob;
    if (instance !== this.#options.instanceId) return putOff(job, strangerMs(job), token);
    if (life !== this.#options.life) return undefined;
    if (this.#active.has(host)) return putOff(job, overdueMs, token);
    const earlyMs = (this.#due.get(host) ?? 0) - this.#options.clock.monotonicMs();
    const restMs = earlyMs > 0 ? earlyMs : await this.#turn(host, job);
    return restMs === undefined ? undefined : putOff(job, restMs, token);
  }

  /** The host's turn without its job: no other process may deliver for this collector. */
  #goAlone(host: string): void {
    const { concurrency = concurrencyDefault, onError } = this.#options;
    if (this.#active.size >= concurrency || this.#stop.signal.aborted) return;
    this.#turn(host)
      .then(async (restMs) => {
        if (restMs !== undefined) return;
        this.#called.delete(host);
        await this.#queue?.remove(this.#jobId(host)).catch(() => undefined);
        await this.#callAgain(host);
      })
      .catch(onError);
  }

  /** Resolves with how long the host must wait, milliseconds; undefined when its turn has ended well. */
  async #turn(host: string, job?: Job): Promise<number | undefined> {
    this.#active.add(host);
    this.#due.delete(host);
    try {
      const restMs = await this.#deliverSome(host, job);
      if (restMs !== undefined) this.#due.set(host, this.#options.clock.monotonicMs() + restMs);
      return restMs;
    } finally {
      this.#active.delete(host);
    }
  }

  async #deliverSome(host: string, job: Job | undefined): Promise<number | undefined> {
    const { records, clock } = this.#options;
    const endMs = clock.monotonicMs() + turnMs;
    for (let sent = 0; sent < turnEntriesMax && clock.monotonicMs() < endMs; sent++) {
      if (this.#stop.signal.aborted) return undefined;
      const entry = await records.head(host);
      if (!entry) return undefined;
      try {
        await this.#deliver(entry);
      } catch (error) {
        if (this.#stop.signal.aborted) return undefined;
        if (!isRefusal(error)) return this.#failed(host, entry, error, job);
        await this.#setAside(entry, error);
      }
      this.#attempts.delete(host);
      await records.remove(entry);
    }
    return undefined;
  }

  async #deliver(entry: OutboxEntry): Promise<void> {
    const { deliver, clock, onDelivered } = this.#options;
    await withDeadline((signal) => deliver(entry, signal), {
      timeoutMs: deliverTimeoutMs,
      signal: this.#stop.signal,
      clock,
      onTimeout: () => new HostError('TIMEOUT', { host: entry.host, message: 'the delivery did not end' }),
    });
    onDelivered();
  }

  #failed(host: string, entry: OutboxEntry, error: unknown, job: Job | undefined): number {
    const { backoff = outboxBackoff, log, onFailure } = this.#options;
    const attempt = (this.#attempts.get(host) ?? 0) + 1;
    this.#attempts.set(host, attempt);
    const why = describe(error);
    const askedMs = Math.min(retryAfterMaxMs, fieldOf(error, 'retryAfterMs') ?? 0);
    const restMs = Math.max(fullJitterMs(backoff, attempt), askedMs);
    onFailure(why);
    log.debug({ host, entry: entry.id, attempt, restMs, why }, 'entry not delivered');
    job?.updateProgress({ attempt, why, entry: entry.id, kind: entry.kind }).catch(this.#options.onError);
    return restMs;
  }

  async #setAside(entry: OutboxEntry, error: unknown): Promise<void> {
    const { log, onRefused, instanceId: instance } = this.#options;
    const why = describe(error);
    const data: RefusedJob = { instance, entry, why };
    await this.#queue?.add(refusedName, data, { jobId: `refused-${entry.id}`, removeOnFail: keepRefused });
    log.error(
      { host: entry.host, kind: entry.kind, entry: entry.id, why },
      'the backend refuses an entry for good',
    );
    onRefused(entry);
  }

  /** Fails at first, to be seen; when somebody retries it by hand, it is delivered. */
  async #runRefused(job: Job<RefusedJob>, token: string | undefined): Promise<void> {
    const { instance, entry, why } = job.data;
    if (instance !== this.#options.instanceId) return putOff(job, strangerMs(job), token);
    if (job.attemptsMade === 0) throw new UnrecoverableError(why);
    await this.#deliver(entry);
  }

  #ended(job: Job): void {
    if (job.name !== deliverName || this.#stop.signal.aborted) return;
    const { host, life } = job.data as LaneJob;
    if (life !== this.#options.life) return;
    this.#called.delete(host);
    this.#callAgain(host).catch(this.#options.onError);
  }

  async #callAgain(host: string): Promise<void> {
    if (await this.#options.records.head(host)) await this.call(host);
  }

  async #wake(host: string): Promise<void> {
    this.#due.delete(host);
    await this.call(host);
    // one that is not put off needs no waking
    await this.#queue?.backend.promote(this.#jobId(host)).catch(() => undefined);
  }

  #jobId(host: string): string {
    return `${this.#options.life}-${host}`;
  }
}

async function putOff(job: Job, delayMs: number, token: string | undefined): Promise<never> {
  await job.moveToDelayed(Date.now() + delayMs, token);
  throw new DelayedError();
}

function strangerMs({ attemptsStarted }: Job): number {
  const { baseMs, capMs, factor } = strangerBackoff;
  return Math.min(capMs, baseMs * factor ** Math.min(attemptsStarted, 20));
}

/** The backend has read the entry and will say the same whenever it comes again. */
export function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'retryable' in error && error.retryable === false;
}

function fieldOf(error: unknown, name: 'retryAfterMs'): number | undefined {
  const value = (error as Record<string, unknown> | null | undefined)?.[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
