// What must reach the backend, events and results of jobs, as the service sees it: add, look, close. An entry is in the
// journal on disk before `add` resolves, goes from there to the store, and from the store to the backend, per host in
// order and at least once. It refuses to wait for the store or for the backend.
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import type { Backoff } from '../core/backoff.js';
import { type Clock, sleep, systemClock, type Timer } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import { type StoreAddress, StoreClients } from './connection.js';
import { ErrorGate } from './error-gate.js';
import { type Line, OutboxJournal } from './outbox-journal.js';
import { type Deliver, OutboxLanes } from './outbox-lanes.js';
import { OutboxRecords, type Stored } from './outbox-records.js';
import {
  type DropCause,
  type NewEntry,
  type OutboxEntry,
  type OutboxKind,
  type OutboxLimits,
  type OutboxStats,
  outboxLimits,
} from './outbox-types.js';

const takeCountMax = 200;
const retakeMs = 1_000;
const tickMs = 500;
/** An entry that cannot be put on disk may still go to the store. */
const storeInsteadMs = 10_000;
const cutMs = 250;
const nothing: Stored = { entries: 0, bytes: 0, oldestMs: undefined };

export type OutboxOptions = {
  store: StoreAddress;
  dataDir: string;
  /** Of this data directory, the same after a restart. */
  instanceId: string;
  /** Resolves when the backend has it. A `retryAfterMs` on the error is kept to; a refusal for good sets the entry aside. */
  deliver: Deliver;
  log?: Log;
  clock?: Clock;
  limits?: Partial<OutboxLimits>;
  backoff?: Backoff;
  concurrency?: number;
  onDropped?: (host: string, kind: OutboxKind, cause: DropCause) => void;
};

export class Outbox implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #limits: OutboxLimits;
  readonly #journal: OutboxJournal;
  readonly #clients: StoreClients;
  readonly #client: Redis;
  readonly #records: OutboxRecords;
  readonly #lanes: OutboxLanes;
  readonly #errors: ErrorGate;
  readonly #counted = { delivered: 0, failures: 0, full: 0, refused: 0 };
  #stored: Stored = { ...nothing };
  #lastFailure: string | undefined;
  #taking = false;
  #ticking = false;
  #retake: Timer | undefined;
  #timer: Timer | undefined;
  #closing: Promise<void> | undefined;

  /** Whether the store is there or not. Throws HostError STORE when the data directory cannot be used. */
  static async start(options: OutboxOptions): Promise<Outbox> {
    const { dataDir, clock = systemClock, log = silentLog } = options;
    const limits = { ...outboxLimits, ...options.limits };
    let unheard = 0;
    const holder: { outbox?: Outbox } = {};
    const journal = await OutboxJournal.open({
      ...{ directory: join(dataDir, 'outbox'), limits, clock, log },
      onDropped: (host) => (holder.outbox ? holder.outbox.#dropped(host, 'event', 'full') : unheard++),
    });
    const outbox = new Outbox(options, { journal, limits, clock, log });
    holder.outbox = outbox;
    outbox.#counted.full += unheard;
    return outbox;
  }

  private constructor(
    options: OutboxOptions,
    { journal, limits, clock, log }: { journal: OutboxJournal; limits: OutboxLimits; clock: Clock; log: Log },
  ) {
    const { store, instanceId, deliver, backoff, concurrency } = options;
    this.#clock = clock;
    this.#log = log;
    this.#limits = limits;
    this.#journal = journal;
    this.#errors = new ErrorGate(clock, log);
    this.#onDropped = options.onDropped ?? (() => undefined);
    this.#clients = new StoreClients(store);
    this.#client = this.#clients.create('producer', 'outrigger:outbox-records');
    this.#records = new OutboxRecords(this.#client, instanceId);
    this.#lanes = new OutboxLanes({
      ...{ clients: this.#clients, client: this.#client, records: this.#records, clock, log },
      ...{ instanceId, life: journal.life, deliver },
      ...(backoff && { backoff }),
      ...(concurrency && { concurrency }),
      onDelivered: () => {
        this.#counted.delivered++;
        if (--this.#stored.entries <= 0) this.#stored = { ...nothing };
        this.#lastFailure = undefined;
      },
      onFailure: (why) => {
        this.#counted.failures++;
        if (this.#lastFailure === undefined) log.warn({ why }, 'the backend takes no entry now');
        this.#lastFailure = why;
      },
      onRefused: ({ host, kind }) => this.#dropped(host, kind, 'refused'),
      onError: (error) => this.#errors.report(error),
    });
    this.#client.on('ready', () => this.#onReady());
    this.#planTick();
  }

  readonly #onDropped: NonNullable<OutboxOptions['onDropped']>;

  /**
   * Resolves when the entry is on disk. The order of the calls is the order of the deliveries.
   * @throws HostError BAD_REQUEST when it is too large; STORE when neither the disk nor the store takes it now (it is kept
   * in memory, and still delivered if it can be); ABORTED after `close`.
   */
  async add(given: NewEntry): Promise<OutboxEntry> {
    if (this.#closing) throw new HostError('ABORTED', { host: given.host, message: 'the outbox is closed' });
    const { entry, line, durable } = this.#journal.append(given);
    try {
      await durable;
      void this.#take();
    } catch (error) {
      void this.#take();
      await this.#inStore(line, error);
    }
    return entry;
  }

  stats(): OutboxStats {
    const untakenMs = this.#journal.oldestUntakenMs;
    const oldest = [this.#stored.oldestMs, untakenMs].filter((atMs) => atMs !== undefined);
    const { delivered, failures, full, refused } = this.#counted;
    return {
      depth: this.#stored.entries + this.#journal.untaken,
      bytes: this.#stored.bytes + this.#journal.untakenBytes,
      oldestAgeMs: oldest.length > 0 ? Math.max(0, this.#clock.wallMs() - Math.min(...oldest)) : 0,
      untaken: this.#journal.untaken,
      delivered,
      failures,
      dropped: { full, refused },
      lastFailure: this.#lastFailure,
    };
  }

  /** The backend is there again: nobody waits out a rest that was set while it was away. */
  retryNow(): void {
    if (this.#lastFailure !== undefined && !this.#closing)
      this.#lanes.retryNow().catch((error) => this.#errors.report(error));
  }

  /** What is not delivered waits for the next life. Resolves within `deadlineMs`, whatever the store and the backend do. */
  close(deadlineMs = 5_000): Promise<void> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(deadlineMs: number): Promise<void> {
    this.#timer?.cancel();
    this.#retake?.cancel();
    const late = new AbortController();
    const graceful = Promise.allSettled([this.#lanes.close(), this.#journal.close()]);
    const timer = sleep(this.#clock, Math.max(0, deadlineMs - cutMs), late.signal).catch(() => undefined);
    await Promise.race([graceful, timer]);
    late.abort();
    this.#lanes.closeQueue();
    this.#clients.disconnectAll();
  }

  #onReady(): void {
    if (this.#closing) return;
    this.#journal.rewind();
    this.#lanes.ready();
    void this.#take();
    void this.#tick();
  }

  /** Brings the journal's lines to the store, in order and one batch at a time. */
  async #take(): Promise<void> {
    if (this.#taking || this.#closing || this.#client.status !== 'ready') return;
    this.#taking = true;
    this.#retake?.cancel();
    try {
      for (let lines = this.#journal.batch(takeCountMax); lines.length > 0; ) {
        const dropped = await this.#records.take(lines, this.#limits);
        const last = lines.at(-1);
        if (last) this.#journal.took(last);
        this.#stored.entries += lines.length;
        this.#stored.oldestMs ??= lines[0]?.atMs;
        for (const host of dropped) this.#dropped(host, 'event', 'full');
        for (const host of new Set(lines.map((line) => line.host))) await this.#lanes.call(host);
        lines = this.#closing ? [] : this.#journal.batch(takeCountMax);
      }
    } catch (error) {
      this.#journal.handBack();
      this.#errors.report(error);
      if (!this.#closing) this.#retake = this.#clock.after(retakeMs, () => void this.#take());
    } finally {
      this.#taking = false;
    }
  }

  async #inStore(line: Line, cause: unknown): Promise<void> {
    await withDeadline(() => this.#journal.whenTaken(line), {
      timeoutMs: storeInsteadMs,
      clock: this.#clock,
      onTimeout: () =>
        new HostError('STORE', {
          host: line.host,
          message: `the ${line.kind} is not safe: neither the disk nor the store takes it`,
          cause,
        }),
    });
  }

  #planTick(): void {
    this.#timer = this.#clock.after(tickMs, () => {
      void this.#tick().finally(() => {
        if (!this.#closing) this.#planTick();
      });
    });
  }

  /** Housekeeping: what waits, what lies, what may go. */
  async #tick(): Promise<void> {
    if (this.#ticking || this.#closing) return;
    this.#ticking = true;
    try {
      await this.#journal.tidy();
      if (this.#client.status !== 'ready') return;
      if (!this.#journal.hasFormerLives) await this.#records.forgetLives(this.#journal.life);
      this.#stored = await this.#records.stats();
      await this.#lanes.sweep();
    } catch (error) {
      this.#errors.report(error);
    } finally {
      this.#ticking = false;
    }
  }

  #dropped(host: string, kind: OutboxKind, cause: DropCause): void {
    this.#counted[cause]++;
    if (cause === 'full' && this.#counted.full === 1)
      this.#log.error({ ...this.#limits }, 'the outbox is full, its oldest events are dropped');
    this.#onDropped(host, kind, cause);
  }
}
