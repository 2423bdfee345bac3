// The model without any wire: figures are functions of seed and time, and grow as counters do.
import { describe, expect, it } from 'vitest';
import { DomainStatsDecoder } from '../../../src/libvirt/stats-decoder.js';
import { Churn } from '../../../src/sim/churn.js';
import { driftOf, levelOf, totalOf } from '../../../src/sim/drift.js';
import { type Fault, Faults } from '../../../src/sim/faults.js';
import { SimHost } from '../../../src/sim/host.js';
import { procFiles } from '../../../src/sim/proc.js';
import { randomAt, seededRandom } from '../../../src/sim/random.js';
import { allDomainStats } from '../../../src/sim/stats.js';
import { plain } from '../../support/domstats.js';
import { FakeClock } from '../../support/fake-clock.js';

const aHost = (clock = new FakeClock(), seed = 3, vms = 4) =>
  new SimHost({ name: 'kvm-01', seed, vms, clock });

const statsOf = (host: SimHost) =>
  new DomainStatsDecoder()
    .decode(Buffer.from(allDomainStats(host, { doms: [], stats: 0, flags: 0 })))
    .map(plain);

describe('drift', () => {
  it('never goes back, and keeps to its mean', () => {
    const drift = driftOf(5, 100);
    let before = 0;
    for (let ms = 0; ms < 3_600_000; ms += 777) {
      const total = totalOf(drift, ms);
      expect(total).toBeGreaterThanOrEqual(before);
      before = total;
      expect(levelOf(drift, ms)).toBeGreaterThan(0.3);
    }
    expect(before / 3600 / drift.perS).toBeGreaterThan(0.5);
    expect(before / 3600 / drift.perS).toBeLessThan(1.5);
  });
});

describe('chance', () => {
  it('is mulberry32, drawn one after the other or at once', () => {
    const random = seededRandom(1);
    const drawn = [random(), random(), random()];
    expect(drawn).toEqual([0, 1, 2].map((index) => randomAt(1, index)));
    expect(drawn).toEqual([0.6270739405881613, 0.002735721180215478, 0.5274470399599522]);
  });
});

describe('a host', () => {
  it('is the same for the same seed and time, and another for another seed', () => {
    expect(statsOf(aHost())).toEqual(statsOf(aHost()));
    expect(statsOf(aHost())).not.toEqual(statsOf(aHost(new FakeClock(), 4)));
  });

  it('says whole figures of any number of VMs, and again in the same room', () => {
    const [small, large] = [aHost(), aHost(new FakeClock(), 3, 1_000)];
    const before = statsOf(small);
    const told = statsOf(large);
    expect(told.map(({ domain }) => domain)).toEqual([...large.vms].map(({ ref }) => ref));
    expect(told.every(({ cpu }) => cpu.time !== undefined)).toBe(true);
    expect(statsOf(small)).toEqual(before);
  });

  it('moves with the clock; a VM that stands still does not', async () => {
    const clock = new FakeClock();
    const host = aHost(clock);
    const [first, second] = [...host.vms].filter(({ active }) => active);
    if (!first || !second) throw new Error('too few run');
    host.suspend(second);
    const cpu = () => new Map(statsOf(host).map(({ domain, cpu }) => [domain.name, cpu.time ?? 0]));
    const before = cpu();
    await clock.advance(60_000);
    const after = cpu();
    expect(after.get(first.name)).toBeGreaterThan(before.get(first.name) ?? 0);
    expect(after.get(second.name)).toBe(before.get(second.name));
  });

  it('counts in /proc only go up', async () => {
    const clock = new FakeClock();
    const host = aHost(clock);
    const numbers = (path: string) =>
      (procFiles[path]?.(host, host.nowMs()) ?? '').match(/\d+/g)?.map(Number) ?? [];
    for (const path of [
      '/proc/net/dev',
      '/proc/net/netstat',
      '/proc/net/snmp',
      '/proc/diskstats',
      '/proc/schedstat',
    ]) {
      const before = numbers(path);
      await clock.advance(15_000);
      const after = numbers(path);
      expect(after).toHaveLength(before.length);
      expect(after.filter((value, index) => value < (before[index] ?? 0))).toEqual([]);
    }
  });

  it('a guest that is asked to end does so in its time, unless it was started anew', async () => {
    const clock = new FakeClock();
    const host = aHost(clock);
    const vm = [...host.vms].find(({ active }) => active);
    if (!vm) throw new Error('none runs');
    host.shutdown(vm);
    expect(vm.active).toBe(true);
    host.destroy(vm);
    host.create(vm);
    await clock.advance(10_000);
    expect(vm.active).toBe(true);
    host.shutdown(vm);
    await clock.advance(10_000);
    expect(vm.active).toBe(false);
  });

  it('has no timers of its own', () => {
    const clock = new FakeClock();
    aHost(clock, 3, 100);
    expect(clock.pending).toBe(0);
  });
});

describe('churn', () => {
  it('gives birth, kills and tells of both; it never lets VMs pile up, and it stops', async () => {
    const clock = new FakeClock();
    const host = aHost(clock);
    const events: string[] = [];
    host.listen(({ event }) => events.push(String(event)));
    const churn = new Churn([host], { perMinute: 60, seed: 1, clock });
    churn.start();
    await clock.advance(10 * 60_000);
    expect(new Set(events)).toEqual(new Set(['0', '1', '2', '3', '4', '5', '6']));
    expect(host.vmCount).toBeGreaterThanOrEqual(4);
    expect(host.vmCount).toBeLessThanOrEqual(12);
    churn.stop();
    expect(clock.pending).toBe(0);
  });
});

describe('faults', () => {
  const met = (fault: Fault, seed = 1) => {
    const faults = new Faults('kvm-01', [fault], seed);
    return Array.from({ length: 200 }, () => (faults.at('domainGetState') ? 1 : 0) as number);
  };
  const sum = (hits: number[]) => hits.reduce((total, hit) => total + hit, 0);

  it('strike the nth, each, or a share that the seed draws', () => {
    const fault = { host: '*', procedure: 'domainGetState', action: 'drop' } as const;
    expect(sum(met(fault))).toBe(200);
    expect(met({ ...fault, nth: 3 }).indexOf(1)).toBe(2);
    expect(sum(met({ ...fault, nth: 3 }))).toBe(1);
    const share = met({ ...fault, share: 0.25 });
    expect(sum(share)).toBeGreaterThan(25);
    expect(sum(share)).toBeLessThan(75);
    expect(met({ ...fault, share: 0.25 })).toEqual(share);
    expect(met({ ...fault, share: 0.25 }, 2)).not.toEqual(share);
  });

  it('leave other hosts and other points alone', () => {
    expect(sum(met({ host: 'kvm-02', procedure: '*', action: 'drop' }))).toBe(0);
    expect(sum(met({ host: '*', procedure: 'connectOpen', action: 'drop' }))).toBe(0);
    expect(sum(met({ host: '*', procedure: '*', action: 'drop' }))).toBe(200);
    const faults = new Faults('kvm-01', [{ host: '*', procedure: '*', action: 'drop' }], 1);
    expect([faults.at('ssh.connect'), faults.at('sftp /proc/stat')]).toEqual([undefined, undefined]);
  });
});
