// /proc/schedstat: how long tasks ran and waited on each CPU. Only kernels with CONFIG_SCHEDSTATS have it.
import type { Problem } from '../problems.js';
import { boundedLines, Unsigneds } from './text.js';

/** Since boot. */
export type CpuSchedule = { cpu: number; runningSeconds: number; waitingSeconds: number; timeslices: number };

const linesMax = 65_536;
const nsPerSecond = 1e9;
/** Of the scheduler's own calls. */
const numbersBefore = 6;

export function parseSchedstat(text: string, problem: Problem): CpuSchedule[] {
  const cpus = new Map<number, CpuSchedule>();
  for (const line of boundedLines(text, linesMax, problem)) {
    if (!/^cpu\d{1,6}[ \t]/.test(line)) continue;
    const numbers = new Unsigneds(line, 'cpu'.length);
    const cpu = numbers.next();
    for (let other = 0; other < numbersBefore; other += 1) numbers.next();
    const runningNs = numbers.next();
    const waitingNs = numbers.next();
    const timeslices = numbers.next();
    if (!numbers.isSound) {
      problem(`bad line ${line}`);
      continue;
    }
    cpus.set(cpu, {
      cpu,
      runningSeconds: runningNs / nsPerSecond,
      waitingSeconds: waitingNs / nsPerSecond,
      timeslices,
    });
  }
  return [...cpus.values()];
}
