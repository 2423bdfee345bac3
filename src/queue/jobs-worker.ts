// The one BullMQ worker that runs VM jobs, and how a delivery's end becomes a job's end. BullMQ never judges a job as
// stalled here: a job found lying is settled by the sweep. It refuses to retry: a failed job stays failed.
import { DelayedError, type Job, type KeepJobs, Worker } from 'bullmq';
import type { StoreClients } from './connection.js';
import type { JobEngine } from './jobs-engine.js';
import { JobFailure } from './jobs-failure.js';
import type { Delivery, Ending, JobStepView } from './jobs-types.js';
import { keyPrefix } from './store-names.js';

/** Deliveries at a time, over all hosts; they wait rather than compute. */
const jobConcurrency = 512;
const lockMs = 30_000;
/** Longest wait for a job in one call, seconds: a marker ends it at once. */
const drainDelaySeconds = 5;
const retryMs = 1_000;
/** Age in seconds. */
export const keepJobs: KeepJobs = { age: 7 * 86_400, count: 5_000 };

export type JobsWorkerOptions = {
  clients: StoreClients;
  engine: JobEngine;
  /** Marks our jobs in the store: instance and life. */
  owner: string;
  onError: (error: unknown) => void;
};

/** Does not take jobs before `run()`. */
export function createJobsWorker({ clients, engine, owner, onError }: JobsWorkerOptions): Worker {
  const worker = new Worker(
    clients.names.jobs,
    async (job: Job, token?: string) => {
      const ending = await engine.handle(deliveryOf(job, onError));
      return endOwn(job, ending, token);
    },
    {
      connection: clients.create('worker', 'outrigger:jobs'),
      prefix: keyPrefix,
      name: owner,
      autorun: false,
      concurrency: jobConcurrency,
      maxStalledCount: 0,
      skipStalledCheck: true,
      lockDuration: lockMs,
      drainDelay: drainDelaySeconds,
      runRetryDelay: retryMs,
      removeOnComplete: keepJobs,
      removeOnFail: keepJobs,
    },
  );
  worker.on('error', onError);
  return worker;
}

export function ownerName(instanceId: string, life: string): string {
  return `outrigger ${instanceId} ${life}`;
}

/** The life that took a job. */
export function lifeOf(job: Job): string | undefined {
  return /^outrigger \S+ (\S+)$/.exec(job.processedBy ?? '')?.[1];
}

export function deliveryOf(job: Job, onError: (error: unknown) => void, found?: 'own' | 'dead'): Delivery {
  const told = new Progress(job, onError);
  return {
    id: job.id ?? '',
    name: job.name,
    data: job.data,
    addedMs: job.timestamp,
    dueMs: dueMs(job),
    deliveries: job.attemptsStarted,
    ...(found && { found }),
    progress: (steps) => told.tell(steps),
  };
}

/** Both numbers are the caller's words. */
function dueMs({ timestamp, opts }: Job): number {
  const due = timestamp + (opts.delay ?? 0);
  return Number.isFinite(due) ? due : Date.now();
}

async function endOwn(job: Job, ending: Ending, token: string | undefined): Promise<unknown> {
  if (ending.kind === 'completed') return ending.result;
  if (ending.kind === 'failed') throw new JobFailure(ending.failure);
  if (ending.kind === 'delayed') await job.moveToDelayed(Date.now() + ending.delayMs, token);
  throw new DelayedError();
}

/** Ends a job that nobody holds: token '0' stands for no lock. */
export async function endFound(job: Job, ending: Ending): Promise<void> {
  job.opts.removeOnComplete ??= keepJobs;
  job.opts.removeOnFail ??= keepJobs;
  if (ending.kind === 'completed') await job.moveToCompleted(ending.result, '0', false);
  else if (ending.kind === 'failed') await job.moveToFailed(new JobFailure(ending.failure), '0', false);
  else if (ending.kind === 'delayed') await job.moveToDelayed(Date.now() + ending.delayMs, '0');
}

/** Steps as the job's progress and log, one write at a time: the newest state counts. */
class Progress {
  readonly #job: Job;
  readonly #onError: (error: unknown) => void;
  #steps: readonly JobStepView[] = [];
  #logged = 0;
  #writing = false;

  constructor(job: Job, onError: (error: unknown) => void) {
    this.#job = job;
    this.#onError = onError;
  }

  tell(steps: readonly JobStepView[]): void {
    this.#steps = steps;
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#logged < this.#steps.length) {
        const fresh = this.#steps.slice(this.#logged);
        this.#logged = this.#steps.length;
        await this.#job.updateProgress({ steps: [...this.#steps] });
        for (const { at, step } of fresh) await this.#job.log(`${at} ${step}`);
      }
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#writing = false;
    }
  }
}
