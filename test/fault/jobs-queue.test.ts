// The job engine is killed, the store is killed, frozen or both: no act happens twice, and every job has an end that is
// true. The engine runs in a process of its own; what happened is counted in a file that its operations write.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Job } from 'bullmq';
import { describe, expect, it } from 'vitest';
import { urlAddress } from '../../src/queue/connection.js';
import { JobQueue } from '../../src/queue/jobs.js';
import { type Answer, Caller, FakeWork, KeptAudit, request } from '../support/job-work.js';
import { OutsideRedis, temporaryDirectory } from '../support/queue.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

const program = fileURLToPath(new URL('../support/jobs-engine.ts', import.meta.url));
const appendOnly = ['appendonly yes', 'appendfsync everysec'];

class EngineProcess {
  readonly #child: ChildProcess;
  readonly exited: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.exited = once(child, 'exit');
  }

  static async start(url: string, directory: string, instance = 'alone'): Promise<EngineProcess> {
    const child = spawn(process.execPath, ['--import', 'tsx', program, url, directory, instance], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const engine = new EngineProcess(child);
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += String(chunk);
    });
    await until('the engine to be ready', () => output.includes('ready'), { timeoutMs: 30_000 });
    return engine;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(signal);
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
  }
}

/** How often each line of the operations' file is there. */
function lines(directory: string): Map<string, number> {
  const file = join(directory, 'acts');
  const counts = new Map<string, number>();
  if (!existsSync(file)) return counts;
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean))
    counts.set(line, (counts.get(line) ?? 0) + 1);
  return counts;
}

/** The same numbers for the same seed. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

/** The store's append-only file: what a machine that loses its power keeps of it is a beginning of it. */
async function appendOnlyFile(caller: Caller): Promise<string> {
  const [, directory = ''] = (await caller.client.config('GET', 'dir')) as string[];
  const folder = join(directory, 'appendonlydir');
  const [name = ''] = readdirSync(folder).filter((file) => file.endsWith('.incr.aof'));
  return join(folder, name);
}

function expectTruth(requestId: string, { result, failure }: Answer, said: Map<string, number>): void {
  const times = (what: string) => said.get(`${requestId} ${what}`) ?? 0;
  for (const act of ['destroy', 'undefine']) {
    expect(times(`${act} begun`), `${requestId} ${act}`).toBeLessThanOrEqual(1);
    expect(times(`${act} done`), `${requestId} ${act}`).toBeLessThanOrEqual(1);
    if (result) expect(times(`${act} done`), `${requestId} ${act}`).toBe(1);
  }
  if (failure?.startsWith('CANCELLED')) expect(times('destroy begun')).toBe(0);
  else if (failure) expect(failure).toMatch(/^OUTCOME_UNKNOWN: interrupted in /);
  if (failure?.startsWith('OUTCOME_UNKNOWN'))
    expect(
      times('destroy begun') - times('destroy done') + times('undefine begun') - times('undefine done'),
    ).toBe(1);
}

describe('kill -9 of the engine', () => {
  const cancelled = /^CANCELLED: interrupted/;
  const unknown = /^OUTCOME_UNKNOWN: interrupted in /;
  const done = undefined;
  const points: [stopAt: string, failure: RegExp | undefined][] = [
    ['gate destroy', cancelled],
    ['recorded destroy', cancelled],
    ['act destroy', unknown],
    ['done destroy', done],
    ['gate undefine', done],
    ['recorded undefine', done],
    ['act undefine', unknown],
    ['done undefine', done],
    ['verify', done],
    ['end', done],
  ];

  it('before, during and after each act: a truthful end, each act once', async () => {
    await using redis = await OutsideRedis.start(...appendOnly);
    await using directory = await temporaryDirectory();
    await using caller = new Caller(redis.url);
    const asked: { job: Job; failure: RegExp | undefined }[] = [];
    {
      await using engine = await EngineProcess.start(redis.url, directory.path);
      for (const [stopAt, failure] of points) {
        const job = await caller.add('delete', request({ vm: `vm ${stopAt}`, params: { stopAt } }));
        asked.push({ job, failure });
      }
      const stopped = () =>
        [...lines(directory.path).keys()].filter((line) => line.endsWith(' stopped')).length;
      await until('all to stop at their points', () => stopped() === points.length);
      await engine.kill();
    }
    await using _ = await EngineProcess.start(redis.url, directory.path);
    for (const { job, failure } of asked) {
      const answer = await caller.answer(job);
      if (failure) expect(answer.failure, job.data.vm).toMatch(failure);
      else expect(answer.result?.outcome, `${job.data.vm}: ${answer.failure}`).toBe('changed');
      expectTruth(job.data.requestId, answer, lines(directory.path));
      const again = await caller.ask('delete', job.data);
      expect(again).toEqual(answer);
    }
    expect(existsSync(join(directory.path, 'unhandled'))).toBe(false);
  });

  it.each([
    ['alone', 20, 0],
    ['and of the store, which forgets its last second', 14, 1],
  ])('at any moment, %s: nothing twice, and the truth', async (_what, rounds, withStore) => {
    await using redis = await OutsideRedis.start(...appendOnly);
    await using directory = await temporaryDirectory();
    await using caller = new Caller(redis.url);
    const random = seeded(20_261_121 + rounds);
    let engine = await EngineProcess.start(redis.url, directory.path);
    const ends = new Map<string, number>();
    try {
      for (let round = 0; round < rounds; round++) {
        const bodies = Array.from({ length: 12 }, (_, n) =>
          request({ host: `kvm-${n % 3}`, vm: `vm-${n % 6}`, params: { actMs: Math.round(random() * 15) } }),
        );
        const jobs = await Promise.all(bodies.map((body) => caller.add('delete', body)));
        const file = withStore ? await appendOnlyFile(caller) : '';
        await delay(random() * 45);
        const keptBytes = withStore ? statSync(file).size : 0;
        await delay(random() * 45);
        if (withStore && random() < 0.5) await redis.signal('SIGKILL');
        await engine.kill();
        if (withStore) {
          await redis.signal('SIGKILL');
          truncateSync(file, keptBytes);
          await redis.spawn();
        }
        engine = await EngineProcess.start(redis.url, directory.path);
        for (const [n, job] of jobs.entries()) {
          const body = bodies[n] as { requestId: string };
          const kept = await caller.queue.getJob(job.id ?? '');
          const same = kept?.data.requestId === body.requestId;
          const answer = same && kept ? await caller.answer(kept) : await caller.ask('delete', body);
          expectTruth(body.requestId, answer, lines(directory.path));
          const end = answer.failure?.split(':')[0] ?? 'done';
          ends.set(end, (ends.get(end) ?? 0) + 1);
        }
      }
    } finally {
      await engine.kill();
    }
    expect(existsSync(join(directory.path, 'unhandled'))).toBe(false);
    expect(ends.get('done')).toBeGreaterThan(rounds);
    expect(await caller.queue.getActiveCount()).toBe(0);
  });

  it('one of two on a store: the other settles what it left, and it may come back', async () => {
    await using redis = await OutsideRedis.start(...appendOnly);
    await using directory = await temporaryDirectory();
    await using caller = new Caller(redis.url);
    await using a = await EngineProcess.start(redis.url, directory.path, 'a');
    const bodies = ['gate destroy', 'act destroy', 'done destroy'].map((stopAt) =>
      request({ vm: `vm ${stopAt}`, params: { stopAt } }),
    );
    const jobs = await Promise.all(bodies.map((body) => caller.add('delete', body)));
    await until(
      'all to stop',
      () => [...lines(directory.path).keys()].filter((l) => l.endsWith('stopped')).length === 3,
    );
    await using _ = await EngineProcess.start(redis.url, directory.path, 'z');
    await a.kill();
    const answers = await Promise.all(jobs.map((job) => caller.answer(job, 60_000)));
    for (const [n, answer] of answers.entries())
      expectTruth(bodies[n]?.requestId ?? '', answer, lines(directory.path));
    expect(answers.map(({ failure }) => failure?.split(':')[0])).toEqual([
      'CANCELLED',
      'OUTCOME_UNKNOWN',
      undefined,
    ]);
  });
});

describe('the store', () => {
  it('freezes or dies while jobs run: each is done once and has its end when the store is back', async () => {
    await using redis = await OutsideRedis.start(...appendOnly);
    await using caller = new Caller(redis.url);
    const work = new FakeWork();
    const audit = new KeptAudit();
    await using queue = JobQueue.start({
      ...{ store: urlAddress(redis.url), work, audit, instanceId: 'one', exclusive: true },
      sweepEveryMs: 500,
    });
    await until('the engine to reach the store', () => queue.stats());
    for (const outage of ['SIGSTOP', 'SIGKILL', 'forgets'] as const) {
      let acting = 0;
      let preparing = 0;
      let begin = () => undefined as unknown;
      const start = new Promise((resolve) => {
        begin = () => resolve(undefined);
      });
      work.read = async () => {
        preparing++;
        await start;
      };
      let open = () => undefined as unknown;
      const gate = new Promise((resolve) => {
        open = () => resolve(undefined);
      });
      work.act = async () => {
        acting++;
        await gate;
      };
      const bodies = Array.from({ length: 4 }, (_, n) => request({ vm: `vm-${n}` }));
      const jobs = await Promise.all(bodies.map((body) => caller.add('stop', body)));
      await until('all to prepare', () => preparing === 4);
      const file = await appendOnlyFile(caller);
      await delay(100); // what the store has answered is in its file
      const keptBytes = statSync(file).size;
      begin();
      await until('all to act', () => acting === 4);
      await redis.signal(outage === 'SIGSTOP' ? 'SIGSTOP' : 'SIGKILL');
      if (outage === 'forgets') truncateSync(file, keptBytes);
      open();
      await until(
        'the acts to be over',
        () => audit.entries.filter(({ kind }) => kind === 'end').length % 4 === 0,
      );
      await delay(500);
      if (outage === 'SIGSTOP') await redis.signal('SIGCONT');
      else await redis.spawn();
      const answers = await Promise.all(jobs.map((job) => caller.answer(job, 60_000)));
      expect(answers.map(({ result, failure }) => result?.outcome ?? failure)).toEqual(
        Array(4).fill('changed'),
      );
    }
    expect(work.acted).toHaveLength(12);
    expect(new Set(work.acted).size).toBe(12);
    expect(work.settled).toEqual([]);
  });

  it.each(['SIGKILL', 'SIGSTOP'] as const)(
    'is gone (%s): closing ends in time, acts are refused',
    async (signal) => {
      await using redis = await OutsideRedis.start();
      await using caller = new Caller(redis.url);
      const work = new FakeWork();
      const queue = JobQueue.start({
        ...{ store: urlAddress(redis.url), work, audit: new KeptAudit(), instanceId: 'one', exclusive: true },
      });
      await until('the engine to reach the store', () => queue.stats());
      let gone = () => undefined as unknown;
      const outage = new Promise((resolve) => {
        gone = () => resolve(undefined);
      });
      work.read = () => outage;
      await Promise.all([1, 2, 3].map((n) => caller.add('stop', request({ vm: `vm-${n}` }))));
      await until('all to prepare', () => work.runs === 3);
      await redis.signal(signal);
      gone();
      await delay(300);
      const watch = new Stopwatch();
      await queue.close(3_000);
      expect(watch.ms).toBeLessThan(3_300);
      expect(work.acted).toEqual([]);
      await expect(queue.add('stop', request())).rejects.toThrow(/store/);
      if (signal === 'SIGSTOP') await redis.signal('SIGCONT');
    },
  );
});
