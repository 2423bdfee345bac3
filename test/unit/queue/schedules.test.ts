import { describe, expect, it } from 'vitest';
import {
  diagnose,
  offsetMs,
  type PollSchedule,
  PollSchedules,
  planReconcile,
  type SchedulerQueue,
  scheduleId,
} from '../../../src/queue/schedules.js';

const schedule = (host: string, intervalMs = 15_000): PollSchedule => ({ host, poller: 'vms', intervalMs });
const wanted = (...list: PollSchedule[]) => new Map(list.map((one) => [scheduleId(one), one]));
const wall = 1_800_000_000_000;

describe('places in the interval', () => {
  it('are the same every time, never 0, and always inside the interval', () => {
    for (const intervalMs of [2, 1_000, 15_000, 300_000]) {
      for (let n = 0; n < 200; n++) {
        const one = schedule(`kvm-${n}`, intervalMs);
        const offset = offsetMs(one);
        expect(offset).toBe(offsetMs({ ...one }));
        expect(offset).toBeGreaterThanOrEqual(1);
        expect(offset).toBeLessThan(intervalMs);
      }
    }
  });

  it('spread a fleet: no tenth of the interval has much more than a tenth of 1,000 hosts', () => {
    const buckets = new Array<number>(10).fill(0);
    for (let n = 0; n < 1_000; n++) {
      const tenth = Math.floor(
        offsetMs(schedule(`kvm-${String(n).padStart(4, '0')}.ams1.example.net`)) / 1_500,
      );
      buckets[tenth] = (buckets[tenth] ?? 0) + 1;
    }
    expect(Math.min(...buckets)).toBeGreaterThan(60);
    expect(Math.max(...buckets)).toBeLessThan(145);
  });

  it('keep the two polls of a host apart', () => {
    expect(offsetMs(schedule('kvm-01'))).not.toBe(offsetMs({ ...schedule('kvm-01'), poller: 'system' }));
  });

  it('ids hold no colon', () => {
    expect(scheduleId(schedule('kvm-01.example.net'))).toBe('kvm-01.example.net_vms');
  });
});

describe('planReconcile', () => {
  const stored = (id: string, everyMs = 15_000, nextMs = wall + 5_000) => ({ id, everyMs, nextMs });
  const all = () => true;

  it('touches only what differs', () => {
    const plan = planReconcile(
      wanted(schedule('same'), schedule('slower', 60_000), schedule('new')),
      [stored('same_vms'), stored('slower_vms'), stored('gone_vms')],
      all,
      wall,
    );
    expect(plan.kept).toBe(1);
    expect(plan.set.map(({ host }) => host)).toEqual(['slower', 'new']);
    expect(plan.remove).toEqual(['gone_vms']);
    expect(plan.thaw).toEqual([]);
  });

  it('leaves what another replica may want', () => {
    const plan = planReconcile(
      wanted(),
      [stored('mine_vms'), stored('theirs_vms')],
      (id) => id === 'mine_vms',
      wall,
    );
    expect(plan.remove).toEqual(['mine_vms']);
  });

  it('thaws a scheduler that the wall clock left behind', () => {
    const plan = planReconcile(wanted(schedule('a')), [stored('a_vms', 15_000, wall + 3_600_000)], all, wall);
    expect(plan.thaw.map(({ host }) => host)).toEqual(['a']);
  });
});

describe('diagnose', () => {
  it.each([
    ['no scheduler', undefined, undefined, 'missing'],
    ['next run an hour ahead', wall + 3_600_000, undefined, 'frozen'],
    ['next run more than an interval ago', wall - 15_000, undefined, 'behind'],
    ['next run just due, about to be taken', wall - 5, undefined, 'moving'],
    ['next run just due, and it is the one seen before', wall - 5, wall - 5, 'behind'],
    ['next run ahead, first look', wall + 5_000, undefined, 'moving'],
    ['next run moved on since', wall + 5_000, wall - 10_000, 'moving'],
    ['next run ahead but it is the one seen before', wall + 5_000, wall + 5_000, 'behind'],
  ] as const)('%s', (_name, next, seen, expected) => {
    expect(diagnose(next, seen, 15_000, wall)).toBe(expected);
  });
});

describe('PollSchedules', () => {
  it('moves a scheduler whose places are taken by kept jobs', async () => {
    const offsets: number[] = [];
    const removed: string[] = [];
    const queue = {
      async upsertJobScheduler(_id: string, { offset = 0 }: { offset?: number }) {
        offsets.push(offset);
        if (offsets.length < 3)
          throw new Error('Cannot create job scheduler iteration - time slots already have jobs.');
      },
      async removeJobScheduler(id: string) {
        removed.push(id);
        return true;
      },
    } as unknown as SchedulerQueue;
    await new PollSchedules(
      queue,
      () => wall,
      () => 0.5,
    ).renew(schedule('a'));
    expect(new Set(offsets).size).toBe(3);
    expect(removed).toEqual(['a_vms', 'a_vms', 'a_vms']);
  });

  it('gives up on another error', async () => {
    const queue = {
      upsertJobScheduler: () => Promise.reject(new Error('OOM command not allowed')),
      removeJobScheduler: async () => true,
    } as unknown as SchedulerQueue;
    await expect(new PollSchedules(queue, () => wall).renew(schedule('a'))).rejects.toThrow('OOM');
  });
});
