// A clock that moves only when a test says so. Timers run in order of their due time, and what they start by promises has
// settled before the next one runs.
import type { Clock, Timer } from '../../src/core/clock.js';

type Due = { atMs: number; run: () => void };

export class FakeClock implements Clock {
  #monotonicMs = 0;
  #wallMs: number;
  readonly #due = new Set<Due>();

  constructor(wallMs = Date.UTC(2026, 0, 1)) {
    this.#wallMs = wallMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const due = { atMs: this.#monotonicMs + Math.max(0, delayMs), run };
    this.#due.add(due);
    return { cancel: () => void this.#due.delete(due) };
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#due.size;
  }

  /** Moves both clocks on by `ms`, running what falls due on the way. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#monotonicMs + ms;
    await settle();
    for (let next = this.#next(endMs); next; next = this.#next(endMs)) {
      this.#moveTo(next.atMs);
      this.#due.delete(next);
      next.run();
      await settle();
    }
    this.#moveTo(endMs);
  }

  /** Steps the wall clock alone, as an operator or NTP does. */
  stepWall(ms: number): void {
    this.#wallMs += ms;
  }

  #next(endMs: number): Due | undefined {
    let first: Due | undefined;
    for (const due of this.#due) if (due.atMs <= endMs && (!first || due.atMs < first.atMs)) first = due;
    return first;
  }

  #moveTo(atMs: number): void {
    this.#wallMs += atMs - this.#monotonicMs;
    this.#monotonicMs = atMs;
  }
}

/** Lets promises that can settle without I/O settle. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
}
