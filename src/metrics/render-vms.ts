// Renders a host's VMs. What libvirt did not say has no line; identity is on *_info series only, so that any two figures
// of a VM can be divided. It refuses to write a series twice, whatever a host sends.
import type {
  BalloonStats,
  BlockStats,
  CpuStats,
  NetStats,
  VcpuCounts,
  VcpuStats,
} from '../libvirt/stats.js';
import type { VmSample, VmsSample } from '../pollers/vms.js';
import { type Columns, eachOnce, type Lines } from './exposition.js';
import type { Labels } from './label-bytes.js';

const nsPerSecond = 1e9;
const bytesPerKib = 1024;

/** inovex's words for libvirt's states, by number; dashboards show them. */
const stateWords = [
  'no state',
  'the domain is running',
  'the domain is blocked on resource',
  'the domain is paused by user',
  'the domain is being shut down',
  'the domain is shut off',
  'the domain is crashed',
  'the domain is suspended by guest power management',
];

export function renderVms(lines: Lines, instance: string, sample: VmsSample): void {
  const host = lines.host(instance);
  const vms = eachOnce(sample.vms, ({ domain }) => domain.name);
  lines.add('libvirt_domains', host, vms.length);
  for (const vm of vms) renderVm(lines, lines.label(host, 'domain', vm.domain.name), vm);
}

function renderVm(lines: Lines, domain: Labels, vm: VmSample): void {
  // Each of them is a view that is made when it is asked for.
  const { balloon, cpu, vcpu } = vm;
  lines.add('libvirt_domain_timed_out', domain, vm.busy ? 1 : 0);
  lines.addAll(sizeColumns, domain, balloon);
  // Stopped VMs have a memory size and no balloon.
  if (vm.domain.id >= 0) lines.addAll(memoryColumns, domain, balloon);
  lines.addAll(cpuColumns, domain, cpu);
  lines.addAll(vcpuCountColumns, domain, vcpu);
  renderState(lines, domain, vm.state.state);
  if (lines.wants(vcpuColumns)) renderVcpus(lines, domain, vm.vcpus);
  if (lines.wants(blockColumns)) renderDevices(lines, domain, blockColumns, vm.blocks);
  if (lines.wants(interfaceColumns)) renderDevices(lines, domain, interfaceColumns, vm.nets);
}

function renderState(lines: Lines, domain: Labels, state: unknown): void {
  if (typeof state !== 'number') return;
  const words = stateWords[state] ?? 'unknown';
  lines.add('libvirt_domain_info_state', lines.label(domain, 'state_desc', words), state);
}

function renderVcpus(lines: Lines, domain: Labels, vcpus: readonly (VcpuStats | undefined)[]): void {
  for (let n = 0; n < vcpus.length; n++) {
    const vcpu = vcpus[n];
    if (vcpu) lines.addAll(vcpuColumns, lines.label(domain, 'vcpu', String(n)), vcpu);
  }
}

/** Devices go by their name; of layers of one disk (a backing chain) the first, which is the one in use, counts. */
function renderDevices<S extends { name?: unknown }>(
  lines: Lines,
  domain: Labels,
  columns: Columns<S>,
  devices: readonly (S | undefined)[],
): void {
  const named = devices.filter((device) => typeof device?.name === 'string') as (S & { name: string })[];
  for (const device of eachOnce(named, ({ name }) => name))
    lines.addAll(columns, lines.label(domain, 'target_device', device.name), device);
}

const sizeColumns: Columns<BalloonStats> = [
  ['libvirt_domain_info_maximum_memory_bytes', ({ maximum }) => bytes(maximum)],
  ['libvirt_domain_info_memory_usage_bytes', ({ current }) => bytes(current)],
];

const cpuColumns: Columns<CpuStats> = [
  ['libvirt_domain_info_cpu_time_seconds_total', (cpu) => seconds(cpu.time)],
  ['libvirt_domain_cpu_user_seconds_total', (cpu) => seconds(cpu.user)],
  ['libvirt_domain_cpu_system_seconds_total', (cpu) => seconds(cpu.system)],
];

const vcpuCountColumns: Columns<VcpuCounts> = [
  ['libvirt_domain_info_virtual_cpus', ({ current }) => current],
  ['libvirt_domain_vcpu_current', ({ current }) => current],
  ['libvirt_domain_vcpu_maximum', ({ maximum }) => maximum],
];

const memoryColumns: Columns<BalloonStats> = [
  ['libvirt_domain_memory_stats_current_balloon_bytes', (balloon) => bytes(balloon.current)],
  ['libvirt_domain_memory_stats_maximum_bytes', (balloon) => bytes(balloon.maximum)],
  ['libvirt_domain_memory_stats_swap_in_bytes', (balloon) => bytes(balloon.swap_in)],
  ['libvirt_domain_memory_stats_swap_out_bytes', (balloon) => bytes(balloon.swap_out)],
  ['libvirt_domain_memory_stats_major_fault_total', (balloon) => balloon.major_fault],
  ['libvirt_domain_memory_stats_minor_fault_total', (balloon) => balloon.minor_fault],
  ['libvirt_domain_memory_stats_unused_bytes', (balloon) => bytes(balloon.unused)],
  ['libvirt_domain_memory_stats_available_bytes', (balloon) => bytes(balloon.available)],
  ['libvirt_domain_memory_stats_usable_bytes', (balloon) => bytes(balloon.usable)],
  ['libvirt_domain_memory_stats_last_update_timestamp_seconds', (balloon) => balloon['last-update']],
  ['libvirt_domain_memory_stats_disk_caches_bytes', (balloon) => bytes(balloon.disk_caches)],
  ['libvirt_domain_memory_stats_hugetlb_pgalloc_total', (balloon) => balloon.hugetlb_pgalloc],
  ['libvirt_domain_memory_stats_hugetlb_pgfail_total', (balloon) => balloon.hugetlb_pgfail],
  ['libvirt_domain_memory_stats_rss_bytes', (balloon) => bytes(balloon.rss)],
  ['libvirt_domain_memory_stats_used_percent', (balloon) => usedPercent(balloon.available, balloon.usable)],
];

const vcpuColumns: Columns<VcpuStats> = [
  ['libvirt_domain_vcpu_state', (vcpu) => vcpu.state],
  ['libvirt_domain_vcpu_time_seconds_total', (vcpu) => seconds(vcpu.time)],
  ['libvirt_domain_vcpu_wait_seconds_total', (vcpu) => seconds(vcpu.wait)],
  ['libvirt_domain_vcpu_delay_seconds_total', (vcpu) => seconds(vcpu.delay)],
];

const blockColumns: Columns<BlockStats> = [
  ['libvirt_domain_block_stats_read_bytes_total', (block) => block['rd.bytes']],
  ['libvirt_domain_block_stats_read_requests_total', (block) => block['rd.reqs']],
  ['libvirt_domain_block_stats_read_time_seconds_total', (block) => seconds(block['rd.times'])],
  ['libvirt_domain_block_stats_write_bytes_total', (block) => block['wr.bytes']],
  ['libvirt_domain_block_stats_write_requests_total', (block) => block['wr.reqs']],
  ['libvirt_domain_block_stats_write_time_seconds_total', (block) => seconds(block['wr.times'])],
  ['libvirt_domain_block_stats_flush_requests_total', (block) => block['fl.reqs']],
  ['libvirt_domain_block_stats_flush_time_seconds_total', (block) => seconds(block['fl.times'])],
  ['libvirt_domain_block_stats_capacity_bytes', (block) => block.capacity],
  ['libvirt_domain_block_stats_allocation_bytes', (block) => block.allocation],
  ['libvirt_domain_block_stats_physicalsize_bytes', (block) => block.physical],
];

const interfaceColumns: Columns<NetStats> = [
  ['libvirt_domain_interface_stats_receive_bytes_total', (net) => net['rx.bytes']],
  ['libvirt_domain_interface_stats_receive_packets_total', (net) => net['rx.pkts']],
  ['libvirt_domain_interface_stats_receive_errors_total', (net) => net['rx.errs']],
  ['libvirt_domain_interface_stats_receive_drops_total', (net) => net['rx.drop']],
  ['libvirt_domain_interface_stats_transmit_bytes_total', (net) => net['tx.bytes']],
  ['libvirt_domain_interface_stats_transmit_packets_total', (net) => net['tx.pkts']],
  ['libvirt_domain_interface_stats_transmit_errors_total', (net) => net['tx.errs']],
  ['libvirt_domain_interface_stats_transmit_drops_total', (net) => net['tx.drop']],
];

function usedPercent(available: unknown, usable: unknown): number | undefined {
  if (typeof available !== 'number' || typeof usable !== 'number' || available <= 0) return undefined;
  return (available - usable) / (available / 100);
}

function bytes(kib: unknown): number | undefined {
  return typeof kib === 'number' ? kib * bytesPerKib : undefined;
}

function seconds(ns: unknown): number | undefined {
  return typeof ns === 'number' ? ns / nsPerSecond : undefined;
}
