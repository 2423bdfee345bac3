// The requests of a session that have no answer yet, by id. Ids rise by one, and servers answer more or less in order, so they lie
// in a ring that stays as it is; a map would make its table anew several times a poll. It refuses an id that was not given, and a
// server that leaves one unanswered for good while it answers thousands behind it: the ring would grow for ever.
import { MalformedSftp } from './sftp-wire.js';

/** A session asks some hundred at a time. */
const placesMin = 64;
/** The largest files that are read are 64 pieces, and as many are read at a time. */
const placesMax = 16_384;

export class InFlight<T> {
  #places: (T | undefined)[] = new Array<T | undefined>(placesMin).fill(undefined);
  /** All ids before this one have been answered. */
  #oldest = 0;
  #next = 0;

  /** The id that is given to it: one more than the last, modulo 2^32. */
  add(request: T): number {
    if (this.#span() === this.#places.length) this.#grow();
    const id = this.#next;
    this.#places[this.#placeOf(id)] = request;
    this.#next = (id + 1) >>> 0;
    return id;
  }

  get(id: number): T | undefined {
    return this.#isGiven(id) ? this.#places[this.#placeOf(id)] : undefined;
  }

  /** Throws MalformedSftp when another has waited for too many answers. */
  delete(id: number): void {
    if (!this.#isGiven(id)) return;
    this.#places[this.#placeOf(id)] = undefined;
    while (this.#oldest !== this.#next && this.#places[this.#placeOf(this.#oldest)] === undefined)
      this.#oldest = (this.#oldest + 1) >>> 0;
    if (this.#span() > placesMax) throw new MalformedSftp('a request was never answered');
  }

  clear(): void {
    this.#places.fill(undefined);
    this.#oldest = this.#next;
  }

  /** Oldest first. */
  *values(): Generator<T, void, void> {
    for (let id = this.#oldest; id !== this.#next; id = (id + 1) >>> 0) {
      const request = this.#places[this.#placeOf(id)];
      if (request !== undefined) yield request;
    }
  }

  /** From the oldest that has no answer to the newest. */
  #span(): number {
    return (this.#next - this.#oldest) >>> 0;
  }

  #isGiven(id: number): boolean {
    return (id - this.#oldest) >>> 0 < this.#span();
  }

  /** Their number is a power of two. */
  #placeOf(id: number): number {
    return id & (this.#places.length - 1);
  }

  #grow(): void {
    const old = this.#places;
    this.#places = new Array<T | undefined>(2 * old.length).fill(undefined);
    for (let id = this.#oldest, left = old.length; left > 0; id = (id + 1) >>> 0, left -= 1)
      this.#places[this.#placeOf(id)] = old[id & (old.length - 1)];
  }
}
