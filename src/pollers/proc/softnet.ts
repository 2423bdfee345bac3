// /proc/net/softnet_stat: what each CPU did with received packets, in hexadecimal columns that grew with the kernel.
import { RowList, rowShape } from '../../core/number-rows.js';
import type { Problem } from '../problems.js';
import { boundedLines, hexAll } from './text.js';

/** Counters since boot, except `backlogLength`. What an old kernel does not have is absent. */
export type Softnet = {
  cpu: number;
  processed: number;
  dropped: number;
  timesSqueezed: number;
  cpuCollision: number;
  receivedRps?: number;
  flowLimitCount?: number;
  backlogLength?: number;
};

/** Which of the kernel's columns they are. */
const columnOf = {
  processed: 0,
  dropped: 1,
  timesSqueezed: 2,
  cpuCollision: 8,
  receivedRps: 9,
  flowLimitCount: 10,
  backlogLength: 11,
} as const;
const shape = rowShape<Softnet>('cpu', Object.keys(columnOf) as (keyof typeof columnOf)[]);
const wanted = Object.values(columnOf);
const cpusExpected = 32;
const linesMax = 8192;
const columnsMin = 9;
const indexColumn = 12;

export function parseSoftnet(text: string, problem: Problem): Softnet[] {
  const cpus = new RowList(shape, cpusExpected);
  const columns: number[] = [];
  let number = 0;
  for (const line of boundedLines(text, linesMax, problem)) {
    const count = hexAll(line, columns);
    if (count < columnsMin) {
      problem(`bad line ${line}`);
      continue;
    }
    // CPUs that are off have no line: newer kernels say whose line it is.
    const cpu = (indexColumn < count ? columns[indexColumn] : undefined) ?? number;
    number += 1;
    cpus.begin(cpu);
    for (const column of wanted) if (column < count) cpus.push(columns[column] ?? Number.NaN);
  }
  return cpus.rows();
}
