// Renders a host's own figures. A part that the sample lacks has no line.
import type { Figures } from '../core/figures.js';
import { netstatFields, shownSocketFields, vmstatFields } from '../core/kernel-fields.js';
import type { Filesystem } from '../pollers/filesystems.js';
import type { DiskStats } from '../pollers/proc/diskstats.js';
import type { NetDevice } from '../pollers/proc/netdev.js';
import type { KernelStat } from '../pollers/proc/stat.js';
import type { SystemSample } from '../pollers/system.js';
import { type Columns, eachKeyOnce, eachOnce, type Lines } from './exposition.js';
import type { FamilyName } from './families.js';
import { memoryFamilies, osInfoLabels } from './families-system.js';
import { escapeLabel, type Labels } from './label-bytes.js';
import { renderSystemHardware } from './render-system-hardware.js';
import { renderSystemNetwork } from './render-system-network.js';

const msPerSecond = 1000;

export function renderSystem(lines: Lines, instance: string, sample: SystemSample): void {
  const host = lines.host(instance);
  if (sample.stat) renderStat(lines, host, sample.stat);
  renderGeneral(lines, host, sample);
  renderFrequencies(lines, host, sample);
  renderSchedule(lines, host, sample);
  renderClockSources(lines, host, sample);
  renderFields(lines, host, sample);
  if (lines.wants(diskColumns)) renderDevices(lines, host, diskColumns, sample.disks);
  if (lines.wants(netColumns)) renderDevices(lines, host, netColumns, sample.netDevices);
  renderFilesystems(lines, host, sample);
  renderIdentity(lines, host, sample);
  renderSystemNetwork(lines, host, sample);
  renderSystemHardware(lines, host, sample);
  renderRuns(lines, host, sample);
}

function renderStat(lines: Lines, host: Labels, stat: KernelStat): void {
  lines.add('node_boot_time_seconds', host, stat.bootTime);
  lines.add('node_context_switches_total', host, stat.contextSwitches);
  lines.add('node_forks_total', host, stat.forks);
  lines.add('node_intr_total', host, stat.interrupts);
  lines.add('node_procs_running', host, stat.processesRunning);
  lines.add('node_procs_blocked', host, stat.processesBlocked);
  for (const times of eachOnce(stat.cpus, cpuOf)) {
    const cpu = lines.label(host, 'cpu', cpuOf(times));
    for (const mode of cpuModes)
      lines.add('node_cpu_seconds_total', lines.label(cpu, 'mode', mode), times[mode]);
    lines.add('node_cpu_guest_seconds_total', lines.label(cpu, 'mode', 'nice'), times.guestNice);
    lines.add('node_cpu_guest_seconds_total', lines.label(cpu, 'mode', 'user'), times.guest);
  }
}

const cpuModes = ['idle', 'iowait', 'irq', 'nice', 'softirq', 'steal', 'system', 'user'] as const;

function cpuOf({ cpu }: { cpu: number }): string {
  return String(cpu);
}

function renderGeneral(lines: Lines, host: Labels, sample: SystemSample): void {
  const { time, loadavg, pressure, openFiles, conntrack, entropy, hungTasks, selinux } = sample;
  lines.add('node_time_seconds', host, time);
  lines.add('node_load1', host, loadavg?.one);
  lines.add('node_load5', host, loadavg?.five);
  lines.add('node_load15', host, loadavg?.fifteen);
  lines.add('node_pressure_cpu_waiting_seconds_total', host, pressure.cpu?.some);
  lines.add('node_pressure_io_waiting_seconds_total', host, pressure.io?.some);
  lines.add('node_pressure_io_stalled_seconds_total', host, pressure.io?.full);
  lines.add('node_pressure_irq_stalled_seconds_total', host, pressure.irq?.full);
  lines.add('node_pressure_memory_waiting_seconds_total', host, pressure.memory?.some);
  lines.add('node_pressure_memory_stalled_seconds_total', host, pressure.memory?.full);
  lines.add('node_filefd_allocated', host, openFiles?.allocated);
  lines.add('node_filefd_maximum', host, openFiles?.maximum);
  lines.add('node_nf_conntrack_entries', host, conntrack?.entries);
  lines.add('node_nf_conntrack_entries_limit', host, conntrack?.limit);
  lines.add('node_entropy_available_bits', host, entropy?.availableBits);
  lines.add('node_entropy_pool_size_bits', host, entropy?.poolSizeBits);
  lines.add('node_kernel_hung_tasks_total', host, hungTasks);
  lines.add('node_selinux_enabled', host, selinux && (selinux.enabled ? 1 : 0));
  lines.add('node_selinux_current_mode', host, selinux?.currentMode);
  lines.add('node_selinux_config_mode', host, selinux?.configMode);
}

/** Beside a frequency driver of its own (render-system-hardware.ts) this is what /proc/cpuinfo says. */
function renderFrequencies(lines: Lines, host: Labels, { frequencies = [] }: SystemSample): void {
  for (const frequency of eachOnce(frequencies, cpuOf)) {
    const core = lines.label(
      lines.label(host, 'package', frequency.package ?? ''),
      'core',
      frequency.core ?? '',
    );
    lines.add('node_cpu_frequency_hertz', lines.label(core, 'cpu', cpuOf(frequency)), frequency.hertz);
  }
}

function renderSchedule(lines: Lines, host: Labels, { schedule = [] }: SystemSample): void {
  for (const cpu of eachOnce(schedule, cpuOf)) {
    const labels = lines.label(host, 'cpu', cpuOf(cpu));
    lines.add('node_schedstat_running_seconds_total', labels, cpu.runningSeconds);
    lines.add('node_schedstat_waiting_seconds_total', labels, cpu.waitingSeconds);
    lines.add('node_schedstat_timeslices_total', labels, cpu.timeslices);
  }
}

function renderClockSources(lines: Lines, host: Labels, { clockSources = [] }: SystemSample): void {
  for (const { device, current, available } of clockSources) {
    const labelsOf = (source: string) =>
      lines.label(lines.label(host, 'clocksource', source), 'device', device);
    for (const source of new Set(available)) {
      lines.add('node_time_clocksource_available_info', labelsOf(source), 1);
    }
    lines.add('node_time_clocksource_current_info', labelsOf(current), 1);
  }
}

function renderRuns(lines: Lines, host: Labels, { collectors = [] }: SystemSample): void {
  for (const { collector, ok, durationMs } of collectors) {
    const labels = lines.label(host, 'collector', collector);
    lines.add('node_scrape_collector_success', labels, ok ? 1 : 0);
    lines.add('node_scrape_collector_duration_seconds', labels, durationMs / msPerSecond);
  }
}

function renderFields(
  lines: Lines,
  host: Labels,
  { meminfo, vmstat, netstat, sockstat }: SystemSample,
): void {
  if (meminfo) lines.addAll(memoryColumns, host, meminfo);
  if (vmstat) lines.addAll(vmstatColumns, host, vmstat);
  lines.addAll(netstatColumns, host, netstat);
  lines.addAll(sockstatColumns, host, sockstat);
}

function fieldColumns(fields: Iterable<readonly [string, FamilyName]>): Columns<Figures> {
  return [...fields].map(([field, family]) => [family, (figures) => figures[field]] as const);
}

const memoryColumns = fieldColumns(memoryFamilies);
const vmstatColumns = fieldColumns(vmstatFields.map((name) => [name, `node_vmstat_${name}`] as const));
const netstatColumns = fieldColumns(netstatFields.map((name) => [name, `node_netstat_${name}`] as const));
const sockstatColumns = fieldColumns(
  shownSocketFields.map((name) => [name, `node_sockstat_${name}`] as const),
);

function renderDevices<D extends { device: string }>(
  lines: Lines,
  host: Labels,
  columns: Columns<D>,
  devices: readonly D[] = [],
): void {
  for (const device of eachOnce(devices, (one) => one.device))
    lines.addAll(columns, lines.label(host, 'device', device.device), device);
}

const diskColumns: Columns<DiskStats> = [
  ['node_disk_reads_completed_total', (disk) => disk.reads],
  ['node_disk_reads_merged_total', (disk) => disk.readsMerged],
  ['node_disk_read_bytes_total', (disk) => disk.readBytes],
  ['node_disk_read_time_seconds_total', (disk) => disk.readSeconds],
  ['node_disk_writes_completed_total', (disk) => disk.writes],
  ['node_disk_writes_merged_total', (disk) => disk.writesMerged],
  ['node_disk_written_bytes_total', (disk) => disk.writtenBytes],
  ['node_disk_write_time_seconds_total', (disk) => disk.writeSeconds],
  ['node_disk_io_now', (disk) => disk.ioNow],
  ['node_disk_io_time_seconds_total', (disk) => disk.ioSeconds],
  ['node_disk_io_time_weighted_seconds_total', (disk) => disk.ioWeightedSeconds],
  ['node_disk_discards_completed_total', (disk) => disk.discards],
  ['node_disk_discards_merged_total', (disk) => disk.discardsMerged],
  ['node_disk_discarded_sectors_total', (disk) => disk.discardedSectors],
  ['node_disk_discard_time_seconds_total', (disk) => disk.discardSeconds],
  ['node_disk_flush_requests_total', (disk) => disk.flushes],
  ['node_disk_flush_requests_time_seconds_total', (disk) => disk.flushSeconds],
];

const netColumns: Columns<NetDevice> = [
  ['node_network_receive_nohandler_total', (device) => device.receiveNohandler],
  ['node_network_receive_bytes_total', (device) => device.receiveBytes],
  ['node_network_receive_packets_total', (device) => device.receivePackets],
  ['node_network_receive_errs_total', (device) => device.receiveErrs],
  ['node_network_receive_drop_total', (device) => device.receiveDrop],
  ['node_network_receive_fifo_total', (device) => device.receiveFifo],
  ['node_network_receive_frame_total', (device) => device.receiveFrame],
  ['node_network_receive_compressed_total', (device) => device.receiveCompressed],
  ['node_network_receive_multicast_total', (device) => device.receiveMulticast],
  ['node_network_transmit_bytes_total', (device) => device.transmitBytes],
  ['node_network_transmit_packets_total', (device) => device.transmitPackets],
  ['node_network_transmit_errs_total', (device) => device.transmitErrs],
  ['node_network_transmit_drop_total', (device) => device.transmitDrop],
  ['node_network_transmit_fifo_total', (device) => device.transmitFifo],
  ['node_network_transmit_colls_total', (device) => device.transmitColls],
  ['node_network_transmit_carrier_total', (device) => device.transmitCarrier],
  ['node_network_transmit_compressed_total', (device) => device.transmitCompressed],
];

function renderFilesystems(lines: Lines, host: Labels, { filesystems = [] }: SystemSample): void {
  for (const filesystem of eachKeyOnce(filesystems, placeOf)) {
    const { device, fstype, mountpoint, readOnly, space } = filesystem;
    const type = lines.label(lines.label(host, 'device', device), 'fstype', fstype);
    const labels = lines.label(type, 'mountpoint', mountpoint);
    lines.add('node_filesystem_readonly', labels, readOnly ? 1 : 0);
    lines.add('node_filesystem_device_error', labels, space ? 0 : 1);
    lines.add('node_filesystem_size_bytes', labels, space?.sizeBytes);
    lines.add('node_filesystem_free_bytes', labels, space?.freeBytes);
    lines.add('node_filesystem_avail_bytes', labels, space?.availableBytes);
    lines.add('node_filesystem_files', labels, space?.files);
    lines.add('node_filesystem_files_free', labels, space?.filesFree);
  }
}

/** No two filesystems have the same. */
function placeOf({ device, fstype, mountpoint }: Filesystem): string {
  return [device, fstype, mountpoint].map(escapeLabel).join('"');
}

function renderIdentity(lines: Lines, host: Labels, { kernel, os }: SystemSample): void {
  if (kernel.release !== undefined) {
    let labels = lines.label(host, 'domainname', kernel.domainname ?? '');
    labels = lines.label(labels, 'machine', kernel.machine ?? '');
    labels = lines.label(labels, 'nodename', kernel.hostname ?? '');
    labels = lines.label(labels, 'release', kernel.release);
    labels = lines.label(labels, 'sysname', kernel.sysname ?? '');
    labels = lines.label(labels, 'version', kernel.version ?? '');
    lines.add('node_uname_info', labels, 1);
  }
  if (!os) return;
  const supportEndMs = Date.parse(os.SUPPORT_END ?? '');
  lines.add('node_os_support_end_timestamp_seconds', host, supportEndMs / msPerSecond);
  const labelsOf = (names: readonly string[]) =>
    names.reduce((labels, name) => lines.label(labels, name, os[name.toUpperCase()] ?? ''), host);
  lines.add('node_os_info', labelsOf(osInfoLabels), 1);
  const version = /^\d{1,9}(\.\d{1,9})?/.exec(os.VERSION_ID ?? '')?.[0];
  if (version) lines.add('node_os_version', labelsOf(['id', 'id_like', 'name']), Number(version));
}
