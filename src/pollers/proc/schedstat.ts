// /proc/schedstat: how long tasks ran and waited on each CPU. Only kernels with CONFIG_SCHEDSTATS have it.
import type { Problem } from '../problems.js';
import { boundedLines, unsignedAll } from './text.js';

/** Since boot. */
export type CpuSchedule = { cpu: number; runningSeconds: number; waitingSeconds: number; timeslices: number };

const linesMax = 65_536;
const nsPerSecond = 1e9;
const numbersMin = 9;

export function parseSchedstat(text: string, problem: Problem): CpuSchedule[] {
  const cpus = new Map<number, CpuSchedule>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const [, digits] = /^cpu(\d{1,6})[ \t]/.exec(line) ?? [];
    if (digits === undefined) continue;
    const numbers = unsignedAll(line, 'cpu'.length + digits.length, numbersMin);
    if (numbers?.length !== numbersMin) {
      problem(`bad line ${line}`);
      continue;
    }
    const [runningNs = 0, waitingNs = 0, timeslices = 0] = numbers.slice(6);
    const cpu = Number(digits);
    cpus.set(cpu, {
      cpu,
      runningSeconds: runningNs / nsPerSecond,
      waitingSeconds: waitingNs / nsPerSecond,
      timeslices,
    });
  }
  return [...cpus.values()];
}
