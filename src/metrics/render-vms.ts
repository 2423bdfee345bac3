// Renders a host's VMs. What libvirt did not say has no line; identity is on *_info series only, so that any two figures
// of a VM can be divided. It refuses to write a series twice, whatever a host sends.
import type { BlockStats, NetStats, VcpuStats } from '../libvirt/stats.js';
import type { VmSample, VmsSample } from '../pollers/vms.js';
import { type Columns, eachOnce, type Lines, label, type Row } from './exposition.js';

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

export function renderVms(lines: Lines, instance: string, { vms }: VmsSample): void {
  const host = lines.host(instance);
  const rows = eachOnce(vms, ({ domain }) => `${host},${label('domain', domain.name)}`);
  lines.add('libvirt_domains', host, rows.length);
  lines.addTable(vmColumns, () => rows);
  for (const [{ state }, labels] of rows) renderState(lines, labels, state.state);
  // Stopped VMs have a memory size (libvirt_domain_info_…) and no balloon.
  lines.addTable(memoryColumns, () => rows.filter(([{ domain }]) => domain.id >= 0));
  lines.addTable(vcpuColumns, () => rows.flatMap(vcpuRows));
  lines.addTable(blockColumns, () => rows.flatMap(([{ blocks }, labels]) => deviceRows(blocks, labels)));
  lines.addTable(interfaceColumns, () => rows.flatMap(([{ nets }, labels]) => deviceRows(nets, labels)));
}

function renderState(lines: Lines, labels: string, state: unknown): void {
  if (typeof state !== 'number') return;
  const words = stateWords[state] ?? 'unknown';
  lines.add('libvirt_domain_info_state', `${labels},${label('state_desc', words)}`, state);
}

function vcpuRows([{ vcpus }, labels]: Row<VmSample>): Row<VcpuStats>[] {
  return [...vcpus.entries()].flatMap(([index, vcpu]): Row<VcpuStats>[] =>
    vcpu ? [[vcpu, `${labels},vcpu="${index}"`]] : [],
  );
}

/** Devices go by their name; of layers of one disk (a backing chain) the first, which is the one in use, counts. */
function deviceRows<S extends { name?: unknown }>(
  devices: readonly (S | undefined)[],
  labels: string,
): Row<S>[] {
  const named = devices.filter((device) => typeof device?.name === 'string') as S[];
  return eachOnce(named, ({ name }) => `${labels},${label('target_device', name as string)}`);
}

const vmColumns: Columns<VmSample> = [
  ['libvirt_domain_timed_out', (vm) => (vm.busy ? 1 : 0)],
  ['libvirt_domain_info_maximum_memory_bytes', (vm) => bytes(vm.balloon.maximum)],
  ['libvirt_domain_info_memory_usage_bytes', (vm) => bytes(vm.balloon.current)],
  ['libvirt_domain_info_virtual_cpus', (vm) => vm.vcpu.current],
  ['libvirt_domain_info_cpu_time_seconds_total', (vm) => seconds(vm.cpu.time)],
  ['libvirt_domain_cpu_user_seconds_total', (vm) => seconds(vm.cpu.user)],
  ['libvirt_domain_cpu_system_seconds_total', (vm) => seconds(vm.cpu.system)],
  ['libvirt_domain_vcpu_current', (vm) => vm.vcpu.current],
  ['libvirt_domain_vcpu_maximum', (vm) => vm.vcpu.maximum],
];

const memoryColumns: Columns<VmSample> = [
  ['libvirt_domain_memory_stats_current_balloon_bytes', ({ balloon }) => bytes(balloon.current)],
  ['libvirt_domain_memory_stats_maximum_bytes', ({ balloon }) => bytes(balloon.maximum)],
  ['libvirt_domain_memory_stats_swap_in_bytes', ({ balloon }) => bytes(balloon.swap_in)],
  ['libvirt_domain_memory_stats_swap_out_bytes', ({ balloon }) => bytes(balloon.swap_out)],
  ['libvirt_domain_memory_stats_major_fault_total', ({ balloon }) => balloon.major_fault],
  ['libvirt_domain_memory_stats_minor_fault_total', ({ balloon }) => balloon.minor_fault],
  ['libvirt_domain_memory_stats_unused_bytes', ({ balloon }) => bytes(balloon.unused)],
  ['libvirt_domain_memory_stats_available_bytes', ({ balloon }) => bytes(balloon.available)],
  ['libvirt_domain_memory_stats_usable_bytes', ({ balloon }) => bytes(balloon.usable)],
  ['libvirt_domain_memory_stats_last_update_timestamp_seconds', ({ balloon }) => balloon['last-update']],
  ['libvirt_domain_memory_stats_disk_caches_bytes', ({ balloon }) => bytes(balloon.disk_caches)],
  ['libvirt_domain_memory_stats_hugetlb_pgalloc_total', ({ balloon }) => balloon.hugetlb_pgalloc],
  ['libvirt_domain_memory_stats_hugetlb_pgfail_total', ({ balloon }) => balloon.hugetlb_pgfail],
  ['libvirt_domain_memory_stats_rss_bytes', ({ balloon }) => bytes(balloon.rss)],
  [
    'libvirt_domain_memory_stats_used_percent',
    ({ balloon }) => usedPercent(balloon.available, balloon.usable),
  ],
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
