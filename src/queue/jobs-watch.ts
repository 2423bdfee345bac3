// What keeps this process's hold on its jobs: a heartbeat that says that it lives, the renewal of claims and locks, and the
// ear for cancels. After the store came back it puts back at once what a crash may have lost. It refuses to end a run:
// it tells the run what the store said.
import type { Redis } from 'ioredis';
import { type Clock, sleep, type Timer } from '../core/clock.js';
import type { JobEngine } from './jobs-engine.js';
import { type JobRecords, leaseOf } from './jobs-records.js';

const tickMs = 3_000;
/**
 * On a store that replicas share and that has just started, jobs that act wait for so long: what its crash lost is put
 * back by the replicas, which reconnect within less.
 */
const newStoreMs = 5_000;

export type JobWatchOptions = {
  records: JobRecords;
  engine: JobEngine;
  client: Redis;
  subscriber: Redis;
  clock: Clock;
  /** Nobody else uses the store. */
  exclusive: boolean;
  onError: (error: unknown) => void;
  /** The first heartbeat of a connection has been made. */
  onReady: () => void;
};

export class JobWatch {
  readonly #options: JobWatchOptions;
  #timer: Timer | undefined;
  #ticking: Promise<void> | undefined;
  #first = true;
  /** Since the connection was made, a heartbeat has. */
  #greeted = false;
  #actableMs = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(options: JobWatchOptions) {
    this.#options = options;
    const { client, subscriber, engine, records } = options;
    client.on('ready', () => {
      this.#greeted = false;
      if (!options.exclusive) this.#actableMs = options.clock.monotonicMs() + newStoreMs;
      void (this.#ticking ?? Promise.resolve()).then(() => this.#tick());
    });
    subscriber.on('message', (_channel, hash) => engine.cancelRequest(hash));
    subscriber.subscribe(records.cancelChannel).catch((error) => options.onError(error));
    this.#plan();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Resolves when jobs that act may be started. Rejects with the signal's reason. */
  async actable(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const leftMs = this.#actableMs - clock.monotonicMs();
    if (leftMs > 0) await sleep(clock, leftMs, signal);
  }

  /** A store that has run for long has forgotten nothing; one that does not tell is taken for new. */
  async #askUptime(): Promise<void> {
    const { records, exclusive, clock, onError } = this.#options;
    if (exclusive) return;
    const readyMs = clock.monotonicMs();
    const uptimeMs = await records.storeUptimeMs().catch(onError);
    this.#actableMs = readyMs + newStoreMs - (uptimeMs ?? 0);
  }

  #plan(): void {
    this.#timer = this.#options.clock.after(tickMs, () => {
      void this.#tick().finally(() => {
        if (!this.#stopped) this.#plan();
      });
    });
  }

  #tick(): Promise<void> {
    this.#ticking ??= this.#renewAll().finally(() => {
      this.#ticking = undefined;
    });
    return this.#ticking;
  }

  async #renewAll(): Promise<void> {
    const { records, engine, client, clock, exclusive, onError, onReady } = this.#options;
    if (this.#stopped || client.status !== 'ready') return;
    // What has ended is given back: renewing it now would take it again.
    const going = [...engine.runs()].filter((run) => !run.hasEnded);
    const renewed = going.map(async (run) => {
      const askedMs = clock.monotonicMs();
      const leaseMs = leaseOf(run.claim);
      const kept = await records.renew(run.claim);
      if (kept === 'lost') run.lose();
      else run.kept(askedMs, leaseMs);
      if (kept === 'cancelled') run.cancel();
    });
    const beat = records.beat(this.#first && exclusive);
    const results = await Promise.allSettled([beat, ...renewed]);
    for (const result of results) if (result.status === 'rejected') onError(result.reason);
    if (results[0].status === 'rejected' || this.#greeted || this.#stopped) return;
    this.#first = false;
    this.#greeted = true;
    await this.#askUptime();
    onReady();
  }
}
