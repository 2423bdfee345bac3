import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { HostError } from '../../src/core/errors.js';
import { clientOptions, type StoreAddress, urlAddress } from '../../src/queue/connection.js';
import { EmbeddedStore } from '../../src/queue/embedded-store.js';
import { PollQueue, type PollQueueOptions } from '../../src/queue/queue.js';
import { storeNames } from '../../src/queue/store-names.js';
import { fleet, keptLog, OutsideRedis, processState, temporaryDirectory } from '../support/queue.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

type Start = { host: string; poller: string; atMs: number };

/** Records every poll and lets a test decide what it does. */
function recorder(act: (start: Start) => void | Promise<void> = () => {}) {
  const starts: Start[] = [];
  const run = async (host: string, poller: string) => {
    const start = { host, poller, atMs: performance.now() };
    starts.push(start);
    await act(start);
  };
  return { starts, run, of: (host: string) => starts.filter((start) => start.host === host) };
}

function opened(address: StoreAddress): AsyncDisposable & { queue: Queue } {
  const client = new Redis(clientOptions(address, 'worker'));
  const queue = new Queue(storeNames().polls, { connection: client });
  return {
    queue,
    [Symbol.asyncDispose]: async () => {
      await queue.close();
      client.disconnect();
    },
  };
}

async function embedded(options: Partial<PollQueueOptions> & Pick<PollQueueOptions, 'run'>) {
  const directory = await temporaryDirectory();
  const log = keptLog();
  const store = await EmbeddedStore.start({ dataDir: directory.path, log: log.log });
  const queue = PollQueue.start({ store: store.address, log: log.log, ...options });
  const stack: AsyncDisposable = {
    [Symbol.asyncDispose]: async () => {
      await queue.close();
      await store.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
  return { stack, store, queue, ...log };
}

describe('polls on the embedded store', () => {
  it('run every interval, each host at its own place, and show as jobs', async () => {
    const { run, of } = recorder(({ host }) => {
      if (host === 'kvm-0001')
        throw new HostError('HOST_DOWN', { message: 'kvm-0001 is down', cause: new Error('REFUSED') });
    });
    const { stack, queue, store } = await embedded({ run });
    await using _ = stack;
    await queue.setSchedules(fleet(4, 2_000));
    const hosts = ['kvm-0000', 'kvm-0001', 'kvm-0002', 'kvm-0003'];
    await until('four rounds', () => hosts.every((host) => of(host).length >= 4));
    // When the jobs were due, not when a busy machine came to begin them.
    await using viewer = opened(store.address);
    const jobs = await viewer.queue.getJobs(['completed', 'failed']);
    const places = hosts.map((name) => {
      const own = jobs.filter(({ data: { host } }) => host === name);
      const due = own.map(({ id }) => Number(id?.split(':').at(-1))).sort((a, b) => a - b);
      expect(due.length).toBeGreaterThanOrEqual(3);
      const gapsMs = due.slice(1).map((atMs, n) => atMs - (due[n] ?? 0));
      expect(new Set(gapsMs)).toEqual(new Set([2_000]));
      return (due[0] ?? 0) % 2_000;
    });
    expect(new Set(places).size).toBeGreaterThan(2);
    expect(queue.repairs).toBe(0);
    expect(queue.lastStartedMs('kvm-0002', 'vms')).toBeGreaterThan(0);
    const stats = await until('failed jobs to be counted', async () => {
      const counts = await queue.stats();
      return counts && counts.failed >= 3 && counts.completed >= 9 ? counts : undefined;
    });
    expect(stats.delayed).toBeGreaterThanOrEqual(3);
  });

  it('a failed poll says why in one line, is not tried again and carries no secret', async () => {
    await using redis = await OutsideRedis.start();
    const { run, starts } = recorder(() => {
      throw new HostError('HOST_DOWN', { message: 'kvm-0000 is down', cause: new Error('port 22 refused') });
    });
    await using queue = PollQueue.start({ store: urlAddress(redis.url), run });
    await queue.setSchedules(fleet(1, 1_000));
    await using viewer = opened(urlAddress(redis.url));
    const failed = await until('two failures', async () => {
      const jobs = await viewer.queue.getFailed();
      return jobs.length >= 2 ? jobs : undefined;
    });
    for (const job of failed) {
      expect(job.name).toBe('vms');
      expect(job.data).toEqual({ host: 'kvm-0000', poller: 'vms' });
      expect(job.failedReason).toBe('HOST_DOWN: kvm-0000 is down: port 22 refused');
      expect(job.stacktrace?.filter(Boolean)).toEqual([]);
      expect(job.attemptsMade).toBe(1);
    }
    expect(starts.length).toBeLessThan(6);
  });

  it('a slow poll is not run beside itself; the jobs that find it running are skipped and counted', async () => {
    let running = 0;
    let overlap = 0;
    const skips: string[] = [];
    const { run } = recorder(async () => {
      overlap = Math.max(overlap, ++running);
      await until('two skips', () => skips.length >= 2).catch(() => undefined);
      running--;
    });
    const { stack, queue } = await embedded({
      run,
      onSkip: (host, _poller, cause) => skips.push(`${host} ${cause}`),
    });
    await using _ = stack;
    await queue.setSchedules(fleet(1, 500));
    await until('two skips', () => skips.length >= 2);
    expect(skips[0]).toBe('kvm-0000 still running');
    expect(overlap).toBe(1);
    expect(queue.skipped).toBeGreaterThanOrEqual(2);
    expect(queue.repairs).toBe(0);
  });

  it('a hundred hosts whose polls hang delay nobody else', async () => {
    const { run, of, starts } = recorder(({ host }) =>
      Number(host.slice(4)) >= 3 ? new Promise<void>(() => {}) : undefined,
    );
    const { stack, queue } = await embedded({ run });
    await using _ = stack;
    await queue.setSchedules(fleet(103, 2_000));
    await until('all to have begun', () => new Set(starts.map(({ host }) => host)).size === 103);
    // Those that hang hang for longer than this test may take: whoever waited for one would have no more rounds.
    const since = performance.now();
    const rounds = (host: string) => of(host).filter(({ atMs }) => atMs > since).length;
    const healthy = ['kvm-0000', 'kvm-0001', 'kvm-0002'];
    await until('five rounds', () => healthy.every((host) => rounds(host) >= 5), { timeoutMs: 60_000 });
    await queue.close(500);
  });

  it('a removed host stops, a changed interval holds, the others are not touched', async () => {
    const { run, of } = recorder();
    const { stack, queue, said } = await embedded({ run });
    await using _ = stack;
    await queue.setSchedules(fleet(3, 1_000));
    await until('all to run', () => [0, 1, 2].every((n) => of(`kvm-000${n}`).length > 0));
    const [first, second] = fleet(2, 1_000);
    if (!first || !second) throw new Error('no fleet');
    await queue.setSchedules([first, { ...second, intervalMs: 500 }]);
    expect(said('poll schedules set').at(-1)).toMatchObject({ kept: 1, set: 1, removed: 1 });
    const before = of('kvm-0002').length;
    const faster = of('kvm-0001').length;
    await until('the faster one to run six times', () => of('kvm-0001').length >= faster + 6);
    expect(of('kvm-0002').length).toBeLessThanOrEqual(before + 1);
    await until('two schedulers', async () => (await queue.stats())?.delayed === 2);
    expect(queue.repairs).toBe(0);
  });

  it('leftovers of an earlier inventory go, what is right stays', async () => {
    await using directory = await temporaryDirectory();
    const { run } = recorder();
    for (const hosts of [5, 3]) {
      const { log, said } = keptLog();
      await using store = await EmbeddedStore.start({ dataDir: directory.path, log });
      await using queue = PollQueue.start({ store: store.address, run, log });
      await queue.setSchedules(fleet(hosts, 60_000));
      const set = await until('the schedules', () => said('poll schedules set')[0]);
      expect(set).toMatchObject(
        hosts === 5 ? { kept: 0, set: 5, removed: 0 } : { kept: 3, set: 0, removed: 2 },
      );
    }
  });

  it('1,000 hosts with two pollers each are set in seconds and looked over in less', async () => {
    const { run } = recorder();
    const { stack, queue, said } = await embedded({ run });
    await using _ = stack;
    const list = fleet(1_000, 600_000, ['vms', 'system']);
    await until('the store', () => queue.state().state === 'up');
    await queue.setSchedules(list);
    await queue.setSchedules(list);
    const [first, again] = said('poll schedules set').slice(-2);
    expect(first).toMatchObject({ set: 2_000 });
    expect(again).toMatchObject({ kept: 2_000, set: 0 });
    process.stdout.write(
      `2,000 schedules: set in ${first?.durationMs} ms, looked over in ${again?.durationMs} ms
`,
    );
    expect(first?.durationMs).toBeLessThan(15_000);
    expect(again?.durationMs).toBeLessThan(5_000);
    await until('all schedulers', async () => (await queue.stats())?.delayed === 2_000);
  });
});

describe('an outside store', () => {
  it('is used with its password, warned about when unfit, and never printed with the password', async () => {
    await using redis = await OutsideRedis.start('maxmemory 100mb', 'maxmemory-policy allkeys-lru');
    const { run, starts } = recorder();
    const { log, lines, said } = keptLog();
    await using queue = PollQueue.start({ store: urlAddress(redis.url), run, log });
    await queue.setSchedules(fleet(2, 1_000));
    await until('polls', () => starts.length >= 4);
    expect(said('store is not fit for jobs').map(({ why }) => why)).toEqual([
      expect.stringMatching(/allkeys-lru.*noeviction/),
    ]);
    expect(JSON.stringify(lines)).not.toContain(redis.password);
  });

  it('with a wrong password says so, once, and the polls run', async () => {
    await using redis = await OutsideRedis.start();
    const { run, starts } = recorder();
    const { log, lines, said } = keptLog();
    await using queue = PollQueue.start({
      store: urlAddress(redis.url.replace('correct', 'wrong')),
      run,
      log,
    });
    await queue.setSchedules(fleet(2, 500));
    await until('polls without the store', () => starts.length >= 8);
    expect(queue.state()).toMatchObject({
      state: 'down',
      why: expect.stringContaining('refuses the user or password'),
    });
    expect(said('store away, polls go on without it')).toHaveLength(1);
    expect(lines.filter(({ level }) => level >= 40)).toHaveLength(1);
    expect(JSON.stringify(lines)).not.toContain('wrong-horse');
  });

  it('that comes back empty gets every scheduler again', async () => {
    await using redis = await OutsideRedis.start();
    const { run, starts } = recorder();
    await using queue = PollQueue.start({ store: urlAddress(redis.url), run });
    await queue.setSchedules(fleet(3, 1_000));
    await until('polls', () => starts.length >= 3);
    await redis.signal('SIGKILL');
    await until('the loss', () => queue.state().state === 'down');
    expect(await queue.stats()).toBeUndefined();
    const before = starts.length;
    await until('polls without the store', () => starts.length >= before + 6);
    await redis.spawn();
    await until('all schedulers', async () => (await queue.stats())?.delayed === 3);
    await until('jobs to run', async () => ((await queue.stats())?.completed ?? 0) >= 3);
  });

  it('flushed behind our back is repaired by the watchdog', async () => {
    await using redis = await OutsideRedis.start();
    const { run, starts } = recorder();
    const repairs: string[] = [];
    await using queue = PollQueue.start({
      store: urlAddress(redis.url),
      run,
      onRepair: (host, poller, cause) => repairs.push(`${host} ${poller} ${cause}`),
    });
    await queue.setSchedules(fleet(2, 1_000));
    await until('polls', () => starts.length >= 2);
    const client = new Redis(redis.url);
    await client.flushall();
    client.disconnect();
    await until('repairs', () => repairs.length === 2);
    expect(repairs.sort()).toEqual(['kvm-0000 vms missing', 'kvm-0001 vms missing']);
    await until('the schedulers', async () => (await queue.stats())?.delayed === 2);
  });

  it('holds no scheduler of a host that left while the watchdog was setting it anew', async () => {
    await using redis = await OutsideRedis.start();
    const { run, starts } = recorder();
    const { log, said } = keptLog();
    let flushed = false;
    let left: Promise<void> | undefined;
    const clock = {
      ...systemClock,
      // What a repair asks last before it sets a scheduler anew.
      wallMs: () => {
        if (flushed) left ??= Promise.resolve().then(() => queue.setSchedules([]));
        return systemClock.wallMs();
      },
    };
    await using queue = PollQueue.start({ store: urlAddress(redis.url), run, log, clock });
    await queue.setSchedules(fleet(1, 1_000));
    await until('a poll', () => starts.length > 0);
    const client = new Redis(redis.url);
    await client.flushall();
    client.disconnect();
    flushed = true;
    await until('the repair', () => queue.repairs === 1);
    await left;
    expect(said('poll schedules set').at(-1)).toMatchObject({ kept: 0, set: 0, removed: 1 });
    expect((await queue.stats())?.delayed).toBe(0);
  });

  it('shared by two replicas: each sees every host fresh, nothing is repaired, nobody removes the other’s hosts', async () => {
    await using redis = await OutsideRedis.start();
    const [a, b] = [recorder(), recorder()];
    await using one = PollQueue.start({ store: urlAddress(redis.url), run: a.run });
    await using two = PollQueue.start({ store: urlAddress(redis.url), run: b.run });
    await one.setSchedules(fleet(4, 1_000));
    await two.setSchedules(fleet(3, 1_000));
    await until(
      'each host on each replica, often',
      () => [0, 1, 2].every((n) => a.of(`kvm-000${n}`).length >= 4 && b.of(`kvm-000${n}`).length >= 4),
      { timeoutMs: 40_000 },
    );
    expect(one.repairs + two.repairs).toBe(0);
    await using viewer = opened(urlAddress(redis.url));
    expect(await viewer.queue.getJobSchedulersCount()).toBe(4);
  });

  it('a job of an unknown host ends quietly, and its scheduler goes after the grace', async () => {
    await using redis = await OutsideRedis.start();
    const { run, starts, of } = recorder();
    await using viewer = opened(urlAddress(redis.url));
    await viewer.queue.upsertJobScheduler(
      'ghost_vms',
      { every: 300 },
      { name: 'vms', data: { host: 'ghost', poller: 'vms' } },
    );
    await using queue = PollQueue.start({ store: urlAddress(redis.url), run, strangerGraceMs: 1_000 });
    await queue.setSchedules(fleet(1, 500));
    await until('polls', () => starts.length >= 1);
    await until('the scheduler to go', async () => (await viewer.queue.getJobSchedulersCount()) === 1);
    expect(of('ghost')).toEqual([]);
    const outcomes = (await viewer.queue.getCompleted()).map(({ returnvalue }) => returnvalue);
    expect(outcomes).toContain('unknown');
    expect(await viewer.queue.getFailedCount()).toBe(0);
  });

  it('a job that holds nonsense harms nobody', async () => {
    await using redis = await OutsideRedis.start();
    const { run, starts } = recorder();
    await using queue = PollQueue.start({ store: urlAddress(redis.url), run });
    await queue.setSchedules(fleet(1, 500));
    await using viewer = opened(urlAddress(redis.url));
    for (const data of [null, 7, {}, { host: 7, poller: [] }, { host: '__proto__', poller: 'constructor' }])
      await viewer.queue.add('vms', data);
    await until(
      'them to end',
      async () => (await viewer.queue.getJobCounts('completed')).completed === starts.length + 5,
    );
    expect(await viewer.queue.getFailedCount()).toBe(0);
  });
});

describe('closing', () => {
  it('waits for a poll that runs, within the deadline, and leaves no connection', async () => {
    await using redis = await OutsideRedis.start();
    let ended = false;
    const { run, starts } = recorder(async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      ended = true;
    });
    const queue = PollQueue.start({ store: urlAddress(redis.url), run });
    await queue.setSchedules(fleet(1, 500));
    await until('a poll to run', () => starts.length === 1);
    await queue.close(5_000);
    expect(ended).toBe(true);
    const client = new Redis(redis.url);
    await until('our connections to go', async () => {
      const clients = String(await client.client('LIST'));
      return clients.trim().split('\n').length === 1;
    });
    client.disconnect();
    await queue.setSchedules(fleet(2, 500));
    expect(starts).toHaveLength(1);
  });

  it('does not wait longer for a poll that never ends', async () => {
    const { run, starts } = recorder(() => new Promise(() => {}));
    const { stack, queue, store } = await embedded({ run });
    await queue.setSchedules(fleet(1, 500));
    await until('a poll to run', () => starts.length === 1);
    const watch = new Stopwatch();
    await queue.close(1_000);
    expect(watch.ms).toBeLessThan(1_500);
    const { pid = 0 } = store.state();
    await stack[Symbol.asyncDispose]();
    expect(await processState(pid)).toBeUndefined();
  });

  it('before anything was scheduled is quick', async () => {
    const { run } = recorder();
    const queue = PollQueue.start({ store: urlAddress('redis://127.0.0.1:1'), run });
    const watch = new Stopwatch();
    await queue.close(3_000);
    expect(watch.ms).toBeLessThan(1_000);
  });
});
