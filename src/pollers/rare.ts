// What rarely changes, kept from sample to sample: names of hardware, limits, lists of directories. Each piece is read again
// when it is old, some of them a poll, so that no poll pays for all. It refuses to outlive a boot of the host.
import type { Clock } from '../core/clock.js';

/** Of one kind, in one poll: a piece is some twenty files as a rule. The others wait for the next poll. */
const refreshesMax = 8;

type Reading<T> = {
  /** Whether the value has to be read again now. */
  isOld?: (value: T) => boolean;
  /** Of its kind, in one poll. */
  atMost?: number;
};

type Piece = { readAtMs: number; value: unknown };

export class Rare {
  readonly #pieces = new Map<string, Piece>();
  readonly #before: ReadonlyMap<string, Piece>;
  readonly #bootId: string | undefined;
  readonly #nowMs: number;
  readonly #everyMs: number;
  /** By kind. */
  readonly #refreshes = new Map<string, number>();

  /** `bootId` names the boot, and so the machine: pieces of another one are dropped. */
  constructor(
    previous: Rare | undefined,
    { bootId, clock, everyMs }: { bootId: string | undefined; clock: Clock; everyMs: number },
  ) {
    this.#before = previous && previous.#bootId === bootId ? previous.#pieces : new Map();
    this.#bootId = bootId;
    this.#nowMs = clock.monotonicMs();
    this.#everyMs = everyMs;
  }

  /** Samples are shown to people as JSON: this is not for them. */
  toJSON(): undefined {
    return undefined;
  }

  /**
   * Undefined when it does not exist, or has not had its turn yet. The first word of the key is the kind of the piece.
   * `read` is told the value of the last time.
   */
  async get<T>(
    key: string,
    read: (before: T | undefined) => Promise<T | undefined>,
    { isOld = () => false, atMost = refreshesMax }: Reading<T> = {},
  ): Promise<T | undefined> {
    const kept = this.#before.get(key);
    const value = kept?.value as T | undefined;
    const due =
      !kept || this.#nowMs - kept.readAtMs >= this.#everyMs || (value !== undefined && isOld(value));
    const kind = key.split(' ', 1)[0] ?? '';
    const refreshes = this.#refreshes.get(kind) ?? 0;
    if (!due || refreshes >= atMost) {
      if (kept) this.#pieces.set(key, kept);
      return value;
    }
    this.#refreshes.set(kind, refreshes + 1);
    const fresh = await read(value);
    this.#pieces.set(key, { readAtMs: this.#nowMs, value: fresh });
    return fresh;
  }
}
