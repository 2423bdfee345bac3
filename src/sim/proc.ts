// /proc of a simulated host, in the kernel's formats: text made when it is read, from (seed, time). Counters only grow, and
// what can be added up adds up. It has what the pollers ask for, and refuses to be a whole kernel.
import { driftOf, levelOf, totalOf } from './drift.js';
import type { SimHost } from './host.js';
import { seedOf } from './random.js';

/** Jiffies a second, in /proc/stat and /proc/PID/stat. */
export const userHz = 100;
const sectorBytes = 512;

/** By path, without a directory for each: what is not in it does not exist. */
export const procFiles: Readonly<Record<string, (host: SimHost, nowMs: number) => string>> = {
  '/proc/stat': stat,
  '/proc/meminfo': meminfo,
  '/proc/vmstat': vmstat,
  '/proc/loadavg': (host, nowMs) => {
    const load = (window: string) => (host.cpus * 0.25 * level(host, window, nowMs)).toFixed(2);
    return `${load('load1')} ${load('load5')} ${load('load15')} 3/1480 ${Math.floor(nowMs / 1000) % 4_194_304}\n`;
  },
  '/proc/uptime': (host, nowMs) =>
    `${(nowMs / 1000).toFixed(2)} ${((nowMs / 1000) * host.cpus * 0.7).toFixed(2)}\n`,
  '/proc/cpuinfo': (host, nowMs) =>
    eachCpu(
      host,
      (cpu) =>
        `processor\t: ${cpu}\nmodel name\t: Simulated CPU\ncpu MHz\t\t: ${(2000 + 800 * level(host, `mhz${cpu}`, nowMs)).toFixed(3)}\nphysical id\t: 0\ncore id\t\t: ${cpu >> 1}\n\n`,
    ),
  '/proc/schedstat': schedstat,
  '/proc/diskstats': diskstats,
  '/proc/mdstat': () => 'Personalities : \nunused devices: <none>\n',
  '/proc/self/mounts': mounts,
  '/proc/net/dev': netDev,
  '/proc/net/snmp': (host, nowMs) => tables(host, nowMs, snmp),
  '/proc/net/netstat': (host, nowMs) => tables(host, nowMs, netstat),
  '/proc/net/snmp6': (host, nowMs) =>
    [
      'Ip6InReceives',
      'Ip6OutRequests',
      'Ip6InOctets',
      'Ip6OutOctets',
      'Icmp6InMsgs',
      'Icmp6OutMsgs',
      'Udp6InDatagrams',
      'Udp6OutDatagrams',
      ...snmp6Zeros,
    ]
      .map((name) => `${name} ${count(host, name, nowMs, snmp6Zeros.includes(name) ? 0 : 5)}\n`)
      .join(''),
  '/proc/net/sockstat': () =>
    'sockets: used 612\nTCP: inuse 38 orphan 0 tw 12 alloc 61 mem 9\nUDP: inuse 9 mem 3\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n',
  '/proc/net/sockstat6': () =>
    'TCP6: inuse 7\nUDP6: inuse 5\nUDPLITE6: inuse 0\nRAW6: inuse 1\nFRAG6: inuse 0 memory 0\n',
  '/proc/net/softnet_stat': softnet,
  '/proc/net/udp': () => socketTable,
  '/proc/net/udp6': () => socketTable,
  '/proc/net/arp': (host) =>
    `IP address       HW type     Flags       HW address            Mask     Device\n192.0.2.1        0x1         0x2         52:54:00:00:00:${(host.seed & 0xff).toString(16).padStart(2, '0')}     *        br0\n`,
  '/proc/pressure/cpu': (host, nowMs) => pressure(host, 'cpu', nowMs, 40_000),
  '/proc/pressure/io': (host, nowMs) => pressure(host, 'io', nowMs, 9_000),
  '/proc/pressure/memory': (host, nowMs) => pressure(host, 'memory', nowMs, 300),
  '/proc/sys/fs/file-nr': (host, nowMs) =>
    `${Math.floor(4000 + 900 * level(host, 'files', nowMs))}\t0\t9223372036854775807\n`,
  '/proc/sys/kernel/random/boot_id': ({ uuid }) => `${uuid}\n`,
  '/proc/sys/kernel/random/entropy_avail': () => '256\n',
  '/proc/sys/kernel/random/poolsize': () => '256\n',
  '/proc/sys/kernel/hostname': ({ name }) => `${name}\n`,
  '/proc/sys/kernel/domainname': () => '(none)\n',
  '/proc/sys/kernel/ostype': () => 'Linux\n',
  '/proc/sys/kernel/osrelease': () => '6.1.0-28-amd64\n',
  '/proc/sys/kernel/version': () => '#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)\n',
  '/proc/sys/kernel/arch': () => 'x86_64\n',
  '/proc/sys/net/netfilter/nf_conntrack_count': (host, nowMs) =>
    `${Math.floor(900 + 400 * level(host, 'conntrack', nowMs))}\n`,
  '/proc/sys/kernel/hung_task_detect_count': () => '0\n',
  '/proc/net/stat/nf_conntrack': (host) => `${conntrackHead}\n${eachCpu(host, () => conntrackLine)}`,
  '/proc/sys/net/netfilter/nf_conntrack_max': () => '262144\n',
};

const snmp6Zeros = [
  'Icmp6InErrors',
  'Udp6NoPorts',
  'Udp6InErrors',
  'Udp6RcvbufErrors',
  'Udp6SndbufErrors',
  'UdpLite6InErrors',
];

const socketTable =
  '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n';

function eachCpu({ cpus }: SimHost, line: (cpu: number) => string): string {
  let lines = '';
  for (let cpu = 0; cpu < cpus; cpu++) lines += line(cpu);
  return lines;
}

function count(host: SimHost, what: string, nowMs: number, perS: number): number {
  if (perS === 0) return 0;
  return totalOf(driftOf(seedOf(host.seed, what), perS), nowMs);
}

function level(host: SimHost, what: string, nowMs: number): number {
  return levelOf(driftOf(seedOf(host.seed, what), 1), nowMs);
}

const cpuColumns = 10;

/** The columns of one CPU, whose times add up to the host's uptime. */
function cpuTimes(host: SimHost, cpu: number, nowMs: number): number[] {
  const at = (mode: string, share: number) => count(host, `${mode}${cpu}`, nowMs, userHz * share);
  const [user, nice, system] = [at('user', 0.04), at('nice', 0.001), at('system', 0.05)];
  const [iowait, irq, softirq, steal] = [
    at('iowait', 0.01),
    at('irq', 0.001),
    at('softirq', 0.004),
    at('steal', 0.002),
  ];
  const guest = at('guest', 0.15);
  const busy = user + nice + system + iowait + irq + softirq + steal + guest;
  const idle = Math.max(0, Math.floor((nowMs / 1000) * userHz) - busy);
  return [user + guest, nice, system, idle, iowait, irq, softirq, steal, guest, 0];
}

function stat(host: SimHost, nowMs: number): string {
  const each = Array.from({ length: host.cpus }, (_, cpu) => cpuTimes(host, cpu, nowMs));
  const all = new Array<number>(cpuColumns).fill(0);
  for (const times of each)
    for (let at = 0; at < cpuColumns; at++) all[at] = (all[at] ?? 0) + (times[at] ?? 0);
  const btime = Math.floor((host.clock.wallMs() - nowMs) / 1000);
  return `cpu  ${all.join(' ')}
${each.map((times, cpu) => `cpu${cpu} ${times.join(' ')}\n`).join('')}intr ${count(host, 'intr', nowMs, 9_000)} 0
ctxt ${count(host, 'ctxt', nowMs, 22_000)}
btime ${btime}
processes ${count(host, 'forks', nowMs, 3)}
procs_running ${Math.max(1, Math.floor(3 * level(host, 'running', nowMs)))}
procs_blocked 0
softirq ${count(host, 'softirqs', nowMs, 5_000)} 0 0 0 0 0 0 0 0 0 0
`;
}

/** Of kernels with other features than ours uses. */
const meminfoZeros = [
  'Unevictable',
  'Mlocked',
  'Zswap',
  'Zswapped',
  'SecPageTables',
  'NFS_Unstable',
  'Bounce',
  'WritebackTmp',
  'VmallocChunk',
  'ShmemHugePages',
  'ShmemPmdMapped',
  'FileHugePages',
  'FilePmdMapped',
  'Balloon',
  'Hugetlb',
];

/** KiB, by the names of /proc/meminfo. */
function memoryOf(host: SimHost, nowMs: number): [string, number][] {
  const total = host.memoryKiB;
  let guests = 0;
  for (const vm of host.vms) if (vm.active) guests += vm.memoryKiB * 0.9;
  const cached = Math.floor(total * 0.04 * level(host, 'cached', nowMs));
  const buffers = Math.floor(total * 0.002);
  const anonymous = Math.min(Math.floor(guests), Math.floor(total * 0.9));
  const free = Math.max(0, total - anonymous - cached - buffers);
  return [
    ['MemTotal', total],
    ['MemFree', free],
    ['MemAvailable', Math.floor(free + cached * 0.8)],
    ['Buffers', buffers],
    ['Cached', cached],
    ['SwapCached', 0],
    ['Active', Math.floor(anonymous * 0.6)],
    ['Inactive', Math.floor(anonymous * 0.4 + cached)],
    ['SwapTotal', 8 * 1024 * 1024],
    ['SwapFree', 8 * 1024 * 1024],
    ['Dirty', 1200],
    ['Writeback', 0],
    ['Active(anon)', Math.floor(anonymous * 0.6)],
    ['Inactive(anon)', Math.floor(anonymous * 0.4)],
    ['Active(file)', Math.floor(cached * 0.5)],
    ['Inactive(file)', Math.floor(cached * 0.5)],
    ['KReclaimable', 800_000],
    ['Percpu', 90_000],
    ['DirectMap4k', 900_000],
    ['DirectMap2M', Math.floor(total * 0.2)],
    ['DirectMap1G', Math.floor(total * 0.8)],
    ...meminfoZeros.map((name): [string, number] => [name, 0]),
    ['AnonPages', anonymous],
    ['Mapped', 240_000],
    ['Shmem', 90_000],
    ['Slab', 1_200_000],
    ['SReclaimable', 800_000],
    ['SUnreclaim', 400_000],
    ['KernelStack', 30_000],
    ['PageTables', 260_000],
    ['CommitLimit', Math.floor(total / 2)],
    ['Committed_AS', anonymous],
    ['VmallocTotal', 34_359_738_367],
    ['VmallocUsed', 210_000],
    ['AnonHugePages', Math.floor(anonymous * 0.8)],
  ];
}

function meminfo(host: SimHost, nowMs: number): string {
  const lines = memoryOf(host, nowMs);
  const huge =
    'HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\nHugepagesize:       2048 kB\n';
  return `${lines.map(([name, kib]) => `${name}: ${kib} kB\n`).join('')}${huge}`;
}

const pageKiB = 4;
/** The kernel's word for the pages, and what /proc/meminfo calls them. */
const listedPages: readonly (readonly [string, string])[] = [
  ['inactive_anon', 'Inactive(anon)'],
  ['active_anon', 'Active(anon)'],
  ['inactive_file', 'Inactive(file)'],
  ['active_file', 'Active(file)'],
  ['unevictable', 'Unevictable'],
];

function vmstat(host: SimHost, nowMs: number): string {
  const memory = new Map(memoryOf(host, nowMs));
  const rates: [string, number][] = [
    ['pgpgin', 700],
    ['pgpgout', 2_500],
    ['pswpin', 0],
    ['pswpout', 0],
    ['pgfault', 9_000],
    ['pgmajfault', 0.2],
    ['oom_kill', 0],
  ];
  const pages = listedPages.map(
    ([name, of]) => `nr_${name} ${Math.floor((memory.get(of) ?? 0) / pageKiB)}\n`,
  );
  return `nr_free_pages ${Math.floor((memory.get('MemFree') ?? 0) / pageKiB)}\n${pages.join('')}${rates.map(([name, perS]) => `${name} ${count(host, name, nowMs, perS)}\n`).join('')}`;
}

function schedstat(host: SimHost, nowMs: number): string {
  const line = (cpu: number) => {
    const ran = count(host, `ran${cpu}`, nowMs, 0.25e9);
    return `cpu${cpu} 0 0 0 0 0 0 ${ran} ${Math.floor(ran * 0.05)} ${Math.floor(ran / 2e6)}\n`;
  };
  return `version 15\ntimestamp ${Math.floor(nowMs)}\n${eachCpu(host, line)}`;
}

function diskstats(host: SimHost, nowMs: number): string {
  const line = (minor: number, device: string) => {
    const reads = count(host, `${device} reads`, nowMs, 40);
    const writes = count(host, `${device} writes`, nowMs, 160);
    const sectors = (requests: number) => Math.floor((requests * 16_384) / sectorBytes);
    const busyMs = Math.min(Math.floor(nowMs), Math.floor(reads * 0.3 + writes * 0.4));
    return `   8 ${minor} ${device} ${reads} 0 ${sectors(reads)} ${Math.floor(reads * 0.4)} ${writes} 0 ${sectors(writes)} ${Math.floor(writes * 0.6)} 0 ${busyMs} ${busyMs * 2} 0 0 0 0 ${Math.floor(writes / 50)} ${Math.floor(writes / 60)}\n`;
  };
  return line(0, 'sda') + line(16, 'sdb');
}

function mounts({ filesystems }: SimHost): string {
  const disks = filesystems.map(
    ({ device, mountpoint, fstype }) => `${device} ${mountpoint} ${fstype} rw,relatime 0 0\n`,
  );
  return `${disks.join('')}proc /proc proc rw 0 0\nsysfs /sys sysfs rw 0 0\ndevtmpfs /dev devtmpfs rw 0 0\ntmpfs /run tmpfs rw,nosuid 0 0\n`;
}

export const hostDevices = ['lo', 'eno1', 'br0'] as const;

/** Those of the host first, then the taps of its running VMs. */
export function devicesOf(host: SimHost): string[] {
  const taps: string[] = [];
  for (const vm of host.vms) if (vm.active) for (const { tap } of vm.nets) taps.push(tap);
  return [...hostDevices, ...taps];
}

function netDev(host: SimHost, nowMs: number): string {
  const line = (device: string, rx: number, tx: number) =>
    `${device}: ${rx} ${Math.floor(rx / 600)} 0 0 0 0 0 0 ${tx} ${Math.floor(tx / 600)} 0 0 0 0 0 0\n`;
  const own = hostDevices.map((device) =>
    line(device, count(host, `${device} rx`, nowMs, 4e6), count(host, `${device} tx`, nowMs, 3e6)),
  );
  const taps: string[] = [];
  for (const vm of host.vms) {
    if (!vm.active) continue;
    // What a guest receives, its tap has sent.
    for (const { tap, rx, tx } of vm.nets) {
      taps.push(line(tap, totalOf(tx, vm.turnedMs(nowMs)), totalOf(rx, vm.turnedMs(nowMs))));
    }
  }
  return `Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n${own.join('')}${taps.join('')}`;
}

const conntrackHead =
  'entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart';
const conntrackLine = `${Array.from({ length: 17 }, () => '00000000').join(' ')}\n`;

type Table = readonly [name: string, columns: readonly (readonly [string, number])[]];

const snmp: readonly Table[] = [
  [
    'Ip',
    [
      ['Forwarding', -1],
      ['InReceives', 900],
      ['InHdrErrors', 0],
      ['ForwDatagrams', 400],
      ['InDelivers', 500],
      ['OutRequests', 500],
    ],
  ],
  [
    'Icmp',
    [
      ['InMsgs', 0.2],
      ['InErrors', 0],
      ['OutMsgs', 0.2],
    ],
  ],
  [
    'Tcp',
    [
      ['ActiveOpens', 0.5],
      ['PassiveOpens', 0.8],
      ['CurrEstab', -38],
      ['InSegs', 400],
      ['OutSegs', 420],
      ['RetransSegs', 0.1],
      ['InErrs', 0],
      ['OutRsts', 0.05],
    ],
  ],
  [
    'Udp',
    [
      ['InDatagrams', 6],
      ['NoPorts', 0.01],
      ['InErrors', 0],
      ['OutDatagrams', 6],
      ['RcvbufErrors', 0],
      ['SndbufErrors', 0],
    ],
  ],
  ['UdpLite', [['InErrors', 0]]],
];

const netstat: readonly Table[] = [
  [
    'TcpExt',
    [
      ['SyncookiesSent', 0],
      ['SyncookiesRecv', 0],
      ['SyncookiesFailed', 0],
      ['ListenOverflows', 0],
      ['ListenDrops', 0],
      ['TCPTimeouts', 0.02],
      ['TCPSynRetrans', 0.02],
      ['TCPOFOQueue', 0.01],
      ['TCPRcvQDrop', 0],
    ],
  ],
  [
    'IpExt',
    [
      ['InOctets', 4e6],
      ['OutOctets', 3e6],
    ],
  ],
];

/** A negative rate is a level that stands still. */
function tables(host: SimHost, nowMs: number, all: readonly Table[]): string {
  const rows = all.map(([name, columns]) => {
    const values = columns.map(([column, perS]) =>
      perS < 0 ? -perS : count(host, `${name}${column}`, nowMs, perS),
    );
    return `${name}: ${columns.map(([column]) => column).join(' ')}\n${name}: ${values.join(' ')}\n`;
  });
  return rows.join('');
}

const softnetZeros = Array.from({ length: 11 }, () => '00000000').join(' ');

function softnet(host: SimHost, nowMs: number): string {
  return eachCpu(host, (cpu) => {
    const packets = count(host, `softnet${cpu}`, nowMs, 60) % 2 ** 32;
    return `${packets.toString(16).padStart(8, '0')} ${softnetZeros} ${cpu.toString(16).padStart(8, '0')}\n`;
  });
}

function pressure(host: SimHost, what: string, nowMs: number, usPerS: number): string {
  const total = count(host, `pressure ${what}`, nowMs, usPerS);
  return `some avg10=0.10 avg60=0.10 avg300=0.10 total=${total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=${Math.floor(total / 2)}\n`;
}
