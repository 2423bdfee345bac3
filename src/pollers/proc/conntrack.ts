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
/** In place of a column, where the kernel has none. */
const absent = -1;

/** The fields above, summed over the CPUs. */
export function parseConntrackStat(text: string, problem: Problem): Record<string, number> {
  const sums = conntrackFields.map(() => 0);
  const values: number[] = [];
  let names: string[] | undefined;
  let columns: number[] = [];
  let isEmpty = true;
  for (const line of boundedLines(text, linesMax, problem)) {
    if (!names) {
      const heading = fields(line);
      names = heading;
      columns = conntrackFields.map((field) => heading.indexOf(field));
      continue;
    }
    if (hexAll(line, values) !== names.length) {
      problem(`bad line ${line}`);
      continue;
    }
    isEmpty = false;
    for (let index = 0; index < sums.length; index += 1) {
      const column = columns[index] ?? absent;
      if (column !== absent) sums[index] = (sums[index] ?? 0) + (values[column] ?? 0);
    }
  }
  const stat = hostileRecord<number>();
  if (isEmpty) return stat;
  for (const [index, field] of conntrackFields.entries()) {
    if (columns[index] !== absent) stat[field] = sums[index] ?? 0;
  }
  return stat;
}
