// One feed of what changes, for everybody who looks: hosts, VMs, jobs. Changes are collected for a moment and told once, each as
// it is then, so that a burst is one event. It keeps the last events for those who come back. It works only while somebody
// listens, and refuses to wait for a listener: each has its own bounded buffer (api/stream.ts).
import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../core/clock.js';
import type { Job } from './api/schemas.js';
import type { FleetView, VmRef } from './api/views.js';
import { vmView } from './api/vm-view.js';

export const changeTopics = ['hosts', 'vms', 'jobs'] as const;
export type ChangeTopic = (typeof changeTopics)[number];

export type Change = {
  /** Grows by one; unique with the feed's `name`. */
  id: number;
  topic: ChangeTopic;
  event: 'host' | 'host-removed' | 'vm' | 'vm-removed' | 'job' | 'job-removed';
  /** Absent for a job that names no host. */
  host: string | undefined;
  jobId?: string | undefined;
  /** JSON. */
  data: string;
};

export type ChangeFeedOptions = {
  view: FleetView;
  /** Undefined for one that is gone; rejects while the store is away. */
  job: (id: string) => Promise<Job | undefined>;
  clock: Clock;
};

export type ChangeListener = {
  onChange(change: Change): void;
  /** Changes were lost: what is known must be read anew. */
  onGap(): void;
};

/** Changes that come within this are told together. */
const collectMs = 250;
/** After the last listener left, the feed goes on for those who come back. */
const lingerMs = 60_000;
const keptEventsMax = 4_000;
/** UTF-16 units. */
const keptCharsMax = 4_000_000;
const jobsDirtyMax = 10_000;
const jobsPerTurn = 100;

export class ChangeFeed {
  /** Of this run of the process: event ids of another one are not ours. */
  readonly name = randomBytes(6).toString('hex');
  readonly #options: ChangeFeedOptions;
  readonly #listeners = new Set<ChangeListener>();
  readonly #dirtyHosts = new Set<string>();
  readonly #dirtyJobs = new Set<string>();
  /** host → uuid → what of the VM was told. Only while active. */
  readonly #told = new Map<string, Map<string, string>>();
  #kept: Change[] = [];
  #keptChars = 0;
  #lastId = 0;
  #active = false;
  #lingering: Timer | undefined;
  #turn: Timer | undefined;
  #jobsUnderWay = false;

  constructor(options: ChangeFeedOptions) {
    this.#options = options;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** The newest event; a listener that saw it has seen all. */
  get lastId(): number {
    return this.#lastId;
  }

  /** A new sample, another state, other labels, or gone. */
  hostChanged(host: string): void {
    if (!this.#active) return;
    this.#dirtyHosts.add(host);
    this.#plan();
  }

  jobChanged(jobId: string): void {
    if (!this.#active) return;
    if (this.#dirtyJobs.size >= jobsDirtyMax) this.#gap(); // begins anew below
    this.#dirtyJobs.add(jobId);
    this.#plan();
  }

  /** Returns how to leave. */
  listen(listener: ChangeListener): () => void {
    this.#lingering?.cancel();
    if (!this.#active) this.#begin();
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#lingering?.cancel();
      this.#lingering = this.#options.clock.after(lingerMs, () => this.#end());
    };
  }

  /** What came after that event; undefined when it is not known any more. */
  since(id: number): readonly Change[] | undefined {
    const first = this.#kept[0]?.id ?? this.#lastId + 1;
    if (!this.#active || id > this.#lastId || id < first - 1) return undefined;
    return this.#kept.filter((change) => change.id > id);
  }

  #begin(): void {
    this.#active = true;
    for (const ref of this.#options.view.vmRefs())
      this.#toldOf(ref.host.name).set(ref.sample.domain.uuid, sign(ref));
  }

  #end(): void {
    if (this.#listeners.size > 0) return;
    this.#active = false;
    this.#turn?.cancel();
    this.#turn = undefined;
    this.#dirtyHosts.clear();
    this.#dirtyJobs.clear();
    this.#told.clear();
    this.#forget();
  }

  #plan(): void {
    this.#turn ??= this.#options.clock.after(collectMs, () => {
      this.#turn = undefined;
      this.#tellHosts();
      void this.#tellJobs();
    });
  }

  #tellHosts(): void {
    for (const name of this.#dirtyHosts) {
      const host = this.#options.view.host(name);
      if (host) this.#tell('hosts', 'host', name, host);
      else this.#tell('hosts', 'host-removed', name, { name });
      this.#tellVms(name);
    }
    this.#dirtyHosts.clear();
  }

  #tellVms(host: string): void {
    const before = this.#toldOf(host);
    const now = new Map<string, string>();
    for (const ref of this.#options.view.vmRefs(undefined, host)) {
      const { uuid } = ref.sample.domain;
      const signature = sign(ref);
      now.set(uuid, signature);
      if (before.get(uuid) !== signature) this.#tell('vms', 'vm', host, vmView(ref));
    }
    for (const uuid of before.keys()) {
      if (!now.has(uuid)) this.#tell('vms', 'vm-removed', host, { host, uuid });
    }
    if (now.size > 0) this.#told.set(host, now);
    else this.#told.delete(host);
  }

  /** One turn at a time, a few jobs a turn. While the store is away they wait, and the next change asks again. */
  async #tellJobs(): Promise<void> {
    if (this.#jobsUnderWay) return;
    this.#jobsUnderWay = true;
    try {
      const ids = [...this.#dirtyJobs].slice(0, jobsPerTurn);
      for (const id of ids) this.#dirtyJobs.delete(id);
      const jobs = await Promise.all(ids.map((id) => this.#options.job(id)));
      if (!this.#active) return;
      for (const [index, job] of jobs.entries()) {
        const jobId = ids[index];
        if (job) this.#tell('jobs', 'job', job.host, job, jobId);
        else this.#tell('jobs', 'job-removed', undefined, { id: jobId }, jobId);
      }
    } catch {
      this.#gap();
    } finally {
      this.#jobsUnderWay = false;
      if (this.#dirtyJobs.size > 0) this.#plan();
    }
  }

  #tell(
    topic: ChangeTopic,
    event: Change['event'],
    host: string | undefined,
    value: unknown,
    jobId?: string,
  ): void {
    const change: Change = { id: ++this.#lastId, topic, event, host, jobId, data: JSON.stringify(value) };
    this.#kept.push(change);
    this.#keptChars += change.data.length;
    if (this.#kept.length > keptEventsMax || this.#keptChars > keptCharsMax) this.#forgetOldest();
    for (const listener of this.#listeners) listener.onChange(change);
  }

  #forgetOldest(): void {
    const half = this.#kept.splice(0, Math.ceil(this.#kept.length / 2));
    for (const { data } of half) this.#keptChars -= data.length;
  }

  /** The id of the next event is not the one after the last: nobody can go on from before. */
  #forget(): void {
    this.#kept = [];
    this.#keptChars = 0;
    this.#lastId++;
  }

  #gap(): void {
    this.#dirtyJobs.clear();
    this.#forget();
    for (const listener of this.#listeners) listener.onGap();
  }

  #toldOf(host: string): Map<string, string> {
    const told = this.#told.get(host) ?? new Map<string, string>();
    this.#told.set(host, told);
    return told;
  }
}

/** What of a VM is news: not its figures, which change with every sample. */
function sign({ sample: { domain, state, busy }, stale }: VmRef): string {
  return `${domain.name} ${domain.id} ${state.state} ${state.reason} ${busy} ${stale}`;
}
