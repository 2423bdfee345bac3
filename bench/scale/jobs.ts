// How long VM jobs take under the polls' load, as a backend sees it: from its add to the queue until the queue says that the job
// is done. Jobs go to hosts one after another; the first on a host opens the connection for jobs and is told apart.
import { setTimeout as delay } from 'node:timers/promises';
import { type Job, Queue, QueueEvents } from 'bullmq';
import { Redis } from 'ioredis';
import { type Quantiles, quantiles } from './window.js';

export type JobFigures = {
  first: Quantiles;
  info: Quantiles;
  stop: Quantiles;
  start: Quantiles;
  failed: number;
};

const queueName = 'outrigger-vm-jobs';
/** Fewer than connections for jobs are kept idle: 60 s, and a round takes less. */
const hostsMax = 40;
const rounds = 5;
const pauseMs = 25;
const jobTimeoutMs = 60_000;
/** By the odds of the simulation it runs on most hosts. */
const vm = 'web-1';

type Kind = Exclude<keyof JobFigures, 'failed'>;

export async function measureJobs(
  storeSocket: string,
  names: readonly string[],
  signal: AbortSignal,
): Promise<JobFigures> {
  const connect = () => new Redis({ path: storeSocket, maxRetriesPerRequest: null });
  const [client, listener] = [connect(), connect()];
  const queue = new Queue(queueName, { connection: client });
  const events = new QueueEvents(queueName, { connection: listener });
  const ms: Record<Kind, number[]> = { first: [], info: [], stop: [], start: [] };
  let failed = 0;
  let count = 0;
  const one = async (kind: Kind, op: string, host: string, params = {}) => {
    const startMs = performance.now();
    const requestId = `scale-${process.pid}-${count++}`;
    const job: Job = await queue.add(op, { host, vm, params, requestId });
    try {
      await job.waitUntilFinished(events, jobTimeoutMs);
      ms[kind].push(performance.now() - startMs);
    } catch {
      failed++;
    }
    await delay(pauseMs, undefined, { signal });
  };
  try {
    await events.waitUntilReady();
    const step = Math.max(1, Math.floor(names.length / hostsMax));
    const hosts = names.filter((_, at) => at % step === 0).slice(0, hostsMax);
    for (const host of hosts) await one('first', 'start', host);
    for (let round = 0; round < rounds; round++) {
      for (const host of hosts) {
        await one('info', 'info', host);
        await one('stop', 'stop', host, { force: true, timeoutSeconds: 0 });
        await one('start', 'start', host);
      }
    }
    const { first, info, stop, start } = ms;
    return {
      ...{ first: quantiles(first), info: quantiles(info), stop: quantiles(stop), start: quantiles(start) },
      failed,
    };
  } finally {
    await events.close();
    await queue.close();
    client.disconnect();
    listener.disconnect();
  }
}
