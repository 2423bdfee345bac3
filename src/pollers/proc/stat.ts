// /proc/stat: time of each CPU, interrupts, context switches, forks, boot time.
import { RowList, rowShape } from '../../core/number-rows.js';
import type { Problem } from '../problems.js';
import { boundedLines, Unsigneds, unsignedAll } from './text.js';

/** Seconds since boot. What an old kernel does not count is absent. */
type CpuTimes = {
  cpu: number;
  user: number;
  nice: number;
  system: number;
  idle: number;
  iowait?: number;
  irq?: number;
  softirq?: number;
  steal?: number;
  guest?: number;
  guestNice?: number;
};

export type KernelStat = {
  cpus: CpuTimes[];
  interrupts?: number;
  contextSwitches?: number;
  forks?: number;
  /** Seconds since the epoch. */
  bootTime?: number;
  processesRunning?: number;
  processesBlocked?: number;
};

/** USER_HZ, the same on every architecture that Linux shows to user space today. */
const ticksPerSecond = 100;
const linesMax = 8192;

/** In the order of the kernel's columns: those that every kernel has, and later ones. */
const times = ['user', 'nice', 'system', 'idle'] as const;
const laterTimes = ['iowait', 'irq', 'softirq', 'steal', 'guest', 'guestNice'] as const;
const cpuShape = rowShape<CpuTimes>('cpu', [...times, ...laterTimes]);
const cpusExpected = 32;

const counters = {
  intr: 'interrupts',
  ctxt: 'contextSwitches',
  processes: 'forks',
  btime: 'bootTime',
  procs_running: 'processesRunning',
  procs_blocked: 'processesBlocked',
} as const;

export function parseStat(text: string, problem: Problem): KernelStat {
  const stat: KernelStat = { cpus: [] };
  const cpus = new RowList(cpuShape, cpusExpected);
  for (const line of boundedLines(text, linesMax, problem)) {
    const end = line.indexOf(' ');
    const name = end === -1 ? line : line.slice(0, end);
    if (/^cpu\d{1,6}$/.test(name)) {
      if (!addTimes(line, cpus)) problem(`bad line ${line}`);
    } else if (Object.hasOwn(counters, name)) {
      const [value] = unsignedAll(line, name.length, 1) ?? [];
      if (value === undefined) problem(`bad line ${line}`);
      else stat[counters[name as keyof typeof counters]] = value;
    }
  }
  stat.cpus = cpus.rows();
  if (stat.cpus.length === 0) problem('no CPU in it');
  return stat;
}

/** False when it makes no sense, or the CPU was there before. */
function addTimes(line: string, cpus: RowList<CpuTimes>): boolean {
  const numbers = new Unsigneds(line, 'cpu'.length);
  const cpu = numbers.next();
  if (cpus.has(cpu)) return false;
  cpus.begin(cpu);
  for (let left = times.length; left > 0; left -= 1) cpus.push(seconds(numbers));
  for (let left = laterTimes.length; left > 0 && numbers.hasNext; left -= 1) cpus.push(seconds(numbers));
  if (!numbers.isSound) cpus.drop(cpu);
  return numbers.isSound;
}

function seconds(ticks: Unsigneds): number {
  return ticks.next() / ticksPerSecond;
}
