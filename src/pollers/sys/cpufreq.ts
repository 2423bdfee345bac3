// /sys/devices/system/cpu: the frequency of each CPU now, and the bounds that its driver and its governor set. It refuses hosts
// with very many CPUs: each is a file to keep open on the host, and /proc/cpuinfo has the frequencies in one.
import type { PartReader } from '../part-reader.js';
import { unsigned } from '../proc/text.js';
import type { Rare } from '../rare.js';

/** Hertz; what the driver does not tell is absent. */
export type CpuScaling = {
  cpu: number;
  current?: number;
  minimum?: number;
  maximum?: number;
  hardwareCurrent?: number;
  hardwareMinimum?: number;
  hardwareMaximum?: number;
  governor?: string;
  governors: readonly string[];
};

type Bounds = Omit<CpuScaling, 'current'>;

const cpusMax = 64;
const governorsMax = 16;
const hertzPerKhz = 1000;
const path = '/sys/devices/system/cpu';

/** Undefined when the kernel scales no frequency, or the host has too many CPUs. */
export async function readScaling(reader: PartReader, rare: Rare): Promise<CpuScaling[] | undefined> {
  const cpus = await rare.get('cpufreq', () => scaledCpus(reader));
  if (!cpus?.length) return undefined;
  const all = await Promise.all(cpus.map((name) => readCpu(reader, rare, name)));
  const scaled = all.filter((cpu) => cpu !== undefined);
  return scaled.length > 0 ? scaled : undefined;
}

/** Those that have a frequency now: guests have none, and need not be asked for each of their CPUs in every poll. */
async function scaledCpus(reader: PartReader): Promise<string[] | undefined> {
  const cpus = await reader.names(path, /^cpu\d{1,5}$/);
  if (!cpus || cpus.length > cpusMax) return undefined;
  const found = await Promise.all(cpus.map((name) => reader.attribute(currentOf(name), { often: true })));
  return cpus.filter((_, index) => found[index] !== undefined);
}

function currentOf(name: string): string {
  return `${path}/${name}/cpufreq/scaling_cur_freq`;
}

async function readCpu(reader: PartReader, rare: Rare, name: string): Promise<CpuScaling | undefined> {
  const [bounds, current] = await Promise.all([
    rare.get(`cpufreq ${name}`, () => readBounds(reader, name)),
    khz(reader, currentOf(name), true),
  ]);
  if (!bounds && current === undefined) return undefined;
  return {
    ...(bounds ?? { cpu: Number(name.slice('cpu'.length)), governors: [] }),
    ...(current !== undefined && { current }),
  };
}

async function readBounds(reader: PartReader, name: string): Promise<Bounds | undefined> {
  const file = (attribute: string) => `${path}/${name}/cpufreq/${attribute}`;
  const maximum = await khz(reader, file('scaling_max_freq'));
  if (maximum === undefined) return undefined;
  const [minimum, hardwareCurrent, hardwareMinimum, hardwareMaximum, governor, governors] = await Promise.all(
    [
      khz(reader, file('scaling_min_freq')),
      khz(reader, file('cpuinfo_cur_freq')),
      khz(reader, file('cpuinfo_min_freq')),
      khz(reader, file('cpuinfo_max_freq')),
      reader.attribute(file('scaling_governor')),
      reader.attribute(file('scaling_available_governors')),
    ],
  );
  return {
    cpu: Number(name.slice('cpu'.length)),
    maximum,
    ...(minimum !== undefined && { minimum }),
    ...(hardwareCurrent !== undefined && { hardwareCurrent }),
    ...(hardwareMinimum !== undefined && { hardwareMinimum }),
    ...(hardwareMaximum !== undefined && { hardwareMaximum }),
    ...(governor && { governor }),
    governors: (governors ?? '').trim().split(/\s+/).filter(Boolean).slice(0, governorsMax),
  };
}

async function khz(reader: PartReader, file: string, often = false): Promise<number | undefined> {
  const value = unsigned(await reader.attribute(file, { often }));
  return value === undefined ? undefined : value * hertzPerKhz;
}
