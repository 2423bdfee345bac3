// The collectors: which files each of them reads, and what it makes of them. Names are node_exporter's. What changes is read in
// each poll; what rarely changes goes through `rare`.
import type { CollectorName } from '../inventory/collectors.js';
import type { Collect } from './collect.js';
import { network } from './collectors-network.js';
import { readFilesystems } from './filesystems.js';
import type { PartReader } from './part-reader.js';
import type { Problem } from './problems.js';
import { parseCpuinfo } from './proc/cpuinfo.js';
import { parseDiskstats } from './proc/diskstats.js';
import { parseLoadavg, parseUptime } from './proc/load.js';
import { parseMdstat } from './proc/mdstat.js';
import { parseMeminfo } from './proc/meminfo.js';
import { parseOsRelease } from './proc/os-release.js';
import { parsePressure } from './proc/pressure.js';
import { parseSchedstat } from './proc/schedstat.js';
import { parseStat } from './proc/stat.js';
import { fields, parseCpuList, parseTextLine, parseUnsignedLine, unsigned } from './proc/text.js';
import { parseVmstat } from './proc/vmstat.js';
import { readScaling } from './sys/cpufreq.js';
import { readEdac } from './sys/edac.js';
import { readHwmon } from './sys/hwmon.js';
import { readDiskInfos, readDmi, readNvme } from './sys/identity.js';
import { readEnergy, readPowerSupplies } from './sys/power.js';
import { readThermal } from './sys/thermal.js';

/** node_exporter's default: no RAM disks, loops, floppies and partitions. */
const diskExcluded = /^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$/;

/** The part under its name, or nothing. */
export function part<K extends string, V>(name: K, value: V | undefined): { [P in K]: V } | undefined {
  return value === undefined ? undefined : ({ [name]: value } as { [P in K]: V });
}

const stat: Collect = async ({ reader }) => {
  const known = await reader.parsed('/proc/stat', parseStat);
  if (!known) return undefined;
  const { cpus: _, ...counts } = known;
  return { counts };
};

const cpu: Collect = async ({ reader, rare }) => {
  const isolatedFile = '/sys/devices/system/cpu/isolated';
  const [known, isolated] = await Promise.all([
    reader.parsed('/proc/stat', parseStat),
    rare.get('isolated', async () => parseCpuList((await reader.attribute(isolatedFile)) ?? '')),
  ]);
  return known && { cpus: known.cpus, isolatedCpus: isolated ?? [] };
};

const cpufreq: Collect = async ({ reader, rare }) => {
  const scaling = await readScaling(reader, rare);
  if (scaling) return { scaling };
  const frequencies = await reader.parsed('/proc/cpuinfo', parseCpuinfo);
  return frequencies?.length ? { frequencies } : {};
};

const time: Collect = async ({ reader, rare }) => {
  const [known, uptime, clockSources] = await Promise.all([
    reader.parsed('/proc/stat', parseStat),
    reader.parsed('/proc/uptime', parseUptime),
    rare.get('clocksource', () => readClockSources(reader)),
  ]);
  if (uptime === undefined) return undefined;
  return {
    uptime,
    ...(known?.bootTime !== undefined && { time: known.bootTime + uptime }),
    ...part('clockSources', clockSources),
  };
};

async function readClockSources(reader: PartReader) {
  const root = '/sys/devices/system/clocksource';
  const names = await reader.names(root, /^clocksource\d{1,3}$/);
  const sources = (names ?? []).map(async (name) => {
    const [current, available] = await Promise.all(
      ['current', 'available'].map((what) => reader.attribute(`${root}/${name}/${what}_clocksource`)),
    );
    if (!current || !available) return undefined;
    return { device: name.slice('clocksource'.length), current, available: fields(available) };
  });
  return (await Promise.all(sources)).filter((source) => source !== undefined);
}

const pressure: Collect = async ({ reader }) => {
  const [cpus, io, memory, irq] = await Promise.all(
    ['cpu', 'io', 'memory', 'irq'].map((what) => reader.parsed(`/proc/pressure/${what}`, parsePressure)),
  );
  if (!cpus && !io && !memory && !irq) return undefined;
  return {
    pressure: { ...part('cpu', cpus), ...part('io', io), ...part('memory', memory), ...part('irq', irq) },
  };
};

const diskstats: Collect = async ({ reader, rare }) => {
  const all = await reader.parsed('/proc/diskstats', parseDiskstats);
  const disks = all?.filter(({ device }) => !diskExcluded.test(device));
  return disks && { disks, diskInfos: await readDiskInfos(reader, rare, disks) };
};

const entropy: Collect = async ({ reader }) => {
  const [availableBits, poolSizeBits] = await Promise.all(
    ['entropy_avail', 'poolsize'].map((name) =>
      reader.parsed(`/proc/sys/kernel/random/${name}`, parseUnsignedLine),
    ),
  );
  if (availableBits === undefined) return undefined;
  return { entropy: { availableBits, ...part('poolSizeBits', poolSizeBits) } };
};

function parseFileNr(text: string, problem: Problem): { allocated: number; maximum: number } | undefined {
  const [a, , c] = fields(text);
  const [allocated, maximum] = [unsigned(a), unsigned(c)];
  if (allocated !== undefined && maximum !== undefined) return { allocated, maximum };
  problem('not three numbers');
  return undefined;
}

const selinux: Collect = async ({ reader, rare }) => {
  const mode = await rare.get('selinux', async () => {
    const [enforce, config] = await Promise.all([
      reader.attribute('/sys/fs/selinux/enforce'),
      reader.attribute('/etc/selinux/config'),
    ]);
    return { enforce, configured: /^SELINUX=(\w{1,16})/m.exec(config ?? '')?.[1] };
  });
  if (!mode) return undefined;
  if (mode.enforce === undefined) return { selinux: { enabled: false } };
  const configMode = ['disabled', 'permissive', 'enforcing'].indexOf(mode.configured ?? '') - 1;
  return {
    selinux: {
      enabled: true,
      ...part('currentMode', unsigned(mode.enforce)),
      ...(configMode >= -1 && { configMode }),
    },
  };
};

const uname: Collect = async ({ reader, rare }) => {
  const kernel = await rare.get('uname', async () => {
    const line = async (name: string) =>
      parseTextLine((await reader.attribute(`/proc/sys/kernel/${name}`)) ?? '');
    const names = ['hostname', 'domainname', 'ostype', 'osrelease', 'version', 'arch'];
    const [hostname, domainname, sysname, release, version, machine] = await Promise.all(names.map(line));
    return {
      ...part('hostname', hostname),
      ...part('domainname', domainname),
      ...part('sysname', sysname),
      ...part('release', release),
      ...part('version', version),
      ...part('machine', machine),
    };
  });
  return kernel && Object.keys(kernel).length > 0 ? { kernel } : undefined;
};

const ofHost: Record<Exclude<CollectorName, keyof typeof network>, Collect> = {
  stat,
  cpu,
  cpufreq,
  time,
  pressure,
  diskstats,
  entropy,
  selinux,
  uname,
  meminfo: async ({ reader }) => part('meminfo', await reader.parsed('/proc/meminfo', parseMeminfo)),
  vmstat: async ({ reader }) => part('vmstat', await reader.parsed('/proc/vmstat', parseVmstat)),
  loadavg: async ({ reader }) => part('loadavg', await reader.parsed('/proc/loadavg', parseLoadavg)),
  schedstat: async ({ reader }) => part('schedule', await reader.parsed('/proc/schedstat', parseSchedstat)),
  filefd: async ({ reader }) => part('openFiles', await reader.parsed('/proc/sys/fs/file-nr', parseFileNr)),
  mdadm: async ({ reader }) => part('mdArrays', await reader.parsed('/proc/mdstat', parseMdstat)),
  kernel_hung: async ({ reader }) =>
    part('hungTasks', await reader.parsed('/proc/sys/kernel/hung_task_detect_count', parseUnsignedLine)),
  os: async ({ reader, rare }) =>
    part(
      'os',
      await rare.get('os', async () => reader.parsed('/etc/os-release', parseOsRelease, { once: true })),
    ),
  dmi: async ({ reader, rare }) => part('dmi', await rare.get('dmi', () => readDmi(reader))),
  nvme: async ({ reader, rare }) => part('nvme', await rare.get('nvme', () => readNvme(reader))),
  hwmon: async ({ reader, rare }) => part('hwmon', await readHwmon(reader, rare)),
  thermal_zone: async ({ reader, rare }) => part('thermal', await readThermal(reader, rare)),
  edac: async ({ reader, rare }) => part('edac', await readEdac(reader, rare)),
  powersupplyclass: async ({ reader, rare }) => part('powerSupplies', await readPowerSupplies(reader, rare)),
  rapl: async ({ reader, rare }) => part('energy', await readEnergy(reader, rare)),
  filesystem: async ({ reader, reads, poll }) =>
    part('filesystems', await readFilesystems(reads.files, reader, reads.problems, poll)),
};

export const collectors: Readonly<Record<CollectorName, Collect>> = { ...network, ...ofHost };
