// What the collectors of a host's own figures make, part by part. A part that a host does not have, or that the inventory does
// not want, is absent: never a zero.
import type { Figures } from '../core/figures.js';
import type { CollectorName } from '../inventory/collectors.js';
import type { Filesystem } from './filesystems.js';
import type { PartReader, PollReads } from './part-reader.js';
import type { PollContext } from './poller.js';
import type { CpuFrequency } from './proc/cpuinfo.js';
import type { DiskStats } from './proc/diskstats.js';
import type { LoadAverage } from './proc/load.js';
import type { MdArray } from './proc/mdstat.js';
import type { NetDevice } from './proc/netdev.js';
import type { Pressure } from './proc/pressure.js';
import type { CpuSchedule } from './proc/schedstat.js';
import type { Softnet } from './proc/softnet.js';
import type { KernelStat } from './proc/stat.js';
import type { UdpQueues } from './proc/udp.js';
import type { Rare } from './rare.js';
import type { Bond } from './sys/bonding.js';
import type { CpuScaling } from './sys/cpufreq.js';
import type { MemoryController } from './sys/edac.js';
import type { HwmonChip } from './sys/hwmon.js';
import type { DiskInfo, NvmeController } from './sys/identity.js';
import type { NetClass } from './sys/netclass.js';
import type { EnergyZone, PowerSupply } from './sys/power.js';
import type { Thermal } from './sys/thermal.js';

/** uname's words, as far as /proc/sys/kernel has them (`machine`: Linux 6.1 and up). */
export type Kernel = {
  hostname?: string;
  domainname?: string;
  sysname?: string;
  release?: string;
  version?: string;
  machine?: string;
};

export type SystemFigures = {
  cpus: KernelStat['cpus'];
  /** Numbers of the CPUs that the scheduler leaves alone. */
  isolatedCpus: number[];
  counts: Omit<KernelStat, 'cpus'>;
  frequencies: CpuFrequency[];
  scaling: CpuScaling[];
  /** Bytes under the kernel's names; the HugePages_… counts are pages. */
  meminfo: Figures;
  loadavg: LoadAverage;
  /** Seconds since boot, and the host's clock in seconds since the epoch. */
  uptime: number;
  time: number;
  clockSources: { device: string; current: string; available: string[] }[];
  disks: DiskStats[];
  diskInfos: DiskInfo[];
  filesystems: Filesystem[];
  netDevices: NetDevice[];
  netClasses: NetClass[];
  bonds: Bond[];
  /** Neighbours by network device. */
  arp: Record<string, number>;
  pressure: { cpu?: Pressure; io?: Pressure; memory?: Pressure; irq?: Pressure };
  schedule: CpuSchedule[];
  vmstat: Figures;
  netstat: Figures;
  /** `TCP_mem_bytes` and `UDP_mem_bytes` beside the kernel's fields. */
  sockstat: Figures;
  softnet: Softnet[];
  udpQueues: { v4?: UdpQueues; v6?: UdpQueues };
  openFiles: { allocated: number; maximum: number };
  conntrack: { entries?: number; limit?: number; stat?: Record<string, number> };
  entropy: { availableBits?: number; poolSizeBits?: number };
  hungTasks: number;
  selinux: { enabled: boolean; currentMode?: number; configMode?: number };
  kernel: Kernel;
  /** /etc/os-release. */
  os: Record<string, string>;
  dmi: Record<string, string>;
  hwmon: HwmonChip[];
  thermal: Thermal;
  edac: MemoryController[];
  mdArrays: MdArray[];
  nvme: NvmeController[];
  powerSupplies: PowerSupply[];
  energy: EnergyZone[];
};

/** `ok`: it found something, and nothing of it was wrong. */
export type CollectorRun = { collector: CollectorName; ok: boolean; durationMs: number };

export type CollectContext = { reader: PartReader; rare: Rare; reads: PollReads; poll: PollContext };

/** Undefined when the host has nothing of it. A connection that broke fails the poll. */
export type Collect = (context: CollectContext) => Promise<Partial<SystemFigures> | undefined>;
