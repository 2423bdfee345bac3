import { describe, expect, it } from 'vitest';
import { decide, lateSlackMs, type WatchdogInput, type Watched } from '../../../src/queue/watchdog.js';

const intervalMs = 10_000;
const late = 2 * intervalMs + lateSlackMs;
const now = 1_000_000;

type Case = {
  name: string;
  storeUp: boolean;
  /** Ages in milliseconds before now. */
  since?: number;
  started?: number;
  scheduled?: number;
  repaired?: number;
  trusted?: number;
  running?: boolean;
  expect: 'nothing' | 'poll' | 'repair' | 'poll+repair';
};

const cases: Case[] = [
  { name: 'up, on time', storeUp: true, started: 9_000, scheduled: 9_000, expect: 'nothing' },
  { name: 'up, one interval missed', storeUp: true, started: 20_500, scheduled: 20_500, expect: 'nothing' },
  { name: 'up, late', storeUp: true, started: late + 1, scheduled: late + 1, expect: 'poll+repair' },
  {
    name: 'up, late, polled by the watchdog just now',
    storeUp: true,
    started: 500,
    scheduled: late + 1,
    expect: 'repair',
  },
  {
    name: 'up, repaired a while ago, still nothing scheduled: keeps the rhythm by itself',
    storeUp: true,
    started: intervalMs,
    scheduled: 100_000,
    repaired: 12_000,
    expect: 'poll',
  },
  {
    name: 'up, repair did not help: once more',
    storeUp: true,
    started: 500,
    scheduled: 100_000,
    repaired: late + 1,
    expect: 'repair',
  },
  { name: 'up, never started, young', storeUp: true, since: 15_000, expect: 'nothing' },
  { name: 'up, never started, old', storeUp: true, since: late + 1, expect: 'poll+repair' },
  {
    name: 'store just back: schedulers get time, the poll does not wait',
    storeUp: true,
    started: intervalMs,
    scheduled: 100_000,
    trusted: 100,
    expect: 'poll',
  },
  {
    name: 'up, late, but it still runs',
    storeUp: true,
    started: late + 1,
    scheduled: late + 1,
    running: true,
    expect: 'repair',
  },
  { name: 'down, not due', storeUp: false, started: intervalMs - 1, expect: 'nothing' },
  { name: 'down, due', storeUp: false, started: intervalMs, expect: 'poll' },
  { name: 'down, due, still running', storeUp: false, started: intervalMs, running: true, expect: 'nothing' },
  { name: 'down, long: no repair', storeUp: false, started: 500, scheduled: 500_000, expect: 'nothing' },
  { name: 'down from the start, before its place', storeUp: false, since: 2_999, expect: 'nothing' },
  { name: 'down from the start, at its place', storeUp: false, since: 3_000, expect: 'poll' },
];

function entry({ since = 1_000_000, started, scheduled, repaired, running = false }: Partial<Case>): Watched {
  return {
    schedule: { host: 'kvm-01', poller: 'vms', intervalMs },
    offsetMs: 3_000,
    sinceMs: now - since,
    running,
    ...(started !== undefined && { startedMs: now - started }),
    ...(scheduled !== undefined && { scheduledMs: now - scheduled }),
    ...(repaired !== undefined && { repairedMs: now - repaired }),
  };
}

function input(changes: Partial<WatchdogInput> = {}): WatchdogInput {
  return { nowMs: now, storeUp: true, trustedSinceMs: 0, pollsMax: 10, repairsMax: 10, ...changes };
}

describe('watchdog', () => {
  it.each(cases)('$name', (row) => {
    const { storeUp, trusted } = row;
    const decision = decide(
      [entry(row)],
      input({ storeUp, trustedSinceMs: trusted === undefined ? 0 : now - trusted }),
    );
    const said = [decision.poll.length > 0 && 'poll', decision.repair.length > 0 && 'repair'].filter(Boolean);
    expect(said.join('+') || 'nothing').toBe(row.expect);
  });

  it.each(cases.filter((row) => row.expect === 'nothing' && !row.running))(
    '$name: and says until when there is nothing',
    (row) => {
      const lookAt = (nowMs: number) => decide([entry(row)], input({ nowMs, storeUp: row.storeUp }));
      const { quietUntilMs } = lookAt(now);
      expect(lookAt(quietUntilMs - 1)).toEqual({ poll: [], repair: [], quietUntilMs });
      expect(lookAt(quietUntilMs).poll).toHaveLength(1);
    },
  );

  it('is not quiet while a poll that is due still runs, or a repair had no turn', () => {
    const overdue = { started: late + 1, scheduled: late + 1 };
    expect(decide([entry({ ...overdue, running: true })], input()).quietUntilMs).toBeLessThan(now);
    expect(decide([entry({ ...overdue, started: 1 })], input({ repairsMax: 0 })).quietUntilMs).toBeLessThan(
      now,
    );
  });

  it('starts the most overdue first, no more than it may', () => {
    const entries = [11_000, 30_000, 12_000].map((started) => entry({ started }));
    const { poll } = decide(entries, input({ storeUp: false, pollsMax: 2 }));
    expect(poll.map(({ startedMs }) => now - (startedMs ?? 0))).toEqual([30_000, 12_000]);
    expect(decide(entries, input({ storeUp: false, pollsMax: 0 })).poll).toEqual([]);
    expect(decide(entries, input({ storeUp: false, pollsMax: -3 })).poll).toEqual([]);
  });

  it('bounds the repairs of one look', () => {
    const entries = Array.from({ length: 5 }, () => entry({ started: 500, scheduled: late + 1 }));
    expect(decide(entries, input({ repairsMax: 2 })).repair).toHaveLength(2);
  });
});
