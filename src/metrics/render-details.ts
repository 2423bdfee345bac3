// Renders what changes seldom: identity on *_info series, limits, snapshots, pools. A label without a value is left out,
// which Prometheus treats as empty. It refuses to write a series twice: of VMs, disks and interfaces of one name the first
// counts.
import type { DetailsSample, DomainEntry, PoolEntry } from '../pollers/details.js';
import type {
  DiskDetails,
  DomainDetails,
  InterfaceDetails,
  LimitName,
  NovaDetails,
} from '../pollers/details-domain.js';
import { type Columns, eachOnce, type Lines } from './exposition.js';
import type { FamilyName } from './families.js';
import type { Labels } from './label-bytes.js';

/** Without a guest's disk behind them, as in inovex's exporter. */
const notDisks: ReadonlySet<string> = new Set(['cdrom', 'floppy']);

const poolInactive = 0;

export function renderDetails(lines: Lines, instance: string, sample: DetailsSample): void {
  const host = lines.host(instance);
  const { hypervisor, libvirtd } = sample.versions;
  if (hypervisor || libvirtd) {
    const versions = { hypervisor_running: hypervisor, libvirtd_running: libvirtd };
    lines.add('libvirt_versions_info', withLabels(lines, host, versions), 1);
  }
  for (const entry of eachOnce(sample.domains, ({ domain }) => domain.name))
    renderDomain(lines, lines.label(host, 'domain', entry.domain.name), entry);
  for (const pool of eachOnce(sample.pools ?? [], ({ name }) => name))
    renderPool(lines, lines.label(host, 'storage_pool', pool.name), pool);
}

function renderDomain(lines: Lines, domain: Labels, entry: DomainEntry): void {
  const { details, snapshots, timedOut } = entry;
  const { uuid } = entry.domain;
  lines.add('outrigger_domain_details_timed_out', domain, timedOut ? 1 : 0);
  const os = {
    os_type: details?.os.type,
    os_type_arch: details?.os.arch,
    os_type_machine: details?.os.machine,
  };
  lines.add('libvirt_domain_info', withLabels(lines, domain, { uuid, ...os }), 1);
  lines.add('outrigger_domain_snapshots', domain, snapshots?.count);
  lines.add('outrigger_domain_snapshot_oldest_timestamp_seconds', domain, snapshots?.oldestS);
  if (details) renderDefinition(lines, domain, uuid, details);
}

function renderDefinition(lines: Lines, domain: Labels, uuid: string, details: DomainDetails): void {
  lines.add('libvirt_domain_openstack_info', novaLabels(lines, domain, uuid, details.nova ?? {}), 1);
  const disks = details.disks.filter(({ target, device }) => target && !notDisks.has(device));
  for (const disk of eachOnce(disks, ({ target }) => target)) {
    const labels = lines.label(domain, 'target_device', disk.target);
    lines.add('libvirt_domain_block_stats_info', diskLabels(lines, labels, disk), 1);
    lines.addAll(limitColumns, labels, disk.limits);
  }
  const nets = details.interfaces.filter(({ target }) => target);
  for (const net of eachOnce(nets, ({ target = '' }) => target)) {
    const labels = lines.label(domain, 'target_device', net.target ?? '');
    lines.add('libvirt_domain_interface_stats_info', interfaceLabels(lines, labels, net), 1);
  }
}

/** A VM of another origin than Nova has its UUID there all the same, as in inovex's exporter: dashboards start from it. */
function novaLabels(lines: Lines, domain: Labels, uuid: string, nova: NovaDetails): Labels {
  return withLabels(lines, domain, {
    instance_name: nova.name,
    instance_id: uuid,
    flavor_name: nova.flavor,
    user_name: nova.userName,
    user_id: nova.userId,
    project_name: nova.projectName,
    project_id: nova.projectId,
    root_type: nova.rootType,
    root_uuid: nova.rootId,
  });
}

function diskLabels(lines: Lines, labels: Labels, disk: DiskDetails): Labels {
  return withLabels(lines, labels, {
    disk_type: disk.type,
    target_bus: disk.bus,
    driver_name: disk.driverName,
    driver_type: disk.driverType,
    driver_cache: disk.cache,
    driver_discard: disk.discard,
    source_file: disk.source,
    source_protocol: disk.protocol,
    serial: disk.serial,
  });
}

function interfaceLabels(lines: Lines, labels: Labels, net: InterfaceDetails): Labels {
  return withLabels(lines, labels, {
    interface_type: net.type,
    source_bridge: net.source,
    mac_address: net.mac,
    model_type: net.model,
    mtu_size: net.mtu,
    virtual_interface: net.interfaceId,
  });
}

function renderPool(lines: Lines, pool: Labels, { timedOut, info }: PoolEntry): void {
  lines.add('libvirt_storage_pool_timed_out', pool, timedOut ? 1 : 0);
  if (!info) return;
  lines.add('libvirt_storage_pool_state', pool, info.state);
  // libvirt says 0 of a pool that is not active, or what it remembers.
  if (info.state === poolInactive) return;
  lines.add('libvirt_storage_pool_capacity_bytes', pool, info.capacity);
  lines.add('libvirt_storage_pool_allocation_bytes', pool, info.allocation);
  lines.add('libvirt_storage_pool_available_bytes', pool, info.available);
}

const limitFamilies: readonly (readonly [LimitName, FamilyName])[] = [
  ['total_bytes_sec', 'libvirt_domain_block_stats_limit_total_bytes'],
  ['read_bytes_sec', 'libvirt_domain_block_stats_limit_read_bytes'],
  ['write_bytes_sec', 'libvirt_domain_block_stats_limit_write_bytes'],
  ['total_iops_sec', 'libvirt_domain_block_stats_limit_total_requests'],
  ['read_iops_sec', 'libvirt_domain_block_stats_limit_read_requests'],
  ['write_iops_sec', 'libvirt_domain_block_stats_limit_write_requests'],
  ['total_bytes_sec_max', 'libvirt_domain_block_stats_limit_burst_total_bytes'],
  ['read_bytes_sec_max', 'libvirt_domain_block_stats_limit_burst_read_bytes'],
  ['write_bytes_sec_max', 'libvirt_domain_block_stats_limit_burst_write_bytes'],
  ['total_iops_sec_max', 'libvirt_domain_block_stats_limit_burst_total_requests'],
  ['read_iops_sec_max', 'libvirt_domain_block_stats_limit_burst_read_requests'],
  ['write_iops_sec_max', 'libvirt_domain_block_stats_limit_burst_write_requests'],
  ['total_bytes_sec_max_length', 'libvirt_domain_block_stats_limit_burst_total_bytes_length_seconds'],
  ['read_bytes_sec_max_length', 'libvirt_domain_block_stats_limit_burst_read_bytes_length_seconds'],
  ['write_bytes_sec_max_length', 'libvirt_domain_block_stats_limit_burst_write_bytes_length_seconds'],
  ['total_iops_sec_max_length', 'libvirt_domain_block_stats_limit_burst_length_total_requests_seconds'],
  ['read_iops_sec_max_length', 'libvirt_domain_block_stats_limit_burst_length_read_requests_seconds'],
  ['write_iops_sec_max_length', 'libvirt_domain_block_stats_limit_burst_length_write_requests_seconds'],
  ['size_iops_sec', 'libvirt_domain_block_stats_size_iops_bytes'],
];

const limitColumns: Columns<DiskDetails['limits']> = limitFamilies.map(
  ([limit, family]) => [family, (limits) => limits[limit]] as const,
);

/** And those of `values` that have a value. */
function withLabels(
  lines: Lines,
  labels: Labels,
  values: Readonly<Record<string, string | undefined>>,
): Labels {
  let all = labels;
  for (const name in values) {
    const value = values[name];
    if (value) all = lines.label(all, name, value);
  }
  return all;
}
