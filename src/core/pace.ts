// Lets work begin one after the other, in the order of asking, with a gap between. A timer that is late lets a few begin, and no
// more: while the thread is busy with what has begun, less begins. It refuses to bound how much runs, and for how long.
import type { Clock } from './clock.js';

/** A turn of the event loop is often a little longer than a gap, and all of them should still come to their turn. */
const atOnceMax = 4;

export class Pace {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #lastMs = Number.NEGATIVE_INFINITY;
  /** Milliseconds from one beginning to the next, at least. */
  gapMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when it is this one's turn to begin. */
  turn(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#waiting.length === 0 && nowMs - this.#lastMs >= this.gapMs) {
      this.#lastMs = nowMs;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length === 1) this.#wait();
    });
  }

  #wait(): void {
    const sinceMs = this.#clock.monotonicMs() - this.#lastMs;
    this.#clock.after(Math.max(0, this.gapMs - sinceMs), () => this.#begin());
  }

  #begin(): void {
    const nowMs = this.#clock.monotonicMs();
    const due = Math.floor((nowMs - this.#lastMs) / this.gapMs) || 1;
    this.#lastMs = nowMs;
    for (let left = Math.min(due, atOnceMax); left > 0; left--) this.#waiting.shift()?.();
    if (this.#waiting.length > 0) this.#wait();
  }
}
