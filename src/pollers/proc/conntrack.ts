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
  const values: number[] = [];
  let names: string[] | undefined;
  let columns: number[] = [];
  for (const line of boundedLines(text, linesMax, problem)) {
    if (!names) {
      const heading = fields(line);
      names = heading;
      columns = conntrackFields.map((field) => heading.indexOf(field));
      continue;
    }
    if (!hexAll(line, values) || values.length !== names.length) {
      problem(`bad line ${line}`);
      continue;
    }
    for (let index = 0; index < conntrackFields.length; index += 1) {
      const field = conntrackFields[index];
      const value = values[columns[index] ?? -1];
      if (field !== undefined && value !== undefined) sums[field] = (sums[field] ?? 0) + value;
    }
  }
  return sums;
}
