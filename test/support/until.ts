// Waits for a level instead of sleeping: polls `level` until it is truthy. Refuses to wait without a bound, which tells what never comes
// from what comes late on a busy machine: a test that wants it soon says how soon.
import { setTimeout as delay } from 'node:timers/promises';
import { Stopwatch } from './stopwatch.js';

type Level<T> = () => T | Promise<T>;

/** Resolves with the first truthy value of `level`; after `timeoutMs` rejects, naming what was awaited and the last value. */
export async function until<T>(
  what: string,
  level: Level<T>,
  { timeoutMs = 30_000, everyMs = 20 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<NonNullable<T>> {
  const watch = new Stopwatch();
  for (;;) {
    const value = await level();
    if (value) return value as NonNullable<T>;
    if (watch.isPast(timeoutMs))
      throw new Error(`waited ${timeoutMs} ms for ${what}; last: ${String(value)}`);
    await delay(everyMs);
  }
}
