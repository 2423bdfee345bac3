// Lists the jobs that the store has: the unfinished first, the newest of them first, then the finished, the last ended first.
// A place in the list is a time and an id, so that what comes or ends meanwhile neither hides a job nor breaks the paging: a
// job that ends between two pages may be seen twice, never not at all. It reads BullMQ's keys, writes none, and refuses to
// look at more than a bounded number of jobs a call: then the page is short and says where to go on.
import type { Redis } from 'ioredis';
import type { JobState, JobView } from './jobs-types.js';

/** Unfinished jobs that are listed; a longer backlog shows its newest. */
export const unfinishedListedMax = 10_000;
/** Jobs that are looked at for one page. */
export const jobsScannedMax = 5_000;
const chunkJobs = 200;

const unfinishedKeys = {
  active: ['active', 'list'],
  wait: ['waiting', 'list'],
  paused: ['waiting', 'list'],
  prioritized: ['waiting', 'zset'],
  delayed: ['delayed', 'zset'],
} as const satisfies Record<string, readonly [JobState, 'list' | 'zset']>;
const finishedStates = ['completed', 'failed'] as const;

/** After which job the next page begins; `part` tells whether its time is that of its birth or of its end. */
export type JobsCursor = { part: 'unfinished' | 'finished'; ms: number; id: string };

/** What a job is judged by before the rest of it is read. */
export type JobHead = { name: string; data: unknown };

export type JobsQuery = {
  states: ReadonlySet<JobState>;
  limit: number;
  after?: JobsCursor | undefined;
  matches: (head: JobHead) => boolean;
};

export type JobsPage = { jobs: JobView[]; next: JobsCursor | undefined };

type Place = { id: string; ms: number; state: JobState };

export class JobsList {
  readonly #client: Redis;
  readonly #jobPrefix: string;

  constructor(client: Redis, jobPrefix: string) {
    this.#client = client;
    this.#jobPrefix = jobPrefix;
  }

  async page({ states, limit, after, matches }: JobsQuery): Promise<JobsPage> {
    const found: { place: Place; part: JobsCursor['part'] }[] = [];
    const seen = new Set<string>();
    let scanned = 0;
    let last: JobsCursor | undefined;
    for await (const { part, places } of this.#chunks(states, after)) {
      const heads = await this.#heads(places);
      for (const [index, place] of places.entries()) {
        if (found.length === limit || scanned === jobsScannedMax) {
          return { jobs: await this.#whole(found.map((one) => one.place)), next: last };
        }
        scanned++;
        last = { part, ms: place.ms, id: place.id };
        const head = heads[index];
        if (seen.has(place.id) || !head || !matches(head)) continue;
        seen.add(place.id);
        found.push({ place, part });
      }
    }
    return { jobs: await this.#whole(found.map((one) => one.place)), next: undefined };
  }

  /** Connections of this name; undefined where the store does not let us ask. */
  async countClients(name: string): Promise<number | undefined> {
    try {
      const lines = String(await this.#client.client('LIST')).split('\n');
      return lines.filter((line) => line.split(' ').includes(`name=${name}`)).length;
    } catch (error) {
      if (error instanceof Error && error.name === 'ReplyError') return undefined;
      throw error;
    }
  }

  async *#chunks(states: ReadonlySet<JobState>, after: JobsCursor | undefined) {
    if (after?.part !== 'finished') {
      const places = (await this.#unfinished(states)).filter((place) => !after || isAfter(place, after));
      for (let from = 0; from < places.length; from += chunkJobs) {
        yield { part: 'unfinished' as const, places: places.slice(from, from + chunkJobs) };
      }
    }
    let cursor = after?.part === 'finished' ? after : undefined;
    for (;;) {
      const places = await this.#finished(states, cursor);
      if (places.length === 0) return;
      yield { part: 'finished' as const, places };
      const end = places.at(-1);
      if (end) cursor = { part: 'finished', ms: end.ms, id: end.id };
    }
  }

  async #unfinished(states: ReadonlySet<JobState>): Promise<Place[]> {
    const wanted = Object.entries(unfinishedKeys).filter(([, [state]]) => states.has(state));
    const lists = await Promise.all(
      wanted.map(async ([key, [state, kind]]) => {
        const ids =
          kind === 'list'
            ? await this.#client.lrange(this.#jobPrefix + key, 0, unfinishedListedMax - 1)
            : await this.#client.zrange(this.#jobPrefix + key, '0', String(unfinishedListedMax - 1));
        return ids.map((id) => ({ id, state }));
      }),
    );
    const all = lists.flat().slice(0, unfinishedListedMax);
    const times = await this.#fields(
      all.map(({ id }) => id),
      ['timestamp'],
    );
    const places = all.flatMap(({ id, state }, index) => {
      const ms = numberOf(times[index]?.[0]);
      return ms === undefined ? [] : [{ id, state, ms }];
    });
    return places.sort(inOrder);
  }

  /** The next chunk of both kinds of ends, merged. */
  async #finished(states: ReadonlySet<JobState>, after: JobsCursor | undefined): Promise<Place[]> {
    const lists = await Promise.all(
      finishedStates.filter((state) => states.has(state)).map((state) => this.#ended(state, after)),
    );
    return lists.flat().sort(inOrder).slice(0, chunkJobs);
  }

  /** At least `chunkJobs` that ended before the cursor, when there are so many, whatever shares its millisecond. */
  async #ended(state: 'completed' | 'failed', after: JobsCursor | undefined): Promise<Place[]> {
    const places: Place[] = [];
    for (let offset = 0; places.length < chunkJobs; offset += chunkJobs) {
      const flat = await this.#client.zrevrangebyscore(
        `${this.#jobPrefix}${state}`,
        after?.ms ?? '+inf',
        '-inf',
        'WITHSCORES',
        'LIMIT',
        offset,
        chunkJobs,
      );
      for (let at = 0; at + 1 < flat.length; at += 2) {
        const place = { id: flat[at] ?? '', ms: Number(flat[at + 1]), state };
        if (!after || isAfter(place, after)) places.push(place);
      }
      if (flat.length < 2 * chunkJobs) break;
    }
    return places;
  }

  async #heads(places: readonly Place[]): Promise<(JobHead | undefined)[]> {
    const found = await this.#fields(
      places.map(({ id }) => id),
      ['name', 'data'],
    );
    return found.map(([name, data]) =>
      name === null || name === undefined ? undefined : { name, data: parsed(data) },
    );
  }

  async #whole(places: readonly Place[]): Promise<JobView[]> {
    const names = ['name', 'data', 'timestamp', 'processedOn', 'finishedOn', 'failedReason', 'progress'];
    const rows = await this.#fields(
      places.map(({ id }) => id),
      [...names, 'returnvalue'],
    );
    return rows.flatMap((row, index): JobView[] => {
      const place = places[index];
      const [name, data, added, started, finished, failure, progress, result] = row;
      if (!place || typeof name !== 'string') return [];
      const view = {
        id: place.id,
        name,
        state: place.state,
        data: parsed(data),
        progress: parsed(progress),
        result: parsed(result),
        failure: failure || undefined,
        addedMs: numberOf(added) ?? 0,
        startedMs: numberOf(started),
        finishedMs: numberOf(finished),
      };
      return [view];
    });
  }

  /** Of each job, in order; null where it has none, or is gone. */
  async #fields(ids: readonly string[], names: readonly string[]): Promise<(string | null | undefined)[][]> {
    if (ids.length === 0) return [];
    const pipeline = this.#client.pipeline();
    for (const id of ids) pipeline.hmget(this.#jobPrefix + id, ...names);
    const replies = (await pipeline.exec()) ?? [];
    return replies.map(([error, values]) => {
      if (error) throw error;
      return values as (string | null)[];
    });
  }
}

function inOrder(a: Place, b: Place): number {
  return b.ms - a.ms || (a.id < b.id ? 1 : -1);
}

function isAfter(place: Place, { ms, id }: JobsCursor): boolean {
  return place.ms < ms || (place.ms === ms && place.id < id);
}

function numberOf(text: string | null | undefined): number | undefined {
  const value = Number(text ?? Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}

/** Anybody may have written it. */
function parsed(text: string | null | undefined): unknown {
  if (text === null || text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
