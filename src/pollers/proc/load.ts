// /proc/loadavg and /proc/uptime: one line each.
import type { Problem } from '../problems.js';
import { decimal, fields } from './text.js';

export type LoadAverage = { one: number; five: number; fifteen: number };

export function parseLoadavg(text: string, problem: Problem): LoadAverage | undefined {
  const [a, b, c] = fields(text);
  const [one, five, fifteen] = [decimal(a), decimal(b), decimal(c)];
  if (one !== undefined && five !== undefined && fifteen !== undefined) return { one, five, fifteen };
  problem('not three load averages');
  return undefined;
}

/** Seconds since boot. */
export function parseUptime(text: string, problem: Problem): number | undefined {
  const seconds = decimal(fields(text)[0]);
  if (seconds === undefined) problem('not an uptime');
  return seconds;
}
