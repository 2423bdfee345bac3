// The statistics of one domain, in the groups of virConnectGetAllDomainStats, with libvirt's own names and units (ns, KiB,
// bytes). It refuses to interpret: a field that it does not know is kept in `other`, under its whole name.
import type { DomainRef } from './procedures.js';
import type { ListGroup, RecordGroup } from './stats-field.js';
import type { Layout } from './stats-layout.js';
import { type RecordView, recordOf, type StatRecord } from './stats-record.js';

export type { StatRecord } from './stats-record.js';

/** The well-known keys of a group; a key that libvirt left out is absent. */
type Stats<Numbers extends string, Texts extends string = never> = StatRecord & {
  [K in Numbers]?: number;
} & { [K in Texts]?: string };

/** virDomainState and its reason. */
export type StateStats = Stats<'state' | 'reason'>;
/** Nanoseconds. */
export type CpuStats = Stats<'time' | 'user' | 'system' | 'haltpoll.success.time' | 'haltpoll.fail.time'>;
/** KiB; `last-update` in seconds since the epoch; faults and huge pages are counts. */
export type BalloonStats = Stats<
  | 'current'
  | 'maximum'
  | 'swap_in'
  | 'swap_out'
  | 'major_fault'
  | 'minor_fault'
  | 'unused'
  | 'available'
  | 'usable'
  | 'rss'
  | 'last-update'
  | 'disk_caches'
  | 'hugetlb_pgalloc'
  | 'hugetlb_pgfail'
>;
/** How many vCPUs are online, and how many there can be. */
export type VcpuCounts = Stats<'current' | 'maximum'>;
/** `state` is virVcpuState, times in nanoseconds. */
export type VcpuStats = Stats<'state' | 'time' | 'wait' | 'delay' | 'halted'>;
export type NetStats = Stats<
  'rx.bytes' | 'rx.pkts' | 'rx.errs' | 'rx.drop' | 'tx.bytes' | 'tx.pkts' | 'tx.errs' | 'tx.drop',
  'name'
>;
/** Bytes, counts, and times in nanoseconds. */
export type BlockStats = Stats<
  | 'backingIndex'
  | 'rd.reqs'
  | 'rd.bytes'
  | 'rd.times'
  | 'wr.reqs'
  | 'wr.bytes'
  | 'wr.times'
  | 'fl.reqs'
  | 'fl.times'
  | 'errors'
  | 'allocation'
  | 'capacity'
  | 'physical'
  | 'threshold',
  'name' | 'path'
>;
export type IothreadStats = Stats<'poll-max-ns' | 'poll-grow' | 'poll-shrink'>;
export type DirtyrateStats = Stats<
  'calc_status' | 'calc_start_time' | 'calc_period' | 'megabytes_per_second',
  'calc_mode'
>;

/**
 * Records are not to be written to: each is a view of the figures, made when it is asked for (keep it while you read). Groups
 * that libvirt left out are empty. In the lists the index is libvirt's own; a number it skipped is an empty record.
 */
export type DomainStats = {
  domain: DomainRef;
  /** The same object where libvirt gave the same fields; it stands for nothing else. */
  fields?: object;
  state: StateStats;
  cpu: CpuStats;
  balloon: BalloonStats;
  vcpu: VcpuCounts;
  vcpus: VcpuStats[];
  nets: NetStats[];
  blocks: BlockStats[];
  iothreads: IothreadStats[];
  perf: StatRecord;
  memory: StatRecord;
  dirtyrate: DirtyrateStats;
  /** Under their whole names: `net.count`, `vm.….sum`, and whatever a newer libvirt adds. */
  other: StatRecord;
};

/**
 * VIR_DOMAIN_STATS_*, bits 0 to 9: all groups but `vm`, for which libvirtd would put one more question to each QEMU and which
 * has no stable names. Groups that a daemon does not know are left out.
 */
export const statsGroupsDefault = 0x3ff;
/** VIR_CONNECT_GET_ALL_DOMAINS_STATS_*. */
export const statsFlag = { nowait: 0x2000_0000, backing: 0x4000_0000, enforce: 0x8000_0000 } as const;

const none: StatRecord = Object.freeze({});
const noRecords = Object.freeze([]) as unknown as StatRecord[];

/** What of a domain is the same from reply to reply, and held once. */
export type KnownDomain = Readonly<{ domain: DomainRef; layout: Layout; texts: readonly string[] }>;

/** Of a domain whose figures are in `figures` from `figuresAt` on, as its layout says. There is one for each VM and poll. */
export class DecodedStats implements DomainStats {
  /** Whoever judges it says so here: one more property on each of so many objects would take a table of its own. */
  busy: boolean | undefined = undefined;
  readonly #known: KnownDomain;
  readonly #figures: Float64Array;
  readonly #figuresAt: number;

  constructor(known: KnownDomain, figures: Float64Array, figuresAt: number) {
    this.#known = known;
    this.#figures = figures;
    this.#figuresAt = figuresAt;
  }

  get domain(): DomainRef {
    return this.#known.domain;
  }

  get fields(): object {
    return this.#known.layout;
  }

  get state(): StateStats {
    return this.#group('state');
  }

  get cpu(): CpuStats {
    return this.#group('cpu');
  }

  get balloon(): BalloonStats {
    return this.#group('balloon');
  }

  get vcpu(): VcpuCounts {
    return this.#group('vcpu');
  }

  get vcpus(): VcpuStats[] {
    return this.#list('vcpus');
  }

  get nets(): NetStats[] {
    return this.#list('nets');
  }

  get blocks(): BlockStats[] {
    return this.#list('blocks');
  }

  get iothreads(): IothreadStats[] {
    return this.#list('iothreads');
  }

  get perf(): StatRecord {
    return this.#group('perf');
  }

  get memory(): StatRecord {
    return this.#group('memory');
  }

  get dirtyrate(): DirtyrateStats {
    return this.#group('dirtyrate');
  }

  get other(): StatRecord {
    return this.#group('other');
  }

  toJSON(): object {
    const { domain, state, cpu, balloon, vcpu, vcpus, nets, blocks } = this;
    const { iothreads, perf, memory, dirtyrate, other, busy } = this;
    return {
      ...{ domain, busy, state, cpu, balloon, vcpu, vcpus, nets, blocks },
      ...{ iothreads, perf, memory, dirtyrate, other },
    };
  }

  #group(group: RecordGroup): StatRecord {
    return this.#record(this.#known.layout.groups.get(group));
  }

  #list(group: ListGroup): StatRecord[] {
    return this.#known.layout.lists.get(group)?.map((view) => this.#record(view)) ?? noRecords;
  }

  #record(view: RecordView | undefined): StatRecord {
    if (view === undefined) return none;
    return recordOf(view, this.#figures, this.#figuresAt, this.#known.texts);
  }
}
