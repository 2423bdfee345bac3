// How the statistics of one domain are laid out on the wire: which fields, of which types, in which order, and where each of
// their values is kept. Domains with the same devices have the same layout, on every host, so layouts are shared by all
// connections: a layout is only ever compared with the bytes that came, so a host that sends odd ones changes nothing for the
// others. It refuses to remember what is out of proportion, and to keep more than `layoutBytesSharedMax`.
import { type Field, fieldCharsRememberedMax, type ListGroup, type RecordGroup } from './stats-field.js';
import { type RecordView, type Slot, viewOf } from './stats-record.js';
import { typedParamNumber } from './wire/codec.js';
import { XdrReader, XdrWriter } from './wire/xdr.js';

/** Of all layouts that are offered to other domains, about; beyond that the offer begins anew. */
const layoutBytesSharedMax = 16 * 1024 * 1024;
/** In a layout that is remembered. */
const fieldsMax = 8_192;
/** What a layout takes for each field besides its words, and for each element of a list, about. */
const bytesOfField = 64;
const bytesOfElement = 8;

export type LayoutField = {
  /** VIR_TYPED_PARAM_*. */
  type: number;
  /** Where in the layout's words its name and type end. */
  wordsEnd: number;
  valueBytesMin: number;
  /** Among the domain's figures; among its texts where the type is a string. */
  slot: number;
};

export type Layout = {
  /** Each field's name and type, as on the wire. */
  words: Int32Array;
  /** In the order of the wire. */
  fields: readonly LayoutField[];
  /** How many of each a domain has. */
  figures: number;
  texts: number;
  groups: ReadonlyMap<RecordGroup, RecordView>;
  /** The index is libvirt's own; undefined where it skipped one. */
  lists: ReadonlyMap<ListGroup, readonly (RecordView | undefined)[]>;
  /** Of all lists, skipped ones included. */
  elements: number;
  /** Worth to be remembered. */
  isRegular: boolean;
};

const shared = new Map<string, Layout>();
let sharedBytes = 0;

/** Shown the fields of one domain as they come. */
export class LayoutLearner {
  readonly #seen: { field: Field; type: number }[] = [];
  readonly #sizes = new Map<ListGroup, number>();

  /** How many more elements its lists have by this field. */
  see(field: Field, type: number): number {
    this.#seen.push({ field, type });
    if (field.index === undefined) return 0;
    const size = this.#sizes.get(field.group) ?? 0;
    this.#sizes.set(field.group, Math.max(size, field.index + 1));
    return Math.max(0, field.index + 1 - size);
  }

  layout(): Layout {
    const isRegular =
      this.#seen.length <= fieldsMax &&
      this.#seen.every(({ field }) => field.name.length <= fieldCharsRememberedMax);
    if (!isRegular) return layoutOf(this.#seen, this.#sizes, isRegular);
    const key = this.#seen.map(({ field, type }) => `${type}${field.name}`).join('\n');
    const layout = shared.get(key) ?? layoutOf(this.#seen, this.#sizes, isRegular);
    if (!shared.has(key)) share(key, layout);
    return layout;
  }
}

function share(key: string, layout: Layout): void {
  const { words, fields, elements } = layout;
  const bytes = words.byteLength + fields.length * bytesOfField + elements * bytesOfElement;
  if (sharedBytes + bytes > layoutBytesSharedMax) {
    shared.clear();
    sharedBytes = 0;
  }
  sharedBytes += bytes;
  shared.set(key, layout);
}

type Plan = { field: Field; slots: Map<string, Slot> };

function layoutOf(
  seen: readonly { field: Field; type: number }[],
  sizes: ReadonlyMap<ListGroup, number>,
  isRegular: boolean,
): Layout {
  const writer = new XdrWriter();
  const fields: LayoutField[] = [];
  const plans = new Map<number, Plan>();
  const next = { figures: 0, texts: 0 };
  let wordsEnd = 0;
  for (const { field, type } of seen) {
    const plan = plans.get(field.place) ?? { field, slots: new Map() };
    plans.set(field.place, plan);
    const kind = type === typedParamNumber.string ? 'texts' : 'figures';
    const slot = next[kind]++;
    // Of a field that comes twice the last value counts.
    plan.slots.set(field.key, { kind, slot });
    writer.string(field.name);
    writer.uint(type);
    wordsEnd += wordsOfName(field.name) + 1;
    fields.push({ type, wordsEnd, valueBytesMin: valueBytesMin(type), slot });
  }
  const reader = new XdrReader(writer.finish());
  reader.rest();
  const words = Int32Array.from(reader.wordsSince(0));
  return { words, fields, ...next, ...viewsOf(plans, sizes), isRegular };
}

function viewsOf(
  plans: ReadonlyMap<number, Plan>,
  sizes: ReadonlyMap<ListGroup, number>,
): Pick<Layout, 'groups' | 'lists' | 'elements'> {
  const groups = new Map<RecordGroup, RecordView>();
  const lists = new Map<ListGroup, (RecordView | undefined)[]>();
  let elements = 0;
  for (const [list, size] of sizes) {
    lists.set(list, new Array(size).fill(undefined));
    elements += size;
  }
  for (const { field, slots } of plans.values()) {
    const view = viewOf(slots);
    if (field.index === undefined) groups.set(field.group, view);
    else (lists.get(field.group) as (RecordView | undefined)[])[field.index] = view;
  }
  return { groups, lists, elements };
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
