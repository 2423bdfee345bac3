// /proc/net/softnet_stat: what each CPU did with received packets, in hexadecimal columns that grew with the kernel.
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

const linesMax = 8192;
const columnsMin = 9;
const indexColumn = 12;

export function parseSoftnet(text: string, problem: Problem): Softnet[] {
  const cpus = new Map<number, Softnet>();
  const columns: number[] = [];
  let number = 0;
  for (const line of boundedLines(text, linesMax, problem)) {
    if (!hexAll(line, columns) || columns.length < columnsMin) {
      problem(`bad line ${line}`);
      continue;
    }
    // CPUs that are off have no line: newer kernels say whose line it is.
    const cpu = columns[indexColumn] ?? number;
    number += 1;
    cpus.set(cpu, softnet(cpu, columns));
  }
  return [...cpus.values()];
}

function softnet(cpu: number, columns: readonly number[]): Softnet {
  const known: Softnet = {
    cpu,
    processed: columns[0] ?? 0,
    dropped: columns[1] ?? 0,
    timesSqueezed: columns[2] ?? 0,
    cpuCollision: columns[8] ?? 0,
  };
  const [receivedRps, flowLimitCount, backlogLength] = [columns[9], columns[10], columns[11]];
  if (receivedRps !== undefined) known.receivedRps = receivedRps;
  if (flowLimitCount !== undefined) known.flowLimitCount = flowLimitCount;
  if (backlogLength !== undefined) known.backlogLength = backlogLength;
  return known;
}
