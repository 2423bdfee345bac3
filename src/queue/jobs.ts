// The VM-job queue as the service sees it: start, add, cancel, look, close. Everything else of it lives in the files
// beside. It refuses to wait for the store: starting and closing end in bounded time when it is away, and what needs it
// says so at once.
import { type Job, Queue, QueueEvents, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { type Clock, sleep, systemClock } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import { JobError, type ParsedJob } from '../ops/job.js';
import { type StoreAddress, StoreClients } from './connection.js';
import { ErrorGate } from './error-gate.js';
import { JobEngine } from './jobs-engine.js';
import { JobsList, type JobsPage, type JobsQuery } from './jobs-list.js';
import { JobRecords, requestHash } from './jobs-records.js';
import { JobSweep } from './jobs-sweep.js';
import type { CancelAnswer, JobAudit, JobsStats, JobView, JobWork } from './jobs-types.js';
import { JobWatch } from './jobs-watch.js';
import { createJobsWorker, ownerName } from './jobs-worker.js';
import { oldestWaitMs } from './queue-readings.js';
import { keyPrefix } from './store-names.js';
import { closeWorker } from './worker-close.js';

const hostCapDefault = 4;
/** Part of the closing time in which what is cut off is written down, and connections are ended. */
const lastWordsMs = 1_000;
const cutMs = 250;
/** Each engine has one connection of this name, after the prefix of its keys. */
const cancelClientName = 'jobs-cancel';
const lostLock = /Missing lock|could not renew lock|not owned by this client/;

export type JobQueueOptions = {
  store: StoreAddress;
  work: JobWork;
  audit: JobAudit;
  /** Of this data directory, the same after a restart. */
  instanceId: string;
  log?: Log;
  clock?: Clock;
  /** Nobody else uses the store. Default: true on a socket. */
  exclusive?: boolean;
  /** Jobs at a time at one host. */
  hostCap?: number;
  /** Told of each end before the job ends in the queue, at least once; `answer` is the result's JSON or the failure. */
  onEnd?: (job: ParsedJob, ok: boolean, answer: string) => Promise<void>;
  /** `end` is an outcome or a code. */
  onDone?: (op: string, end: string, durationMs: number, queueMs: number) => void;
  /** Told of the id of a job that came, moved, made a step or ended, whoever's it is. */
  onChange?: (jobId: string) => void;
  abortGraceMs?: number;
  settleWithinMs?: number;
  sweepEveryMs?: number;
  strangerGraceMs?: number;
};

export class JobQueue implements AsyncDisposable {
  readonly #work: JobWork;
  readonly #clock: Clock;
  readonly #clients: StoreClients;
  readonly #client: Redis;
  readonly #records: JobRecords;
  readonly #engine: JobEngine;
  readonly #watch: JobWatch;
  readonly #sweep: JobSweep;
  readonly #worker: Worker;
  readonly #onError: (error: unknown) => void;
  readonly #onChange: ((jobId: string) => void) | undefined;
  readonly #list: JobsList;
  #queue: Queue | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: JobQueueOptions) {
    const { store, work, audit, instanceId, onDone, onEnd } = options;
    const clock = options.clock ?? systemClock;
    const log = options.log ?? silentLog;
    const errors = new ErrorGate(clock, log);
    const onError = (error: unknown) => {
      errors.report(error);
      if (error instanceof Error && lostLock.test(error.message)) this.#sweep.soon();
    };
    this.#onError = onError;
    this.#onChange = options.onChange;
    this.#work = work;
    this.#clock = clock;
    this.#clients = new StoreClients(store);
    this.#client = this.#clients.create('producer', 'outrigger:jobs-records');
    this.#records = new JobRecords(this.#client, instanceId, this.#clients.names);
    this.#list = new JobsList(this.#client, this.#clients.names.jobPrefix);
    const common = { records: this.#records, clock, log, onError };
    this.#engine = new JobEngine({
      ...common,
      ...{ work, audit, onDone, onEnd },
      hostCap: options.hostCap ?? hostCapDefault,
      wake: (jobIds) => void this.#wake(jobIds),
      actable: (signal) => this.#watch.actable(signal),
      ...(options.abortGraceMs !== undefined && { abortGraceMs: options.abortGraceMs }),
      ...(options.settleWithinMs !== undefined && { settleWithinMs: options.settleWithinMs }),
    });
    this.#sweep = new JobSweep({
      ...common,
      ...{ engine: this.#engine, instanceId },
      queue: () => this.#queue,
      ...(options.sweepEveryMs !== undefined && { everyMs: options.sweepEveryMs }),
      ...(options.strangerGraceMs !== undefined && { strangerGraceMs: options.strangerGraceMs }),
    });
    this.#worker = createJobsWorker({
      clients: this.#clients,
      engine: this.#engine,
      owner: ownerName(instanceId, this.#records.life),
      onError,
    });
    this.#watch = new JobWatch({
      ...common,
      engine: this.#engine,
      client: this.#client,
      subscriber: this.#clients.create('worker', this.#clients.names.keys + cancelClientName),
      exclusive: options.exclusive ?? store.kind === 'socket',
      onReady: () => this.#onReady(),
    });
  }

  /**
   * Returns at once, whether the store is there or not.
   * @throws HostError SETTINGS when the store's URL is not one.
   */
  static start(options: JobQueueOptions): JobQueue {
    return new JobQueue(options);
  }

  /** Of the queue in the store. */
  get name(): string {
    return this.#clients.names.jobs;
  }

  /**
   * Adds a job, unless its request is known already: then that one's id. The id is made from the request, so that two who ask
   * at once get one job; one whose job was cleared away gets a new job, which answers what the first one did.
   * @throws RequestReused for a known requestId with another body; JobError BAD_REQUEST; HostError STORE when the store is away.
   */
  async add(name: string, data: unknown): Promise<{ jobId: string; existing: boolean }> {
    const job = this.#work.parse(name, data);
    const store = this.#store();
    const known = await this.#records.leader(job).catch(asStoreError);
    if (known && !known.sameBody) throw new RequestReused();
    if (known && (await this.#job(known.jobId))) return { jobId: known.jobId, existing: true };
    const jobId = jobIdOf(job.requestId);
    const before = await this.#job(jobId);
    if (!before) await store.add(name, data, { jobId }).catch(asStoreError);
    const there = before ?? (await this.#job(jobId));
    if (there && !this.#isSame(there, job)) throw new RequestReused();
    return { jobId, existing: before !== undefined };
  }

  /**
   * `cancelled` is a promise that the job does nothing; `too late`: an act may have been sent, or it has ended.
   * @throws HostError STORE
   */
  async cancel(jobId: string): Promise<CancelAnswer> {
    const job = await this.#job(jobId);
    if (!job) return 'unknown';
    if (job.finishedOn !== undefined) return 'too late';
    let parsed: ParsedJob;
    try {
      parsed = this.#work.parse(job.name, job.data);
    } catch {
      return 'cancelled'; // it will fail as BAD_REQUEST
    }
    const { kind, leader } = await this.#records.cancel(parsed, jobId).catch(asStoreError);
    if (kind === 'cancelled') await this.#wake([leader ?? jobId]);
    return kind;
  }

  /** @throws HostError STORE */
  async get(jobId: string): Promise<JobView | undefined> {
    // The state first: a job that ends between the two questions must not be shown as ended without its answer.
    const state = await this.#store().getJobState(jobId).catch(asStoreError);
    const job = await this.#job(jobId);
    if (!job) return undefined;
    return {
      id: jobId,
      name: job.name,
      state: stateOf(state, job),
      data: job.data,
      progress: job.progress,
      result: job.returnvalue,
      failure: job.failedReason || undefined,
      addedMs: job.timestamp,
      startedMs: job.processedOn,
      finishedMs: job.finishedOn,
    };
  }

  /** @throws HostError STORE */
  async list(query: JobsQuery): Promise<JobsPage> {
    this.#store();
    return this.#list.page(query).catch(asStoreError);
  }

  /**
   * How many processes take jobs; undefined where the store does not let us ask.
   * @throws HostError STORE
   */
  async workers(): Promise<number | undefined> {
    this.#store();
    return this.#list.countClients(this.#clients.names.keys + cancelClientName).catch(asStoreError);
  }

  /** Undefined while the store is away. */
  async stats(): Promise<JobsStats | undefined> {
    try {
      const queue = this.#store();
      const [counts, waitMs] = await Promise.all([
        queue.getJobCounts(...jobStates, 'prioritized'),
        oldestWaitMs(queue, this.#clock.wallMs()),
      ]);
      const of = (state: string) => counts[state] ?? 0;
      return {
        waiting: of('waiting') + of('prioritized'),
        active: of('active'),
        delayed: of('delayed'),
        completed: of('completed'),
        failed: of('failed'),
        running: this.#engine.size,
        oldestWaitMs: waitMs,
      };
    } catch {
      return undefined;
    }
  }

  /**
   * Jobs that have not begun to act go back to the queue, those that have may end; what is left is settled at the next
   * start. Resolves within `deadlineMs`, whatever the store and the jobs do.
   */
  close(deadlineMs = 10_000): Promise<void> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(deadlineMs: number): Promise<void> {
    this.#sweep.stop();
    this.#engine.stop();
    const lastMs = Math.min(lastWordsMs, deadlineMs / 4);
    const graceful = Promise.allSettled([this.#engine.idle(), closeWorker(this.#worker, this.#client)]);
    if (!(await this.#within(graceful, deadlineMs - lastMs - cutMs))) {
      this.#engine.abandon();
      await this.#within(graceful, lastMs);
    }
    this.#watch.stop();
    if (this.#client.status === 'ready') await this.#within(this.#records.endLife(), cutMs);
    this.#queue?.close().catch(() => undefined);
    this.#clients.disconnectAll();
  }

  async #within(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
    const timer = new AbortController();
    const ended = await Promise.race([
      work.then(
        () => true,
        () => true,
      ),
      sleep(this.#clock, Math.max(0, timeoutMs), timer.signal).then(
        () => false,
        () => false,
      ),
    ]);
    timer.abort();
    return ended;
  }

  #onReady(): void {
    if (this.#closing) return;
    if (!this.#queue) {
      this.#queue = new Queue(this.name, { connection: this.#client, prefix: keyPrefix });
      this.#queue.on('error', this.#onError);
      this.#worker.run().catch(this.#onError);
      if (this.#onChange) this.#listen(this.#onChange);
    }
    void this.#sweep.sweep();
  }

  /** Of every replica's jobs. Ends with its connection. */
  #listen(onChange: (jobId: string) => void): void {
    const events = new QueueEvents(this.name, {
      connection: this.#clients.create('worker', 'outrigger:jobs-events'),
      prefix: keyPrefix,
    });
    events.on('error', this.#onError);
    for (const event of [
      'waiting',
      'active',
      'delayed',
      'progress',
      'completed',
      'failed',
      'removed',
    ] as const) {
      events.on(event, ({ jobId }: { jobId: string }) => onChange(jobId));
    }
  }

  #isSame(there: Job, job: ParsedJob): boolean {
    try {
      const { requestId, bodyHash } = this.#work.parse(there.name, there.data);
      return requestId === job.requestId && bodyHash === job.bodyHash;
    } catch {
      return false;
    }
  }

  /** Brings delayed jobs forward; one that is not delayed needs it not. */
  async #wake(jobIds: readonly string[]): Promise<void> {
    const backend = this.#queue?.backend;
    if (backend) await Promise.allSettled(jobIds.map((jobId) => backend.promote(jobId)));
  }

  #store(): Queue {
    if (this.#queue && this.#client.status === 'ready' && !this.#closing) return this.#queue;
    throw new HostError('STORE', { message: 'the store is away' });
  }

  async #job(jobId: string): Promise<Job | undefined> {
    return this.#store().getJob(jobId).catch(asStoreError);
  }
}

/** A requestId that was used before stands for what was asked then. */
export class RequestReused extends JobError {
  constructor() {
    super('BAD_REQUEST', 'requestId: it was used with another body');
  }
}

/** 80 bits of the request's hash; BullMQ takes no id that is a number. */
function jobIdOf(requestId: string): string {
  return `j${requestHash(requestId).slice(0, 20)}`;
}

const jobStates = ['waiting', 'active', 'delayed', 'completed', 'failed'] as const;

/** The job's own word on its end goes before what the lists said a moment ago. */
function stateOf(listed: string, { finishedOn, failedReason }: Job): JobView['state'] {
  if (finishedOn !== undefined) return failedReason ? 'failed' : 'completed';
  return jobStates.find((known) => known === listed) ?? (listed === 'prioritized' ? 'waiting' : 'unknown');
}

function asStoreError(cause: unknown): never {
  throw new HostError('STORE', { message: 'the store does not answer', cause });
}
