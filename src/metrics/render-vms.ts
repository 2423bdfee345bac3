// Renders a host's VMs. What libvirt did not say has no line; identity is on *_info series only, so that any two figures
// of a VM can be divided. It refuses to write a series twice, whatever a host sends.
import type { BlockStats, NetStats, VcpuStats } from '../libvirt/stats.js';
import type { VmSample, VmsSample } from '../pollers/vms.js';
import { type Lines, label } from './exposition.js';

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
  const host = label('instance', instance);
  const seen = new Set<string>();
  for (const vm of vms) {
    const labels = `${host},${label('domain', vm.domain.name)}`;
    if (seen.has(labels)) continue;
    seen.add(labels);
    renderVm(lines, labels, vm);
  }
  lines.add('libvirt_domains', host, seen.size);
}

function renderVm(lines: Lines, labels: string, vm: VmSample): void {
  lines.add('libvirt_domain_timed_out', labels, vm.busy ? 1 : 0);
  const state = vm.state.state;
  if (typeof state === 'number') {
    const words = stateWords[state] ?? 'unknown';
    lines.add('libvirt_domain_info_state', `${labels},${label('state_desc', words)}`, state);
  }
  lines.add('libvirt_domain_info_maximum_memory_bytes', labels, times(vm.balloon.maximum, bytesPerKib));
  lines.add('libvirt_domain_info_memory_usage_bytes', labels, times(vm.balloon.current, bytesPerKib));
  lines.add('libvirt_domain_info_virtual_cpus', labels, vm.vcpu.current);
  lines.add('libvirt_domain_info_cpu_time_seconds_total', labels, seconds(vm.cpu.time));
  lines.add('libvirt_domain_cpu_user_seconds_total', labels, seconds(vm.cpu.user));
  lines.add('libvirt_domain_cpu_system_seconds_total', labels, seconds(vm.cpu.system));
  lines.add('libvirt_domain_vcpu_current', labels, vm.vcpu.current);
  lines.add('libvirt_domain_vcpu_maximum', labels, vm.vcpu.maximum);
  renderMemory(lines, labels, vm);
  for (const [index, vcpu] of vm.vcpus.entries())
    if (vcpu) renderVcpu(lines, `${labels},vcpu="${index}"`, vcpu);
  renderDevices(lines, labels, vm.blocks, renderBlock);
  renderDevices(lines, labels, vm.nets, renderInterface);
}

function renderMemory(lines: Lines, labels: string, { domain, balloon }: VmSample): void {
  // Stopped VMs have a memory size (libvirt_domain_info_…) and no balloon.
  if (domain.id < 0) return;
  const kib = (value: unknown) => times(value, bytesPerKib);
  lines.add('libvirt_domain_memory_stats_current_balloon_bytes', labels, kib(balloon.current));
  lines.add('libvirt_domain_memory_stats_maximum_bytes', labels, kib(balloon.maximum));
  lines.add('libvirt_domain_memory_stats_swap_in_bytes', labels, kib(balloon.swap_in));
  lines.add('libvirt_domain_memory_stats_swap_out_bytes', labels, kib(balloon.swap_out));
  lines.add('libvirt_domain_memory_stats_major_fault_total', labels, balloon.major_fault);
  lines.add('libvirt_domain_memory_stats_minor_fault_total', labels, balloon.minor_fault);
  lines.add('libvirt_domain_memory_stats_unused_bytes', labels, kib(balloon.unused));
  lines.add('libvirt_domain_memory_stats_available_bytes', labels, kib(balloon.available));
  lines.add('libvirt_domain_memory_stats_usable_bytes', labels, kib(balloon.usable));
  lines.add('libvirt_domain_memory_stats_last_update_timestamp_seconds', labels, balloon['last-update']);
  lines.add('libvirt_domain_memory_stats_disk_caches_bytes', labels, kib(balloon.disk_caches));
  lines.add('libvirt_domain_memory_stats_hugetlb_pgalloc_total', labels, balloon.hugetlb_pgalloc);
  lines.add('libvirt_domain_memory_stats_hugetlb_pgfail_total', labels, balloon.hugetlb_pgfail);
  lines.add('libvirt_domain_memory_stats_rss_bytes', labels, kib(balloon.rss));
  lines.add(
    'libvirt_domain_memory_stats_used_percent',
    labels,
    usedPercent(balloon.available, balloon.usable),
  );
}

function usedPercent(available: unknown, usable: unknown): number | undefined {
  if (typeof available !== 'number' || typeof usable !== 'number' || available <= 0) return undefined;
  return (available - usable) / (available / 100);
}

function renderVcpu(lines: Lines, labels: string, vcpu: VcpuStats): void {
  lines.add('libvirt_domain_vcpu_state', labels, vcpu.state);
  lines.add('libvirt_domain_vcpu_time_seconds_total', labels, seconds(vcpu.time));
  lines.add('libvirt_domain_vcpu_wait_seconds_total', labels, seconds(vcpu.wait));
  lines.add('libvirt_domain_vcpu_delay_seconds_total', labels, seconds(vcpu.delay));
}

/** Devices go by their name; of layers of one disk (a backing chain) the first, which is the one in use, counts. */
function renderDevices<S extends { name?: unknown }>(
  lines: Lines,
  labels: string,
  devices: readonly (S | undefined)[],
  render: (lines: Lines, labels: string, device: S) => void,
): void {
  const seen = new Set<string>();
  for (const device of devices) {
    if (typeof device?.name !== 'string') continue;
    const target = label('target_device', device.name);
    if (seen.has(target)) continue;
    seen.add(target);
    render(lines, `${labels},${target}`, device);
  }
}

function renderBlock(lines: Lines, labels: string, block: BlockStats): void {
  lines.add('libvirt_domain_block_stats_read_bytes_total', labels, block['rd.bytes']);
  lines.add('libvirt_domain_block_stats_read_requests_total', labels, block['rd.reqs']);
  lines.add('libvirt_domain_block_stats_read_time_seconds_total', labels, seconds(block['rd.times']));
  lines.add('libvirt_domain_block_stats_write_bytes_total', labels, block['wr.bytes']);
  lines.add('libvirt_domain_block_stats_write_requests_total', labels, block['wr.reqs']);
  lines.add('libvirt_domain_block_stats_write_time_seconds_total', labels, seconds(block['wr.times']));
  lines.add('libvirt_domain_block_stats_flush_requests_total', labels, block['fl.reqs']);
  lines.add('libvirt_domain_block_stats_flush_time_seconds_total', labels, seconds(block['fl.times']));
  lines.add('libvirt_domain_block_stats_capacity_bytes', labels, block.capacity);
  lines.add('libvirt_domain_block_stats_allocation_bytes', labels, block.allocation);
  lines.add('libvirt_domain_block_stats_physicalsize_bytes', labels, block.physical);
}

function renderInterface(lines: Lines, labels: string, net: NetStats): void {
  lines.add('libvirt_domain_interface_stats_receive_bytes_total', labels, net['rx.bytes']);
  lines.add('libvirt_domain_interface_stats_receive_packets_total', labels, net['rx.pkts']);
  lines.add('libvirt_domain_interface_stats_receive_errors_total', labels, net['rx.errs']);
  lines.add('libvirt_domain_interface_stats_receive_drops_total', labels, net['rx.drop']);
  lines.add('libvirt_domain_interface_stats_transmit_bytes_total', labels, net['tx.bytes']);
  lines.add('libvirt_domain_interface_stats_transmit_packets_total', labels, net['tx.pkts']);
  lines.add('libvirt_domain_interface_stats_transmit_errors_total', labels, net['tx.errs']);
  lines.add('libvirt_domain_interface_stats_transmit_drops_total', labels, net['tx.drop']);
}

function times(value: unknown, factor: number): number | undefined {
  return typeof value === 'number' ? value * factor : undefined;
}

function seconds(ns: unknown): number | undefined {
  return typeof ns === 'number' ? ns / nsPerSecond : undefined;
}
