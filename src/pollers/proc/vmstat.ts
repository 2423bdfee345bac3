// /proc/vmstat: the fields that node_exporter shows by default, of some 180.
import type { Problem } from '../problems.js';
import { boundedLines, hostileRecord, unsigned } from './text.js';

export const vmstatFields = [
  'oom_kill',
  'pgfault',
  'pgmajfault',
  'pgpgin',
  'pgpgout',
  'pswpin',
  'pswpout',
] as const;
const wanted: ReadonlySet<string> = new Set(vmstatFields);
const linesMax = 1024;

export function parseVmstat(text: string, problem: Problem): Record<string, number> {
  const stats = hostileRecord<number>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const blank = line.indexOf(' ');
    const name = line.slice(0, Math.max(0, blank));
    if (!wanted.has(name)) continue;
    const value = unsigned(line.slice(blank + 1).trim());
    if (value === undefined) problem(`bad line ${line}`);
    else stats[name] = value;
  }
  return stats;
}
