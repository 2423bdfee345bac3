// From two samples to what the backend is told: totals as the host counts them, and rates over the time between. Pure. A rate
// is absent when it cannot be known: first sample, counter that went back, VM that was started anew, host that was booted.
// It refuses to invent: nothing is negative, absent stays absent, and time is the monotonic clock's.
import { domainStates } from '../libvirt/procedures.js';
import type { BlockStats, NetStats } from '../libvirt/stats.js';
import type { SystemSample } from '../pollers/system.js';
import type { VmSample, VmsSample } from '../pollers/vms.js';
import type { SystemFigures, VmFigures } from './api.js';

/** A sample and when it was taken. */
export type Timed<S> = { sample: S; takenAtMs: number; takenAtMonotonicMs: number };

/** `intervalS`: what the rates are over; undefined when there are none. */
export type Figures<F> = { figures: F; intervalS: number | undefined };

const nsPerSecond = 1e9;
const bytesPerKib = 1024;
/** Below this, a rate says more of the polling than of the VM. */
const intervalSMin = 0.5;
/** An uptime that lags more than this behind the clock is another boot. */
const uptimeLagSMax = 10;
const percent = 100;

type Maybe = number | undefined;

/** The growth per second; undefined unless both are known and it did not go back. */
type Rate = (now: Maybe, before: Maybe) => Maybe;

function rateOver(intervalS: Maybe): Rate {
  return (now, before) => {
    if (intervalS === undefined || !isCount(now) || !isCount(before) || now < before) return undefined;
    return (now - before) / intervalS;
  };
}

const noRate: Rate = () => undefined;

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function intervalBetween(now: Timed<unknown>, before: Timed<unknown> | undefined): Maybe {
  if (!before) return undefined;
  const seconds = (now.takenAtMonotonicMs - before.takenAtMonotonicMs) / 1000;
  return seconds >= intervalSMin ? seconds : undefined;
}

/** Without the keys that are undefined. */
function known<T extends object>(record: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const made: Partial<T> = {};
  for (const key in record) if (record[key] !== undefined) made[key] = record[key];
  return made as { [K in keyof T]?: Exclude<T[K], undefined> };
}

export function vmFigures(now: Timed<VmsSample>, before: Timed<VmsSample> | undefined): Figures<VmFigures[]> {
  const intervalS = intervalBetween(now, before);
  const earlier = new Map(before?.sample.vms.map((vm) => [vm.domain.uuid, vm]));
  const rate = rateOver(intervalS);
  const figures = now.sample.vms.map((vm) => oneVm(vm, earlier.get(vm.domain.uuid), rate));
  return { figures, intervalS };
}

function oneVm(vm: VmSample, earlier: VmSample | undefined, rateNow: Rate): VmFigures {
  // libvirt gives a VM a new id at each start, and QEMU counts from 0 then. Across hosts and back it is another one, too.
  const same = earlier && earlier.domain.id === vm.domain.id && vm.domain.id >= 0 ? earlier : undefined;
  const rate = same ? rateNow : noRate;
  const cpuShare = rate(vm.cpu.time, same?.cpu.time);
  const { state } = vm.state;
  return {
    name: vm.domain.name,
    uuid: vm.domain.uuid,
    state: (state !== undefined && domainStates[state]) || 'unknown',
    busy: vm.busy,
    ...known({
      vcpus: whole(vm.vcpu.current),
      cpu_seconds_total: scaled(vm.cpu.time, 1 / nsPerSecond),
      cpu_percent: cpuShare === undefined ? undefined : (cpuShare / nsPerSecond) * percent,
      memory_maximum_bytes: scaled(vm.balloon.maximum, bytesPerKib),
      memory_current_bytes: scaled(vm.balloon.current, bytesPerKib),
      memory_rss_bytes: scaled(vm.balloon.rss, bytesPerKib),
      memory_available_bytes: scaled(vm.balloon.available, bytesPerKib),
      memory_usable_bytes: scaled(vm.balloon.usable, bytesPerKib),
    }),
    disks: paired(vm.blocks, same?.blocks).map(([disk, old]) => vmDisk(disk, old, rate)),
    interfaces: paired(vm.nets, same?.nets).map(([net, old]) => vmInterface(net, old, rate)),
  };
}

/** Devices by their name: one that was plugged in meanwhile has no past. A name twice (a backing chain) counts once. */
function paired<T extends { name?: string }>(
  now: readonly T[],
  before: readonly T[] = [],
): [T & { name: string }, T | undefined][] {
  const earlier = byName(before);
  return [...byName(now).values()].map((device) => [device, earlier.get(device.name)]);
}

function byName<T extends { name?: string }>(devices: readonly T[]): Map<string, T & { name: string }> {
  const named = new Map<string, T & { name: string }>();
  for (const device of devices) {
    const { name } = device;
    if (name && !named.has(name)) named.set(name, device as T & { name: string });
  }
  return named;
}

function vmDisk(disk: BlockStats & { name: string }, old: BlockStats | undefined, rate: Rate) {
  const figures = {
    read_bytes_total: count(disk['rd.bytes']),
    written_bytes_total: count(disk['wr.bytes']),
    reads_total: count(disk['rd.reqs']),
    writes_total: count(disk['wr.reqs']),
    read_bytes_per_second: rate(disk['rd.bytes'], old?.['rd.bytes']),
    written_bytes_per_second: rate(disk['wr.bytes'], old?.['wr.bytes']),
    reads_per_second: rate(disk['rd.reqs'], old?.['rd.reqs']),
    writes_per_second: rate(disk['wr.reqs'], old?.['wr.reqs']),
    capacity_bytes: count(disk.capacity),
    allocation_bytes: count(disk.allocation),
  };
  return { device: disk.name, ...known(figures) };
}

function vmInterface(net: NetStats & { name: string }, old: NetStats | undefined, rate: Rate) {
  const figures = {
    received_bytes_total: count(net['rx.bytes']),
    transmitted_bytes_total: count(net['tx.bytes']),
    received_packets_total: count(net['rx.pkts']),
    transmitted_packets_total: count(net['tx.pkts']),
    received_bytes_per_second: rate(net['rx.bytes'], old?.['rx.bytes']),
    transmitted_bytes_per_second: rate(net['tx.bytes'], old?.['tx.bytes']),
    received_packets_per_second: rate(net['rx.pkts'], old?.['rx.pkts']),
    transmitted_packets_per_second: rate(net['tx.pkts'], old?.['tx.pkts']),
  };
  return { device: net.name, ...known(figures) };
}

export function systemFigures(
  now: Timed<SystemSample>,
  before: Timed<SystemSample> | undefined,
): Figures<SystemFigures> {
  const between = intervalBetween(now, before);
  const intervalS = before && isSameBoot(now, before, between) ? between : undefined;
  const earlier = intervalS === undefined ? undefined : before?.sample;
  const rate = rateOver(intervalS);
  const { sample } = now;
  const figures = known({
    uptime_seconds: count(sample.uptime),
    cpus: sample.stat?.cpus.length,
    ...cpuShares(sample, earlier),
    load1: count(sample.loadavg?.one),
    load5: count(sample.loadavg?.five),
    load15: count(sample.loadavg?.fifteen),
    memory_total_bytes: count(sample.meminfo?.MemTotal),
    memory_available_bytes: count(sample.meminfo?.MemAvailable),
    swap_total_bytes: count(sample.meminfo?.SwapTotal),
    swap_free_bytes: count(sample.meminfo?.SwapFree),
    filesystems: filesystems(sample),
    disks: systemDisks(sample, earlier, rate),
    interfaces: systemInterfaces(sample, earlier, rate),
  });
  return { figures, intervalS };
}

function isSameBoot(now: Timed<SystemSample>, before: Timed<SystemSample>, intervalS: Maybe): boolean {
  const [up, was] = [now.sample.uptime, before.sample.uptime];
  if (intervalS === undefined) return false;
  return up === undefined || was === undefined || up >= was + intervalS - uptimeLagSMax;
}

type Cpu = NonNullable<SystemSample['stat']>['cpus'][number];

/** Over the CPUs that both samples have. Idle and iowait may go back a little: that is no time at all. */
function cpuShares(sample: SystemSample, earlier: SystemSample | undefined) {
  const old = new Map(earlier?.stat?.cpus.map((cpu) => [cpu.cpu, cpu]));
  let [all, idle, iowait] = [0, 0, 0];
  for (const cpu of sample.stat?.cpus ?? []) {
    const was = old.get(cpu.cpu);
    if (!was) continue;
    const grown = (pick: (times: Cpu) => number) => Math.max(0, pick(cpu) - pick(was));
    const idled = grown((times) => times.idle);
    const waited = grown((times) => times.iowait ?? 0);
    // `guest` is part of `user` already.
    const busy = grown(
      ({ user, nice, system, irq = 0, softirq = 0, steal = 0 }) =>
        user + nice + system + irq + softirq + steal,
    );
    all += idled + waited + busy;
    idle += idled;
    iowait += waited;
  }
  if (all <= 0) return {};
  return { cpu_percent: percent * (1 - (idle + iowait) / all), cpu_iowait_percent: (percent * iowait) / all };
}

function filesystems({ filesystems }: SystemSample): SystemFigures['filesystems'] {
  return filesystems?.flatMap(({ mountpoint, device, fstype, space }) =>
    space && isCount(space.sizeBytes) && isCount(space.availableBytes)
      ? [
          {
            mountpoint,
            device,
            type: fstype,
            size_bytes: space.sizeBytes,
            available_bytes: space.availableBytes,
          },
        ]
      : [],
  );
}

function systemDisks(
  sample: SystemSample,
  earlier: SystemSample | undefined,
  rate: Rate,
): SystemFigures['disks'] {
  const old = new Map(earlier?.disks?.map((disk) => [disk.device, disk]));
  return sample.disks?.map((disk) => {
    const was = old.get(disk.device);
    const figures = {
      read_bytes_total: disk.readBytes,
      written_bytes_total: disk.writtenBytes,
      reads_total: disk.reads,
      writes_total: disk.writes,
      read_bytes_per_second: rate(disk.readBytes, was?.readBytes),
      written_bytes_per_second: rate(disk.writtenBytes, was?.writtenBytes),
      reads_per_second: rate(disk.reads, was?.reads),
      writes_per_second: rate(disk.writes, was?.writes),
    };
    return { device: disk.device, ...known(figures) };
  });
}

function systemInterfaces(
  sample: SystemSample,
  earlier: SystemSample | undefined,
  rate: Rate,
): SystemFigures['interfaces'] {
  const old = new Map(earlier?.netDevices?.map((net) => [net.device, net]));
  return sample.netDevices?.map((net) => {
    const was = old.get(net.device);
    const figures = {
      received_bytes_total: net.receiveBytes,
      transmitted_bytes_total: net.transmitBytes,
      received_packets_total: net.receivePackets,
      transmitted_packets_total: net.transmitPackets,
      received_bytes_per_second: rate(net.receiveBytes, was?.receiveBytes),
      transmitted_bytes_per_second: rate(net.transmitBytes, was?.transmitBytes),
      received_packets_per_second: rate(net.receivePackets, was?.receivePackets),
      transmitted_packets_per_second: rate(net.transmitPackets, was?.transmitPackets),
    };
    return { device: net.device, ...known(figures) };
  });
}

function count(value: Maybe): Maybe {
  return isCount(value) ? value : undefined;
}

function whole(value: Maybe): Maybe {
  return isCount(value) && Number.isSafeInteger(value) ? value : undefined;
}

function scaled(value: Maybe, factor: number): Maybe {
  return isCount(value) ? value * factor : undefined;
}
