// The outbox's bad days: no store, a store that dies, hangs, or forgets; a backend that is away or half there; the process
// killed at any moment; the wall clock stepping back. Afterwards nothing that was acknowledged is missing, and each host's
// entries came in order.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../src/core/clock.js';
import { urlAddress } from '../../src/queue/connection.js';
import { EmbeddedStore } from '../../src/queue/embedded-store.js';
import { Outbox, type OutboxOptions } from '../../src/queue/outbox.js';
import type { NewEntry, OutboxEntry } from '../../src/queue/outbox-types.js';
import { Failure, Receiver } from '../support/outbox.js';
import { keptLog, OutsideRedis } from '../support/queue.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

let dataDir: string;
let receiver: Receiver;
let cleanup: (() => Promise<unknown>)[];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'outbox-fault-'));
  receiver = new Receiver();
  cleanup = [];
});
afterEach(async () => {
  for (const step of cleanup.reverse()) await step();
  await rm(dataDir, { recursive: true, force: true });
});

async function startRedis(...extra: string[]): Promise<OutsideRedis> {
  const redis = await OutsideRedis.start(...extra);
  cleanup.push(() => redis[Symbol.asyncDispose]());
  return redis;
}

async function startOutbox(
  redis: Pick<OutsideRedis, 'url'>,
  options: Partial<OutboxOptions> = {},
): Promise<Outbox> {
  const outbox = await Outbox.start({
    store: urlAddress(redis.url),
    dataDir,
    instanceId: 'one',
    deliver: receiver.deliver,
    log: keptLog().log,
    backoff: { baseMs: 100, capMs: 500, factor: 2 },
    ...options,
  });
  cleanup.push(() => outbox.close(1_000));
  return outbox;
}

const event = (host: string, payload: unknown = null): NewEntry => ({ kind: 'event', host, payload });
const numbers = (count: number) => [...Array(count).keys()];
const away = () => {
  throw new Failure('away');
};

describe('the store', () => {
  it('is away at the start, and for as long as it likes: entries are safe at once, and arrive when it comes', async () => {
    const redis = await startRedis();
    await redis.signal('SIGKILL');
    const first = await startOutbox(redis);
    for (const n of numbers(20)) await first.add(event('a', n));
    expect(first.stats()).toMatchObject({ depth: 20, untaken: 20 });
    await first.close();
    const second = await startOutbox(redis);
    await second.add(event('a', 20));
    expect(second.stats().untaken).toBe(21);
    await redis.spawn();
    await until('all', () => receiver.once('a').length === 21, { timeoutMs: 20_000 });
    expect(receiver.once('a')).toEqual(numbers(21));
    expect(receiver.taken).toHaveLength(21);
  });

  it('dies and comes back, again and again, while entries come and go', async () => {
    const redis = await startRedis('appendonly yes', 'appendfsync everysec');
    const outbox = await startOutbox(redis);
    let n = 0;
    for (let round = 0; round < 4; round++) {
      for (let burst = 0; burst < 50; burst++) await outbox.add(event(`h${n % 3}`, n++));
      await redis.signal('SIGKILL');
      for (let burst = 0; burst < 10; burst++) await outbox.add(event(`h${n % 3}`, n++));
      await redis.spawn();
    }
    const all = () => ['h0', 'h1', 'h2'].flatMap((host) => receiver.once(host));
    await until('all', () => all().length === n, { timeoutMs: 40_000 });
    for (const at of [0, 1, 2])
      expect(receiver.once(`h${at}`)).toEqual(numbers(n).filter((number) => number % 3 === at));
  });

  it('hangs: adding does not wait for it', async () => {
    const redis = await startRedis();
    const outbox = await startOutbox(redis);
    await outbox.add(event('a', 0));
    await until('the first', () => receiver.taken.length === 1);
    await redis.signal('SIGSTOP');
    const watch = new Stopwatch();
    for (const n of [1, 2, 3]) await outbox.add(event('a', n));
    expect(watch.ms).toBeLessThan(1_000);
    await delay(6_000);
    await redis.signal('SIGCONT');
    await until('all', () => receiver.once('a').length === 4, { timeoutMs: 30_000 });
    expect(receiver.once('a')).toEqual(numbers(4));
  });

  it('comes back without its last seconds: they are offered to it again', async () => {
    const redis = await startRedis();
    receiver.rule = away;
    const outbox = await startOutbox(redis);
    for (const n of numbers(10)) await outbox.add(event('a', n));
    await until('the store to have them', () => outbox.stats().untaken === 0);
    await redis.signal('SIGKILL');
    await redis.spawn();
    receiver.rule = () => undefined;
    await until('all', () => receiver.once('a').length === 10, { timeoutMs: 20_000 });
    expect(receiver.once('a')).toEqual(numbers(10));
  });

  it('is the embedded one, killed and supervised', async () => {
    const store = await EmbeddedStore.start({ dataDir });
    cleanup.push(() => store.stop());
    const outbox = await startOutbox({ url: '' }, { store: store.address });
    for (const n of numbers(10)) await outbox.add(event('a', n));
    process.kill(store.state().pid ?? 0, 'SIGKILL');
    for (const n of numbers(10)) await outbox.add(event('a', n + 10));
    await until('all', () => receiver.once('a').length === 20, { timeoutMs: 30_000 });
    expect(receiver.once('a')).toEqual(numbers(20));
  });
});

describe('the backend', () => {
  it('is away, then half there: order holds, repeats carry the same id, nothing is missing', async () => {
    const redis = await startRedis();
    const outbox = await startOutbox(redis);
    receiver.rule = away;
    for (const n of numbers(60)) await outbox.add(event(`h${n % 2}`, n));
    await until('some tries', () => receiver.begun.length >= 4);
    let calls = 0;
    receiver.rule = () => (++calls % 3 === 0 ? undefined : away());
    outbox.retryNow();
    await until('a few', () => receiver.taken.length > 5);
    receiver.rule = async (entry) => {
      // done, and the answer lost
      if (++calls % 4 === 0) {
        receiver.taken.push(entry);
        away();
      }
    };
    const all = () => ['h0', 'h1'].flatMap((host) => receiver.once(host));
    await until('all', () => all().length === 60, { timeoutMs: 60_000 });
    for (const at of [0, 1])
      expect(receiver.once(`h${at}`)).toEqual(numbers(60).filter((number) => number % 2 === at));
    expect(receiver.mostOfOne).toBe(1);
    await until('nothing to wait', () => outbox.stats().depth === 0);
  });
});

describe('the wall clock', () => {
  it('steps back an hour: a host that was put off has its turn when its rest is over', async () => {
    const redis = await startRedis();
    let stepMs = 3_600_000;
    const clock: Clock = { ...systemClock, wallMs: () => Date.now() + stepMs };
    const now = Date.now;
    Date.now = () => now() + stepMs;
    cleanup.push(async () => {
      Date.now = now;
    });
    receiver.rule = away;
    const outbox = await startOutbox(redis, { clock });
    await outbox.add(event('a', 0));
    await until('some tries', () => receiver.begun.length >= 3);
    stepMs = 0;
    receiver.rule = () => undefined;
    await until('the entry', () => receiver.once('a').length === 1, { timeoutMs: 5_000 });
  });
});

describe('the process', () => {
  type Engine = { child: ChildProcess; kill: () => Promise<void> };

  async function startEngine(redis: OutsideRedis, url: string, from: number): Promise<Engine> {
    const script = fileURLToPath(new URL('../support/outbox-engine.ts', import.meta.url));
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', script, redis.url, dataDir, url, String(from)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const gone = once(child, 'exit');
    const kill = async () => {
      child.kill('SIGKILL');
      await gone;
    };
    cleanup.push(kill);
    await once(child.stdout ?? child, 'data');
    return { child, kill };
  }

  async function startReceiver(): Promise<{ url: string; taken: OutboxEntry[] }> {
    const taken: OutboxEntry[] = [];
    const server: Server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      const fails = taken.length % 7 === 3 && Math.random() < 0.5;
      if (!fails) taken.push(JSON.parse(body));
      response.writeHead(fails ? 503 : 202).end();
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    cleanup.push(async () => {
      server.closeAllConnections();
      server.close();
    });
    const address = server.address();
    return { url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`, taken };
  }

  it('is killed at any moment: all that was acknowledged arrives, in order, and numbers go on', async () => {
    const redis = await startRedis('appendonly yes');
    const { url, taken } = await startReceiver();
    const read = async () =>
      (await readFile(join(dataDir, 'acknowledged'), 'utf8').catch(() => ''))
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as { n: number; id: string; host: string; sequence?: number });
    for (let life = 0; life < 5; life++) {
      const engine = await startEngine(redis, url, life * 1_000_000);
      const before = (await read()).length;
      await until('entries', async () => (await read()).length > before + 40, { timeoutMs: 20_000 });
      await delay(Math.random() * 300);
      await engine.kill();
    }
    const outbox = await startOutbox(redis, {
      instanceId: 'engine',
      deliver: async (entry) => void taken.push(entry),
    });
    const acknowledged = await read();
    const have = () => new Set(taken.map(({ id }) => id));
    await until('all', () => have().size >= acknowledged.length && outbox.stats().depth === 0, {
      timeoutMs: 60_000,
    });
    const ids = have();
    expect(acknowledged.filter(({ id }) => !ids.has(id))).toEqual([]);
    for (const host of ['kvm-0', 'kvm-1', 'kvm-2']) {
      const first = new Map<string, OutboxEntry>();
      for (const entry of taken) if (entry.host === host && !first.has(entry.id)) first.set(entry.id, entry);
      const payloads = [...first.values()].map(({ payload }) => Number(payload));
      expect(payloads).toEqual([...payloads].sort((a, b) => a - b));
      const sequences = [...first.values()].flatMap(({ sequence }) => sequence ?? []);
      expect(sequences).toEqual(sequences.map((_, at) => (sequences[0] ?? 0) + at));
    }
  });

  it('leaves nothing in the store but counters when all is delivered', async () => {
    const redis = await startRedis();
    const outbox = await startOutbox(redis);
    for (const n of numbers(30)) await outbox.add(event(`h${n % 5}`, n));
    await until('all', () => receiver.taken.length === 30);
    const client = new Redis(redis.url);
    cleanup.push(async () => client.disconnect());
    await until('no lane', async () => {
      const keys = await client.keys('*');
      return keys.every((key) => /:(meta|taken|id|marker|stalled-check|events|stalled|wait)$/.test(key));
    });
  });
});
