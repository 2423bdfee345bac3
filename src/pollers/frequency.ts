// The frequency of each CPU: from /sys, or, where the kernel gives none there or the host has very many CPUs, from
// /proc/cpuinfo in one read.
import { HostError } from '../core/errors.js';
import type { PartReader } from './part-reader.js';
import type { HostFiles, PollContext } from './poller.js';
import { type CpuFrequency, parseCpuinfo } from './proc/cpuinfo.js';
import { parseUnsignedLine } from './proc/text.js';

/** Each is a file to keep open on the host. */
const sysfsCpusMax = 64;
const hertzPerKhz = 1000;
const cpusPath = '/sys/devices/system/cpu';

export async function readFrequencies(
  files: HostFiles,
  reader: PartReader,
  context: PollContext,
): Promise<CpuFrequency[] | undefined> {
  const cpus = await listCpus(files, context);
  if (cpus.length > 0 && cpus.length <= sysfsCpusMax) {
    const first = await scalingFrequency(reader, cpus[0] ?? 0);
    if (first) {
      const others = await Promise.all(cpus.slice(1).map((cpu) => scalingFrequency(reader, cpu)));
      return [first, ...others.filter((frequency) => frequency !== undefined)];
    }
  }
  const frequencies = await reader.parsed('/proc/cpuinfo', parseCpuinfo);
  return frequencies && frequencies.length > 0 ? frequencies : undefined;
}

async function listCpus(files: HostFiles, { signal }: PollContext): Promise<number[]> {
  try {
    const names = await files.list(cpusPath, { signal });
    const cpus = names.filter((name) => /^cpu\d{1,5}$/.test(name)).map((name) => Number(name.slice(3)));
    return cpus.sort((a, b) => a - b);
  } catch (error) {
    if (error instanceof HostError && (error.code === 'FILE_MISSING' || error.code === 'FILE_ERROR'))
      return [];
    throw error;
  }
}

async function scalingFrequency(reader: PartReader, cpu: number): Promise<CpuFrequency | undefined> {
  const khz = await reader.parsed(`${cpusPath}/cpu${cpu}/cpufreq/scaling_cur_freq`, parseUnsignedLine);
  return khz === undefined ? undefined : { cpu, hertz: khz * hertzPerKhz };
}
