// What happens to the service itself: its store dies, its wall clock steps back, its inventory changes or breaks, it is told
// to stop while things hang. Polls go on throughout.
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, raiseLab } from '../../lab/lab.js';
import { Service } from '../support/outrigger.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

const intervalMs = 2_000;
/** SIGTERM promises this. */
/** Nothing waits for a store that is gone. */
const deadStoreStopWithinMs = 10_000;
const stopWithinMs = 30_000;
const stepClock = fileURLToPath(new URL('../support/step-wall-clock.mjs', import.meta.url));

let lab: Lab;

beforeAll(async () => {
  lab = await raiseLab({ name: 'service', hosts: 2, guests: 0 });
});

afterAll(() => lab?.down());

const started = (env: Record<string, string> = {}) =>
  Service.start(lab.inventoryFile, { AGENT_POLL_INTERVAL: String(intervalMs / 1000), ...env });

/** Of the samples that are taken at the poll interval; others are older by their nature. */
async function oldestSampleMs(service: Service): Promise<number> {
  const page = await service.page();
  const ages = ['vms', 'system']
    .flatMap((poller) => page.find('outrigger_host_sample_age_seconds', { poller }))
    .map(([, seconds]) => seconds * 1000);
  return ages.length === lab.hosts.length * 2 ? Math.max(...ages) : Number.POSITIVE_INFINITY;
}

const fresh = (service: Service) =>
  until('every sample to be fresh', async () => (await oldestSampleMs(service)) < intervalMs + 500, {
    timeoutMs: 30_000,
  });

/** Watches for `forMs` and returns the oldest that any sample ever was. */
async function watch(service: Service, forMs: number): Promise<number> {
  const endMs = performance.now() + forMs;
  let oldestMs = 0;
  while (performance.now() < endMs) {
    oldestMs = Math.max(oldestMs, await oldestSampleMs(service));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return oldestMs;
}

function storePid(service: Service): number {
  return Number(service.logged('store up').at(-1)?.pid);
}

describe('the store', () => {
  it('killed: polls go on, /readyz and the metric say so, and it comes back', async () => {
    await using service = await started();
    await fresh(service);
    const pid = storePid(service);
    process.kill(pid, 'SIGKILL');
    expect(await watch(service, 6 * intervalMs)).toBeLessThan(3 * intervalMs);
    await until(
      'the store to be back',
      async () => (await service.page()).value('outrigger_store_up') === 1,
      {
        timeoutMs: 30_000,
      },
    );
    expect(storePid(service)).not.toBe(pid);
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    expect(service.logged('store away, polls go on without it').length).toBeGreaterThanOrEqual(1);
  });

  it('hung: polls go on, and SIGTERM still ends the service in time', async () => {
    await using service = await started();
    await fresh(service);
    const pid = storePid(service);
    process.kill(pid, 'SIGSTOP');
    try {
      await until('/readyz to say so', async () => (await fetch(`${service.url}/readyz`)).status === 503, {
        timeoutMs: 20_000,
      });
      expect((await service.page()).value('outrigger_store_up')).toBe(0);
      expect(await watch(service, 4 * intervalMs)).toBeLessThan(4 * intervalMs);
      const ending = new Stopwatch();
      expect(await service.stop(stopWithinMs)).toBe(0);
      expect(ending.ms).toBeLessThan(stopWithinMs);
    } finally {
      if (isRunning(pid)) process.kill(pid, 'SIGKILL');
    }
    expect(isRunning(pid)).toBe(false);
  });

  it('dead when SIGTERM comes: ends in time, with code 0', async () => {
    await using service = await started();
    await fresh(service);
    process.kill(storePid(service), 'SIGKILL');
    const ending = new Stopwatch();
    expect(await service.stop(stopWithinMs)).toBe(0);
    expect(ending.ms).toBeLessThan(deadStoreStopWithinMs);
  });
});

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

describe('the wall clock', () => {
  it('stepped back an hour: the schedulers are repaired and counted, and polls go on', async () => {
    await using service = await started({ NODE_OPTIONS: `--import=${stepClock}` });
    await fresh(service);
    service.child.kill('SIGUSR2');
    expect(await watch(service, 8 * intervalMs)).toBeLessThan(5 * intervalMs);
    await service.pageWhen(
      'the repairs',
      (page) => (page.value('outrigger_scheduler_repairs_total') ?? 0) >= 4,
    );
    await fresh(service);
    expect(await watch(service, 3 * intervalMs)).toBeLessThan(intervalMs + 1_500);
  });
});

describe('the inventory', () => {
  it('a host added, one removed, a mistake: the other host is not touched', async () => {
    const [first, second] = lab.hosts;
    if (!first || !second) throw new Error('the lab has two hosts');
    const file = join(lab.dir, 'changing.yaml');
    const both = await readFileSync(lab.inventoryFile, 'utf8');
    const one = both.slice(0, both.indexOf(`  - name: ${second.name}`));
    await writeFile(file, one);
    await using service = await Service.start(file);
    await service.pageWhen(
      'the first host',
      (page) => page.value('outrigger_host_up', { instance: first.name }) === 1,
    );
    await writeFile(file, both);
    await service.pageWhen(
      'the second host',
      (page) => page.value('outrigger_host_up', { instance: second.name }) === 1,
    );
    await writeFile(file, both.replace('hosts:', 'hots:'));
    await service.pageWhen('the mistake to show', (page) => page.value('outrigger_inventory_valid') === 0);
    const ready = (await (await fetch(`${service.url}/readyz`)).json()) as {
      checks: { inventory: { detail: string } };
    };
    expect(ready.checks.inventory.detail).toContain(`${file}:`);
    expect((await service.page()).value('outrigger_inventory_hosts')).toBe(2);
    await writeFile(file, one);
    service.child.kill('SIGHUP');
    await service.pageWhen(
      'the second host to go',
      (page) => page.find('outrigger_host_up', { instance: second.name }).length === 0,
    );
    expect((await service.page()).value('outrigger_inventory_valid')).toBe(1);
    expect(service.logged('host state changed', { host: first.name })).toHaveLength(1);
  });
});
