// The outbox on a real store: order, one delivery at a time for a host, backoff, refusals, bounds, restarts, neighbours.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { urlAddress } from '../../src/queue/connection.js';
import { Outbox, type OutboxOptions } from '../../src/queue/outbox.js';
import type { NewEntry } from '../../src/queue/outbox-types.js';
import { Failure, Receiver } from '../support/outbox.js';
import { keptLog, OutsideRedis } from '../support/queue.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

let redis: OutsideRedis;
let client: Redis;
let queue: Queue;
let dataDir: string;
let receiver: Receiver;
let opened: Outbox[];
let dropped: string[];

beforeAll(async () => {
  redis = await OutsideRedis.start();
  client = new Redis(redis.url, { maxRetriesPerRequest: null });
  queue = new Queue('outrigger-outbox', { connection: client });
});
afterAll(async () => {
  await queue.close();
  client.disconnect();
  await redis[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await client.flushall();
  dataDir = await mkdtemp(join(tmpdir(), 'outbox-'));
  receiver = new Receiver();
  opened = [];
  dropped = [];
});
afterEach(async () => {
  for (const outbox of opened) await outbox.close();
  await rm(dataDir, { recursive: true, force: true });
});

async function start(options: Partial<OutboxOptions> = {}): Promise<Outbox> {
  const outbox = await Outbox.start({
    store: urlAddress(redis.url),
    dataDir,
    instanceId: 'one',
    deliver: receiver.deliver,
    log: keptLog().log,
    onDropped: (host, kind, cause) => dropped.push(`${host} ${kind} ${cause}`),
    ...options,
  });
  opened.push(outbox);
  return outbox;
}

const event = (host: string, payload: unknown = null): NewEntry => ({ kind: 'event', host, payload });
const result = (host: string, payload: unknown = null): NewEntry => ({ kind: 'result', host, payload });

describe('the outbox', () => {
  it('delivers in order, a host one at a time, hosts beside each other, each entry with an id and events with numbers', async () => {
    const outbox = await start();
    const hosts = ['kvm-01', 'kvm-02', '7'];
    const added = Array.from({ length: 60 }, (_, n) => event(hosts[n % 3] ?? '', n));
    await Promise.all(added.map((entry) => outbox.add(entry)));
    await until('all to arrive', () => receiver.taken.length === 60);
    for (const [at, host] of hosts.entries()) {
      const own = receiver.taken.filter((entry) => entry.host === host);
      expect(own.map(({ payload }) => payload)).toEqual(Array.from({ length: 20 }, (_, n) => n * 3 + at));
      const first = own[0]?.sequence ?? 0;
      expect(own.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 20 }, (_, n) => first + n));
    }
    expect(new Set(receiver.taken.map(({ id }) => id)).size).toBe(60);
    expect(receiver.mostOfOne).toBe(1);
    expect(receiver.mostOfAll).toBeGreaterThan(1);
    await until('nothing to wait', () => outbox.stats().depth === 0);
    expect(outbox.stats()).toMatchObject({
      bytes: 0,
      oldestAgeMs: 0,
      untaken: 0,
      delivered: 60,
      failures: 0,
    });
    await until('no key to be left of what is done', async () => {
      const keys = await client.keys('outrigger:outbox:*');
      return keys.every((key) => /:(meta|taken)$/.test(key));
    });
  });

  it('delivers at once: within a second, also after a rest', async () => {
    const outbox = await start();
    for (let round = 1; round <= 3; round++) {
      const watch = new Stopwatch();
      await outbox.add(event('kvm-01', round));
      await until('the event', () => receiver.taken.length === round);
      expect(watch.ms).toBeLessThan(1_000);
      await until('the lane to be empty', async () => (await queue.getJobCounts()).active === 0);
    }
  });

  it('tries again the entry that failed, with the same id and before those behind it; other hosts go on', async () => {
    const outbox = await start({ backoff: { baseMs: 300, capMs: 1_000, factor: 2 } });
    receiver.rule = ({ payload }) => {
      const tries = receiver.begun.filter((entry) => entry.payload === payload).length;
      if (payload === 'bad' && tries < 4) throw new Failure('503');
    };
    await outbox.add(event('a', 'bad'));
    await outbox.add(event('a', 'behind'));
    await until('a failure', () => outbox.stats().failures > 0);
    await outbox.add(result('b', 'other'));
    await until('the other host', () => receiver.once('b').length === 1, { timeoutMs: 1_000 });
    expect(outbox.stats()).toMatchObject({ depth: 2 });
    const waiting = (await queue.getDelayed()).map((job) => job.data.host);
    expect(waiting).toEqual(['a']);
    await until('the first host', () => receiver.once('a').length === 2);
    expect(receiver.once('a')).toEqual(['bad', 'behind']);
    const ids = receiver.begun.filter(({ payload }) => payload === 'bad').map(({ id }) => id);
    expect([ids.length, new Set(ids).size]).toEqual([4, 1]);
    expect(outbox.stats()).toMatchObject({ failures: 3, lastFailure: undefined });
  });

  it('rests as long as the backend asks, unless it is told that the backend is there again', async () => {
    const outbox = await start({ backoff: { baseMs: 1, capMs: 1, factor: 1 } });
    receiver.rule = () => {
      throw new Failure('429', { retryAfterMs: 2_000 });
    };
    const beganMs = performance.now();
    await outbox.add(event('a'));
    await until('two tries', () => receiver.begun.length === 2);
    expect(performance.now() - beganMs).toBeGreaterThan(1_900);
    const [first, second] = [receiver.begun[0], receiver.begun[1]];
    expect(first?.id).toBe(second?.id);
    receiver.rule = () => {
      throw new Failure('503', { retryAfterMs: 3_600_000 });
    };
    await until('three tries', () => receiver.begun.length === 3);
    receiver.rule = () => undefined;
    await until('the rest to be known', async () => (await queue.getDelayedCount()) === 1);
    outbox.retryNow();
    await until('the entry', () => receiver.taken.length === 1, { timeoutMs: 2_000 });
  });

  it('sets aside what the backend refuses for good, to be seen and to be retried by hand, and goes on', async () => {
    const outbox = await start();
    receiver.rule = ({ payload }) => {
      if (payload === 'bad') throw new Failure('the backend refuses it: 422', { retryable: false });
    };
    await outbox.add(result('a', 'bad'));
    await outbox.add(result('a', 'good'));
    await until('the good one', () => receiver.once('a').length === 1);
    const [failed, ...more] = await until('the failed job', async () => {
      const jobs = await queue.getFailed();
      return jobs.length > 0 ? jobs : undefined;
    });
    expect(more).toEqual([]);
    expect(failed).toMatchObject({ name: 'refused', failedReason: 'the backend refuses it: 422' });
    expect(failed?.data.entry).toMatchObject({ kind: 'result', host: 'a', payload: 'bad' });
    expect(dropped).toEqual(['a result refused']);
    expect(outbox.stats().dropped).toEqual({ full: 0, refused: 1 });
    receiver.rule = () => undefined;
    await failed?.retry();
    await until('the retried one', () => receiver.once('a').includes('bad'));
  });

  it('drops the oldest events of the whole fleet when it is full, and never a result', async () => {
    receiver.rule = () => {
      throw new Failure('away');
    };
    const backoff = { baseMs: 60_000, capMs: 60_000, factor: 1 };
    const outbox = await start({ limits: { entriesMax: 5 }, backoff });
    for (const entry of [event('a', 1), result('a', 2), event('b', 3), result('b', 4), event('a', 5)])
      await outbox.add(entry);
    await until('the store to have them', () => outbox.stats().untaken === 0);
    for (const entry of [event('c', 6), result('c', 7), result('c', 8), event('d', 9)])
      await outbox.add(entry);
    await until('four drops', () => dropped.length === 4);
    expect(dropped).toEqual(['a event full', 'b event full', 'a event full', 'c event full']);
    receiver.rule = () => undefined;
    await outbox.close();
    opened = [];
    await start({ limits: { entriesMax: 5 } });
    await until('the rest', () => receiver.taken.length === 5);
    const left = receiver.taken.map(({ host, payload }) => `${host} ${payload}`).sort();
    expect(left).toEqual(['a 2', 'b 4', 'c 7', 'c 8', 'd 9']);
  });

  it('bounds the bytes too, and takes results beyond them', async () => {
    receiver.rule = () => {
      throw new Failure('away');
    };
    const outbox = await start({ limits: { bytesMax: 20_000 } });
    for (let n = 0; n < 10; n++) await outbox.add(event('a', 'x'.repeat(4_000)));
    for (let n = 0; n < 10; n++) await outbox.add(result('a', 'x'.repeat(4_000)));
    await until('the store to have them', () => outbox.stats().untaken === 0 && outbox.stats().depth === 10);
    expect(outbox.stats().bytes).toBeGreaterThan(40_000);
    expect(dropped).toEqual(Array(10).fill('a event full'));
  });

  it('goes on after a restart where it was, with the same ids and the next numbers', async () => {
    const before = await start();
    receiver.rule = () => {
      throw new Failure('away');
    };
    const added = [];
    for (let n = 0; n < 5; n++) added.push(await before.add(event('a', n)));
    await until('a try', () => receiver.begun.length > 0);
    expect(before.stats().oldestAgeMs).toBeGreaterThan(0);
    await before.close();
    receiver.rule = () => undefined;
    const after = await start();
    const last = await after.add(event('a', 5));
    await until('all', () => receiver.taken.length === 6, { timeoutMs: 3_000 });
    expect(receiver.taken).toEqual([...added, last]);
    expect(last.sequence).toBe((added.at(-1)?.sequence ?? 0) + 1);
  });

  it('gives each collector on a shared store its own, soon', async () => {
    const other = new Receiver();
    const otherDir = await mkdtemp(join(tmpdir(), 'outbox-'));
    const one = await start();
    const two = await start({ instanceId: 'two', dataDir: otherDir, deliver: other.deliver });
    for (let n = 0; n < 10; n++) {
      await Promise.all([one.add(event(`a${n}`, n)), two.add(event(`a${n}`, n))]);
      const both = () => receiver.taken.length === n + 1 && other.taken.length === n + 1;
      await until('both', both, { timeoutMs: 2_000 });
    }
    const mine = async (dir: string) => (await queue.getJobs()).filter((job) => job.data.instance === dir);
    await until(
      'no job to be left',
      async () => [...(await mine('one')), ...(await mine('two'))].length === 0,
    );
    await two.close();
    await rm(otherDir, { recursive: true });
  });

  it('gives every host its turn, however much another one has', async () => {
    const outbox = await start({ concurrency: 1 });
    receiver.rule = () => until('the gate', () => gate);
    let gate = false;
    for (let n = 0; n < 300; n++) void outbox.add(event('much', n));
    await outbox.add(event('little', 0));
    await until('the store to have them', () => outbox.stats().untaken === 0);
    gate = true;
    await until('the little one', () => receiver.once('little').length === 1);
    expect(receiver.once('much').length).toBeLessThan(200);
    await until('all', () => receiver.taken.length === 301);
    expect(receiver.once('much')).toEqual([...Array(300).keys()]);
  });

  it('ends in time while a delivery hangs, and refuses what comes after', async () => {
    const outbox = await start();
    receiver.rule = () => new Promise(() => undefined);
    await outbox.add(event('a'));
    await until('the delivery', () => receiver.begun.length === 1);
    const watch = new Stopwatch();
    await outbox.close(2_000);
    expect(watch.ms).toBeLessThan(2_500);
    await expect(outbox.add(event('a'))).rejects.toThrow(/closed/);
    receiver.rule = () => undefined;
    await start();
    await until('the entry', () => receiver.taken.length === 1);
  });
});
