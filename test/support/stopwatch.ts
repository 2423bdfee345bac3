// Time that a test holds something to: what a hypervisor took from this machine meanwhile ("steal" in /proc/stat) does not count, because
// nothing ran then. Refuses to excuse what other processes of the machine take.
import { readFileSync } from 'node:fs';

const msPerTick = 10;
const stealColumn = 8;

export class Stopwatch {
  readonly #beganMs = performance.now();
  readonly #before = stolenTicks();

  /** Milliseconds since it was made that the machine had. */
  get ms(): number {
    const after = stolenTicks();
    const stolen = after.map((ticks, cpu) => ticks - (this.#before[cpu] ?? ticks));
    return performance.now() - this.#beganMs - msPerTick * Math.max(0, ...stolen);
  }

  /** The same as `ms > limitMs`, and cheap before that. */
  isPast(limitMs: number): boolean {
    return performance.now() - this.#beganMs > limitMs && this.ms > limitMs;
  }
}

/** By CPU; empty where nobody tells. */
function stolenTicks(): number[] {
  try {
    const lines = readFileSync('/proc/stat', 'utf8').match(/^cpu\d+ .*/gm) ?? [];
    return lines.map((line) => Number(line.split(' ')[stealColumn]));
  } catch {
    return [];
  }
}
