// /proc/stat: time of each CPU, interrupts, context switches, forks, boot time.
import type { Problem } from '../problems.js';
import { boundedLines, unsignedAll } from './text.js';

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
const timesMin = 4;

const order = [
  'user',
  'nice',
  'system',
  'idle',
  'iowait',
  'irq',
  'softirq',
  'steal',
  'guest',
  'guestNice',
] as const;

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
      const times = cpuTimes(Number(name.slice(3)), unsignedAll(line, name.length, order.length));
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

function cpuTimes(cpu: number, ticks: readonly number[] | undefined): CpuTimes | undefined {
  if (!ticks || ticks.length < timesMin) return undefined;
  const times: CpuTimes = { cpu, user: 0, nice: 0, system: 0, idle: 0 };
  for (let index = 0; index < ticks.length; index += 1) {
    const field = order[index];
    if (field) times[field] = (ticks[index] ?? 0) / ticksPerSecond;
  }
  return times;
}
