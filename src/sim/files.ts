// The files of a simulated host as SFTP shows them: read-only text, directories, links and sockets by path. /sys is a short list of
// what the pollers look at. What is not here does not exist.

import { driftOf, levelOf } from './drift.js';
import type { SimHost } from './host.js';
import { devicesOf, procFiles, userHz } from './proc.js';
import { seedOf } from './random.js';
import type { SimVm } from './vm.js';

export type Node =
  | { type: 'file'; text: () => string }
  | { type: 'directory'; names: () => string[] }
  | { type: 'socket'; openToAll: boolean };

export const sockets = {
  readOnly: ['/run/libvirt/libvirt-sock-ro', '/run/libvirt/virtqemud-sock-ro'],
  readWrite: ['/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock'],
} as const;
const forReaders: ReadonlySet<string> = new Set(sockets.readOnly);
const allSockets: ReadonlySet<string> = new Set([...sockets.readOnly, ...sockets.readWrite]);

const osRelease = `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
`;

const fixed: Readonly<Record<string, string>> = {
  '/etc/os-release': osRelease,
  '/sys/devices/system/cpu/isolated': '\n',
  '/sys/devices/system/clocksource/clocksource0/current_clocksource': 'tsc\n',
  '/sys/devices/system/clocksource/clocksource0/available_clocksource': 'tsc hpet acpi_pm\n',
  '/sys/class/dmi/id/sys_vendor': 'Outrigger\n',
  '/sys/class/dmi/id/product_name': 'Simulated KVM host\n',
  '/sys/class/dmi/id/bios_vendor': 'Outrigger\n',
  '/sys/class/thermal/thermal_zone0/type': 'x86_pkg_temp\n',
  '/sys/dev/block/8:0/queue/rotational': '0\n',
  '/sys/dev/block/8:16/queue/rotational': '0\n',
  '/run/udev/data/b8:0': 'E:ID_MODEL=SIMULATED_SSD\nE:ID_SERIAL=SIMULATED_SSD_1\n',
  '/run/udev/data/b8:16': 'E:ID_MODEL=SIMULATED_SSD\nE:ID_SERIAL=SIMULATED_SSD_2\n',
};

const netAttributes: Readonly<Record<string, (device: string, index: number) => string>> = {
  operstate: (device) => (device === 'lo' ? 'unknown' : 'up'),
  carrier: () => '1',
  carrier_changes: (device) => (device === 'lo' ? '0' : '2'),
  carrier_up_count: () => '1',
  carrier_down_count: () => '1',
  addr_assign_type: () => '0',
  dormant: () => '0',
  ifindex: (_, index) => String(index + 1),
  iflink: (_, index) => String(index + 1),
  link_mode: () => '0',
  mtu: (device) => (device === 'lo' ? '65536' : '1500'),
  name_assign_type: () => '4',
  netdev_group: () => '0',
  speed: (device) => (device === 'eno1' ? '10000' : '-1'),
  tx_queue_len: () => '1000',
  type: (device) => (device === 'lo' ? '772' : '1'),
  dev_id: () => '0x0',
  flags: (device) => (device === 'lo' ? '0x9' : '0x1003'),
  address: (device, index) =>
    device === 'lo' ? '00:00:00:00:00:00' : `52:54:00:00:01:${(index & 0xff).toString(16).padStart(2, '0')}`,
  broadcast: (device) => (device === 'lo' ? '00:00:00:00:00:00' : 'ff:ff:ff:ff:ff:ff'),
  duplex: () => 'full',
  ifalias: () => '',
  'statistics/rx_nohandler': () => '0',
};

const fixedDirectories = directoriesOf([...Object.keys(fixed), ...Object.keys(procFiles)]);

/** Undefined for what does not exist. */
export function nodeAt(host: SimHost, path: string): Node | undefined {
  const proc = procFiles[path];
  if (proc) return { type: 'file', text: () => proc(host, host.nowMs()) };
  const text = fixed[path];
  if (text !== undefined) return { type: 'file', text: () => text };
  if (allSockets.has(path)) return { type: 'socket', openToAll: forReaders.has(path) };
  if (path === '/sys/class/thermal/thermal_zone0/temp') {
    const celsius = () => 40 + 12 * levelOf(driftOf(seedOf(host.seed, 'temperature'), 1), host.nowMs());
    return { type: 'file', text: () => `${Math.floor(celsius() * 1000)}\n` };
  }
  if (path === '/proc/net/unix') return { type: 'file', text: unixSockets };
  if (path.startsWith('/sys/class/net/')) return netNode(host, path);
  const ofVm = vmFile.exec(path)?.groups;
  if (ofVm) return vmNode(host, ofVm);
  if (path === '/sys/devices/system/cpu') return cpuDirectory(host);
  if (path === '/sys/class/net') return { type: 'directory', names: () => devicesOf(host) };
  const names =
    fixedDirectories.get(path) ?? (host.filesystems.some((fs) => fs.mountpoint === path) ? [] : undefined);
  return names && { type: 'directory', names: () => names };
}

const vmFile = /^\/run\/libvirt\/qemu\/(?<name>[^/]+)\.pid$|^\/proc\/(?<pid>\d+)\/(?<file>cmdline|stat)$/;

/** Files of a VM's QEMU process, of which only what tells whose it is and since when is true. */
const processFiles: Readonly<Record<string, (vm: SimVm) => string>> = {
  cmdline: ({ name, uuid }) => `/usr/bin/qemu-system-x86_64\0-name\0guest=${name}\0-uuid\0${uuid}\0`,
  stat: ({ pid, startedMs }) =>
    `${pid} (qemu-system-x86) S 1 ${'0 '.repeat(17)}${Math.floor((startedMs / 1000) * userHz)} 0 0\n`,
};

/** The file with the number of a VM's process, and those of the process. */
function vmNode(
  { vms }: SimHost,
  { name, pid, file = '' }: Readonly<Record<string, string | undefined>>,
): Node | undefined {
  const vm = find(vms, (vm) => vm.active && (name === undefined ? String(vm.pid) === pid : vm.name === name));
  const made = name === undefined ? processFiles[file] : ({ pid }: SimVm) => `${pid}\n`;
  return vm && made && { type: 'file', text: () => made(vm) };
}

function find(vms: Iterable<SimVm>, isWanted: (vm: SimVm) => boolean): SimVm | undefined {
  for (const vm of vms) if (isWanted(vm)) return vm;
  return undefined;
}

function netNode(host: SimHost, path: string): Node | undefined {
  const [, device = '', attribute = ''] = /^\/sys\/class\/net\/([^/]+)\/(.+)$/.exec(path) ?? [];
  const made = netAttributes[attribute];
  const index = devicesOf(host).indexOf(device);
  if (!made || index < 0) return undefined;
  return { type: 'file', text: () => `${made(device, index)}\n` };
}

function cpuDirectory({ cpus }: SimHost): Node {
  return { type: 'directory', names: () => Array.from({ length: cpus }, (_, cpu) => `cpu${cpu}`) };
}

/** Number, references, protocol, flags, type, state, inode, path: those that listen. */
function unixSockets(): string {
  const lines = [...allSockets].map(
    (path, index) => `0000: 00000002 00000000 00010000 0001 01 ${1000 + index} ${path}\n`,
  );
  return `Num       RefCount Protocol Flags    Type St Inode Path\n${lines.join('')}`;
}

function directoriesOf(paths: readonly string[]): Map<string, string[]> {
  const directories = new Map<string, Set<string>>();
  for (const path of paths) {
    const parts = path.split('/').slice(1);
    for (let depth = 0; depth < parts.length; depth++) {
      const directory = `/${parts.slice(0, depth).join('/')}`;
      const names = directories.get(directory) ?? new Set();
      directories.set(directory, names.add(parts[depth] ?? ''));
    }
  }
  return new Map([...directories].map(([path, names]) => [path, [...names]]));
}

/** As `statvfs` tells it. What is no filesystem of the list is a tmpfs. */
export function spaceAt(
  host: SimHost,
  path: string,
): { blocks: number; free: number; files: number; blockBytes: number } {
  const found = host.filesystems.find(({ mountpoint }) => mountpoint === path);
  const { sizeBytes, used } = found ?? { sizeBytes: 8 * 1024 ** 3, used: 0.01 };
  const blockBytes = 4096;
  const blocks = Math.floor(sizeBytes / blockBytes);
  return { blocks, free: Math.floor(blocks * (1 - used)), files: Math.floor(blocks / 4), blockBytes };
}
