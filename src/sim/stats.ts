// Domain statistics as libvirt 9 has them: field names, order and types. What they say is a function of the VM and the time.
// It is the simulation's hot path: field names are encoded once for all, and a reply is written straight into its buffer.

import type { DomainRef } from '../libvirt/procedures.js';
import { statsFlag } from '../libvirt/stats.js';
import { int, string, struct, typedParamNumber, uuid } from '../libvirt/wire/codec.js';
import { XdrWriter } from '../libvirt/wire/xdr.js';
import { levelOf, totalOf } from './drift.js';
import type { SimHost } from './host.js';
import type { SimVm } from './vm.js';

/** VIR_DOMAIN_STATS_*, by bit. */
const group = { state: 1, cpu: 2, balloon: 4, vcpu: 8, net: 16, block: 32, dirtyrate: 512 } as const;

const domain = struct<DomainRef>({ name: string, uuid, id: int });
type ParamType = 'int' | 'uint' | 'llong' | 'ullong' | 'string';

/** Names repeat over VMs, hosts and polls; bounded by devices a VM can have. */
const heads = new Map<string, Buffer>();
const headsMax = 4_096;

function headOf(field: string, type: ParamType): Buffer {
  const known = heads.get(field);
  if (known) return known;
  const writer = new XdrWriter();
  writer.string(field);
  writer.uint(typedParamNumber[type]);
  const head = Buffer.from(writer.finish());
  if (heads.size < headsMax) heads.set(field, head);
  return head;
}

class Params {
  count = 0;
  readonly writer = new XdrWriter();

  number(field: string, value: number, type: 'int' | 'uint' | 'llong' | 'ullong' = 'ullong'): void {
    this.writer.opaque(headOf(field, type));
    if (type === 'ullong') this.writer.uhyper(value);
    else if (type === 'llong') this.writer.hyper(value);
    else this.writer[type](value);
    this.count++;
  }

  text(field: string, value: string): void {
    this.writer.opaque(headOf(field, 'string'));
    this.writer.string(value);
    this.count++;
  }
}

/** The payload of the reply to connectGetAllDomainStats. `stats` 0: all groups. */
export function allDomainStats(
  host: SimHost,
  { doms, stats, flags }: { doms: readonly DomainRef[]; stats: number; flags: number },
): Buffer {
  const vms = doms.length > 0 ? doms.map(({ uuid, name }) => host.byUuid(uuid, name)) : [...host.vms];
  const wanted = stats === 0 ? 0x3ff : stats;
  const nowMs = host.nowMs();
  const out = new XdrWriter();
  out.uint(vms.length);
  for (const vm of vms) {
    const params = new Params();
    writeVm(params, host, vm, wanted, nowMs, (flags & statsFlag.nowait) !== 0 && vm.stuck);
    domain.write(out, vm.ref);
    out.uint(params.count);
    out.opaque(params.writer.finish());
  }
  return out.finish();
}

/** `busy`: what needs QEMU's monitor is left out. */
function writeVm(
  params: Params,
  host: SimHost,
  vm: SimVm,
  wanted: number,
  nowMs: number,
  busy: boolean,
): void {
  const has = (bit: number) => (wanted & bit) !== 0;
  if (has(group.state)) {
    params.number('state.state', vm.state, 'int');
    params.number('state.reason', vm.reason, 'int');
  }
  const ranMs = vm.turnedMs(nowMs);
  if (has(group.cpu)) writeCpu(params, vm, ranMs, busy);
  if (has(group.balloon)) writeBalloon(params, host, vm, nowMs, busy);
  if (has(group.vcpu)) writeVcpus(params, vm, ranMs);
  if (has(group.net) && vm.active) writeNets(params, vm, ranMs);
  if (has(group.block)) writeBlocks(params, vm, ranMs, busy);
  if (has(group.dirtyrate) && vm.active && !busy) {
    params.number('dirtyrate.calc_status', 0, 'int');
    params.number('dirtyrate.calc_start_time', 0, 'llong');
    params.number('dirtyrate.calc_period', 0, 'int');
    params.text('dirtyrate.calc_mode', 'page-sampling');
  }
}

function writeCpu(params: Params, vm: SimVm, ranMs: number, busy: boolean): void {
  const time = totalOf(vm.cpu, ranMs);
  params.number('cpu.time', time);
  params.number('cpu.user', Math.floor(time * 0.8));
  params.number('cpu.system', Math.floor(time * 0.15));
  if (!vm.active) return;
  params.number('cpu.cache.monitor.count', 0, 'uint');
  if (busy) return;
  params.number('cpu.haltpoll.success.time', Math.floor(time * 0.01));
  params.number('cpu.haltpoll.fail.time', Math.floor(time * 0.005));
}

function writeBalloon(params: Params, host: SimHost, vm: SimVm, nowMs: number, busy: boolean): void {
  const total = vm.memoryKiB;
  params.number('balloon.current', total);
  params.number('balloon.maximum', total);
  if (!vm.active || busy) return;
  if (vm.balloonPeriodS > 0) {
    const usable = Math.floor(total * (0.15 + 0.25 * levelOf(vm.cpu, nowMs)));
    const caches = Math.floor(usable * 0.6);
    const ranS = vm.turnedMs(nowMs) / 1000;
    params.number('balloon.swap_in', 0);
    params.number('balloon.swap_out', 0);
    params.number('balloon.major_fault', Math.floor(ranS * 0.01));
    params.number('balloon.minor_fault', Math.floor(ranS * 90));
    params.number('balloon.unused', usable - caches);
    params.number('balloon.available', Math.floor(total * 0.97));
    params.number('balloon.usable', usable);
    const wallS = Math.floor(host.clock.wallMs() / 1000);
    params.number('balloon.last-update', wallS - (wallS % vm.balloonPeriodS));
    params.number('balloon.disk_caches', caches);
    params.number('balloon.hugetlb_pgalloc', 0);
    params.number('balloon.hugetlb_pgfail', 0);
  }
  params.number('balloon.rss', Math.floor(total * 0.9));
}

function writeVcpus(params: Params, vm: SimVm, ranMs: number): void {
  params.number('vcpu.current', vm.vcpus, 'uint');
  params.number('vcpu.maximum', vm.vcpus, 'uint');
  if (!vm.active) return;
  const time = totalOf(vm.cpu, ranMs) / vm.vcpus;
  for (let index = 0; index < vm.vcpus; index++) {
    params.number(`vcpu.${index}.state`, 1, 'int');
    params.number(`vcpu.${index}.time`, Math.floor(time * 0.9));
    params.number(`vcpu.${index}.wait`, 0);
    // Steal: what the host's other VMs take.
    params.number(`vcpu.${index}.delay`, Math.floor(time * 0.02));
  }
}

const packetBytes = 600;

function writeNets(params: Params, vm: SimVm, ranMs: number): void {
  params.number('net.count', vm.nets.length, 'uint');
  vm.nets.forEach(({ tap, rx, tx }, index) => {
    params.text(`net.${index}.name`, tap);
    for (const [way, drift] of [
      ['rx', rx],
      ['tx', tx],
    ] as const) {
      const bytes = totalOf(drift, ranMs);
      params.number(`net.${index}.${way}.bytes`, bytes);
      params.number(`net.${index}.${way}.pkts`, Math.floor(bytes / packetBytes));
      params.number(`net.${index}.${way}.errs`, 0);
      params.number(`net.${index}.${way}.drop`, 0);
    }
  });
}

const requestBytes = 16_384;
const requestNs = 400_000;

function writeBlocks(params: Params, vm: SimVm, ranMs: number, busy: boolean): void {
  params.number('block.count', vm.disks.length, 'uint');
  vm.disks.forEach((disk, index) => {
    const of = `block.${index}`;
    params.text(`${of}.name`, disk.target);
    params.text(`${of}.path`, disk.chain[0] ?? '');
    if (vm.active) params.number(`${of}.backingIndex`, vm.disks.length - index, 'uint');
    if (vm.active && busy) return;
    if (vm.active) {
      writeTransfers(params, of, disk, ranMs);
    }
    params.number(`${of}.allocation`, Math.floor(disk.capacity / 3));
    params.number(`${of}.capacity`, disk.capacity);
    params.number(`${of}.physical`, Math.floor(disk.capacity / 3) + 4096);
  });
}

function writeTransfers(params: Params, of: string, disk: SimVm['disks'][number], ranMs: number): void {
  for (const [way, drift] of [
    ['rd', disk.read],
    ['wr', disk.write],
  ] as const) {
    const bytes = totalOf(drift, ranMs);
    const requests = Math.floor(bytes / requestBytes);
    params.number(`${of}.${way}.reqs`, requests);
    params.number(`${of}.${way}.bytes`, requests * requestBytes);
    params.number(`${of}.${way}.times`, requests * requestNs);
  }
  const flushes = Math.floor(totalOf(disk.write, ranMs) / (requestBytes * 40));
  params.number(`${of}.fl.reqs`, flushes);
  params.number(`${of}.fl.times`, flushes * requestNs * 3);
}
