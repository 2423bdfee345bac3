// Decodes the answer to virConnectGetAllDomainStats: the hot path, some 3,500 fields per host and poll. How a domain's fields
// were laid out the last time is remembered (stats-layout.ts), so that a steady poll compares bytes and reads numbers into one
// array: it hashes nothing and makes no string and, but for one small object a domain, no object (stats-record.ts). Counters
// become the nearest double, without BigInt. Names and units stay libvirt's own (ns, KiB, bytes). It refuses to interpret: a
// field that it does not know is kept in `other`.
import { keepOne } from '../core/keep-one.js';
import { recurring } from '../core/recurring.js';
import { type DomainRef, domainsMax } from './procedures.js';
import { DecodedStats, type DomainStats, type KnownDomain } from './stats.js';
import { type Field, fieldNamed } from './stats-field.js';
import { type Layout, type LayoutField, LayoutLearner } from './stats-layout.js';
import { hexDigits, int, string, struct, typedParamNumber, uuid } from './wire/codec.js';
import { protocolError, XdrReader } from './wire/xdr.js';

/** In one reply, over all its domains. */
const replyFieldsMax = 524_288;
/** In one reply: elements of `vcpus`, `nets`, `blocks` and `iothreads`, skipped ones included. */
const replyElementsMax = 262_144;
const paramBytesMin = 12;
const recordBytesMin = 28;
/** Of an array of figures that is made because the last one is full. */
const figuresRoomMin = 512;

type Budget = { fields: number; elements: number };

const domainCodec = struct<DomainRef>({ name: string, uuid, id: int });
const twoTo32 = 4_294_967_296;
/** Of a domain of which nothing can be foretold. */
const noLayout: Layout = {
  words: new Int32Array(0),
  fields: [],
  figures: 0,
  texts: 0,
  groups: new Map(),
  lists: new Map(),
  elements: 0,
  isRegular: true,
};
const noTexts: readonly string[] = Object.freeze([]);

/** One per connection: what it remembers of domains belongs to one host. */
export class DomainStatsDecoder {
  /** What came the last time for each domain, to compare with; in the order of that reply. */
  #known: KnownDomain[] = [];
  /** In the last reply. */
  #figures = 0;

  /** Throws PROTOCOL_ERROR when the payload makes no sense; nothing it returns shares memory with the payload. */
  decode(payload: Buffer): DomainStats[] {
    return this.read(new XdrReader(payload));
  }

  /** As `decode`, of what `reader` has yet to read. */
  read(reader: XdrReader): DomainStats[] {
    const recall = new Recall(this.#known);
    const budget: Budget = { fields: replyFieldsMax, elements: replyElementsMax };
    const room = new FiguresRoom(this.#figures);
    const count = reader.count(recordBytesMin, domainsMax);
    const all = new Array<DomainStats>(count);
    for (let index = 0; index < count; index++) {
      const known = decodeRecord(reader, recall.next(reader), { budget, room });
      all[index] = new DecodedStats(known, room.figures, room.at);
      room.take(known.layout.figures);
      recall.remember(known);
    }
    this.#known = recall.seen();
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

keepOne(new FiguresRoom(0));

/** Reads the figures into the next free room; what it returns is `before` where nothing else has changed. */
function decodeRecord(
  reader: XdrReader,
  before: KnownDomain,
  { budget, room }: { budget: Budget; room: FiguresRoom },
): KnownDomain {
  const count = reader.count(paramBytesMin, budget.fields);
  budget.fields -= count;
  const { domain, layout, texts: lastTexts } = before;
  if (layout.fields.length === count && layout.elements <= budget.elements) {
    const start = reader.position;
    const texts = readAsBefore(reader, layout, lastTexts, room);
    if (texts !== undefined) {
      budget.elements -= layout.elements;
      return texts === lastTexts ? before : { domain, layout, texts };
    }
    reader.seek(start);
  }
  return readAnew(reader, count, domain, { budget, room });
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

/** Reads whatever there is, and learns its layout for the next time. */
function readAnew(
  reader: XdrReader,
  count: number,
  domain: DomainRef,
  { budget, room }: { budget: Budget; room: FiguresRoom },
): KnownDomain {
  const learner = new LayoutLearner();
  const read: (number | string)[] = [];
  for (let index = 0; index < count; index++) {
    const field = fieldNamed(reader.string());
    const type = reader.uint();
    read.push(type === typedParamNumber.string ? textOf(field, reader) : numberOf(reader, type));
    const elements = learner.see(field, type);
    if (elements > budget.elements) throw protocolError('a reply with too many devices');
    budget.elements -= elements;
  }
  const layout = learner.layout();
  room.reserve(layout.figures);
  const texts = new Array<string>(layout.texts);
  for (const [index, { slot }] of layout.fields.entries()) {
    const value = read[index];
    if (typeof value === 'string') texts[slot] = value;
    else if (value !== undefined) room.figures[room.at + slot] = value;
  }
  return { domain, layout, texts };
}

/** Names and modes are those of other VMs, too; paths are not. */
function textOf({ key }: Field, reader: XdrReader): string {
  const text = reader.string();
  return key === 'path' ? text : recurring(text);
}

/** Finds what is known of the next domain: nearly always it is the one that followed last time. */
class Recall {
  readonly #before: readonly KnownDomain[];
  /** For the next reply, in the order of this one; `#before` itself as long as it is the same. */
  #seen: KnownDomain[];
  #count = 0;
  /** In `#before`. */
  #predicted = 0;
  #byKey: Map<string, number> | undefined;

  constructor(before: KnownDomain[]) {
    this.#before = before;
    this.#seen = before;
  }

  next(reader: XdrReader): KnownDomain {
    const expected = this.#before[this.#predicted];
    if (expected !== undefined && skipDomain(reader, expected.domain)) {
      this.#predicted++;
      return expected;
    }
    const domain = Object.freeze(domainCodec.read(reader));
    this.#byKey ??= new Map(this.#before.map((known, index) => [keyOf(known.domain), index]));
    const index = this.#byKey.get(keyOf(domain)) ?? this.#before.length;
    this.#predicted = index + 1;
    return this.#before[index] ?? unknown(domain);
  }

  /** To be called after each `next`, with what is known of that domain now. */
  remember(known: KnownDomain): void {
    const worthIt = known.layout.isRegular ? known : unknown(known.domain);
    if (this.#seen === this.#before && this.#before[this.#count] !== worthIt)
      this.#seen = this.#before.slice(0, this.#count);
    if (this.#seen !== this.#before) this.#seen.push(worthIt);
    this.#count++;
  }

  seen(): KnownDomain[] {
    return this.#count === this.#seen.length ? this.#seen : this.#seen.slice(0, this.#count);
  }
}

keepOne(new Recall([]));

function unknown(domain: DomainRef): KnownDomain {
  return { domain, layout: noLayout, texts: noTexts };
}

/** Reads the next domain if it is `expected`, else reads nothing. */
function skipDomain(reader: XdrReader, { name, uuid, id }: DomainRef): boolean {
  const start = reader.position;
  const isNamedSo = reader.skipAscii(name) || reader.string() === name;
  if (isNamedSo && skipUuid(reader, uuid) && reader.int() === id) return true;
  reader.seek(start);
  return false;
}

const uuidBytes = 16;

/** `expected`: as the codec makes it. */
function skipUuid(reader: XdrReader, expected: string): boolean {
  if (reader.remaining < uuidBytes) return false;
  const { view, position } = reader;
  let char = 0;
  for (let at = position; at < position + uuidBytes; at++, char += 2) {
    const byte = view.getUint8(at);
    if (expected[char] === '-') char++;
    if (hexDigits[byte >> 4] !== expected[char] || hexDigits[byte & 15] !== expected[char + 1]) return false;
  }
  reader.seek(position + uuidBytes);
  return true;
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
