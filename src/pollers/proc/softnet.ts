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

export function parseSoftnet(text: string, problem: Problem): Softnet[] {
  const cpus = new Map<number, Softnet>();
  const columns: number[] = [];
  let number = 0;
  for (const line of boundedLines(text, linesMax, problem)) {
    if (!hexAll(line, columns) || columns.length < columnsMin) {
      problem(`bad line ${line}`);
      continue;
    }
    const [processed = 0, dropped = 0, timesSqueezed = 0, , , , , , cpuCollision = 0] = columns;
    const [receivedRps, flowLimitCount, backlogLength, index] = [
      columns[9],
      columns[10],
      columns[11],
      columns[12],
    ];
    // CPUs that are off have no line: newer kernels say whose line it is.
    const cpu = index ?? number;
    number += 1;
    cpus.set(cpu, {
      cpu,
      processed,
      dropped,
      timesSqueezed,
      cpuCollision,
      ...(receivedRps !== undefined && { receivedRps }),
      ...(flowLimitCount !== undefined && { flowLimitCount }),
      ...(backlogLength !== undefined && { backlogLength }),
    });
  }
  return [...cpus.values()];
}
