// Something done again and again for one host, at its own place in the interval, so that a fleet does not speak all in the same
// second. Never overlapping: a turn that falls due while the one before still runs is left out. On the monotonic clock.
import { createHash } from 'node:crypto';
import type { Clock, Timer } from '../core/clock.js';

/** Where in an interval a name has its place: the same after every restart, evenly spread over names. */
export function phaseMs(name: string, intervalMs: number): number {
  return Math.floor((createHash('sha256').update(name).digest().readUInt32BE() / 2 ** 32) * intervalMs);
}

export class Turns {
  readonly #clock: Clock;
  readonly #name: string;
  readonly #intervalMs: number;
  readonly #run: () => Promise<void>;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #round = Number.NEGATIVE_INFINITY;
  #stopped = false;

  /** `name` decides the place. `run` must not reject. */
  constructor(clock: Clock, name: string, intervalMs: number, run: () => Promise<void>) {
    this.#clock = clock;
    this.#name = name;
    this.#intervalMs = intervalMs;
    this.#run = run;
  }

  start(): this {
    this.#schedule();
    return this;
  }

  /** A turn out of the row, unless one runs. */
  now(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Resolves when a running turn has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  #schedule(): void {
    if (this.#stopped) return;
    const nowMs = this.#clock.monotonicMs();
    const place = phaseMs(this.#name, this.#intervalMs);
    // A timer may fire a little early: that must not make the same turn twice.
    this.#round = Math.max(this.#round + 1, Math.floor((nowMs - place) / this.#intervalMs) + 1);
    const delayMs = Math.max(0, this.#round * this.#intervalMs + place - nowMs);
    this.#timer = this.#clock.after(delayMs, () => {
      if (!this.#running) void this.now();
      this.#schedule();
    });
  }
}
