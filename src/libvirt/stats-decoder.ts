// Decodes the answer to virConnectGetAllDomainStats: the hot path, some 3,500 fields per host and poll. How a domain's fields
// were laid out the last time is remembered (stats-layout.ts), so that a steady poll compares bytes and reads numbers into one
// array: it hashes nothing and makes no string and, but for one small object a domain, no object (stats-record.ts). Counters
// become the nearest double, without BigInt. Names and units stay libvirt's own (ns, KiB, bytes). It refuses to interpret: a
// field that it does not know is kept in `other`.
import { type DomainRef, domainsMax } from './procedures.js';
import { DecodedStats, type DomainStats } from './stats.js';
import { fieldNamed } from './stats-field.js';
import { type Layout, type LayoutField, LayoutLearner } from './stats-layout.js';
import { int, string, struct, typedParamNumber, uuid } from './wire/codec.js';
import { protocolError, XdrReader } from './wire/xdr.js';

/** In one reply, over all its domains. */
const replyFieldsMax = 524_288;
/** In one reply: elements of `vcpus`, `nets`, `blocks` and `iothreads`, skipped ones included. */
const replyElementsMax = 262_144;
const paramBytesMin = 12;
const recordBytesMin = 28;
/** Of an array of figures that is made because the last one is full. */
const figuresRoomMin = 512;

/** How something was written on the wire. */
type Words = readonly number[];

/** What came the last time for one domain, to compare with. `position`: where in the reply. */
type Memory = {
  readonly domain: DomainRef;
  readonly words: Words;
  position: number;
  layout: Layout | undefined;
  texts: readonly string[];
};

type Budget = { fields: number; elements: number };

const domainCodec = struct<DomainRef>({ name: string, uuid, id: int });
const twoTo32 = 4_294_967_296;
/** One per connection: what it remembers of domains belongs to one host. */
export class DomainStatsDecoder {
  #memories: Memory[] = [];
  /** In the last reply. */
  #figures = 0;

  /** Throws PROTOCOL_ERROR when the payload makes no sense; nothing it returns shares memory with the payload. */
  decode(payload: Buffer): DomainStats[] {
    const reader = new XdrReader(payload);
    const recall = new Recall(this.#memories);
    const budget: Budget = { fields: replyFieldsMax, elements: replyElementsMax };
    const room = new FiguresRoom(this.#figures);
    const all: DomainStats[] = [];
    for (let left = reader.count(recordBytesMin, domainsMax); left > 0; left--) {
      all.push(decodeRecord(reader, recall.next(reader), { budget, room }));
    }
    this.#memories = recall.seen;
    this.#figures = room.taken;
    return all;
  }
}

/** Room for the figures of a reply: one array where there are as many as last time. */
class FiguresRoom {
  figures: Float64Array;
  /** In `figures`: the first that is free. */
  at = 0;
  /** In all. */
  taken = 0;

  constructor(expected: number) {
    this.figures = new Float64Array(expected);
  }

  /** Makes `figures` have room for `count` more at `at`. */
  reserve(count: number): void {
    if (this.at + count <= this.figures.length) return;
    this.figures = new Float64Array(Math.max(count, figuresRoomMin));
    this.at = 0;
  }

  take(count: number): void {
    this.at += count;
    this.taken += count;
  }
}

function decodeRecord(
  reader: XdrReader,
  memory: Memory,
  { budget, room }: { budget: Budget; room: FiguresRoom },
): DomainStats {
  const count = reader.count(paramBytesMin, budget.fields);
  budget.fields -= count;
  const { layout } = memory;
  if (layout?.fields.length === count && layout.elements <= budget.elements) {
    const start = reader.position;
    const texts = readAsBefore(reader, layout, memory.texts, room);
    if (texts !== undefined) {
      memory.texts = texts;
      budget.elements -= layout.elements;
      return keep(memory.domain, layout, texts, room);
    }
    reader.seek(start);
  }
  return readAnew(reader, count, memory, { budget, room });
}

function keep(domain: DomainRef, layout: Layout, texts: readonly string[], room: FiguresRoom): DomainStats {
  const stats = new DecodedStats(domain, layout, room.figures, room.at, texts);
  room.take(layout.figures);
  return stats;
}

/**
 * Reads fields whose names and types must be those of `layout` into the next free room, and returns the texts; undefined when
 * they are not.
 */
function readAsBefore(
  reader: XdrReader,
  { words, fields, figures: count }: Layout,
  lastTexts: readonly string[],
  room: FiguresRoom,
): readonly string[] | undefined {
  room.reserve(count);
  const { figures, at: figuresAt } = room;
  const { view } = reader;
  let texts = lastTexts;
  let at = reader.position;
  let word = 0;
  for (let index = 0; index < fields.length; index++) {
    const { type, wordsEnd, valueBytesMin, slot } = fields[index] as LayoutField;
    if (at + (wordsEnd - word) * 4 + valueBytesMin > view.byteLength) return undefined;
    for (; word < wordsEnd; word++, at += 4) if (view.getInt32(at) !== words[word]) return undefined;
    if (type === typedParamNumber.ullong) {
      figures[figuresAt + slot] = view.getUint32(at) * twoTo32 + view.getUint32(at + 4);
      at += 8;
      continue;
    }
    reader.seek(at);
    if (type === typedParamNumber.string) {
      const last = lastTexts[slot] as string;
      const text = reader.skipAscii(last) ? last : reader.string();
      if (text !== last) texts = texts.with(slot, text);
    } else {
      figures[figuresAt + slot] = numberOf(reader, type);
    }
    at = reader.position;
  }
  reader.seek(at);
  return texts;
}

/** Reads whatever there is, and remembers its layout for the next time. */
function readAnew(
  reader: XdrReader,
  count: number,
  memory: Memory,
  { budget, room }: { budget: Budget; room: FiguresRoom },
): DomainStats {
  const learner = new LayoutLearner();
  const read: (number | string)[] = [];
  for (let index = 0; index < count; index++) {
    const field = fieldNamed(reader.string());
    const type = reader.uint();
    read.push(type === typedParamNumber.string ? reader.string() : numberOf(reader, type));
    const elements = learner.see(field, type);
    if (elements > budget.elements) throw protocolError('a reply with too many devices');
    budget.elements -= elements;
  }
  const { layout, isRegular } = learner.layout();
  room.reserve(layout.figures);
  const texts = new Array<string>(layout.texts);
  for (const [index, { slot }] of layout.fields.entries()) {
    const value = read[index];
    if (typeof value === 'string') texts[slot] = value;
    else if (value !== undefined) room.figures[room.at + slot] = value;
  }
  memory.layout = isRegular ? layout : undefined;
  memory.texts = isRegular ? texts : [];
  return keep(memory.domain, layout, texts, room);
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
    return { domain, words, position: this.#before.length, layout: undefined, texts: [] };
  }
}

function keyOf({ name, uuid, id }: DomainRef): string {
  return `${uuid} ${id} ${name}`;
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
