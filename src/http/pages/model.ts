// What the pages are made from: the API's read model, the last hour, the jobs, and how the collector itself is. Plain calls that
// a test can stand in for. Each answer is for one principal: a host that it may not see is not there.
import type { Shard } from '../../core/shard.js';
import type { Host, Job, Page, QueueState, Vm } from '../api/schemas.js';
import type { FleetView, HostGate } from '../api/views.js';
import { vmState } from '../api/vm-view.js';
import type { Principal } from '../auth/principal.js';
import type { Chronicle } from '../chronicle.js';

/** `sinceMs`: wall milliseconds. */
export type CollectorState = {
  store: { up: boolean; detail: string; sinceMs?: number | undefined };
  /** Absent: there is no backend. `ok` is undefined until it is known. */
  backend?: { ok: boolean | undefined; detail: string; sinceMs: number } | undefined;
  /** What is wrong with the inventory file now, each in one line. */
  inventory: { problems: readonly string[]; sinceMs?: number | undefined };
  /** What is wrong with the tokens file now. */
  tokens?: { what: string; sinceMs: number | undefined } | undefined;
};

export type JobFilter = { host?: string; vm?: string; op?: string; state?: string };

/** All throw HostError STORE while the store is away. */
export interface PageJobs {
  /** Newest first. */
  list(
    filter: JobFilter,
    page: { limit: number; cursor?: string | undefined },
    principal: Principal,
  ): Promise<Page<Job>>;
  get(id: string, principal: Principal): Promise<Job | undefined>;
  /** The same as POST /api/v1/jobs: throws HttpProblem or JobError for what is refused. */
  add(job: NewPageJob, idempotencyKey: string, principal: Principal): Promise<{ id: string }>;
  cancel(id: string, principal: Principal): Promise<'cancelled' | 'too late' | 'unknown'>;
  queue(): Promise<QueueState | undefined>;
}

export type NewPageJob = {
  op: string;
  host: string;
  vm: string;
  expectedUuid: string;
  params: Record<string, unknown>;
};

export type PageSources = {
  view: Pick<FleetView, 'hosts' | 'host' | 'vm' | 'vmRefs'>;
  chronicle: Chronicle;
  jobs: PageJobs;
  collector(): CollectorState;
  /** Which part of a divided fleet is here. */
  shard?: Shard | undefined;
  nowMs(): number;
};

/** A VM in a list: light, for there are 20,000. */
export type VmRow = {
  host: string;
  name: string;
  uuid: string;
  state: string;
  busy: boolean;
  stale: boolean;
  vcpus: number | undefined;
  memoryMaximumBytes: number | undefined;
  /** Wall milliseconds; undefined: it was so already when it was first seen. */
  stateSinceMs: number | undefined;
  busySinceMs: number | undefined;
};

const bytesPerKib = 1024;

/** What one principal may see. */
export class FleetModel {
  readonly #sources: PageSources;
  readonly #may: HostGate;

  constructor(sources: PageSources, principal: Principal) {
    this.#sources = sources;
    this.#may = (host) => principal.mayHost(host);
  }

  hosts(): Host[] {
    return this.#sources.view.hosts(this.#may);
  }

  host(name: string): Host | undefined {
    return this.#sources.view.host(name, this.#may);
  }

  vm(hostName: string, nameOrUuid: string): { host: Host; vm: Vm } | undefined {
    const host = this.host(hostName);
    const vm = host && this.#sources.view.vm(hostName, nameOrUuid, this.#may);
    return vm && { host, vm };
  }

  /** Of one host, or of all. */
  vms(hostName?: string): VmRow[] {
    const rows: VmRow[] = [];
    for (const { host, sample, stale } of this.#sources.view.vmRefs(this.#may, hostName)) {
      const { name, uuid } = sample.domain;
      const since = this.#sources.chronicle.vmSince(host.name, uuid);
      const { maximum } = sample.balloon;
      rows.push({
        host: host.name,
        name,
        uuid,
        state: vmState(sample),
        busy: sample.busy,
        stale,
        vcpus: sample.vcpu.current,
        memoryMaximumBytes: maximum === undefined ? undefined : maximum * bytesPerKib,
        stateSinceMs: since?.stateSinceMs,
        busySinceMs: since?.busySinceMs,
      });
    }
    return rows;
  }
}
