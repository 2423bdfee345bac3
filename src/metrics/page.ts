// Pages of samples, rendered when they are asked for: each family once, with one HELP and one TYPE, as both formats want.
// A family needs every host, so a fleet whose page is large is gone through several times, each time for the next few
// families: as many as fit into `heldCharsMax`. It refuses to hold more of a page than that, however slowly it is read.
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
const heldCharsMax = 8 * 1024 * 1024;
/** Blocks are joined until they hold this much. */
const sendBytesMin = 64 * 1024;
/** Rendering gives way to polls after this long. */
const turnMs = 10;

export type FleetPageOptions = {
  /** Ends the page, by throwing its reason. */
  signal: AbortSignal;
  format: Format;
  heldCharsMax?: number;
  compat?: Compat | undefined;
};

/** In which format and whose names a page is written. */
type Words = Pick<FleetPageOptions, 'format' | 'compat'>;

/** The page of many hosts, without its end: the collector's page follows. `parts` is called for each pass. */
export async function* fleetPage(
  parts: () => Iterable<FleetPart>,
  { signal, format, compat, heldCharsMax: charsMax = heldCharsMax }: FleetPageOptions,
): AsyncGenerator<Buffer> {
  const turns = new Turns(signal);
  const whole = new Lines({ charsMax, compat });
  for (const { kind, write } of parts()) {
    whole.kind = kind;
    write(whole);
    if (turns.isOver()) await turns.next();
  }
  if (!whole.isOver) return yield* held(whole, families.keys(), { format, compat });
  const written = whole.written();
  for (const slice of slices(written, charsMax)) {
    const kinds = new Set(slice.flatMap((name) => [...(written.get(name)?.kinds ?? [])]));
    yield* pass(parts(), { slice, kinds }, turns, { format, compat });
  }
}

/** The page of one host: the same parts, without the instance label. */
export function hostPage(
  instance: string,
  parts: Iterable<Part>,
  format: Format = 'text',
  compat?: Compat,
): string {
  const lines = new Lines({ without: instance, compat });
  for (const part of parts) part(lines);
  return Buffer.concat([...held(lines, families.keys(), { format, compat })]).toString() + pageEnd(format);
}

/** Goes through the fleet for a few families: the first is sent on the way, the others after. */
async function* pass(
  parts: Iterable<FleetPart>,
  { slice, kinds }: { slice: readonly FamilyName[]; kinds: ReadonlySet<string> },
  turns: Turns,
  words: Words,
): AsyncGenerator<Buffer> {
  const [first, ...others] = slice;
  if (first === undefined) return;
  const lines = new Lines({ families: slice, compat: words.compat });
  yield headOf(first, words);
  for (const { kind, write } of parts) {
    if (!kinds.has(kind)) continue;
    write(lines);
    if (!turns.isOver()) continue;
    await turns.next();
    yield* joined(lines.take(first));
  }
  yield* joined(lines.take(first));
  yield* held(lines, others, words);
}

/** What was collected of these families, each with its head; a family without lines has none. */
function held(lines: Lines, names: Iterable<FamilyName>, words: Words): Iterable<Buffer> {
  return joined(heldBlocks(lines, names, words));
}

function* heldBlocks(lines: Lines, names: Iterable<FamilyName>, words: Words): Generator<Buffer> {
  for (const name of names) {
    const blocks = lines.take(name);
    if (blocks.length > 0) yield headOf(name, words);
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
  written: ReadonlyMap<FamilyName, { chars: number }>,
  charsMax: number,
): Generator<FamilyName[]> {
  let slice: FamilyName[] = [];
  let chars = 0;
  for (const name of families.keys()) {
    const size = written.get(name)?.chars;
    if (size === undefined) continue;
    if (slice.length > 0 && chars + size > charsMax) {
      yield slice;
      slice = [];
      chars = 0;
    }
    if (slice.length > 0) chars += size;
    slice.push(name);
  }
  if (slice.length > 0) yield slice;
}

function headOf(name: FamilyName, { format, compat }: Words): Buffer {
  const family = families.get(name);
  return Buffer.from(family ? familyHead(compat?.get(name)?.name ?? name, family, format) : '');
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
