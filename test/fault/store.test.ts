// The store's bad days: killed, hung, damaged, orphaned, contested, missing, and the wall clock stepping back under it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { urlAddress } from '../../src/queue/connection.js';
import { EmbeddedStore } from '../../src/queue/embedded-store.js';
import { PollQueue } from '../../src/queue/queue.js';
import { fleet, keptLog, OutsideRedis, processState } from '../support/queue.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

let dataDir: string;
let cleanup: (() => Promise<unknown>)[];

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'store-fault-'));
  cleanup = [];
});
afterEach(async () => {
  for (const step of cleanup.reverse()) await step();
  await rm(dataDir, { recursive: true, force: true });
});

type Options = Partial<Parameters<typeof EmbeddedStore.start>[0]>;

async function startStore(options: Options = {}): Promise<EmbeddedStore> {
  const store = await EmbeddedStore.start({ dataDir, ...options });
  cleanup.push(() => store.stop());
  return store;
}

function pidOf(store: EmbeddedStore): number {
  const { pid } = store.state();
  if (pid === undefined) throw new Error('the store is not up');
  return pid;
}

type Polls = {
  queue: PollQueue;
  times: number[];
  nowMs: () => number;
  gapMs: (sinceMs: number) => number;
  repairs: string[];
};

/** Polls of `hosts` hosts every second; `gapMs` is the longest silence of any host since `sinceMs`, which `nowMs` told. */
async function startPolls(address: EmbeddedStore['address'], log = keptLog().log, hosts = 3): Promise<Polls> {
  const starts: { host: string; atMs: number }[] = [];
  const repairs: string[] = [];
  const times: number[] = [];
  const watch = new Stopwatch();
  const nowMs = () => watch.ms;
  const queue = PollQueue.start({
    store: address,
    log,
    run: async (host) => {
      starts.push({ host, atMs: nowMs() });
      times.push(performance.now());
    },
    onRepair: (host, _poller, cause) => repairs.push(`${host} ${cause}`),
  });
  cleanup.push(() => queue.close(2_000));
  const list = fleet(hosts, 1_000);
  await queue.setSchedules(list);
  const gapMs = (sinceMs: number) =>
    Math.max(
      ...list.map(({ host }) => {
        const own = starts
          .filter((start) => start.host === host && start.atMs >= sinceMs)
          .map(({ atMs }) => atMs);
        const edges = [sinceMs, ...own, nowMs()];
        return Math.max(...edges.slice(1).map((atMs, n) => atMs - (edges[n] ?? 0)));
      }),
    );
  await until('the first polls', () => starts.length >= hosts * 2);
  return { queue, times, nowMs, gapMs, repairs };
}

function later(list: number[], count: number): () => boolean {
  const before = list.length;
  return () => list.length >= before + count;
}

describe('the embedded store', () => {
  it('is reached by nobody else: private files, no port, nothing told on the command line', async () => {
    process.env.AGENT_TOKEN = 'not-for-the-child';
    cleanup.push(async () => delete process.env.AGENT_TOKEN);
    const pid = pidOf(await startStore());
    expect((await stat(path.join(dataDir, 'store'))).mode & 0o777).toBe(0o700);
    expect((await stat(path.join(dataDir, 'store', 'store.sock'))).mode & 0o777).toBe(0o600);
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
    expect(environment).not.toContain('not-for-the-child');
    const sockets = await readFile(`/proc/${pid}/net/tcp`, 'utf8');
    const inodes = await Promise.all(
      (await readdir(`/proc/${pid}/fd`)).map((fd) => stat(`/proc/${pid}/fd/${fd}`).catch(() => undefined)),
    );
    const listening = sockets.split('\n').filter((line) => / 0A /.test(line));
    for (const inode of inodes)
      expect(listening.some((line) => line.includes(` ${inode?.ino} `))).toBe(false);
  });

  it('killed: polls go on, it starts again, its schedulers are back, each is told once', async () => {
    const { log, said, lines } = keptLog();
    let restarts = 0;
    const store = await startStore({ log, onRestart: () => restarts++ });
    const { queue, times, nowMs, gapMs } = await startPolls(store.address, log);
    const pid = pidOf(store);
    const killedMs = nowMs();
    process.kill(pid, 'SIGKILL');
    await until('the restart', () => restarts === 1 && queue.state().state === 'up');
    await until('polls', later(times, 9));
    expect(gapMs(killedMs)).toBeLessThan(2_600);
    expect(pidOf(store)).not.toBe(pid);
    expect(store.state()).toMatchObject({ state: 'up', restarts: 1 });
    await until('the schedulers', async () => (await queue.stats())?.delayed === 3);
    expect(said('store ended, starting it again')).toHaveLength(1);
    expect(said('store away, polls go on without it')).toHaveLength(1);
    expect(lines.filter(({ level }) => level >= 40)).toHaveLength(2);
    expect(queue.repairs).toBe(0);
  });

  it('killed again and again: comes back each time', async () => {
    const store = await startStore();
    for (let n = 1; n <= 3; n++) {
      process.kill(pidOf(store), 'SIGKILL');
      await until('the restart', () => store.state().restarts >= n && store.state().state === 'up');
    }
    await store.stop();
    expect(await readdir(dataDir)).toEqual(['store']);
  });

  it('hung: polls go on, the reason says so, and nothing is lost when it wakes', async () => {
    const { log, said } = keptLog();
    const store = await startStore({ log });
    const { queue, times, nowMs, gapMs, repairs } = await startPolls(store.address, log);
    const pid = pidOf(store);
    const hungMs = nowMs();
    process.kill(pid, 'SIGSTOP');
    await until('the state', () => queue.state().state === 'down');
    expect(queue.state().why).toMatch(/no answer for \d+ ms/);
    expect(await queue.stats()).toBeUndefined();
    await until('polls while it hangs', later(times, 12));
    process.kill(pid, 'SIGCONT');
    await until('the store', () => queue.state().state === 'up');
    await until('polls after it', later(times, 9));
    expect(gapMs(hungMs)).toBeLessThan(3_600);
    expect(said('store away, polls go on without it')).toHaveLength(1);
    expect(store.state().restarts).toBe(0);
    expect(repairs).toEqual([]);
    await until('the schedulers', async () => (await queue.stats())?.delayed === 3);
  });

  it('hung for good: is killed and started again', async () => {
    const { log, said } = keptLog();
    const store = await startStore({ log, healthEveryMs: 100, hungAfterMs: 500 });
    const pid = pidOf(store);
    process.kill(pid, 'SIGSTOP');
    await until('the restart', () => store.state().restarts === 1 && store.state().state === 'up');
    expect(said('store hangs, killing it')).toHaveLength(1);
    expect(await processState(pid)).toBeUndefined();
  });

  it('the wall clock steps back an hour: polls continue, the repair is counted', async () => {
    const { log, said } = keptLog();
    const store = await startStore({ log });
    const { queue, times, nowMs, gapMs, repairs } = await startPolls(store.address, log);
    const realNow = Date.now;
    cleanup.push(async () => {
      Date.now = realNow;
    });
    const steppedMs = nowMs();
    Date.now = () => realNow() - 3_600_000;
    await until('three repairs', () => repairs.length === 3);
    await until('polls', later(times, 9));
    expect(repairs.sort()).toEqual(['kvm-0000 frozen', 'kvm-0001 frozen', 'kvm-0002 frozen']);
    expect(gapMs(steppedMs)).toBeLessThan(3_600);
    expect(queue.repairs).toBe(3);
    expect(said('schedulers repaired').length).toBeGreaterThan(0);
    const completed = (await queue.stats())?.completed ?? 0;
    await until(
      'jobs, not only the watchdog',
      async () => ((await queue.stats())?.completed ?? 0) >= completed + 6,
    );
    expect(queue.repairs).toBe(3);
  });

  it('the wall clock stepped back a little, over jobs that are kept: their names do not stop it', async () => {
    const store = await startStore();
    const { queue, times, repairs } = await startPolls(store.address, undefined, 1);
    await until('some history', later(times, 6), { timeoutMs: 15_000 });
    const realNow = Date.now;
    cleanup.push(async () => {
      Date.now = realNow;
    });
    Date.now = () => realNow() - 6_000;
    await until('polls', later(times, 4), { timeoutMs: 20_000 });
    const completed = (await queue.stats())?.completed ?? 0;
    await until('jobs', async () => ((await queue.stats())?.completed ?? 0) >= completed + 4, {
      timeoutMs: 20_000,
    });
    expect(repairs.length).toBeLessThanOrEqual(2);
  });

  it('a start after the wall clock stepped back thaws what it finds', async () => {
    const first = await startStore();
    const before = await startPolls(first.address);
    await before.queue.close(2_000);
    await first.stop();
    const realNow = Date.now;
    cleanup.push(async () => {
      Date.now = realNow;
    });
    Date.now = () => realNow() - 3_600_000;
    const second = await startStore();
    const after = await startPolls(second.address);
    await until('three repairs', () => after.repairs.length === 3);
    expect(new Set(after.repairs)).toEqual(
      new Set(['kvm-0000 frozen', 'kvm-0001 frozen', 'kvm-0002 frozen']),
    );
  });

  it('damaged: one sentence with the mend, nothing deleted, the data directory free again', async () => {
    const store = await startStore();
    await startPolls(store.address);
    for (const step of cleanup.splice(0).reverse()) await step();
    const folder = path.join(dataDir, 'store', 'appendonlydir');
    const name = (await readdir(folder)).find((file) => file.endsWith('.incr.aof')) ?? '';
    const file = await open(path.join(folder, name), 'r+');
    const whole = await readFile(path.join(folder, name));
    await file.write('GARBAGE', whole.indexOf('\r\n$', 100));
    await file.close();
    const before = await readFile(path.join(folder, name));
    const failure: Error & { hint?: string } = await EmbeddedStore.start({ dataDir }).then(
      () => expect.unreachable(),
      (error) => error,
    );
    expect(failure.message).toMatch(/^the store's file in .*appendonlydir is damaged.*nothing was deleted$/);
    expect(failure.hint).toContain(`redis-check-aof --fix ${path.join(folder, 'appendonly.aof.manifest')}`);
    expect((await readFile(path.join(folder, name))).equals(before)).toBe(true);
    expect(await readdir(dataDir)).toEqual(['store']);
    const check = spawn('redis-check-aof', ['--fix', path.join(folder, 'appendonly.aof.manifest')]);
    check.stdin.end('y\n');
    await once(check, 'exit');
    await startStore();
  });

  it('a file cut short by a power cut is read as far as it goes', async () => {
    const store = await startStore();
    await startPolls(store.address);
    for (const step of cleanup.splice(0).reverse()) await step();
    const folder = path.join(dataDir, 'store', 'appendonlydir');
    const name = (await readdir(folder)).find((file) => file.endsWith('.incr.aof')) ?? '';
    const file = await open(path.join(folder, name), 'r+');
    await file.truncate((await file.stat()).size - 7);
    await file.close();
    const again = await startStore();
    const { queue } = await startPolls(again.address);
    await until('the schedulers', async () => (await queue.stats())?.delayed === 3);
  });
});

describe('one data directory', () => {
  it('for two services: the second is told which pid has it, and the first is not touched', async () => {
    const store = await startStore();
    await expect(EmbeddedStore.start({ dataDir })).rejects.toMatchObject({
      code: 'STORE',
      message: `another outrigger (pid ${process.pid}) already uses the data directory ${dataDir}`,
      hint: expect.stringContaining('AGENT_DATA_DIR'),
    });
    expect(store.state()).toMatchObject({ state: 'up', restarts: 0 });
    const { times } = await startPolls(store.address);
    await until('polls', later(times, 3));
  });

  it('left by a service that was SIGKILLed: its store is ended and its data taken over', async () => {
    const service = serviceOn(dataDir);
    const { pid } = await service.ready;
    const second = await EmbeddedStore.start({ dataDir }).catch((error: unknown) => error);
    expect(String(second)).toContain(`pid ${service.child.pid}`);
    service.child.kill('SIGKILL');
    await once(service.child, 'exit');
    expect(await processState(pid)).toMatch(/[SR]/);
    const { log, said } = keptLog();
    const store = await startStore({ log });
    expect(said('ending the store that a killed service left behind')).toEqual([
      expect.objectContaining({ pid }),
    ]);
    await until('the orphan to go', async () => [undefined, 'Z'].includes(await processState(pid)));
    expect(pidOf(store)).not.toBe(pid);
  });

  it('left with an orphan that hangs: that one is killed', async () => {
    const service = serviceOn(dataDir);
    const { pid } = await service.ready;
    service.child.kill('SIGKILL');
    await once(service.child, 'exit');
    process.kill(pid, 'SIGSTOP');
    await startStore();
    await until('the orphan to go', async () => [undefined, 'Z'].includes(await processState(pid)));
  });

  it('with the pid of a stranger in the pid file: the stranger lives', async () => {
    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    cleanup.push(async () => {
      stranger.kill('SIGKILL');
      await once(stranger, 'exit');
    });
    await once(stranger, 'spawn');
    await mkdir(path.join(dataDir, 'store'), { recursive: true });
    await writeFile(path.join(dataDir, 'store', 'store.pid'), `${stranger.pid}\n`);
    await startStore();
    expect(await processState(stranger.pid ?? 0)).toMatch(/[SR]/);
  });

  it('too deep for a socket: works all the same, and leaves no folder behind', async () => {
    const deep = path.join(dataDir, 'x'.repeat(80), 'y'.repeat(80));
    const store = await startStore({ dataDir: deep });
    const socketPath = store.address.kind === 'socket' ? store.address.path : '';
    expect(Buffer.byteLength(socketPath)).toBeLessThanOrEqual(107);
    const { times } = await startPolls(store.address);
    await until('polls', later(times, 3));
    for (const step of cleanup.splice(0).reverse()) await step();
    await expect(stat(path.dirname(socketPath))).rejects.toThrow('ENOENT');
  });

  it('that cannot be made: one sentence', async () => {
    await writeFile(path.join(dataDir, 'file'), '');
    await expect(EmbeddedStore.start({ dataDir: path.join(dataDir, 'file') })).rejects.toMatchObject({
      message: expect.stringMatching(/^cannot use the data directory .*file$/),
      hint: expect.stringContaining('AGENT_DATA_DIR'),
    });
  });
});

describe('a start that cannot work', () => {
  it('without any binary: says what to install, takes no lock', async () => {
    await expect(EmbeddedStore.start({ dataDir, searchPath: '' })).rejects.toMatchObject({
      message: expect.stringMatching(/neither valkey-server nor redis-server is installed/),
      hint: expect.stringMatching(/apt install valkey-server or redis-server.*AGENT_REDIS_URL/),
    });
    expect(await readdir(dataDir)).toEqual([]);
  });

  it.each([
    [
      'that ends at once',
      'echo "1:M 01 Jan 2026 00:00:00.000 # No space left on device"; exit 3',
      /ended as it started \(exit code 3\)/,
    ],
    ['that never answers', 'exec sleep 60', /did not answer within 1 s: absent/],
    ['that is not one', 'exec /nonexistent', /ended as it started/],
  ])('with a binary %s: one sentence, nothing left running', async (_name, script, message) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'store-binary-'));
    cleanup.push(() => rm(folder, { recursive: true, force: true }));
    await writeFile(path.join(folder, 'valkey-server'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const watch = new Stopwatch();
    await expect(EmbeddedStore.start({ dataDir, searchPath: folder, readyTimeoutMs: 1_000 })).rejects.toThrow(
      message,
    );
    expect(watch.ms).toBeLessThan(4_000);
    expect(await readdir(dataDir)).toEqual(['store']);
  });
});

describe('ending', () => {
  it.each(['SIGKILL', 'SIGSTOP'] as const)(
    'with the outside store gone (%s): within the deadline',
    async (signal) => {
      await using redis = await OutsideRedis.start();
      const { queue } = await startPolls(urlAddress(redis.url));
      await redis.signal(signal);
      const watch = new Stopwatch();
      await queue.close(1_500);
      expect(watch.ms).toBeLessThan(2_000);
    },
  );

  it('with the store never reached: polls ran, and it ends at once', async () => {
    const { queue } = await startPolls(urlAddress('redis://127.0.0.1:1'));
    expect(queue.state()).toMatchObject({ state: 'down', why: expect.stringContaining('ECONNREFUSED') });
    const watch = new Stopwatch();
    await queue.close(3_000);
    expect(watch.ms).toBeLessThan(1_000);
  });

  it('of a hung embedded store: killed within the deadline', async () => {
    const store = await startStore();
    const pid = pidOf(store);
    process.kill(pid, 'SIGSTOP');
    const watch = new Stopwatch();
    await store.stop(500);
    expect(watch.ms).toBeLessThan(2_000);
    expect(await processState(pid)).toBeUndefined();
    expect(await readdir(dataDir)).toEqual(['store']);
  });

  it('while it starts again: nothing is left running', async () => {
    const store = await startStore();
    process.kill(pidOf(store), 'SIGKILL');
    await until('the loss', () => store.state().state === 'down');
    await until('the next start to begin', () => store.state().restarts === 1);
    await store.stop();
    expect(store.state().state).toBe('stopped');
    expect(await readdir(dataDir)).toEqual(['store']);
    await startStore();
  });

  it('a service with queue and store: the process ends by itself, no handle holds it', async () => {
    const service = serviceOn(dataDir, 'end');
    const { pid } = await service.ready;
    service.child.stdin?.end();
    const ended = once(service.child, 'exit');
    const watch = new Stopwatch();
    expect(await ended).toEqual([0, null]);
    expect(watch.ms).toBeLessThan(4_000);
    expect(await processState(pid)).toBeUndefined();
  });
});

/** A process of its own that runs a store and polls; it ends both when its standard input ends. */
function serviceOn(
  directory: string,
  how: 'stay' | 'end' = 'stay',
): { child: ChildProcess; ready: Promise<{ pid: number }> } {
  const source = (file: string) => JSON.stringify(path.resolve('src/queue', file));
  const script = `
    import { EmbeddedStore } from ${source('embedded-store.ts')};
    import { PollQueue } from ${source('queue.ts')};
    const store = await EmbeddedStore.start({ dataDir: ${JSON.stringify(directory)} });
    const queue = PollQueue.start({ store: store.address, run: async () => {} });
    await queue.setSchedules([{ host: 'kvm-01', poller: 'vms', intervalMs: 500 }]);
    console.log(JSON.stringify({ pid: store.state().pid }));
    process.stdin.resume();
    process.stdin.on('end', async () => {
      if (${JSON.stringify(how)} === 'stay') return;
      await queue.close(3000);
      await store.stop();
    });`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  cleanup.push(async () => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += String(chunk);
  });
  const ready = until('the service', () => (output.includes('\n') ? output : ''), { timeoutMs: 20_000 }).then(
    (text) => JSON.parse(text) as { pid: number },
  );
  return { child, ready };
}
