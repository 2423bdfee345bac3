// Decodes the answer to virConnectGetAllDomainStats: the hot path, some 5,000 fields per host and poll. A field's name and
// a domain's name become strings once; after that their bytes are only compared with what came at the same place the last
// time, so a steady poll hashes nothing and makes no string. Counters become the nearest double, without BigInt. Names and
// units stay libvirt's own (ns, KiB, bytes). It refuses to interpret: a field that it does not know is kept in `other`.
import { type DomainRef, domainsMax } from './procedures.js';
import { int, string, struct, typedParamNumber, uuid } from './wire/codec.js';
import { protocolError, XdrReader } from './wire/xdr.js';

/** Key = what follows the group (and index) in libvirt's field name. Booleans are 0 and 1. */
export type StatRecord = Record<string, number | string | undefined>;

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

/** Groups that libvirt left out are empty. In the lists the index is libvirt's own; a number it skipped is an empty record. */
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
/** A field with a higher index goes to `other`. */
const elementIndexMax = 16_383;
/** Different field names remembered per connection. */
const fieldsRememberedMax = 65_536;
/** libvirt's own limit is 80. */
const fieldCharsRememberedMax = 128;
/** A longer text (a disk's path, say) is made anew each time. */
const textCharsRememberedMax = 1024;
const paramBytesMin = 12;
const recordBytesMin = 28;

type RecordGroup = 'state' | 'cpu' | 'balloon' | 'vcpu' | 'perf' | 'memory' | 'dirtyrate' | 'other';
type ListGroup = 'vcpus' | 'nets' | 'blocks' | 'iothreads';

/** How something was written on the wire. */
type Words = readonly number[];

/** Where a field's value belongs. `place` is the same for all fields of one record. */
type Field = { words: Words; place: number; key: string } & (
  | { group: RecordGroup; index: undefined }
  | { group: ListGroup; index: number }
);

type Text = { text: string; words: Words };

/** What came the last time for one domain, to compare with. `position`: where in the reply. */
type Memory = {
  domain: DomainRef;
  words: Words;
  position: number;
  fields: Field[];
  texts: (Text | undefined)[];
};

type Budget = { fields: number; elements: number };

const domainCodec = struct<DomainRef>({ name: string, uuid, id: int });
const none: StatRecord = Object.freeze({});
const noRecords = Object.freeze([]) as unknown as StatRecord[];

/** One per connection: what it remembers belongs to one host. */
export class DomainStatsDecoder {
  readonly #fields = new Map<string, Field>();
  #memories: Memory[] = [];

  /** Throws PROTOCOL_ERROR when the payload makes no sense; nothing it returns shares memory with the payload. */
  decode(payload: Buffer): DomainStats[] {
    const reader = new XdrReader(payload);
    const recall = new Recall(this.#memories);
    const budget: Budget = { fields: replyFieldsMax, elements: replyElementsMax };
    const all: DomainStats[] = [];
    for (let left = reader.count(recordBytesMin, domainsMax); left > 0; left--) {
      all.push(this.#record(reader, recall.next(reader), budget));
    }
    this.#memories = recall.seen;
    return all;
  }

  #record(reader: XdrReader, memory: Memory, budget: Budget): DomainStats {
    const stats = emptyStats(memory.domain);
    const { fields, texts } = memory;
    const count = reader.count(paramBytesMin, budget.fields);
    budget.fields -= count;
    let record = none;
    let place = -1;
    let textCount = 0;
    for (let index = 0; index < count; index++) {
      let field = fields[index];
      if (field === undefined || !reader.skipWords(field.words)) {
        field = this.#field(reader);
        fields[index] = field;
      }
      if (field.place !== place) {
        place = field.place;
        record = recordOf(stats, field, budget);
      }
      const type = reader.uint();
      if (type === typedParamNumber.string) {
        record[field.key] = textOf(reader, texts, textCount++);
      } else {
        record[field.key] = numberOf(reader, type);
      }
    }
    fields.length = count;
    texts.length = textCount;
    return stats;
  }

  #field(reader: XdrReader): Field {
    const start = reader.position;
    const text = reader.string();
    const known = this.#fields.get(text);
    if (known) return known;
    const field = fieldOf(text, reader.wordsSince(start));
    const rememberable = text.length <= fieldCharsRememberedMax && this.#fields.size < fieldsRememberedMax;
    if (rememberable) this.#fields.set(text, field);
    return field;
  }
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
    const words = reader.wordsSince(start);
    return { domain, words, position: this.#before.length, fields: [], texts: [] };
  }
}

function keyOf({ name, uuid, id }: DomainRef): string {
  return `${uuid} ${id} ${name}`;
}

function textOf(reader: XdrReader, texts: Memory['texts'], index: number): string {
  const last = texts[index];
  if (last !== undefined && reader.skipWords(last.words)) return last.text;
  const start = reader.position;
  const text = reader.string();
  texts[index] = text.length > textCharsRememberedMax ? undefined : { text, words: reader.wordsSince(start) };
  return text;
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

const recordGroups: readonly RecordGroup[] = [
  'other',
  'state',
  'cpu',
  'balloon',
  'vcpu',
  'perf',
  'memory',
  'dirtyrate',
];
const listGroups = new Map<string, ListGroup>([
  ['vcpu', 'vcpus'],
  ['net', 'nets'],
  ['block', 'blocks'],
  ['iothread', 'iothreads'],
]);
const listOrder = [...listGroups.keys()];
/** group, index, key; a key of digits alone would turn the record into an array. */
const fieldForm = /^([a-z]+)\.(?:(0|[1-9]\d{0,4})\.)?(.*\D.*)$/s;

function fieldOf(text: string, words: Words): Field {
  const [, head = '', digits, key = ''] = fieldForm.exec(text) ?? [];
  const list = listGroups.get(head);
  const index = Number(digits);
  if (list !== undefined && index <= elementIndexMax) {
    const place = recordGroups.length + index * listGroups.size + listOrder.indexOf(head);
    return { words, place, key, group: list, index };
  }
  const group = recordGroups.find((name) => name === head);
  if (group === undefined || group === 'other' || digits !== undefined) {
    return { words, place: 0, key: /\D/.test(text) ? text : `.${text}`, group: 'other', index: undefined };
  }
  return { words, place: recordGroups.indexOf(group), key, group, index: undefined };
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
