// The one BullMQ worker that runs poll jobs. A job is a host and a poller, never a secret. A job that fails says why in
// one line and is not tried again: the next one is an interval away. It refuses jobs of hosts that are not in the
// inventory: they end quietly, and their scheduler is told to go.
import { type Job, Worker } from 'bullmq';
import type { StoreClients } from './connection.js';
import type { PollOutcome, PollRunner } from './poll-runner.js';
import { type PollJob, scheduleId } from './schedules.js';
import { keyPrefix } from './store-names.js';

/**
 * Polls at a time, over all hosts. A poll waits rather than computes, and one (host, poller) never holds two places: with
 * many hosts that hang until their deadline there must still be places for the others.
 */
export const pollConcurrency = 256;
/** A lock is renewed at half its life; polls are shorter than that. */
const lockMs = 30_000;
const stalledCheckMs = 30_000;
/** Pause before asking again a store that was away, milliseconds. */
const retryMs = 1_000;
const keep = { age: 3_600, count: 1_000 };

export type PollsWorkerOptions = {
  clients: StoreClients;
  runner: PollRunner;
  onError: (error: unknown) => void;
  /** A job came for a host or poller that is not in the inventory. */
  onStranger: (schedulerId: string) => void;
  concurrency?: number;
};

export function createPollsWorker({ clients, runner, onError, onStranger, concurrency }: PollsWorkerOptions) {
  const worker = new Worker<PollJob, PollOutcome>(
    clients.names.polls,
    async (job: Job<PollJob>) => {
      const { host, poller } = job.data ?? {};
      if (typeof host !== 'string' || typeof poller !== 'string') return 'unknown';
      const outcome = await runner.runJob(host, poller);
      if (outcome === 'unknown' && job.repeatJobKey === scheduleId({ host, poller }))
        onStranger(job.repeatJobKey);
      return outcome;
    },
    {
      connection: clients.create('worker', 'outrigger:polls'),
      prefix: keyPrefix,
      name: 'outrigger',
      concurrency: concurrency ?? pollConcurrency,
      maxStalledCount: 0,
      lockDuration: lockMs,
      stalledInterval: stalledCheckMs,
      runRetryDelay: retryMs,
      removeOnComplete: keep,
      removeOnFail: keep,
    },
  );
  worker.on('error', onError);
  return worker;
}
