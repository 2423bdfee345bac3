// What events and polls together say of VMs, and what a gap takes away.
import { beforeEach, describe, expect, it } from 'vitest';
import { DomainEvents } from '../../../src/fleet/domain-events.js';
import { lifecycleEvent } from '../../../src/libvirt/events.js';
import type { DomainRef } from '../../../src/libvirt/procedures.js';
import { domainStats } from '../metrics/fixtures.js';

const uuid = '5c0a9b1e-2f53-4f5c-9d8e-1f2a3b4c5d6e';
const host = 'kvm-01';
const booted = { state: 1, reason: 1 };
const unpaused = { state: 1, reason: 5 };
const paused = { state: 3, reason: 1 };
const off = { state: 5, reason: 2 };
/** virDomainEventType, and the first details of each. */
const started = [2, 0] as const;
const suspended = [3, 0] as const;
const resumed = [4, 0] as const;
const stopped = [5, 1] as const;

let events: DomainEvents;
beforeEach(() => {
  events = new DomainEvents();
  events.opened(host);
});

const dom = (id: number): DomainRef => ({ name: 'web-1', uuid, id });
const poll = (atMs: number, state: { state: number; reason: number }, id = 3) =>
  events.polled(host, [domainStats('web-1', { state, domain: dom(id) })], atMs);
const event = ([kind, detail]: readonly [number, number], at: number, id = 3) =>
  events.event(host, lifecycleEvent({ dom: dom(id), event: kind, detail }, at));
const sinceMs = () => events.change(host, uuid)?.sinceMs;

describe('since when a VM is in its state', () => {
  it('is not known of one that was so when it was first seen', () => {
    poll(1_000_000, booted);
    expect(events.change(host, uuid)).toMatchObject({ state: 'running', reason: 'booted' });
    expect(sinceMs()).toBeUndefined();
  });

  it('is when the event came', () => {
    poll(1_000_000, booted);
    event(suspended, 1_007_000);
    poll(1_007_250, paused);
    expect(events.change(host, uuid)).toMatchObject({ state: 'paused', reason: 'user', sinceMs: 1_007_000 });
    poll(1_022_000, paused);
    poll(1_037_000, paused);
    expect(sinceMs()).toBe(1_007_000);
  });

  it('is the event also when a poll that was under way then still shows the state before', () => {
    poll(1_000_000, booted);
    event(suspended, 1_007_000);
    poll(1_007_010, booted);
    poll(1_007_300, paused);
    expect(sinceMs()).toBe(1_007_000);
  });

  it('is the poll that shows it where no event came, but only soon after the poll before', () => {
    poll(1_000_000, booted);
    poll(1_015_000, paused);
    expect(sinceMs()).toBe(1_015_000);
    poll(1_200_000, unpaused);
    expect(sinceMs()).toBeUndefined();
  });

  it('is anew where it went and came back between two polls', () => {
    poll(1_000_000, unpaused);
    event(suspended, 1_007_000);
    event(resumed, 1_008_000);
    poll(1_008_250, unpaused);
    expect(sinceMs()).toBe(1_008_000);
  });

  it('is not known after a gap, whether the state looks the same or not', () => {
    for (const gap of [
      () => events.opened(host),
      () => events.event(host, { event: 'lost', count: 4, at: 1_009_000 }),
    ]) {
      poll(1_000_000, booted);
      event(suspended, 1_007_000);
      poll(1_007_250, paused);
      expect(sinceMs()).toBe(1_007_000);
      gap();
      expect(sinceMs()).toBeUndefined();
      poll(1_009_500, paused);
      expect(sinceMs()).toBeUndefined();
      poll(1_024_500, paused);
      expect(sinceMs()).toBeUndefined();
      gap();
      poll(1_025_000, booted, 4);
      expect(sinceMs()).toBeUndefined();
      event(stopped, 1_030_000, 4);
      poll(1_030_250, off, -1);
      expect(sinceMs()).toBe(1_030_000);
    }
  });

  it('does not change when the VM is defined anew or its guest reboots', () => {
    poll(1_000_000, booted);
    event(suspended, 1_007_000);
    poll(1_007_250, paused);
    event([0, 1], 1_020_000);
    poll(1_020_250, paused);
    expect(sinceMs()).toBe(1_007_000);
  });

  it('goes with the VM', () => {
    poll(1_000_000, booted);
    events.polled(host, [], 1_015_000);
    expect(events.change(host, uuid)).toBeUndefined();
  });
});

describe('the start that an event told', () => {
  it('is that of one life of the VM', () => {
    event(started, 1_000_000);
    poll(1_000_250, booted);
    poll(1_015_000, booted);
    expect(events.startedAtMs(host, dom(3))).toBe(1_000_000);
    expect(events.startedAtMs(host, dom(4))).toBeUndefined();
    poll(1_030_000, off, -1);
    expect(events.startedAtMs(host, dom(3))).toBeUndefined();
  });

  it('is not known after a gap: ids begin anew with the host', () => {
    event(started, 1_000_000);
    events.opened(host);
    expect(events.startedAtMs(host, dom(3))).toBeUndefined();
  });
});

describe('counts', () => {
  const countOf = (event: string, detail: string) =>
    [...(events.counts(host)?.events ?? [])].find((one) => one.event === event && one.detail === detail)
      ?.count;

  it('begin at 0 for every kind there is, and count each', () => {
    expect(countOf('crashed', 'panicked')).toBe(0);
    expect(countOf('stopped', 'crashed')).toBe(0);
    expect(countOf('rebooted', '')).toBe(0);
    event(stopped, 1);
    event(stopped, 2);
    expect(countOf('stopped', 'destroyed')).toBe(2);
    expect(countOf('stopped', 'crashed')).toBe(0);
  });

  it('tell gaps, of which the first connection is none', () => {
    expect(events.counts(host)?.gaps).toBe(0);
    events.opened(host);
    events.event(host, { event: 'lost', count: 4, at: 1 });
    expect(events.counts(host)?.gaps).toBe(2);
  });

  it('are bounded, whatever numbers a host sends', () => {
    const before = [...(events.counts(host)?.events ?? [])].length;
    for (let detail = 1_000; detail < 3_000; detail++) event([5, detail], detail);
    const after = [...(events.counts(host)?.events ?? [])];
    expect(after.length).toBeLessThanOrEqual(before + 65);
    expect(after.reduce((sum, { count }) => sum + count, 0)).toBe(2_000);
  });

  it('are not there for a host that was never connected, nor for one that left the inventory', () => {
    expect(events.counts('other')).toBeUndefined();
    events.retain(new Set(['other']));
    expect(events.counts(host)).toBeUndefined();
  });
});
