// Decodes the answer to virConnectGetAllDomainStats: the hot path, some 5,000 fields per host and poll. How a domain's fields
// were laid out the last time is remembered (stats-layout.ts), so that a steady poll compares bytes and reads numbers: it
// hashes nothing and makes no string, and a record in which nothing changed is the same object as last time. Counters become
// the nearest double, without BigInt. Names and units stay libvirt's own (ns, KiB, bytes). It refuses to interpret: a field
// that it does not know is kept in `other`.
import { type DomainRef, domainsMax } from './procedures.js';
import { type Field, fieldNamed } from './stats-field.js';
import {
  type Layout,
  type LayoutField,
  LayoutLearner,
  type LayoutRecord,
  type StatRecord,
} from './stats-layout.js';
import { int, string, struct, typedParamNumber, uuid } from './wire/codec.js';
import { protocolError, XdrReader } from './wire/xdr.js';

export type { StatRecord } from './stats-layout.js';

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
 * Not to be written to: polls share the records that did not change. Groups that libvirt left out are empty. In the lists the
 * index is libvirt's own; a number it skipped is an empty record.
 */
export type DomainStats = {
  domain: DomainRef;
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

/** In one reply, over all its domains. */
const replyFieldsMax = 524_288;
/** In one reply: elements of `vcpus`, `nets`, `blocks` and `iothreads`, skipped ones included. */
const replyElementsMax = 262_144;
const paramBytesMin = 12;
const recordBytesMin = 28;

/** How something was written on the wire. */
type Words = readonly number[];

/** What came the last time for one domain, to compare with. `position`: where in the reply. */
type Memory = {
  readonly domain: DomainRef;
  readonly words: Words;
  position: number;
  layout: Layout | undefined;
  stats: DomainStats | undefined;
};

type Budget = { fields: number; elements: number };

const domainCodec = struct<DomainRef>({ name: string, uuid, id: int });
const twoTo32 = 4_294_967_296;
const none: StatRecord = Object.freeze({});
const noRecords = Object.freeze([]) as unknown as StatRecord[];

/** One per connection: what it remembers of domains belongs to one host. */
export class DomainStatsDecoder {
  #memories: Memory[] = [];

  /** Throws PROTOCOL_ERROR when the payload makes no sense; nothing it returns shares memory with the payload. */
  decode(payload: Buffer): DomainStats[] {
    const reader = new XdrReader(payload);
    const recall = new Recall(this.#memories);
    const budget: Budget = { fields: replyFieldsMax, elements: replyElementsMax };
    const all: DomainStats[] = [];
    for (let left = reader.count(recordBytesMin, domainsMax); left > 0; left--) {
      all.push(decodeRecord(reader, recall.next(reader), budget));
    }
    this.#memories = recall.seen;
    return all;
  }
}

function decodeRecord(reader: XdrReader, memory: Memory, budget: Budget): DomainStats {
  const count = reader.count(paramBytesMin, budget.fields);
  budget.fields -= count;
  const { layout, stats: last } = memory;
  const mayRecur = layout?.fields.length === count && layout.elements <= budget.elements;
  const start = reader.position;
  let stats = mayRecur && last ? readAsBefore(reader, layout, last) : undefined;
  if (stats !== undefined && layout !== undefined) {
    budget.elements -= layout.elements;
  } else {
    reader.seek(start);
    stats = readAnew(reader, count, memory, budget);
  }
  memory.stats = stats;
  return stats;
}

/** Reads fields whose names and types must be those of `layout`; undefined when they are not. `last` stays as it is. */
function readAsBefore(reader: XdrReader, layout: Layout, last: DomainStats): DomainStats | undefined {
  const { words, fields, lists, records } = layout;
  const { view } = reader;
  const stats = { ...last };
  for (const list of lists) stats[list] = last[list].slice();
  let at = reader.position;
  let word = 0;
  let plan: LayoutRecord | undefined;
  let before = none;
  let now = none;
  for (let index = 0; index < fields.length; index++) {
    const { key, type, wordsEnd, valueBytesMin, record } = fields[index] as LayoutField;
    if (at + (wordsEnd - word) * 4 + valueBytesMin > view.byteLength) return undefined;
    for (; word < wordsEnd; word++, at += 4) if (view.getInt32(at) !== words[word]) return undefined;
    const belongsTo = records[record] as LayoutRecord;
    if (plan !== belongsTo) {
      plan = belongsTo;
      before = recordAt(last, plan);
      now = recordAt(stats, plan);
    }
    let value: number | string;
    if (type === typedParamNumber.ullong) {
      const high = view.getUint32(at);
      const low = view.getUint32(at + 4);
      value = high === 0 ? low : high * twoTo32 + low;
      at += 8;
    } else {
      reader.seek(at);
      value = type === typedParamNumber.string ? textOf(reader, before[key]) : numberOf(reader, type);
      at = reader.position;
    }
    if (value === before[key]) continue;
    if (now === before) now = replaceRecord(stats, belongsTo, before);
    now[key] = value;
  }
  reader.seek(at);
  return stats;
}

function recordAt(stats: DomainStats, { group, index }: LayoutRecord): StatRecord {
  return (index === undefined ? stats[group] : stats[group][index]) ?? none;
}

/** Gives `stats` a record of its own, like the one `before`. */
function replaceRecord(stats: DomainStats, plan: LayoutRecord, before: StatRecord): StatRecord {
  const made: StatRecord = {};
  for (const key of plan.keys) made[key] = before[key];
  if (plan.index === undefined) stats[plan.group] = made;
  else stats[plan.group][plan.index] = made;
  return made;
}

/** Reads whatever there is, and remembers its layout for the next time. */
function readAnew(reader: XdrReader, count: number, memory: Memory, budget: Budget): DomainStats {
  const stats = emptyStats(memory.domain);
  const learner = new LayoutLearner();
  let record = none;
  let place = -1;
  for (let index = 0; index < count; index++) {
    const field = fieldNamed(reader.string());
    if (field.place !== place) {
      place = field.place;
      record = recordOf(stats, field, budget);
    }
    const type = reader.uint();
    learner.see(field, type);
    record[field.key] = type === typedParamNumber.string ? reader.string() : numberOf(reader, type);
  }
  memory.layout = learner.layout();
  return stats;
}

/** Finds what is remembered of the next domain: nearly always the one that followed last time. */
class Recall {
  /** In the order of this reply: the memories for the next one. */
  readonly seen: Memory[] = [];
  readonly #before: readonly Memory[];
  #predicted = 0;
  #byKey: Map<string, Memory> | undefined;

  constructor(before: readonly Memory[]) {
    this.#before = before;
  }

  next(reader: XdrReader): Memory {
    let memory = this.#before[this.#predicted];
    if (memory === undefined || !reader.skipWords(memory.words)) memory = this.#find(reader);
    this.#predicted = memory.position + 1;
    memory.position = this.seen.length;
    this.seen.push(memory);
    return memory;
  }

  #find(reader: XdrReader): Memory {
    const start = reader.position;
    const domain = Object.freeze(domainCodec.read(reader));
    this.#byKey ??= new Map(this.#before.map((memory) => [keyOf(memory.domain), memory]));
    const known = this.#byKey.get(keyOf(domain));
    if (known) return known;
    const words = reader.wordsSince(start).slice();
    return { domain, words, position: this.#before.length, layout: undefined, stats: undefined };
  }
}

function keyOf({ name, uuid, id }: DomainRef): string {
  return `${uuid} ${id} ${name}`;
}

function textOf(reader: XdrReader, last: StatRecord[string]): string {
  return typeof last === 'string' && reader.skipAscii(last) ? last : reader.string();
}

function numberOf(reader: XdrReader, type: number): number {
  switch (type) {
    case typedParamNumber.ullong:
      return reader.uhyper();
    case typedParamNumber.int:
      return reader.int();
    case typedParamNumber.uint:
      return reader.uint();
    case typedParamNumber.llong:
      return reader.hyper();
    case typedParamNumber.double:
      return reader.double();
    case typedParamNumber.boolean:
      return reader.bool() ? 1 : 0;
    default:
      throw protocolError(`a value of the unknown type ${type}`);
  }
}

/** The record that `field` belongs to; made when its first value comes. */
function recordOf(stats: DomainStats, field: Field, budget: Budget): StatRecord {
  if (field.index === undefined) {
    if (stats[field.group] === none) stats[field.group] = {};
    return stats[field.group];
  }
  if (stats[field.group] === noRecords) stats[field.group] = [];
  const list = stats[field.group];
  const missing = field.index + 1 - list.length;
  if (missing > budget.elements) throw protocolError('a reply with too many devices');
  if (missing > 0) budget.elements -= missing;
  while (list.length <= field.index) list.push(none);
  const present = list[field.index];
  if (present !== undefined && present !== none) return present;
  const made: StatRecord = {};
  list[field.index] = made;
  return made;
}

function emptyStats(domain: DomainRef): DomainStats {
  return {
    domain,
    state: none,
    cpu: none,
    balloon: none,
    vcpu: none,
    vcpus: noRecords,
    nets: noRecords,
    blocks: noRecords,
    iothreads: noRecords,
    perf: none,
    memory: none,
    dirtyrate: none,
    other: none,
  };
}
