import { describe, expect, it } from 'vitest';
import { Chronicle } from '../../../src/http/chronicle.js';
import type { VmSample } from '../../../src/pollers/vms.js';
import { FakeClock } from '../../support/fake-clock.js';
import { aVm } from '../../support/pages.js';
import { systemSample } from '../metrics/fixtures.js';

const uuid = aVm('web-1').domain.uuid;

async function chronicleOf(...samples: Partial<VmSample>[]) {
  const clock = new FakeClock();
  const chronicle = new Chronicle(clock);
  for (const [index, over] of samples.entries()) {
    if (index > 0) await clock.advance(10_000);
    chronicle.onSample('kvm-1', 'vms', { takenAtMs: 0, vms: [{ ...aVm('web-1'), ...over }] });
  }
  const latest = (series: Parameters<typeof chronicle.history.latestOfVm>[2]) =>
    chronicle.history.latestOfVm('kvm-1', uuid, series);
  return { clock, chronicle, latest };
}

const disk = (read: number) => ({
  blocks: [
    { name: 'vda', 'rd.bytes': read },
    { name: 'vdb', 'rd.bytes': 5 },
  ],
});

describe('figures of a VM', () => {
  it('are rates over the time between two samples, all devices together', async () => {
    const { latest } = await chronicleOf(
      { cpu: { time: 1e9 }, ...disk(1_000) },
      { cpu: { time: 6e9 }, ...disk(21_000) },
    );
    expect(latest('cpuPercent')).toBe(50);
    expect(latest('diskReadBytesPerSecond')).toBe(2_000);
    expect(latest('diskWriteBytesPerSecond')).toBeUndefined();
    expect(latest('memoryUsedBytes')).toBe(50_000 * 1024);
  });

  it('are absent when they cannot be known: first sample, a counter that went back, another start, switched off', async () => {
    const { domain } = aVm('web-1');
    expect((await chronicleOf({ cpu: { time: 1e9 } })).latest('cpuPercent')).toBeUndefined();
    for (const second of [
      { cpu: { time: 1e8 } },
      { cpu: { time: 9e9 }, domain: { ...domain, id: 4 } },
      { cpu: { time: 9e9 }, domain: { ...domain, id: -1 } },
      { cpu: {} },
    ]) {
      expect((await chronicleOf({ cpu: { time: 1e9 } }, second)).latest('cpuPercent')).toBeUndefined();
    }
  });

  it('say since when a VM is in its state, and since when it is busy', async () => {
    const crashed = { state: { state: 6, reason: 0 } };
    const { chronicle } = await chronicleOf({}, { ...crashed, busy: true }, { ...crashed, busy: true });
    const atMs = Date.UTC(2026, 0, 1) + 10_000;
    expect(chronicle.vmSince('kvm-1', uuid)).toMatchObject({ stateSinceMs: atMs, busySinceMs: atMs });
    const { chronicle: before } = await chronicleOf({}, {});
    expect(before.vmSince('kvm-1', uuid)?.stateSinceMs).toBeUndefined();
    expect(before.vmSince('kvm-1', uuid)?.busySinceMs).toBeUndefined();
  });
});

describe('figures of a host', () => {
  it('leave out loopback and the guests’ ends of interfaces, and need two samples for a rate', async () => {
    const clock = new FakeClock();
    const chronicle = new Chronicle(clock);
    const base = systemSample();
    const [net] = base.netDevices ?? [];
    if (!net) throw new Error('the fixture has an interface');
    const at = (bytes: number) => ({
      ...base,
      meminfo: { MemTotal: 100, MemAvailable: 30 },
      netDevices: ['eth0', 'lo', 'vnet3'].map((device) => ({ ...net, device, receiveBytes: bytes })),
    });
    chronicle.onSample('kvm-1', 'system', at(0));
    expect(chronicle.history.latestOfHost('kvm-1', 'netReceiveBytesPerSecond')).toBeUndefined();
    expect(chronicle.history.latestOfHost('kvm-1', 'memoryUsedBytes')).toBe(70);
    await clock.advance(10_000);
    chronicle.onSample('kvm-1', 'system', at(5_000));
    expect(chronicle.history.latestOfHost('kvm-1', 'netReceiveBytesPerSecond')).toBe(500);
  });
});

it('follows the depth of the queue until it is told to stop, and leaves a gap while the store is away', async () => {
  const clock = new FakeClock();
  const chronicle = new Chronicle(clock);
  let away = false;
  const stop = chronicle.followQueue(async () => (away ? undefined : { waiting: 2, delayed: 1, active: 4 }));
  await clock.advance(15_000);
  away = true;
  await clock.advance(15_000);
  expect(chronicle.history.fleet('jobsWaiting').slice(-3)).toEqual([3, 3, undefined]);
  expect(chronicle.history.fleet('jobsActive').slice(-3)).toEqual([4, 4, undefined]);
  stop();
  await clock.advance(60_000);
  expect(clock.pending).toBe(0);
});
