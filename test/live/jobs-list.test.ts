// The list of jobs and the news of them, over a real store: complete, in order, page by page, whatever the jobs do meanwhile.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { urlAddress } from '../../src/queue/connection.js';
import { JobQueue, RequestReused } from '../../src/queue/jobs.js';
import { type JobsCursor, jobsScannedMax } from '../../src/queue/jobs-list.js';
import type { JobState, JobView } from '../../src/queue/jobs-types.js';
import { Caller, FakeWork, KeptAudit, request } from '../support/job-work.js';
import { OutsideRedis } from '../support/queue.js';
import { until } from '../support/until.js';

let redis: OutsideRedis;
let caller: Caller;
let queue: JobQueue;
let work: FakeWork;
const told: string[] = [];
let open: () => void = () => undefined;
const gate = new Promise<void>((resolve) => {
  open = resolve;
});

beforeAll(async () => {
  redis = await OutsideRedis.start();
  caller = new Caller(redis.url);
  work = new FakeWork();
  work.act = ({ op }) => (op === 'pause' ? gate : Promise.resolve());
  queue = JobQueue.start({
    ...{ store: urlAddress(redis.url), work, audit: new KeptAudit(), instanceId: 'one', exclusive: true },
    ...{ hostCap: 64, onChange: (jobId: string) => void told.push(jobId) },
  });
  await until('the engine to reach the store', () => queue.stats());
});

afterAll(async () => {
  open();
  await queue.close(5_000);
  await caller[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

const every: ReadonlySet<JobState> = new Set(['waiting', 'active', 'delayed', 'completed', 'failed']);

async function all(limit: number, states = every, matches: (view: { name: string }) => boolean = () => true) {
  const jobs: JobView[] = [];
  let after: JobsCursor | undefined;
  let pages = 0;
  do {
    const page = await queue.list({ states, limit, after, matches });
    expect(page.jobs.length).toBeLessThanOrEqual(limit);
    jobs.push(...page.jobs);
    after = page.next;
    pages++;
  } while (after);
  return { jobs, pages };
}

describe('the list of jobs', () => {
  it('has each once: the unfinished first, then the last ended; and news came of each', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 60; n++) {
      const { jobId } = await queue.add('stop', request({ requestId: `r${n}`, vm: `vm-${n}` }));
      ids.push(jobId);
    }
    const bad = await caller.queue.add('nonsense', { x: 1 });
    await until(
      'all to end',
      async () => (await queue.stats())?.completed === 60 && (await queue.stats())?.failed === 1,
      {
        timeoutMs: 30_000,
      },
    );
    const held = await queue.add('pause', request({ requestId: 'held', vm: 'slow' }));
    await until('it to run', async () => (await queue.get(held.jobId))?.state === 'active');
    const { jobs, pages } = await all(7);
    expect(jobs.map(({ id }) => id).sort()).toEqual([...ids, bad.id, held.jobId].sort());
    expect(pages).toBeGreaterThan(8);
    expect(jobs[0]).toMatchObject({ id: held.jobId, state: 'active', data: { vm: 'slow' } });
    const ends = jobs.slice(1).map(({ finishedMs }) => finishedMs ?? 0);
    expect(ends).toEqual([...ends].sort((a, b) => b - a));
    const whole = jobs.find(({ id }) => id === ids[0]);
    expect(whole).toEqual(await queue.get(ids[0] ?? ''));
    await until('the news', () => [...ids, bad.id].every((id) => told.includes(String(id))));
  });

  it('is filtered by state and by what the jobs say', async () => {
    const failed = await all(10, new Set(['failed']));
    expect(failed.jobs.map(({ name, failure }) => [name, failure?.split(':')[0]])).toEqual([
      ['nonsense', 'BAD_REQUEST'],
    ]);
    expect((await all(10, every, ({ name }) => name === 'pause')).jobs).toHaveLength(1);
    expect((await all(10, new Set(['waiting', 'delayed']))).jobs).toEqual([]);
  });

  it('goes on after thousands that do not match, and pages through those that ended in one millisecond', async () => {
    const pipeline = caller.client.pipeline();
    const many = jobsScannedMax + 700;
    for (let n = 0; n < many; n++) {
      const key = `bull:outrigger-vm-jobs:old-${n}`;
      pipeline.hset(key, { name: n === 3 ? 'needle' : 'hay', data: '{}', timestamp: '1', finishedOn: '5' });
      pipeline.zadd('bull:outrigger-vm-jobs:completed', 5, `old-${n}`);
    }
    await pipeline.exec();
    const first = await queue.list({ states: every, limit: 5, matches: ({ name }) => name === 'none' });
    expect(first.jobs).toEqual([]);
    expect(first.next).toBeDefined();
    const { jobs } = await all(5, every, ({ name }) => name === 'needle');
    expect(jobs.map(({ id }) => id)).toEqual(['old-3']);
    const hay = await all(200, new Set(['completed']), ({ name }) => name === 'hay');
    expect(new Set(hay.jobs.map(({ id }) => id)).size).toBe(many - 1);
    expect(hay.jobs).toHaveLength(many - 1);
  });
});

describe('one request', () => {
  it('is one job for all who ask at once, and for who asks again after it was cleared away', async () => {
    const body = request({ requestId: 'same', vm: 'vm-same' });
    const answers = await Promise.all(Array.from({ length: 20 }, () => queue.add('stop', body)));
    const [first] = answers;
    expect(new Set(answers.map(({ jobId }) => jobId)).size).toBe(1);
    await until('the end', async () => (await queue.get(first?.jobId ?? ''))?.state === 'completed');
    await expect(queue.add('stop', { ...body, vm: 'other' })).rejects.toThrow(RequestReused);
    const result = (await queue.get(first?.jobId ?? ''))?.result;
    await (await caller.queue.getJob(first?.jobId ?? ''))?.remove();
    expect(await queue.add('stop', body)).toEqual({ jobId: first?.jobId, existing: false });
    await until('the same answer', async () => (await queue.get(first?.jobId ?? ''))?.state === 'completed');
    expect((await queue.get(first?.jobId ?? ''))?.result).toEqual(result);
    expect(work.acted.filter((id) => id === 'same')).toHaveLength(1);
  });

  it('with two bodies at once is one job, and the other is told', async () => {
    const asked = await Promise.allSettled(
      ['a', 'b'].map((vm) => queue.add('stop', request({ requestId: 'race', vm }))),
    );
    expect(asked.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(asked.find((one) => one.status === 'rejected')?.reason).toBeInstanceOf(RequestReused);
  });

  it('waits in a queue that tells how long', async () => {
    expect(await queue.workers()).toBe(1);
    expect(await queue.stats()).toMatchObject({ waiting: 0, oldestWaitMs: 0 });
    await caller.queue.pause();
    await caller.queue.add('stop', request({ vm: 'later' }));
    const stats = await until('one that waits', async () => {
      const found = await queue.stats();
      return found && found.oldestWaitMs > 0 ? found : undefined;
    });
    expect(stats.waiting).toBe(1);
    await caller.queue.resume();
  });
});
