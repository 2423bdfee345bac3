// /proc/cpuinfo: the frequency of each CPU, on hosts whose kernel gives none in /sys (guests, some servers).
import type { Problem } from '../problems.js';
import { boundedLines, decimal } from './text.js';

export type CpuFrequency = {
  cpu: number;
  hertz: number;
  /** Only when it comes from /proc/cpuinfo. */
  package?: string;
  core?: string;
};

const linesMax = 131_072;
const cpusMax = 4096;
const hertzPerMhz = 1_000_000;

export function parseCpuinfo(text: string, problem: Problem): CpuFrequency[] {
  const frequencies = new Map<number, CpuFrequency>();
  let cpu: number | undefined;
  for (const line of boundedLines(text, linesMax, problem)) {
    const match = /^(processor|cpu MHz|physical id|core id)\s{0,16}: (\d{1,12}(?:\.\d{1,6})?)$/.exec(line);
    const value = decimal(match?.[2]);
    if (!match || value === undefined) continue;
    if (match[1] === 'processor') {
      cpu = value;
      continue;
    }
    if (cpu === undefined || (frequencies.size >= cpusMax && !frequencies.has(cpu))) continue;
    const entry = frequencies.get(cpu) ?? { cpu, hertz: 0 };
    if (match[1] === 'cpu MHz') entry.hertz = value * hertzPerMhz;
    else entry[match[1] === 'physical id' ? 'package' : 'core'] = match[2] ?? '';
    frequencies.set(cpu, entry);
  }
  return [...frequencies.values()].filter(({ hertz }) => hertz > 0);
}
