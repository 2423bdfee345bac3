// How the statistics of one domain are laid out on the wire: which fields, of which types, in which order. Domains with the same
// devices have the same layout, on every host, so layouts are shared by all connections: a layout is only ever compared with the
// bytes that came, so a host that sends odd ones changes nothing for the others. It refuses layouts in which a field comes twice
// (those are read field by field), and to keep more than `layoutBytesSharedMax`.
import { type Field, fieldCharsRememberedMax, type ListGroup, type RecordGroup } from './stats-field.js';
import { typedParamNumber } from './wire/codec.js';
import { XdrReader, XdrWriter } from './wire/xdr.js';

/** The words of all layouts that are offered to other domains; beyond that the offer begins anew. */
const layoutBytesSharedMax = 16 * 1024 * 1024;
/** In a layout that is remembered. */
const fieldsMax = 8_192;

/** Key = what follows the group (and index) in libvirt's field name. Booleans are 0 and 1. */
export type StatRecord = Record<string, number | string | undefined>;

export type LayoutField = {
  key: string;
  /** VIR_TYPED_PARAM_*. */
  type: number;
  /** Where in the layout's words its name and type end. */
  wordsEnd: number;
  valueBytesMin: number;
  /** Which of the layout's records it belongs to. */
  record: number;
};

export type LayoutRecord = { keys: string[] } & (
  | { group: RecordGroup; index: undefined }
  | { group: ListGroup; index: number }
);

export type Layout = {
  /** Each field's name and type, as on the wire. */
  words: Int32Array;
  /** In the order of the wire. */
  fields: readonly LayoutField[];
  records: readonly LayoutRecord[];
  lists: readonly ListGroup[];
  /** Of all lists, skipped ones included. */
  elements: number;
};

const shared = new Map<string, Layout>();
let sharedBytes = 0;

/** Shown the fields of one domain as they come. */
export class LayoutLearner {
  readonly #fields: { field: Field; type: number }[] = [];
  #regular = true;

  see(field: Field, type: number): void {
    if (field.name.length > fieldCharsRememberedMax || this.#fields.length >= fieldsMax)
      this.#regular = false;
    if (this.#regular) this.#fields.push({ field, type });
  }

  /** Undefined when they had better be read one by one the next time too. */
  layout(): Layout | undefined {
    if (!this.#regular) return undefined;
    const key = this.#fields.map(({ field, type }) => `${type}${field.name}`).join('\n');
    const known = shared.get(key);
    if (known) return known;
    const layout = layoutOf(this.#fields);
    if (layout === undefined) return undefined;
    const bytes = layout.words.byteLength;
    if (sharedBytes + bytes > layoutBytesSharedMax) {
      shared.clear();
      sharedBytes = 0;
    }
    sharedBytes += bytes;
    shared.set(key, layout);
    return layout;
  }
}

function layoutOf(seen: readonly { field: Field; type: number }[]): Layout | undefined {
  const writer = new XdrWriter();
  const fields: LayoutField[] = [];
  const records = new Map<number, LayoutRecord & { number: number }>();
  const sizes = new Map<ListGroup, number>();
  const seenKeys = new Set<string>();
  let wordsEnd = 0;
  for (const { field, type } of seen) {
    const { place, key } = field;
    const unique = `${place} ${key}`;
    if (key === '__proto__' || seenKeys.has(unique)) return undefined;
    seenKeys.add(unique);
    const record = records.get(place) ?? { ...beginRecord(field), number: records.size };
    records.set(place, record);
    record.keys.push(key);
    if (field.index !== undefined) {
      sizes.set(field.group, Math.max(sizes.get(field.group) ?? 0, field.index + 1));
    }
    writer.string(field.name);
    writer.uint(type);
    wordsEnd += wordsOfName(field.name) + 1;
    fields.push({ key, type, wordsEnd, valueBytesMin: valueBytesMin(type), record: record.number });
  }
  for (const { keys } of records.values()) openShape(keys);
  const reader = new XdrReader(writer.finish());
  reader.rest();
  return {
    words: Int32Array.from(reader.wordsSince(0)),
    fields,
    records: [...records.values()],
    lists: [...sizes.keys()],
    elements: [...sizes.values()].reduce((sum, size) => sum + size, 0),
  };
}

function beginRecord(field: Field): LayoutRecord {
  if (field.index === undefined) return { keys: [], group: field.group, index: undefined };
  return { keys: [], group: field.group, index: field.index };
}

/** The length and the characters. */
function wordsOfName(name: string): number {
  return 1 + Math.ceil(Buffer.byteLength(name) / 4);
}

function valueBytesMin(type: number): number {
  const wide =
    type === typedParamNumber.llong || type === typedParamNumber.ullong || type === typedParamNumber.double;
  return wide ? 8 : 4;
}

/**
 * V8 puts each value of a property in a box of its own, small ones too, where it has seen only numbers that are not small. A text
 * in the same place, once, makes it hold small numbers without one.
 */
function openShape(keys: readonly string[]): void {
  const record: StatRecord = {};
  for (const key of keys) record[key] = '';
}
