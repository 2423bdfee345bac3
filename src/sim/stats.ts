// Domain statistics as libvirt 9 has them: field names, order and types. What they say is a function of the VM and the time.
// It is the simulation's hot path: field names are encoded once for all, and each reply is written into the same room.

import type { DomainRef } from '../libvirt/procedures.js';
import { statsFlag } from '../libvirt/stats.js';
import { typedParamNumber } from '../libvirt/wire/codec.js';
import { XdrWriter } from '../libvirt/wire/xdr.js';
import { levelOf, totalOf } from './drift.js';
import type { SimHost } from './host.js';
import type { SimVm } from './vm.js';

/** VIR_DOMAIN_STATS_*, by bit. */
const group = { state: 1, cpu: 2, balloon: 4, vcpu: 8, net: 16, block: 32, dirtyrate: 512 } as const;

type ParamType = keyof typeof typedParamNumber & ('int' | 'uint' | 'llong' | 'ullong' | 'string');

/** A field's name and type as they are sent. */
type Head = { bytes: Buffer; type: ParamType };

function head(field: string, type: ParamType = 'ullong'): Head {
  const writer = new XdrWriter();
  writer.string(field);
  writer.uint(typedParamNumber[type]);
  return { bytes: Buffer.from(writer.finish()), type };
}

/** The heads of the nth device, made once: there are as many as the largest VM has devices. */
function headsOfEach<T>(make: (index: number) => T): (index: number) => T {
  const known: T[] = [];
  return (index) => {
    const found = known[index];
    if (found) return found;
    const made = make(index);
    known[index] = made;
    return made;
  };
}

const roomBytesMin = 256 * 1024;
const uuidBytes = 16;
const twoTo32 = 4_294_967_296;

/** Room that each reply is written into, one after the other. */
class Params {
  count = 0;
  #bytes = Buffer.allocUnsafeSlow(roomBytesMin);
  #at = 0;

  begin(): void {
    this.#at = 0;
  }

  /** Only good until the next `begin`. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  uint(value: number): void {
    this.#grow(4);
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
  }

  raw(bytes: Uint8Array): void {
    this.#grow(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  string(value: string): void {
    const length = Buffer.byteLength(value);
    const padding = -length & 3;
    this.uint(length);
    this.#grow(length + padding);
    this.#bytes.write(value, this.#at);
    this.#at += length;
    this.#bytes.fill(0, this.#at, this.#at + padding);
    this.#at += padding;
  }

  domain({ name, uuid, id }: DomainRef): void {
    this.string(name);
    this.#grow(uuidBytes);
    this.#at += this.#bytes.write(uuid.replaceAll('-', ''), this.#at, uuidBytes, 'hex');
    // -1 where it does not run.
    this.uint(id >>> 0);
  }

  /** Where `count` will stand; it begins anew. */
  beginCount(): number {
    this.count = 0;
    this.uint(0);
    return this.#at - 4;
  }

  endCount(at: number): void {
    this.#bytes.writeUInt32BE(this.count, at);
  }

  number({ bytes, type }: Head, value: number): void {
    this.raw(bytes);
    if (type === 'int' || type === 'uint') this.uint(value);
    else {
      const high = Math.floor(value / twoTo32);
      this.uint(high);
      this.uint(value - high * twoTo32);
    }
    this.count++;
  }

  text({ bytes }: Head, value: string): void {
    this.raw(bytes);
    this.string(value);
    this.count++;
  }

  #grow(size: number): void {
    const needed = this.#at + size;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

/** One for all hosts: nothing else runs while a reply is written and copied into its frame. */
const params = new Params();

/** The payload of the reply to connectGetAllDomainStats, only good until the next one. `stats` 0: all groups. */
export function allDomainStats(
  host: SimHost,
  { doms, stats, flags }: { doms: readonly DomainRef[]; stats: number; flags: number },
): Buffer {
  const vms = doms.length > 0 ? doms.map(({ uuid, name }) => host.byUuid(uuid, name)) : [...host.vms];
  const wanted = stats === 0 ? 0x3ff : stats;
  const nowMs = host.nowMs();
  params.begin();
  params.uint(vms.length);
  for (const vm of vms) {
    params.domain(vm.ref);
    const at = params.beginCount();
    writeVm(host, vm, wanted, nowMs, (flags & statsFlag.nowait) !== 0 && vm.stuck);
    params.endCount(at);
  }
  return params.finish();
}

const fixed = {
  stateState: head('state.state', 'int'),
  stateReason: head('state.reason', 'int'),
  dirtyrateCalcStatus: head('dirtyrate.calc_status', 'int'),
  dirtyrateCalcStartTime: head('dirtyrate.calc_start_time', 'llong'),
  dirtyrateCalcPeriod: head('dirtyrate.calc_period', 'int'),
  dirtyrateCalcMode: head('dirtyrate.calc_mode', 'string'),
  cpuTime: head('cpu.time'),
  cpuUser: head('cpu.user'),
  cpuSystem: head('cpu.system'),
  cpuCacheMonitorCount: head('cpu.cache.monitor.count', 'uint'),
  cpuHaltpollSuccessTime: head('cpu.haltpoll.success.time'),
  cpuHaltpollFailTime: head('cpu.haltpoll.fail.time'),
  balloonCurrent: head('balloon.current'),
  balloonMaximum: head('balloon.maximum'),
  balloonSwapIn: head('balloon.swap_in'),
  balloonSwapOut: head('balloon.swap_out'),
  balloonMajorFault: head('balloon.major_fault'),
  balloonMinorFault: head('balloon.minor_fault'),
  balloonUnused: head('balloon.unused'),
  balloonAvailable: head('balloon.available'),
  balloonUsable: head('balloon.usable'),
  balloonLastUpdate: head('balloon.last-update'),
  balloonDiskCaches: head('balloon.disk_caches'),
  balloonHugetlbPgalloc: head('balloon.hugetlb_pgalloc'),
  balloonHugetlbPgfail: head('balloon.hugetlb_pgfail'),
  balloonRss: head('balloon.rss'),
  vcpuCurrent: head('vcpu.current', 'uint'),
  vcpuMaximum: head('vcpu.maximum', 'uint'),
  netCount: head('net.count', 'uint'),
  blockCount: head('block.count', 'uint'),
};

/** `busy`: what needs QEMU's monitor is left out. */
function writeVm(host: SimHost, vm: SimVm, wanted: number, nowMs: number, busy: boolean): void {
  const has = (bit: number) => (wanted & bit) !== 0;
  if (has(group.state)) {
    params.number(fixed.stateState, vm.state);
    params.number(fixed.stateReason, vm.reason);
  }
  const ranMs = vm.turnedMs(nowMs);
  if (has(group.cpu)) writeCpu(vm, ranMs, busy);
  if (has(group.balloon)) writeBalloon(host, vm, nowMs, busy);
  if (has(group.vcpu)) writeVcpus(vm, ranMs);
  if (has(group.net) && vm.active) writeNets(vm, ranMs);
  if (has(group.block)) writeBlocks(vm, ranMs, busy);
  if (has(group.dirtyrate) && vm.active && !busy) {
    params.number(fixed.dirtyrateCalcStatus, 0);
    params.number(fixed.dirtyrateCalcStartTime, 0);
    params.number(fixed.dirtyrateCalcPeriod, 0);
    params.text(fixed.dirtyrateCalcMode, 'page-sampling');
  }
}

function writeCpu(vm: SimVm, ranMs: number, busy: boolean): void {
  const time = totalOf(vm.cpu, ranMs);
  params.number(fixed.cpuTime, time);
  params.number(fixed.cpuUser, Math.floor(time * 0.8));
  params.number(fixed.cpuSystem, Math.floor(time * 0.15));
  if (!vm.active) return;
  params.number(fixed.cpuCacheMonitorCount, 0);
  if (busy) return;
  params.number(fixed.cpuHaltpollSuccessTime, Math.floor(time * 0.01));
  params.number(fixed.cpuHaltpollFailTime, Math.floor(time * 0.005));
}

function writeBalloon(host: SimHost, vm: SimVm, nowMs: number, busy: boolean): void {
  const total = vm.memoryKiB;
  params.number(fixed.balloonCurrent, total);
  params.number(fixed.balloonMaximum, total);
  if (!vm.active || busy) return;
  if (vm.balloonPeriodS > 0) {
    const usable = Math.floor(total * (0.15 + 0.25 * levelOf(vm.cpu, nowMs)));
    const caches = Math.floor(usable * 0.6);
    const ranS = vm.turnedMs(nowMs) / 1000;
    params.number(fixed.balloonSwapIn, 0);
    params.number(fixed.balloonSwapOut, 0);
    params.number(fixed.balloonMajorFault, Math.floor(ranS * 0.01));
    params.number(fixed.balloonMinorFault, Math.floor(ranS * 90));
    params.number(fixed.balloonUnused, usable - caches);
    params.number(fixed.balloonAvailable, Math.floor(total * 0.97));
    params.number(fixed.balloonUsable, usable);
    const wallS = Math.floor(host.clock.wallMs() / 1000);
    params.number(fixed.balloonLastUpdate, wallS - (wallS % vm.balloonPeriodS));
    params.number(fixed.balloonDiskCaches, caches);
    params.number(fixed.balloonHugetlbPgalloc, 0);
    params.number(fixed.balloonHugetlbPgfail, 0);
  }
  params.number(fixed.balloonRss, Math.floor(total * 0.9));
}

const vcpuHeads = headsOfEach((index) => ({
  state: head(`vcpu.${index}.state`, 'int'),
  time: head(`vcpu.${index}.time`),
  wait: head(`vcpu.${index}.wait`),
  delay: head(`vcpu.${index}.delay`),
}));

function writeVcpus(vm: SimVm, ranMs: number): void {
  params.number(fixed.vcpuCurrent, vm.vcpus);
  params.number(fixed.vcpuMaximum, vm.vcpus);
  if (!vm.active) return;
  const time = totalOf(vm.cpu, ranMs) / vm.vcpus;
  for (let index = 0; index < vm.vcpus; index++) {
    const heads = vcpuHeads(index);
    params.number(heads.state, 1);
    params.number(heads.time, Math.floor(time * 0.9));
    params.number(heads.wait, 0);
    // Steal: what the host's other VMs take.
    params.number(heads.delay, Math.floor(time * 0.02));
  }
}

const packetBytes = 600;
const netHeads = headsOfEach((index) => {
  const way = (of: string) => ({
    bytes: head(`net.${index}.${of}.bytes`),
    pkts: head(`net.${index}.${of}.pkts`),
    errs: head(`net.${index}.${of}.errs`),
    drop: head(`net.${index}.${of}.drop`),
  });
  return { name: head(`net.${index}.name`, 'string'), rx: way('rx'), tx: way('tx') };
});

function writeNets(vm: SimVm, ranMs: number): void {
  params.number(fixed.netCount, vm.nets.length);
  for (const [index, { tap, rx, tx }] of vm.nets.entries()) {
    const heads = netHeads(index);
    params.text(heads.name, tap);
    writeWay(heads.rx, totalOf(rx, ranMs));
    writeWay(heads.tx, totalOf(tx, ranMs));
  }
}

function writeWay(heads: ReturnType<typeof netHeads>['rx'], bytes: number): void {
  params.number(heads.bytes, bytes);
  params.number(heads.pkts, Math.floor(bytes / packetBytes));
  params.number(heads.errs, 0);
  params.number(heads.drop, 0);
}

const requestBytes = 16_384;
const requestNs = 400_000;

const blockHeads = headsOfEach((index) => {
  const of = (field: string, type?: ParamType) => head(`block.${index}.${field}`, type);
  const way = (name: string) => ({
    reqs: of(`${name}.reqs`),
    bytes: of(`${name}.bytes`),
    times: of(`${name}.times`),
  });
  return {
    name: of('name', 'string'),
    path: of('path', 'string'),
    backingIndex: of('backingIndex', 'uint'),
    rd: way('rd'),
    wr: way('wr'),
    flReqs: of('fl.reqs'),
    flTimes: of('fl.times'),
    allocation: of('allocation'),
    capacity: of('capacity'),
    physical: of('physical'),
  };
});
type BlockHeads = ReturnType<typeof blockHeads>;

function writeBlocks(vm: SimVm, ranMs: number, busy: boolean): void {
  params.number(fixed.blockCount, vm.disks.length);
  for (const [index, disk] of vm.disks.entries()) {
    const heads = blockHeads(index);
    params.text(heads.name, disk.target);
    params.text(heads.path, disk.chain[0] ?? '');
    if (vm.active) params.number(heads.backingIndex, vm.disks.length - index);
    if (vm.active && busy) continue;
    if (vm.active) writeTransfers(heads, disk, ranMs);
    params.number(heads.allocation, Math.floor(disk.capacity / 3));
    params.number(heads.capacity, disk.capacity);
    params.number(heads.physical, Math.floor(disk.capacity / 3) + 4096);
  }
}

function writeTransfers(heads: BlockHeads, disk: SimVm['disks'][number], ranMs: number): void {
  const written = totalOf(disk.write, ranMs);
  writeRequests(heads.rd, totalOf(disk.read, ranMs));
  writeRequests(heads.wr, written);
  const flushes = Math.floor(written / (requestBytes * 40));
  params.number(heads.flReqs, flushes);
  params.number(heads.flTimes, flushes * requestNs * 3);
}

function writeRequests(heads: BlockHeads['rd'], bytes: number): void {
  const requests = Math.floor(bytes / requestBytes);
  params.number(heads.reqs, requests);
  params.number(heads.bytes, requests * requestBytes);
  params.number(heads.times, requests * requestNs);
}
