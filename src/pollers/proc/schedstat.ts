// /proc/schedstat: how long tasks ran and waited on each CPU. Only kernels with CONFIG_SCHEDSTATS have it.
import { RowList, rowShape } from '../../core/number-rows.js';
import type { Problem } from '../problems.js';
import { boundedLines, Unsigneds } from './text.js';

/** Since boot. */
export type CpuSchedule = { cpu: number; runningSeconds: number; waitingSeconds: number; timeslices: number };

const shape = rowShape<CpuSchedule>('cpu', ['runningSeconds', 'waitingSeconds', 'timeslices']);
const cpusExpected = 32;
const linesMax = 65_536;
const nsPerSecond = 1e9;
/** Of the scheduler's own calls. */
const numbersBefore = 6;

export function parseSchedstat(text: string, problem: Problem): CpuSchedule[] {
  const cpus = new RowList(shape, cpusExpected);
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
    cpus.begin(cpu);
    cpus.push(runningNs / nsPerSecond);
    cpus.push(waitingNs / nsPerSecond);
    cpus.push(timeslices);
  }
  return cpus.rows();
}
