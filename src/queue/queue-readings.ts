// What on-call asks of queues: how many jobs are in which state, and for how long the oldest has been due. It refuses to
// wait for a store that hangs: a queue that does not tell in time is left out.
import type { Queue } from 'bullmq';
import { type Clock, systemClock } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';

type Stats = {
  waiting: number;
  active: number;
  delayed: number;
  failed: number;
  oldestWaitMs: number;
};
type Counted = { readonly name: string; stats(): Promise<Stats | undefined> };
type Readings = { jobs: Record<string, number>; oldestWaitMs: number };

const readWithinMs = 500;

/** By the queue's name. */
export async function readQueues(
  queues: readonly (Counted | undefined)[],
  clock: Clock = systemClock,
): Promise<Record<string, Readings>> {
  const readings: Record<string, Readings> = {};
  await Promise.all(
    queues.map(async (queue) => {
      const stats = queue && (await inTime(() => queue.stats(), clock));
      if (!stats) return;
      const { waiting, active, delayed, failed, oldestWaitMs } = stats;
      readings[queue.name] = { jobs: { waiting, active, delayed, failed }, oldestWaitMs };
    }),
  );
  return readings;
}

/** For how long the job that waits longest has been due; a job with a delay is due after it. 0 when none waits. */
export async function oldestWaitMs(queue: Queue, wallMs: number): Promise<number> {
  const jobs = await queue.getJobs(['waiting', 'prioritized'], 0, 0, true);
  const waits = jobs.map((job) => (job ? wallMs - job.timestamp - (job.opts.delay ?? 0) : 0));
  return Math.max(0, ...waits);
}

async function inTime<T>(work: () => Promise<T>, clock: Clock): Promise<T | undefined> {
  const onTimeout = () =>
    new HostError('STORE', { message: `the store did not answer in ${readWithinMs} ms` });
  return withDeadline(work, { timeoutMs: readWithinMs, clock, onTimeout }).catch(() => undefined);
}
