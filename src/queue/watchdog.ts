// Freshness does not rest on the scheduler: this looks, on the monotonic clock, at when each (host, poller) was last
// started. While the store is away it asks for the polls itself, in the rhythm and places they had. While the store is
// there and a poll did not come, it asks for the poll and for the scheduler's repair. It decides; it refuses to act.
//
//   store   last scheduled start        last start of any kind     asks for
//   down    –                           an interval ago or more    poll
//   up      within 2 intervals + slack  within the same            nothing
//   up      longer ago                  an interval ago or more    poll, and repair once per 2 intervals + slack
//   up      longer ago                  less than an interval ago  repair once per 2 intervals + slack
import type { PollSchedule } from './schedules.js';

/** Lateness forgiven beyond two intervals. */
export const lateSlackMs = 1_000;

/** What is known of one (host, poller). Times are monotonic milliseconds. */
export type Watched = {
  schedule: PollSchedule;
  /** Place in the interval, milliseconds: when the first poll is due while the store is away. */
  offsetMs: number;
  /** When it began to be expected. */
  sinceMs: number;
  /** Last start, whoever asked for it. */
  startedMs?: number;
  /** Last start that the scheduler asked for. */
  scheduledMs?: number;
  repairedMs?: number;
  /** Its scheduler's next run when last looked at, wall clock. */
  seenNextMs?: number;
  running: boolean;
};

export type WatchdogInput = {
  nowMs: number;
  storeUp: boolean;
  /** Schedulers are expected to work from here on: the store came back, or our own process slept. */
  trustedSinceMs: number;
  pollsMax: number;
  repairsMax: number;
};

export type Decision = { poll: Watched[]; repair: Watched[] };

export function lateAfterMs({ intervalMs }: PollSchedule): number {
  return 2 * intervalMs + lateSlackMs;
}

/** Polls to start now, the most overdue first when there are more than `pollsMax`, and schedulers to repair. */
export function decide(entries: Iterable<Watched>, input: WatchdogInput): Decision {
  const due: { entry: Watched; overdueMs: number }[] = [];
  const repair: Watched[] = [];
  for (const entry of entries) {
    const overdueMs = pollOverdueMs(entry, input);
    if (overdueMs >= 0 && !entry.running) due.push({ entry, overdueMs });
    if (repair.length < input.repairsMax && needsRepair(entry, input)) repair.push(entry);
  }
  if (due.length > input.pollsMax) due.sort((a, b) => b.overdueMs - a.overdueMs);
  return { poll: due.slice(0, Math.max(0, input.pollsMax)).map(({ entry }) => entry), repair };
}

/** Milliseconds since the watchdog's poll was due; negative while it is not. */
function pollOverdueMs(entry: Watched, { nowMs, storeUp }: WatchdogInput): number {
  const { schedule, sinceMs, startedMs, scheduledMs } = entry;
  const lateMs = lateAfterMs(schedule);
  if (!storeUp)
    return nowMs - (startedMs === undefined ? sinceMs + entry.offsetMs : startedMs + schedule.intervalMs);
  const unscheduled = nowMs - (scheduledMs ?? sinceMs) > lateMs;
  return nowMs - ((startedMs ?? sinceMs) + (unscheduled ? schedule.intervalMs : lateMs));
}

function needsRepair(entry: Watched, { nowMs, storeUp, trustedSinceMs }: WatchdogInput): boolean {
  const { schedule, sinceMs, scheduledMs = sinceMs, repairedMs = sinceMs } = entry;
  const expectedSinceMs = Math.max(sinceMs, scheduledMs, repairedMs, trustedSinceMs);
  return storeUp && nowMs - expectedSinceMs > lateAfterMs(schedule);
}
