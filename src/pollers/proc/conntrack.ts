// /proc/net/stat/nf_conntrack: what connection tracking did, a line of names and then a line a CPU, in hexadecimal.
import type { Problem } from '../problems.js';
import { boundedLines, fields, hexAll, hostileRecord } from './text.js';

export const conntrackFields = [
  'found',
  'invalid',
  'ignore',
  'insert',
  'insert_failed',
  'drop',
  'early_drop',
  'search_restart',
] as const;

const linesMax = 8192;

/** The fields above, summed over the CPUs. */
export function parseConntrackStat(text: string, problem: Problem): Record<string, number> {
  const sums = hostileRecord<number>();
  let names: string[] | undefined;
  for (const line of boundedLines(text, linesMax, problem)) {
    if (!names) {
      names = fields(line);
      continue;
    }
    const values = hexAll(line);
    if (values?.length !== names.length) {
      problem(`bad line ${line}`);
      continue;
    }
    for (const field of conntrackFields) {
      const value = values[names.indexOf(field)];
      if (value !== undefined) sums[field] = (sums[field] ?? 0) + value;
    }
  }
  return sums;
}
