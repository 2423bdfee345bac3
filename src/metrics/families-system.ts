// The families of hosts: names, types, units and labels of node_exporter, so that its dashboards work. It holds only what
// can be known from files of the host: no system calls, no commands.
import { meminfoFields, netstatFields, shownSocketFields, vmstatFields } from '../core/kernel-fields.js';
import { counter, type Family, gauge, untyped } from './family.js';

const device = 'device';
const mount = ['device', 'fstype', 'mountpoint'];

export type MemoryFamily = `node_memory_${string}`;
export type VmstatFamily = `node_vmstat_${string}`;
export type NetstatFamily = `node_netstat_${string}`;
export type SockstatFamily = `node_sockstat_${string}`;

/** By the kernel's field (`Active(anon)`). */
export const memoryFamilies: ReadonlyMap<string, MemoryFamily> = new Map(
  meminfoFields.map((field) => [field, memoryFamily(field)]),
);

/** Counts of huge pages have no unit. */
function memoryFamily(field: string): MemoryFamily {
  const name = field.replace(/\((\w+)\)$/, '_$1');
  return name.startsWith('HugePages_') ? `node_memory_${name}` : `node_memory_${name}_bytes`;
}

export const osInfoLabels = [
  ...[
    'build_id',
    'id',
    'id_like',
    'image_id',
    'image_version',
    'name',
    'pretty_name',
    'variant',
    'variant_id',
  ],
  ...['version', 'version_codename', 'version_id'],
];

export const systemFamilies = {
  node_boot_time_seconds: gauge('When the host booted, seconds since the epoch.'),
  node_time_seconds: gauge(
    "The host's clock, seconds since the epoch: its boot time plus its uptime, right to a second.",
  ),
  node_context_switches_total: counter('Context switches.'),
  node_forks_total: counter('Processes and threads created.'),
  node_intr_total: counter('Interrupts served.'),
  node_procs_running: gauge('Tasks that could run.'),
  node_procs_blocked: gauge('Tasks that wait for I/O.'),
  node_cpu_seconds_total: counter('Time of each CPU in each mode.', 'cpu', 'mode'),
  node_cpu_guest_seconds_total: counter(
    'Time of each CPU spent in guests; part of its user and nice time.',
    'cpu',
    'mode',
  ),
  node_cpu_frequency_hertz: gauge('Frequency of the CPU now, from /proc/cpuinfo.', 'package', 'core', 'cpu'),
  node_load1: gauge('Load average over 1 minute.'),
  node_load5: gauge('Load average over 5 minutes.'),
  node_load15: gauge('Load average over 15 minutes.'),
  node_pressure_cpu_waiting_seconds_total: counter('Time in which some task waited for a CPU.'),
  node_pressure_io_stalled_seconds_total: counter('Time in which every task waited for I/O.'),
  node_pressure_io_waiting_seconds_total: counter('Time in which some task waited for I/O.'),
  node_pressure_irq_stalled_seconds_total: counter('Time in which interrupts kept every task waiting.'),
  node_pressure_memory_stalled_seconds_total: counter('Time in which every task waited for memory.'),
  node_pressure_memory_waiting_seconds_total: counter('Time in which some task waited for memory.'),
  node_filefd_allocated: gauge('File handles in use.'),
  node_filefd_maximum: gauge('File handles that may be in use.'),
  node_entropy_available_bits: gauge('Bits of entropy that are there.'),
  node_entropy_pool_size_bits: gauge('Bits of entropy that there can be.'),
  node_kernel_hung_tasks_total: counter('Tasks that were found hanging.'),
  node_schedstat_running_seconds_total: counter('Time in which tasks ran on the CPU.', 'cpu'),
  node_schedstat_waiting_seconds_total: counter('Time in which tasks waited for the CPU.', 'cpu'),
  node_schedstat_timeslices_total: counter('Slices of time given by the CPU.', 'cpu'),
  node_selinux_enabled: gauge('1 when SELinux is on.'),
  node_selinux_current_mode: gauge('1 while SELinux enforces, 0 while it only warns.'),
  node_selinux_config_mode: gauge('The same as configured; -1 when it is to be off.'),
  node_time_clocksource_available_info: gauge(
    'A clock source that the kernel could use; always 1.',
    'clocksource',
    'device',
  ),
  node_time_clocksource_current_info: gauge(
    'The clock source that it uses; always 1.',
    'clocksource',
    'device',
  ),
  node_nf_conntrack_entries: gauge('Connections tracked by the packet filter.'),
  node_nf_conntrack_entries_limit: gauge('Connections that the packet filter can track.'),

  node_disk_reads_completed_total: counter('Reads completed.', device),
  node_disk_reads_merged_total: counter('Reads merged with others.', device),
  node_disk_read_bytes_total: counter('Data read.', device),
  node_disk_read_time_seconds_total: counter('Time of all reads together.', device),
  node_disk_writes_completed_total: counter('Writes completed.', device),
  node_disk_writes_merged_total: counter('Writes merged with others.', device),
  node_disk_written_bytes_total: counter('Data written.', device),
  node_disk_write_time_seconds_total: counter('Time of all writes together.', device),
  node_disk_io_now: gauge('Requests under way.', device),
  node_disk_io_time_seconds_total: counter('Time in which some request was under way.', device),
  node_disk_io_time_weighted_seconds_total: counter(
    'Time of requests under way, times their number.',
    device,
  ),
  node_disk_discards_completed_total: counter('Discards completed.', device),
  node_disk_discards_merged_total: counter('Discards merged with others.', device),
  node_disk_discarded_sectors_total: counter('Sectors of 512 bytes discarded.', device),
  node_disk_discard_time_seconds_total: counter('Time of all discards together.', device),
  node_disk_flush_requests_total: counter('Flushes completed.', device),
  node_disk_flush_requests_time_seconds_total: counter('Time of all flushes together.', device),

  node_filesystem_size_bytes: gauge('Size of the filesystem.', ...mount),
  node_filesystem_free_bytes: gauge('Free space, with what only root may use.', ...mount),
  node_filesystem_avail_bytes: gauge('Free space for everyone.', ...mount),
  node_filesystem_files: gauge('Inodes of the filesystem.', ...mount),
  node_filesystem_files_free: gauge('Free inodes.', ...mount),
  node_filesystem_readonly: gauge('1 when it is mounted read-only.', ...mount),
  node_filesystem_device_error: gauge('1 when its figures could not be read.', ...mount),

  node_network_receive_bytes_total: counter('Data received.', device),
  node_network_receive_packets_total: counter('Packets received.', device),
  node_network_receive_errs_total: counter('Errors while receiving.', device),
  node_network_receive_drop_total: counter('Packets dropped while receiving.', device),
  node_network_receive_fifo_total: counter('Overruns of the receive buffer.', device),
  node_network_receive_frame_total: counter('Framing errors while receiving.', device),
  node_network_receive_compressed_total: counter('Compressed packets received.', device),
  node_network_receive_multicast_total: counter('Multicast packets received.', device),
  node_network_transmit_bytes_total: counter('Data sent.', device),
  node_network_transmit_packets_total: counter('Packets sent.', device),
  node_network_transmit_errs_total: counter('Errors while sending.', device),
  node_network_transmit_drop_total: counter('Packets dropped while sending.', device),
  node_network_transmit_fifo_total: counter('Overruns of the send buffer.', device),
  node_network_transmit_colls_total: counter('Collisions while sending.', device),
  node_network_transmit_carrier_total: counter('Losses of carrier while sending.', device),
  node_network_transmit_compressed_total: counter('Compressed packets sent.', device),

  node_uname_info: gauge(
    "What uname says of the host's kernel; always 1.",
    'domainname',
    'machine',
    'nodename',
    'release',
    'sysname',
    'version',
  ),
  node_os_info: gauge("What the host's os-release says; always 1.", ...osInfoLabels),
  node_scrape_collector_success: gauge(
    '1 when the collector found something in the last poll, and nothing of it was wrong.',
    'collector',
  ),
  node_scrape_collector_duration_seconds: gauge(
    'How long the collector took in the last poll, with the way to the host and back.',
    'collector',
  ),
  node_os_support_end_timestamp_seconds: gauge(
    'When support of the operating system ends, seconds since the epoch; only where its os-release says so.',
  ),
  node_os_version: gauge("The host's operating system version, major.minor.", 'id', 'id_like', 'name'),
} as const;

export const systemFieldFamilies: Readonly<Record<string, Family>> = Object.fromEntries([
  ...[...memoryFamilies].map(([field, name]) => [name, gauge(`${field} of /proc/meminfo.`)] as const),
  ...vmstatFields.map((name) => [`node_vmstat_${name}`, untyped(`${name} of /proc/vmstat.`)] as const),
  ...netstatFields.map((name) => [`node_netstat_${name}`, untyped(`Protocol counter ${name}.`)] as const),
  ...shownSocketFields.map((name) => [`node_sockstat_${name}`, gauge(`Sockets: ${name}.`)] as const),
]);
