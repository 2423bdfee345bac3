// Pages of samples, rendered when they are asked for: each family once, with one HELP and one TYPE, as both formats want.
// A family needs every host, so a fleet whose page is large is gone through several times, each time for the next few
// families: as many as fit into `heldBytesMax`. It refuses to hold more of a page than that, however slowly it is read.
//
//   the whole page fits      one pass
//   it does not              the first pass has counted sizes; then a pass for each slice of families, the first family
//                            of which is sent while the pass goes on
import { setImmediate } from 'node:timers/promises';
import type { Compat } from './compat.js';
import { type Format, familyHead, Lines, pageEnd } from './exposition.js';
import { type FamilyName, families } from './families.js';

/** Writes a part of the page of one host. */
export type Part = (lines: Lines) => void;

/** Parts of one kind write the same families: a pass that wants none of them leaves such parts out. */
export type FleetPart = { kind: string; write: Part };

/** Text of a page that is held at a time. */
const heldBytesMax = 8 * 1024 * 1024;
/** What pages of hosts took is kept for the next up to this much. */
const keptBytesMax = 4 * 1024 * 1024;
/** So many pages of hosts that were read wait for use again. */
const sparePagesMax = 4;
const sparePageBytesMax = 1024 * 1024;
/** Blocks are joined until they hold this much. */
const sendBytesMin = 64 * 1024;
/** Rendering gives way to polls after this long. */
const turnMs = 10;

export type FleetPageOptions = {
  /** Ends the page, by throwing its reason. */
  signal: AbortSignal;
  format: Format;
  heldBytesMax?: number;
  compat?: Compat | undefined;
};

/** The first lines of families, made once. */
class Heads {
  readonly #heads = new Map<FamilyName, Buffer>();

  constructor(
    private readonly format: Format,
    private readonly compat: Compat | undefined,
  ) {}

  of(name: FamilyName): Buffer {
    const known = this.#heads.get(name);
    if (known) return known;
    const family = families.get(name);
    const shown = this.compat?.get(name)?.name ?? name;
    const head = Buffer.from(family ? familyHead(shown, family, this.format) : '');
    this.#heads.set(name, head);
    return head;
  }
}

/** The page of many hosts, without its end: the collector's page follows. `parts` is called for each pass. */
export async function* fleetPage(
  parts: () => Iterable<FleetPart>,
  { signal, format, compat, heldBytesMax: bytesMax = heldBytesMax }: FleetPageOptions,
): AsyncGenerator<Buffer> {
  const turns = new Turns(signal);
  const heads = new Heads(format, compat);
  const whole = new Lines({ bytesMax, compat });
  for (const { kind, write } of parts()) {
    whole.kind = kind;
    write(whole);
    if (turns.isOver()) await turns.next();
  }
  if (!whole.isOver) return yield* joined(held(whole, families.keys(), heads));
  const written = whole.written();
  for (const slice of slices(written, bytesMax)) {
    const kinds = new Set(slice.flatMap((name) => [...(written.get(name)?.kinds ?? [])]));
    yield* pass(parts(), { slice, kinds }, turns, { heads, compat });
  }
}

/** A page that is whole. */
export type Page = {
  bytes: Buffer;
  /** Nobody reads the bytes any more: another page may be written over them. */
  release(): void;
};

/** Pages of single hosts: the same parts, without the instance label. What one page took serves for the next. */
export class HostPages {
  #lines: Lines | undefined;
  readonly #spare: Buffer[] = [];
  readonly #heads: Readonly<Record<Format, Heads>>;

  constructor(private readonly compat?: Compat) {
    this.#heads = { text: new Heads('text', compat), openmetrics: new Heads('openmetrics', compat) };
  }

  page(parts: Iterable<Part>, format: Format = 'text'): Page {
    const lines = this.#lines ?? new Lines({ alone: true, compat: this.compat });
    // A part that throws leaves lines behind.
    this.#lines = undefined;
    for (const part of parts) part(lines);
    const page = this.#taken(lines, format);
    if (lines.capacity <= keptBytesMax) this.#lines = lines;
    return page;
  }

  #taken(lines: Lines, format: Format): Page {
    const heads = this.#heads[format];
    const names = [...families.keys()].filter((name) => lines.size(name) > 0);
    const last = pageEnd(format);
    let length = last.length;
    for (const name of names) length += heads.of(name).length + lines.size(name);
    let bytes = this.#spare.pop();
    if (!bytes || bytes.length < length) bytes = Buffer.allocUnsafeSlow(length);
    let end = 0;
    for (const name of names) {
      const head = heads.of(name);
      bytes.set(head, end);
      end = lines.takeInto(bytes, end + head.length, name);
    }
    bytes.write(last, end);
    return this.#page(bytes, length);
  }

  #page(bytes: Buffer, length: number): Page {
    const release = () => {
      if (this.#spare.length < sparePagesMax && bytes.length <= sparePageBytesMax) this.#spare.push(bytes);
    };
    return { bytes: bytes.subarray(0, length), release };
  }
}

/** Goes through the fleet for a few families: the first is sent on the way, the others after. */
async function* pass(
  parts: Iterable<FleetPart>,
  { slice, kinds }: { slice: readonly FamilyName[]; kinds: ReadonlySet<string> },
  turns: Turns,
  { heads, compat }: { heads: Heads; compat: Compat | undefined },
): AsyncGenerator<Buffer> {
  const [first, ...others] = slice;
  if (first === undefined) return;
  const lines = new Lines({ families: slice, compat });
  yield heads.of(first);
  for (const { kind, write } of parts) {
    if (!kinds.has(kind)) continue;
    write(lines);
    if (!turns.isOver()) continue;
    await turns.next();
    yield* joined(lines.take(first));
  }
  yield* joined(lines.take(first));
  yield* joined(held(lines, others, heads));
}

/** What was collected of these families, each with its head; a family without lines has none. */
function* held(lines: Lines, names: Iterable<FamilyName>, heads: Heads): Generator<Buffer> {
  for (const name of names) {
    const blocks = lines.take(name);
    if (blocks.length > 0) yield heads.of(name);
    yield* blocks;
  }
}

/** Small blocks as fewer larger ones. */
function* joined(blocks: Iterable<Buffer>): Generator<Buffer> {
  let group: Buffer[] = [];
  let bytes = 0;
  for (const block of blocks) {
    group.push(block);
    bytes += block.length;
    if (bytes < sendBytesMin) continue;
    yield Buffer.concat(group);
    group = [];
    bytes = 0;
  }
  if (group.length > 0) yield Buffer.concat(group);
}

/** Cuts the families into runs that fit, in the order of the page; the first of a run is not held. */
function* slices(
  written: ReadonlyMap<FamilyName, { size: number }>,
  bytesMax: number,
): Generator<FamilyName[]> {
  let slice: FamilyName[] = [];
  let bytes = 0;
  for (const name of families.keys()) {
    const size = written.get(name)?.size;
    if (size === undefined) continue;
    if (slice.length > 0 && bytes + size > bytesMax) {
      yield slice;
      slice = [];
      bytes = 0;
    }
    if (slice.length > 0) bytes += size;
    slice.push(name);
  }
  if (slice.length > 0) yield slice;
}

/** Lets the event loop go round, and sees then whether the page is still wanted. */
class Turns {
  #sinceMs = performance.now();

  constructor(private readonly signal: AbortSignal) {}

  isOver(): boolean {
    return performance.now() - this.#sinceMs > turnMs;
  }

  async next(): Promise<void> {
    await setImmediate();
    this.signal.throwIfAborted();
    this.#sinceMs = performance.now();
  }
}
