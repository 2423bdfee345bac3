// Samples as pollers return them, for tests of rendering.
import type { DomainStats } from '../../../src/libvirt/stats.js';
import type { Compat } from '../../../src/metrics/compat.js';
import { type Format, Lines } from '../../../src/metrics/exposition.js';
import { type FleetPageOptions, fleetPage, HostPages, type Part } from '../../../src/metrics/page.js';
import type { SystemSample } from '../../../src/pollers/system.js';
import type { VmSample } from '../../../src/pollers/vms.js';

export function domainStats(name: string, over: Partial<DomainStats> = {}): DomainStats {
  return {
    domain: { name, uuid: '5c0a9b1e-2f53-4f5c-9d8e-1f2a3b4c5d6e', id: 3 },
    state: { state: 1, reason: 1 },
    cpu: { time: 12_345_678_901, user: 10_000_000_000, system: 2_000_000_000 },
    balloon: {
      current: 262_144,
      maximum: 524_288,
      swap_in: 4,
      swap_out: 8,
      major_fault: 7,
      minor_fault: 900,
      unused: 100_000,
      available: 200_000,
      usable: 150_000,
      'last-update': 1_795_000_000,
      disk_caches: 3_000,
      hugetlb_pgalloc: 0,
      hugetlb_pgfail: 0,
      rss: 180_000,
    },
    vcpu: { current: 2, maximum: 4 },
    vcpus: [
      { state: 1, time: 6_000_000_000, wait: 1_000_000, delay: 2_500_000 },
      { state: 1, time: 7_500_000_000, wait: 0, delay: 0 },
    ],
    nets: [
      {
        name: 'vnet0',
        'rx.bytes': 1000,
        'rx.pkts': 10,
        'rx.errs': 1,
        'rx.drop': 2,
        'tx.bytes': 2000,
        'tx.pkts': 20,
        'tx.errs': 3,
        'tx.drop': 4,
      },
    ],
    blocks: [
      {
        name: 'vda',
        path: '/var/lib/libvirt/images/a.qcow2',
        'rd.reqs': 5,
        'rd.bytes': 4096,
        'rd.times': 1_500_000_000,
        'wr.reqs': 6,
        'wr.bytes': 8192,
        'wr.times': 500_000_000,
        'fl.reqs': 1,
        'fl.times': 250_000_000,
        allocation: 196_608,
        capacity: 1_073_741_824,
        physical: 200_704,
      },
    ],
    iothreads: [],
    perf: {},
    memory: {},
    dirtyrate: { calc_status: 0 },
    other: {},
    ...over,
  };
}

export function running(name: string, over: Partial<VmSample> = {}): VmSample {
  return { ...domainStats(name, over), busy: false, ...over };
}

export function stopped(name: string): VmSample {
  return running(name, {
    domain: { name, uuid: '00000000-0000-4000-8000-000000000001', id: -1 },
    state: { state: 5, reason: 1 },
    cpu: {},
    balloon: { current: 262_144, maximum: 262_144 },
    vcpu: { current: 1, maximum: 1 },
    vcpus: [],
    nets: [],
    blocks: [{ name: 'vda', path: '/b.img', allocation: 4096, capacity: 8192, physical: 4096 }],
    dirtyrate: {},
  });
}

export function systemSample(over: Partial<SystemSample> = {}): SystemSample {
  return {
    takenAtMs: 1_795_222_000_000,
    stat: {
      cpus: [
        {
          cpu: 0,
          user: 28.79,
          nice: 0,
          system: 15.55,
          idle: 578.93,
          iowait: 3,
          irq: 0,
          softirq: 0.09,
          steal: 0.07,
          guest: 1.5,
          guestNice: 0,
        },
      ],
      interrupts: 240_642,
      contextSwitches: 663_768,
      forks: 8497,
      bootTime: 1_795_221_422,
      processesRunning: 1,
      processesBlocked: 0,
    },
    frequencies: [{ cpu: 0, hertz: 2_596_130_000 }],
    meminfo: { MemTotal: 25_276_514_304, 'Active(anon)': 4096, HugePages_Total: 0, SwapTotal: 0 },
    loadavg: { one: 0.04, five: 0.1, fifteen: 0.08 },
    uptime: 644.53,
    disks: [
      {
        device: 'vda',
        major: 254,
        minor: 0,
        reads: 37_247,
        readsMerged: 10_273,
        readBytes: 1_446_171_648,
        readSeconds: 24.416,
        writes: 14_261,
        writesMerged: 20_861,
        writtenBytes: 1_204_822_016,
        writeSeconds: 25.362,
        ioNow: 0,
        ioSeconds: 13.692,
        ioWeightedSeconds: 50.749,
        discards: 5072,
        discardsMerged: 38,
        discardedSectors: 216_264,
        discardSeconds: 0.613,
        flushes: 2270,
        flushSeconds: 0.357,
      },
    ],
    filesystems: [
      {
        device: '/dev/vda',
        mountpoint: '/',
        fstype: 'ext4',
        readOnly: false,
        space: { sizeBytes: 270_553_174_016, freeBytes: 2, availableBytes: 1, files: 4, filesFree: 3 },
      },
      { device: '/dev/vdb', mountpoint: '/srv', fstype: 'xfs', readOnly: true },
    ],
    netDevices: [
      {
        device: 'eth0',
        receiveBytes: 306_418_193,
        receivePackets: 8907,
        receiveErrs: 0,
        receiveDrop: 0,
        receiveFifo: 0,
        receiveFrame: 0,
        receiveCompressed: 0,
        receiveMulticast: 0,
        transmitBytes: 623_574,
        transmitPackets: 5306,
        transmitErrs: 0,
        transmitDrop: 0,
        transmitFifo: 0,
        transmitColls: 0,
        transmitCarrier: 0,
        transmitCompressed: 0,
      },
    ],
    pressure: { cpu: { some: 13.7, full: 0 }, io: { some: 7.6, full: 6.2 }, memory: { some: 0, full: 0 } },
    vmstat: { pgfault: 3_432_865, oom_kill: 0 },
    netstat: { Tcp_InSegs: 8839, Ip_Forwarding: 2 },
    sockstat: { TCP_inuse: 4, sockets_used: 21 },
    openFiles: { allocated: 520, maximum: 2_466_183 },
    conntrack: { entries: 0, limit: 262_144 },
    kernel: {
      hostname: 'kvm-01',
      domainname: '(none)',
      sysname: 'Linux',
      release: '6.1.0-28-amd64',
      version: '#1 SMP',
      machine: 'x86_64',
    },
    os: { ID: 'debian', NAME: 'Debian GNU/Linux', VERSION_ID: '12', PRETTY_NAME: 'Debian GNU/Linux 12' },
    problems: [],
    ...over,
  };
}

/** What a part of a page writes, by family. */
export function rendered(part: Part): ReadonlyMap<string, string> {
  const lines = new Lines();
  part(lines);
  return new Map(
    [...lines.written().keys()].map((name) => [name, Buffer.concat(lines.take(name)).toString()]),
  );
}

/** The page of a host. */
export function hostPage(parts: Iterable<Part>, format?: Format, compat?: Compat): string {
  return new HostPages(compat).page(parts, format).bytes.toString();
}

/** The page of a fleet, whole. */
export async function fleetText(
  parts: readonly Part[],
  options: Partial<FleetPageOptions> = {},
): Promise<string> {
  const { signal } = new AbortController();
  const chunks: Buffer[] = [];
  for await (const chunk of fleetPage(() => parts.map((write) => ({ kind: 'any', write })), {
    signal,
    format: 'text',
    ...options,
  }))
    chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
