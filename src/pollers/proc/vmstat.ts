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
/** Beside them the free pages, which tell the size of a page (see pageBytes). */
const wanted: ReadonlySet<string> = new Set([...vmstatFields, 'nr_free_pages']);
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

const pageBytesKnown = [4096, 8192, 16_384, 65_536];
const pageSlack = 1.3;

/**
 * The size of a page, which no file tells: free memory in bytes by free memory in pages. The two were read a moment apart, but
 * the next possible size is twice as far.
 */
export function pageBytes(
  meminfo: Record<string, number> | undefined,
  vmstat: Record<string, number> | undefined,
): number | undefined {
  const ratio = (meminfo?.MemFree ?? 0) / (vmstat?.nr_free_pages ?? 0);
  return pageBytesKnown.find((bytes) => ratio > bytes / pageSlack && ratio < bytes * pageSlack);
}
