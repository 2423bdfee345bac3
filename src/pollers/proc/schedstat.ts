// /proc/schedstat: how long tasks ran and waited on each CPU. Only kernels with CONFIG_SCHEDSTATS have it.
import type { Problem } from '../problems.js';
import { boundedLines, fields, unsignedAll } from './text.js';

/** Since boot. */
export type CpuSchedule = { cpu: number; runningSeconds: number; waitingSeconds: number; timeslices: number };

const linesMax = 65_536;
const nsPerSecond = 1e9;
const numbersMin = 9;

export function parseSchedstat(text: string, problem: Problem): CpuSchedule[] {
  const cpus = new Map<number, CpuSchedule>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const [name = '', ...rest] = fields(line);
    if (!/^cpu\d{1,6}$/.test(name)) continue;
    const numbers = unsignedAll(rest.slice(0, numbersMin));
    if (numbers?.length !== numbersMin) {
      problem(`bad line ${line}`);
      continue;
    }
    const [runningNs = 0, waitingNs = 0, timeslices = 0] = numbers.slice(6);
    const cpu = Number(name.slice(3));
    cpus.set(cpu, {
      cpu,
      runningSeconds: runningNs / nsPerSecond,
      waitingSeconds: waitingNs / nsPerSecond,
      timeslices,
    });
  }
  return [...cpus.values()];
}
