import { describe, expect, it } from 'vitest';
import { History, vmsKeptMax } from '../../../src/fleet/history.js';
import { eventsPerHostMax, RecentEvents } from '../../../src/fleet/recent-events.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('history', () => {
  it('keeps one number a step, the newest last, and leaves a gap where nothing came', async () => {
    const clock = new FakeClock();
    const history = new History(clock);
    history.putHost('kvm-1', { load1: 1 });
    history.putHost('kvm-1', { load1: 2 });
    await clock.advance(30_000);
    history.putHost('kvm-1', { load1: 3 });
    const points = history.host('kvm-1', 'load1') ?? [];
    expect(points).toHaveLength(240);
    expect(points.slice(-4)).toEqual([undefined, 2, undefined, 3]);
    await clock.advance(15_000);
    expect(history.host('kvm-1', 'load1')?.slice(-2)).toEqual([3, undefined]);
  });

  it('forgets what is older than an hour, and what a long silence left behind', async () => {
    const clock = new FakeClock();
    const history = new History(clock);
    for (let step = 0; step < 300; step++) {
      history.putHost('kvm-1', { load1: step });
      await clock.advance(15_000);
    }
    const points = history.host('kvm-1', 'load1') ?? [];
    expect(points.slice(0, 2)).toEqual([61, 62]);
    expect(points.slice(-2)).toEqual([299, undefined]);
    await clock.advance(10 * 3_600_000);
    expect(history.host('kvm-1', 'load1')?.every((point) => point === undefined)).toBe(true);
  });

  it('tells the newest figure as it was, and none when the newest sample had none', () => {
    const history = new History(new FakeClock());
    history.putHost('kvm-1', { load1: 1.1, cpuPercent: 50 });
    expect(history.latestOfHost('kvm-1', 'load1')).toBe(1.1);
    history.putHost('kvm-1', { load1: undefined, vmsRunning: 3 });
    expect(history.latestOfHost('kvm-1', 'load1')).toBeUndefined();
    expect(history.latestOfHost('kvm-1', 'cpuPercent')).toBe(50);
    expect(history.host('kvm-1', 'load1')?.at(-1)).toBeCloseTo(1.1);
    expect(history.host('kvm-2', 'load1')).toBeUndefined();
  });

  it('keeps each VM its own figures while others come and go', async () => {
    const clock = new FakeClock();
    const history = new History(clock);
    const put = (...vms: readonly [string, number][]) =>
      history.putVms('kvm-1', new Map(vms.map(([uuid, cpuPercent]) => [uuid, { cpuPercent }])));
    const newest = (uuid: string) => history.vm('kvm-1', uuid, 'cpuPercent')?.slice(-2);
    put(['a', 1], ['b', 2], ['c', 3]);
    await clock.advance(60_000);
    put(['b', 20], ['c', 30]);
    expect([newest('b'), newest('c')]).toEqual([
      [2, 20],
      [3, 30],
    ]);
    put(['b', 21], ['c', 31], ['a', 11], ['d', 41]);
    expect(newest('a')).toEqual([undefined, 11]);
    expect(newest('d')).toEqual([undefined, 41]);
    expect(newest('c')).toEqual([3, 31]);
    expect(history.latestOfVm('kvm-1', 'b', 'cpuPercent')).toBe(21);
    put();
    put(['c', 5]);
    expect(newest('c')).toEqual([undefined, 5]);
  });

  it('forgets VMs that are gone, hosts that left, and takes in no more VMs than it may', () => {
    const history = new History(new FakeClock());
    const many = new Map(
      Array.from({ length: vmsKeptMax }, (_, index) => [`uuid-${index}`, { cpuPercent: index }]),
    );
    history.putVms('kvm-1', many);
    history.putVms('kvm-2', new Map([['late', { cpuPercent: 1 }]]));
    expect(history.latestOfVm('kvm-1', 'uuid-7', 'cpuPercent')).toBe(7);
    expect(history.vm('kvm-2', 'late', 'cpuPercent')).toBeUndefined();
    history.putVms('kvm-1', new Map([['uuid-7', { cpuPercent: 8 }]]));
    expect(history.vm('kvm-1', 'uuid-8', 'cpuPercent')).toBeUndefined();
    history.putVms('kvm-2', new Map([['late', { cpuPercent: 1 }]]));
    expect(history.latestOfVm('kvm-2', 'late', 'cpuPercent')).toBe(1);
    history.retain(new Set(['kvm-2']));
    expect(history.vm('kvm-1', 'uuid-7', 'cpuPercent')).toBeUndefined();
  });
});

describe('recent events', () => {
  it('are bounded, newest first, found by VM, and gone with their host', () => {
    const events = new RecentEvents(new FakeClock());
    for (let index = 0; index <= eventsPerHostMax; index++) {
      const vm = { name: 'x'.repeat(1_000), uuid: `uuid-${index % 2}` };
      events.add('kvm-1', { event: 'started', detail: `${index}`, vm });
    }
    const all = events.of('kvm-1');
    expect(all).toHaveLength(eventsPerHostMax);
    expect(all[0]).toMatchObject({ detail: `${eventsPerHostMax}`, vm: { name: 'x'.repeat(255) } });
    expect(events.of('kvm-1', 'uuid-1').every(({ vm }) => vm?.uuid === 'uuid-1')).toBe(true);
    events.retain(new Set());
    expect(events.of('kvm-1')).toEqual([]);
  });
});
