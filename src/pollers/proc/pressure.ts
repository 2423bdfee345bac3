// /proc/pressure/{cpu,io,memory}: seconds that some or all tasks waited. A kernel without PSI has no such files.
import type { Problem } from '../problems.js';
import { boundedLines, unsigned } from './text.js';

/** Seconds since boot. */
export type Pressure = { some?: number; full?: number };

const linesMax = 8;
const usPerSecond = 1_000_000;

export function parsePressure(text: string, problem: Problem): Pressure {
  const pressure: Pressure = {};
  for (const line of boundedLines(text, linesMax, problem)) {
    const match = /^(some|full) .{0,200}\btotal=(\d{1,20})\s{0,8}$/.exec(line);
    const totalUs = unsigned(match?.[2]);
    if (!match || totalUs === undefined) problem(`bad line ${line}`);
    else pressure[match[1] === 'some' ? 'some' : 'full'] = totalUs / usPerSecond;
  }
  return pressure;
}
