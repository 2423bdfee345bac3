// /proc/stat: time of each CPU, interrupts, context switches, forks, boot time.
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

/** In their order behind the four that every kernel has. */
const later = ['iowait', 'irq', 'softirq', 'steal', 'guest', 'guestNice'] as const;

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
  const seen = new Set<number>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const end = line.indexOf(' ');
    const name = end === -1 ? line : line.slice(0, end);
    if (/^cpu\d{1,6}$/.test(name)) {
      const times = cpuTimes(line);
      if (!times || seen.has(times.cpu)) problem(`bad line ${line}`);
      else {
        seen.add(times.cpu);
        stat.cpus.push(times);
      }
    } else if (Object.hasOwn(counters, name)) {
      const [value] = unsignedAll(line, name.length, 1) ?? [];
      if (value === undefined) problem(`bad line ${line}`);
      else stat[counters[name as keyof typeof counters]] = value;
    }
  }
  if (stat.cpus.length === 0) problem('no CPU in it');
  return stat;
}

function cpuTimes(line: string): CpuTimes | undefined {
  const numbers = new Unsigneds(line, 'cpu'.length);
  const times: CpuTimes = {
    cpu: numbers.next(),
    user: seconds(numbers),
    nice: seconds(numbers),
    system: seconds(numbers),
    idle: seconds(numbers),
  };
  for (let index = 0; index < later.length && numbers.hasNext; index += 1) {
    times[later[index] as (typeof later)[number]] = seconds(numbers);
  }
  return numbers.isSound ? times : undefined;
}

function seconds(ticks: Unsigneds): number {
  return ticks.next() / ticksPerSecond;
}
