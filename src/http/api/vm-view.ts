// One VM in the API's shape, from libvirt's own figures. A figure that libvirt left out, or that makes no sense, is absent.
import { domainStates } from '../../libvirt/procedures.js';
import type { BlockStats, NetStats } from '../../libvirt/stats.js';
import { stateWords } from '../../ops/vm.js';
import type { VmSample } from '../../pollers/vms.js';
import type { Vm, VmDisk, VmInterface } from './schemas.js';
import type { VmRef } from './views.js';

const nsPerSecond = 1e9;
const bytesPerKib = 1024;
/** A host may say that a VM has many more. */
const devicesShownMax = 64;

export function vmState({ state: { state } }: VmSample): Vm['state'] {
  return (state !== undefined && domainStates[state]) || 'unknown';
}

export function vmView({ host, sample, stale, sampledAtMs }: VmRef): Vm {
  const { domain, state, cpu, vcpu, balloon } = sample;
  const reason = reasonOf(state);
  return {
    host: host.name,
    name: domain.name,
    uuid: domain.uuid,
    state: vmState(sample),
    ...(reason && { reason }),
    busy: sample.busy,
    stale,
    sampledAt: new Date(sampledAtMs).toISOString(),
    ...known({ vcpus: count(vcpu.current), cpuSecondsTotal: scaled(cpu.time, 1 / nsPerSecond) }),
    memory: known({
      maximumBytes: scaled(balloon.maximum, bytesPerKib),
      currentBytes: scaled(balloon.current, bytesPerKib),
      rssBytes: scaled(balloon.rss, bytesPerKib),
      availableBytes: scaled(balloon.available, bytesPerKib),
      usableBytes: scaled(balloon.usable, bytesPerKib),
    }),
    disks: named(sample.blocks).map(diskView),
    interfaces: named(sample.nets).map(interfaceView),
  };
}

function reasonOf({ state, reason }: VmSample['state']): string | undefined {
  if (state === undefined || reason === undefined) return undefined;
  const words = stateWords(state, reason).reason;
  return words === 'unknown' ? undefined : words;
}

function diskView(disk: BlockStats & { name: string }): VmDisk {
  return {
    device: disk.name,
    ...known({
      capacityBytes: count(disk.capacity),
      allocationBytes: count(disk.allocation),
      readBytesTotal: count(disk['rd.bytes']),
      writtenBytesTotal: count(disk['wr.bytes']),
      readsTotal: count(disk['rd.reqs']),
      writesTotal: count(disk['wr.reqs']),
    }),
  };
}

function interfaceView(net: NetStats & { name: string }): VmInterface {
  return {
    device: net.name,
    ...known({
      receivedBytesTotal: count(net['rx.bytes']),
      transmittedBytesTotal: count(net['tx.bytes']),
      receivedPacketsTotal: count(net['rx.pkts']),
      transmittedPacketsTotal: count(net['tx.pkts']),
    }),
  };
}

/** A name twice (a backing chain) counts once. */
function named<T extends { name?: string }>(devices: readonly T[]): (T & { name: string })[] {
  const found = new Map<string, T & { name: string }>();
  for (const device of devices) {
    const name = device?.name;
    if (name && !found.has(name)) found.set(name, device as T & { name: string });
    if (found.size === devicesShownMax) break;
  }
  return [...found.values()];
}

type Maybe = number | undefined;

function known<K extends string>(record: Record<K, Maybe>): { [P in K]?: number } {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [P in K]?: number };
}

function count(value: Maybe): Maybe {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}

function scaled(value: Maybe, factor: number): Maybe {
  const counted = count(value);
  return counted === undefined ? undefined : counted * factor;
}
