// Polls a host's own figures from /proc and /sys. A file that the kernel does not have is an absent part of the sample,
// never a zero; what cannot be read is a problem in it, and the rest still counts. It refuses to touch network and FUSE
// filesystems: a server that went away would hang the host's one SFTP process, and every poll behind it.
import { setMaxListeners } from 'node:events';
import { type Filesystem, readFilesystems } from './filesystems.js';
import { readFrequencies } from './frequency.js';
import { PartReader } from './part-reader.js';
import type { Poller } from './poller.js';
import { type Problem, Problems } from './problems.js';
import type { CpuFrequency } from './proc/cpuinfo.js';
import { type DiskStats, parseDiskstats } from './proc/diskstats.js';
import { type LoadAverage, parseLoadavg, parseUptime } from './proc/load.js';
import { parseMeminfo } from './proc/meminfo.js';
import { type NetDevice, parseNetDev } from './proc/netdev.js';
import { parseNetstat, parseSnmp6, parseSockstat } from './proc/netstat.js';
import { parseOsRelease } from './proc/os-release.js';
import { type Pressure, parsePressure } from './proc/pressure.js';
import { type KernelStat, parseStat } from './proc/stat.js';
import { fields, hostileRecord, parseTextLine, parseUnsignedLine, unsigned } from './proc/text.js';
import { parseVmstat } from './proc/vmstat.js';

/** uname's words, as far as /proc/sys/kernel has them (`machine`: Linux 6.1 and up). */
type Kernel = {
  hostname?: string;
  domainname?: string;
  sysname?: string;
  release?: string;
  version?: string;
  machine?: string;
};

export type SystemSample = {
  /** Wall milliseconds when the sample was complete. */
  takenAtMs: number;
  stat?: KernelStat;
  frequencies?: CpuFrequency[];
  /** Bytes under the kernel's names; the HugePages_… counts are pages. */
  meminfo?: Record<string, number>;
  loadavg?: LoadAverage;
  /** Seconds since boot. */
  uptime?: number;
  disks?: DiskStats[];
  filesystems?: Filesystem[];
  netDevices?: NetDevice[];
  pressure: { cpu?: Pressure; io?: Pressure; memory?: Pressure };
  vmstat?: Record<string, number>;
  netstat: Record<string, number>;
  sockstat: Record<string, number>;
  openFiles?: { allocated: number; maximum: number };
  conntrack?: { entries?: number; limit?: number };
  kernel: Kernel;
  /** /etc/os-release. */
  os?: Record<string, string>;
  /** What could not be read or understood, for people. */
  problems: string[];
};

const pollTimeoutMs = 12_000;

/** node_exporter's default: no RAM disks, loops, floppies and partitions. */
const diskExcluded = /^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$/;

export const systemPoller: Poller<SystemSample> = {
  name: 'system',
  part: 'files',
  judgesPart: true,
  followsEvents: false,
  intervalMs: ({ poll }) => poll.intervalMs,
  timeoutMs: pollTimeoutMs,
  async poll(readers, { host, signal: outer, clock }) {
    const context = { host, signal: forManyReads(outer), clock };
    const problems = new Problems();
    const files = readers.files();
    const reader = new PartReader(files, problems, context);
    const [stat, loads, memory, disks, network, kernel, frequencies] = await Promise.all([
      reader.parsed('/proc/stat', parseStat),
      readLoads(reader),
      readMemory(reader),
      reader.parsed('/proc/diskstats', parseDiskstats),
      readNetwork(reader),
      readKernel(reader),
      readFrequencies(files, reader, context),
    ]);
    // Last and alone: the one request that may hang must not have others waiting behind it.
    const filesystems = await readFilesystems(files, reader, problems, context);
    return {
      takenAtMs: clock.wallMs(),
      ...loads,
      ...memory,
      ...network,
      ...kernel,
      ...(stat && { stat }),
      ...(disks && { disks: disks.filter(({ device }) => !diskExcluded.test(device)) }),
      ...(frequencies && { frequencies }),
      ...(filesystems && { filesystems }),
      problems: problems.list,
    };
  },
};

/** The same signal, without Node's warning of a leak: each of some thirty reads listens to it. */
function forManyReads(signal: AbortSignal): AbortSignal {
  const own = AbortSignal.any([signal]);
  setMaxListeners(0, own);
  return own;
}

async function readLoads(reader: PartReader) {
  const [loadavg, uptime, cpu, io, memory] = await Promise.all([
    reader.parsed('/proc/loadavg', parseLoadavg),
    reader.parsed('/proc/uptime', parseUptime),
    reader.parsed('/proc/pressure/cpu', parsePressure),
    reader.parsed('/proc/pressure/io', parsePressure),
    reader.parsed('/proc/pressure/memory', parsePressure),
  ]);
  return {
    ...(loadavg && { loadavg }),
    ...(uptime !== undefined && { uptime }),
    pressure: { ...(cpu && { cpu }), ...(io && { io }), ...(memory && { memory }) },
  };
}

async function readMemory(reader: PartReader) {
  const [meminfo, vmstat, openFiles] = await Promise.all([
    reader.parsed('/proc/meminfo', parseMeminfo),
    reader.parsed('/proc/vmstat', parseVmstat),
    reader.parsed('/proc/sys/fs/file-nr', parseFileNr),
  ]);
  return { ...(meminfo && { meminfo }), ...(vmstat && { vmstat }), ...(openFiles && { openFiles }) };
}

function parseFileNr(text: string, problem: Problem): { allocated: number; maximum: number } | undefined {
  const [a, , c] = fields(text);
  const [allocated, maximum] = [unsigned(a), unsigned(c)];
  if (allocated !== undefined && maximum !== undefined) return { allocated, maximum };
  problem('not three numbers');
  return undefined;
}

async function readNetwork(reader: PartReader) {
  const [netDevices, snmp, netstat, snmp6, sockstat, sockstat6, entries, limit] = await Promise.all([
    reader.parsed('/proc/net/dev', parseNetDev),
    reader.parsed('/proc/net/snmp', parseNetstat),
    reader.parsed('/proc/net/netstat', parseNetstat),
    reader.parsed('/proc/net/snmp6', parseSnmp6),
    reader.parsed('/proc/net/sockstat', parseSockstat),
    reader.parsed('/proc/net/sockstat6', parseSockstat),
    reader.parsed('/proc/sys/net/netfilter/nf_conntrack_count', parseUnsignedLine),
    reader.parsed('/proc/sys/net/netfilter/nf_conntrack_max', parseUnsignedLine),
  ]);
  const conntrack = { ...(entries !== undefined && { entries }), ...(limit !== undefined && { limit }) };
  return {
    ...(netDevices && { netDevices }),
    netstat: Object.assign(hostileRecord<number>(), snmp, netstat, snmp6),
    sockstat: Object.assign(hostileRecord<number>(), sockstat, sockstat6),
    ...(Object.keys(conntrack).length > 0 && { conntrack }),
  };
}

async function readKernel(reader: PartReader) {
  const line = (name: string) => reader.parsed(`/proc/sys/kernel/${name}`, parseTextLine);
  const [hostname, domainname, sysname, release, version, machine, os] = await Promise.all([
    line('hostname'),
    line('domainname'),
    line('ostype'),
    line('osrelease'),
    line('version'),
    line('arch'),
    reader.parsed('/etc/os-release', parseOsRelease),
  ]);
  const kernel: Kernel = {
    ...(hostname && { hostname }),
    ...(domainname && { domainname }),
    ...(sysname && { sysname }),
    ...(release && { release }),
    ...(version && { version }),
    ...(machine && { machine }),
  };
  return { kernel, ...(os && { os }) };
}
