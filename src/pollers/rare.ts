// What rarely changes, kept from sample to sample: names of hardware, limits, lists of directories. Each piece is read again
// when it is old, some of them a poll, so that no poll pays for all: those that have waited longest. It refuses to outlive a boot of
// the host.
import type { Clock } from '../core/clock.js';
import { Often } from './often.js';

/** Of one kind, in one poll: a piece is some twenty files as a rule. The others wait for the next poll. */
const refreshesMax = 8;

type Reading<T> = {
  /** Whether the value has to be read again now. */
  isOld?: (value: T) => boolean;
  /** Of its kind, in one poll. */
  atMost?: number;
};

const always = {};

/** `poll`: the number of the last one that wanted it. */
type Piece = { readAtMs: number; value: unknown; poll: number };

/** Files of each poll, by their kind. */
export type OftenWanted = { readonly whole: Often; readonly attributes: Often };

/** Of old pieces of a kind that had no turn, when the one that has waited longest was read: in the last poll, and in this. */
type Waiting = { longestMs: number; nextMs: number };

export class Rare {
  /** What names the boot, and so the machine, as far as it is known. */
  readonly bootId: string | undefined;
  /** The same for all polls: what one that failed has read is there for the next. */
  readonly #pieces = new Map<string, Piece>();
  /** By kind, in this poll. */
  readonly #refreshes = new Map<string, number>();
  /** By kind, of those that had more to read than their turns. */
  readonly #waiting = new Map<string, Waiting>();
  /** What is read in each poll, as the last one that was complete wanted it. */
  often: OftenWanted = { whole: Often.nothing, attributes: Often.nothing };
  #poll = 0;
  #nowMs = 0;
  #everyMs = 0;

  constructor(bootId: string | undefined) {
    this.bootId = bootId;
  }

  /** A poll begins: pieces of `everyMs` ago are old. */
  begin({ clock, everyMs }: { clock: Clock; everyMs: number }): void {
    this.#poll += 1;
    this.#nowMs = clock.monotonicMs();
    this.#everyMs = everyMs;
    if (this.#refreshes.size > 0) this.#refreshes.clear();
    for (const waiting of this.#waiting.values()) {
      waiting.longestMs = waiting.nextMs;
      waiting.nextMs = Number.POSITIVE_INFINITY;
    }
  }

  /** Samples are shown to people as JSON: this is not for them. */
  toJSON(): undefined {
    return undefined;
  }

  /**
   * Undefined when it does not exist, or has not had its turn yet. The first word of the key is the kind of the piece.
   * `read` is told the value of the last time. No promise where nothing is to be read: of some pieces a host has a hundred.
   */
  get<T>(
    key: string,
    read: (before: T | undefined) => Promise<T | undefined>,
    { isOld, atMost = refreshesMax }: Reading<T> = always,
  ): Promise<T | undefined> | T | undefined {
    const kept = this.#pieces.get(key);
    if (kept) kept.poll = this.#poll;
    const value = kept?.value as T | undefined;
    const readAtMs = kept?.readAtMs ?? Number.NEGATIVE_INFINITY;
    const hasChanged = value !== undefined && isOld?.(value) === true;
    const isDue = hasChanged || this.#nowMs - readAtMs >= this.#everyMs;
    if (isDue && this.#takesTurn(key, readAtMs, atMost, hasChanged)) return this.#read(key, value, read);
    return value;
  }

  /** The poll is complete: what it did not want is no longer there on the host. */
  end(often: OftenWanted): void {
    this.often = often;
    for (const [key, { poll }] of this.#pieces) if (poll < this.#poll) this.#pieces.delete(key);
  }

  #takesTurn(key: string, readAtMs: number, atMost: number, isUrgent: boolean): boolean {
    const kind = key.split(' ', 1)[0] ?? '';
    const refreshes = this.#refreshes.get(kind) ?? 0;
    const waiting = this.#waiting.get(kind);
    const isNext = isUrgent || readAtMs <= (waiting?.longestMs ?? Number.POSITIVE_INFINITY);
    if (isNext && refreshes < atMost) {
      this.#refreshes.set(kind, refreshes + 1);
      return true;
    }
    if (waiting) waiting.nextMs = Math.min(waiting.nextMs, readAtMs);
    else this.#waiting.set(kind, { longestMs: Number.POSITIVE_INFINITY, nextMs: readAtMs });
    return false;
  }

  async #read<T>(
    key: string,
    before: T | undefined,
    read: (before: T | undefined) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const value = await read(before);
    this.#pieces.set(key, { readAtMs: this.#nowMs, value, poll: this.#poll });
    return value;
  }
}

/** What `Promise.all` gives, which makes promises of what is there already as well. */
export async function allOf<T>(pieces: readonly (Promise<T> | T)[]): Promise<T[]> {
  const found = new Array<T>(pieces.length);
  const waits: Promise<void>[] = [];
  for (let index = 0; index < pieces.length; index += 1) {
    const piece = pieces[index] as Promise<T> | T;
    if (!(piece instanceof Promise)) found[index] = piece;
    else {
      const take = (value: T) => {
        found[index] = value;
      };
      waits.push(piece.then(take));
    }
  }
  if (waits.length > 0) await Promise.all(waits);
  return found;
}
