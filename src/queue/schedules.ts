// When each host is polled: one BullMQ job scheduler per (host, poller), at a place in the interval that the host's name
// decides, so that a fleet is spread and a restart changes nothing. `reconcile` brings the store to the wanted list and
// touches only what differs. It refuses to remove what it does not know to be ours on a store that others share.
import type { Queue } from 'bullmq';

/** Scheduler calls in flight at a time. */
const callsInFlightMax = 100;
/** A next run this far past one interval ahead means that the wall clock stepped back. */
const frozenSlackMs = 2_000;
const upsertAttemptsMax = 3;
/** Largest move of a repaired scheduler within its interval. */
const shiftMsMax = 1_000;

export type PollSchedule = { host: string; poller: string; intervalMs: number };
export type PollJob = { host: string; poller: string };
/** The part of BullMQ's queue that schedules need. */
export type SchedulerQueue = Pick<
  Queue<PollJob>,
  'upsertJobScheduler' | 'removeJobScheduler' | 'getJobSchedulers' | 'getJobScheduler'
>;

export type ReconcileResult = { kept: number; set: number; removed: number; thawed: PollSchedule[] };

const separator = '_';

/** Id of a scheduler: neither part may hold the separator (host names are [a-z0-9.-]), BullMQ wants no ':' in it. */
export function scheduleId({ host, poller }: PollJob): string {
  return `${host}${separator}${poller}`;
}

/** Where in the interval a host's poll falls, milliseconds in [1, interval - 1]: BullMQ reads 0 as "no offset". */
export function offsetMs({ host, poller, intervalMs }: PollSchedule): number {
  return 1 + (hash(`${host} ${poller}`) % Math.max(1, intervalMs - 1));
}

/** FNV-1a with a final mix: names that differ in a digit fall far apart. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (const byte of Buffer.from(text)) h = Math.imul(h ^ byte, 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export type Stored = { id: string; everyMs: number | undefined; nextMs: number | undefined };
export type ReconcilePlan = { set: PollSchedule[]; thaw: PollSchedule[]; remove: string[]; kept: number };

/**
 * What to do so that the store holds the wanted schedules. `mayRemove` says whether a scheduler that is not wanted is
 * ours to remove. A scheduler whose next run lies beyond its interval is frozen and is set anew (`thaw`).
 */
export function planReconcile(
  wanted: ReadonlyMap<string, PollSchedule>,
  stored: readonly Stored[],
  mayRemove: (id: string) => boolean,
  wallMs: number,
): ReconcilePlan {
  const plan: ReconcilePlan = { set: [], thaw: [], remove: [], kept: 0 };
  const missing = new Map(wanted);
  for (const { id, everyMs, nextMs } of stored) {
    const schedule = wanted.get(id);
    missing.delete(id);
    if (!schedule) {
      if (mayRemove(id)) plan.remove.push(id);
    } else if (everyMs !== schedule.intervalMs) plan.set.push(schedule);
    else if (isFrozen(nextMs, schedule.intervalMs, wallMs)) plan.thaw.push(schedule);
    else plan.kept++;
  }
  plan.set.push(...missing.values());
  return plan;
}

function isFrozen(nextMs: number | undefined, intervalMs: number, wallMs: number): boolean {
  return nextMs !== undefined && nextMs > wallMs + intervalMs + frozenSlackMs;
}

/** What the store says of a scheduler that did not start a poll here in time. */
export type Diagnosis = 'missing' | 'frozen' | 'behind' | 'moving';

/**
 * `moving`: its next run is ahead or just due, and not the one we saw last, so its jobs are taken, by another replica if
 * not by us. One that stopped is more than an interval behind by then. Everything but `moving` wants setting anew.
 */
export function diagnose(
  nextMs: number | undefined,
  lastSeenMs: number | undefined,
  intervalMs: number,
  wallMs: number,
): Diagnosis {
  if (nextMs === undefined) return 'missing';
  if (isFrozen(nextMs, intervalMs, wallMs)) return 'frozen';
  return nextMs > wallMs - intervalMs && nextMs !== lastSeenMs ? 'moving' : 'behind';
}

export class PollSchedules {
  readonly #queue: SchedulerQueue;
  readonly #wallMs: () => number;
  readonly #random: () => number;

  constructor(queue: SchedulerQueue, wallMs: () => number, random = Math.random) {
    this.#queue = queue;
    this.#wallMs = wallMs;
    this.#random = random;
  }

  async reconcile(
    wanted: ReadonlyMap<string, PollSchedule>,
    mayRemove: (id: string) => boolean,
  ): Promise<ReconcileResult> {
    const plan = planReconcile(wanted, await this.#stored(), mayRemove, this.#wallMs());
    await inFlight(plan.remove, (id) => this.remove(id));
    await inFlight(plan.set, (schedule) => this.#upsert(schedule, 0));
    await inFlight(plan.thaw, (schedule) => this.renew(schedule));
    return { kept: plan.kept, set: plan.set.length, removed: plan.remove.length, thawed: plan.thaw };
  }

  /** Next run by the wall clock; undefined when the scheduler does not exist. */
  async nextMs(job: PollJob): Promise<number | undefined> {
    return (await this.#queue.getJobScheduler(scheduleId(job)))?.next;
  }

  /**
   * Removes and sets anew: the only mend for a scheduler that the wall clock left behind. It comes back a little beside
   * its old place, because kept jobs of the time before may still hold the names of the old places.
   */
  async renew(schedule: PollSchedule): Promise<void> {
    await this.remove(scheduleId(schedule));
    await this.#upsert(schedule, this.#shift(schedule));
  }

  async remove(id: string): Promise<void> {
    await this.#queue.removeJobScheduler(id);
  }

  #shift({ intervalMs }: PollSchedule): number {
    return 1 + Math.floor(this.#random() * Math.min(shiftMsMax, intervalMs / 4));
  }

  async #upsert(schedule: PollSchedule, shiftMs: number): Promise<void> {
    const { host, poller, intervalMs } = schedule;
    let shift = shiftMs;
    for (let attempt = 1; ; attempt++) {
      const offset = 1 + ((offsetMs(schedule) - 1 + shift) % Math.max(1, intervalMs - 1));
      try {
        await this.#queue.upsertJobScheduler(
          scheduleId(schedule),
          { every: intervalMs, offset },
          { name: poller, data: { host, poller } },
        );
        return;
      } catch (error) {
        const slotsTaken = error instanceof Error && /slot/i.test(error.message);
        if (!slotsTaken || attempt >= upsertAttemptsMax) throw error;
        await this.remove(scheduleId(schedule));
        shift += this.#shift(schedule);
      }
    }
  }

  /** All at once: a scheduler that runs meanwhile changes its rank, and pages would lose another. */
  async #stored(): Promise<Stored[]> {
    const stored = await this.#queue.getJobSchedulers(0, -1, true);
    return stored.map(({ key, every, next }) => ({ id: key, everyMs: every, nextMs: next }));
  }
}

/** Runs `work` on all items, a bounded number at a time, and stops at the first error. */
async function inFlight<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += callsInFlightMax) {
    await Promise.all(items.slice(start, start + callsInFlightMax).map(work));
  }
}
