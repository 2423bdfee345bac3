import type { Queue } from 'bullmq';
import { expect, it } from 'vitest';
import { oldestWaitMs, readQueues } from '../../../src/queue/queue-readings.js';
import { FakeClock } from '../../support/fake-clock.js';

const stats = { waiting: 2, active: 1, delayed: 3, failed: 4, completed: 5, oldestWaitMs: 1500 };

it('tells of queues that answer, and leaves out those that do not, in bounded time', async () => {
  const clock = new FakeClock();
  const reading = readQueues(
    [
      { name: 'polls', stats: async () => stats },
      { name: 'away', stats: async () => undefined },
      { name: 'broken', stats: () => Promise.reject(new Error('gone')) },
      { name: 'hung', stats: () => new Promise(() => {}) },
      undefined,
    ],
    clock,
  );
  await clock.advance(500);
  expect(await reading).toEqual({
    polls: { jobs: { waiting: 2, active: 1, delayed: 3, failed: 4 }, oldestWaitMs: 1500 },
  });
});

it('counts the wait from when the job was due', async () => {
  const waiting = (...jobs: { timestamp: number; opts: { delay?: number } }[]) =>
    ({ getJobs: async () => jobs }) as unknown as Queue;
  const wait = (...jobs: Parameters<typeof waiting>) => oldestWaitMs(waiting(...jobs), 100_000);
  expect(await wait()).toBe(0);
  expect(await wait({ timestamp: 90_000, opts: {} }, { timestamp: 95_000, opts: {} })).toBe(10_000);
  expect(await wait({ timestamp: 80_000, opts: { delay: 19_000 } })).toBe(1_000);
  expect(await wait({ timestamp: 99_000, opts: { delay: 60_000 } })).toBe(0);
});
