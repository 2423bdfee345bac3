// Deadlines and signals of many short waits, with one timer for all of them and one listener a signal: a poll waits a hundred
// times for a host, and a fleet polls a hundred times a second. For a single wait, deadline.ts is simpler. It refuses to know what
// is awaited.
import type { Clock, Timer } from './clock.js';

export type Wait = {
  /** On the monotonic clock. */
  readonly dueMs: number;
  readonly onDue: () => void;
  readonly signal?: AbortSignal | undefined;
  /** Called at most once; the wait goes on until it is due or deleted. */
  readonly onAbort: (signal: AbortSignal) => void;
  /** Kept by `Waits`: 0 at first. */
  place: number;
};

type Listener = { waits: number; readonly onAbort: () => void };

export class Waits {
  readonly #clock: Clock;
  /** The first `#count` of them are taken. A set would make its table anew several times a poll. */
  readonly #waits: (Wait | undefined)[] = [];
  #count = 0;
  readonly #listeners = new Map<AbortSignal, Listener>();
  #timer: Timer | undefined;
  #firesAtMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Its signal must not have been aborted yet. */
  add(wait: Wait): void {
    wait.place = this.#count;
    this.#waits[this.#count++] = wait;
    if (wait.dueMs < this.#firesAtMs) this.#fireAt(wait.dueMs);
    if (wait.signal) this.#listen(wait.signal).waits += 1;
  }

  delete(wait: Wait): void {
    if (this.#waits[wait.place] !== wait) return;
    const last = this.#waits[--this.#count] as Wait;
    this.#waits[this.#count] = undefined;
    if (last !== wait) {
      this.#waits[wait.place] = last;
      last.place = wait.place;
    }
    if (wait.signal) this.#leave(wait.signal);
  }

  /** Forgets all of them, and tells none. */
  clear(): void {
    for (const wait of this.#all()) this.delete(wait);
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#firesAtMs = Number.POSITIVE_INFINITY;
  }

  #all(): Wait[] {
    return this.#waits.slice(0, this.#count) as Wait[];
  }

  #listen(signal: AbortSignal): Listener {
    const known = this.#listeners.get(signal);
    if (known) return known;
    const onAbort = () => {
      this.#listeners.delete(signal);
      for (const wait of this.#all()) if (wait.signal === signal) wait.onAbort(signal);
    };
    const listener = { waits: 0, onAbort };
    this.#listeners.set(signal, listener);
    signal.addEventListener('abort', onAbort, { once: true });
    return listener;
  }

  #leave(signal: AbortSignal): void {
    const listener = this.#listeners.get(signal);
    if (!listener) return;
    listener.waits -= 1;
    if (listener.waits > 0) return;
    this.#listeners.delete(signal);
    signal.removeEventListener('abort', listener.onAbort);
  }

  #fireAt(dueMs: number): void {
    this.#timer?.cancel();
    this.#firesAtMs = dueMs;
    this.#timer = this.#clock.after(Math.max(0, dueMs - this.#clock.monotonicMs()), () => this.#fire());
  }

  #fire(): void {
    this.#firesAtMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const wait of this.#all()) {
      // One that was told before may have ended it.
      if (this.#waits[wait.place] !== wait) continue;
      if (wait.dueMs > nowMs) {
        nextMs = Math.min(nextMs, wait.dueMs);
        continue;
      }
      this.delete(wait);
      wait.onDue();
    }
    if (this.#count > 0 && nextMs < this.#firesAtMs) this.#fireAt(nextMs);
  }
}
