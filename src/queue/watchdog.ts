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

export type Decision = {
  poll: Watched[];
  repair: Watched[];
  /** Nothing becomes due before this, unless the store goes or comes, or what is watched changes. */
  quietUntilMs: number;
};

export function lateAfterMs({ intervalMs }: PollSchedule): number {
  return 2 * intervalMs + lateSlackMs;
}

/** Polls to start now, the most overdue first when there are more than `pollsMax`, and schedulers to repair. */
export function decide(entries: Iterable<Watched>, input: WatchdogInput): Decision {
  const { nowMs, storeUp, trustedSinceMs, pollsMax, repairsMax } = input;
  const due: { entry: Watched; dueMs: number }[] = [];
  const repair: Watched[] = [];
  let quietUntilMs = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    const dueMs = pollDueMs(entry, storeUp);
    if (nowMs >= dueMs && !entry.running) due.push({ entry, dueMs });
    const repairMs = storeUp ? repairDueMs(entry, trustedSinceMs) : Number.POSITIVE_INFINITY;
    if (nowMs > repairMs && repair.length < repairsMax) repair.push(entry);
    quietUntilMs = Math.min(quietUntilMs, dueMs, repairMs);
  }
  if (due.length > pollsMax) due.sort((a, b) => a.dueMs - b.dueMs);
  return { poll: due.slice(0, Math.max(0, pollsMax)).map(({ entry }) => entry), repair, quietUntilMs };
}

/** When the watchdog's poll is due, if nobody else asks for one until then. */
function pollDueMs(entry: Watched, storeUp: boolean): number {
  const { schedule, sinceMs, startedMs, scheduledMs = sinceMs } = entry;
  const { intervalMs } = schedule;
  if (!storeUp) return startedMs === undefined ? sinceMs + entry.offsetMs : startedMs + intervalMs;
  const lateMs = lateAfterMs(schedule);
  const lastMs = startedMs ?? sinceMs;
  return Math.min(lastMs + lateMs, Math.max(lastMs + intervalMs, scheduledMs + lateMs));
}

/** Past this its scheduler wants mending. */
function repairDueMs(entry: Watched, trustedSinceMs: number): number {
  const { schedule, sinceMs, scheduledMs = sinceMs, repairedMs = sinceMs } = entry;
  return Math.max(sinceMs, scheduledMs, repairedMs, trustedSinceMs) + lateAfterMs(schedule);
}
