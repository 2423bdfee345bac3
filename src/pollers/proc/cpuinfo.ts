// /proc/cpuinfo: the frequency of each CPU, on hosts whose kernel gives none in /sys (guests, some servers).
import { recurring } from '../../core/recurring.js';
import type { Problem } from '../problems.js';
import { boundedLines, decimal } from './text.js';

export type CpuFrequency = {
  cpu: number;
  hertz: number;
  /** Only when it comes from /proc/cpuinfo. */
  package?: string;
  core?: string;
};

const linesMax = 131_072;
const cpusMax = 4096;
const known = ['processor', 'cpu MHz', 'physical id', 'core id'] as const;
/** Twelve digits, and six behind the point. */
const numberCharsMax = 19;
const hertzPerMhz = 1_000_000;

export function parseCpuinfo(text: string, problem: Problem): CpuFrequency[] {
  const frequencies = new Map<number, CpuFrequency>();
  let entry: CpuFrequency | undefined;
  for (const line of boundedLines(text, linesMax, problem, isKnown)) {
    const name = known.find((name) => line.startsWith(name));
    const colon = name === undefined ? -1 : line.indexOf(': ', name.length);
    if (name === undefined || colon === -1 || line.slice(name.length, colon).trim() !== '') continue;
    const words = line.slice(colon + 2);
    const value = words.length <= numberCharsMax ? decimal(words) : undefined;
    if (value === undefined) continue;
    if (name === 'processor') {
      entry = frequencies.get(value);
      if (entry || frequencies.size >= cpusMax) continue;
      entry = { cpu: value, hertz: 0 };
      frequencies.set(value, entry);
      continue;
    }
    if (!entry) continue;
    if (name === 'cpu MHz') entry.hertz = value * hertzPerMhz;
    else entry[name === 'physical id' ? 'package' : 'core'] = recurring(words);
  }
  return [...frequencies.values()].filter(({ hertz }) => hertz > 0);
}

/** Most lines are something else. */
function isKnown(text: string, start: number): boolean {
  for (const name of known) if (text.startsWith(name, start)) return true;
  return false;
}
