// The families of what changes seldom: identity of VMs, disks and interfaces, limits, snapshots, jobs under way, storage
// pools, versions. Names, units and labels are those of inovex/prometheus-libvirt-exporter; limits, versions and the labels
// that it has not are Tinkoff/libvirt-exporter's. What neither has begins with outrigger_.
import { gauge } from './family.js';

const disk = ['domain', 'target_device'];
const pool = ['storage_pool'];

export const detailsFamilies = {
  libvirt_versions_info: gauge(
    'Versions on the host; always 1. There is no libvirt_library label: no library stands between.',
    'hypervisor_running',
    'libvirtd_running',
  ),

  libvirt_domain_info: gauge(
    'Identity of the VM; always 1.',
    'domain',
    'uuid',
    'os_type',
    'os_type_arch',
    'os_type_machine',
  ),
  libvirt_domain_openstack_info: gauge(
    'What OpenStack Nova says of the VM; always 1. A VM of another origin has its instance_id, which is its UUID, alone.',
    'domain',
    'instance_name',
    'instance_id',
    'flavor_name',
    'user_name',
    'user_id',
    'project_name',
    'project_id',
    'root_type',
    'root_uuid',
  ),
  libvirt_domain_block_stats_info: gauge(
    'Identity of the disk; always 1.',
    ...disk,
    'disk_type',
    'target_bus',
    'driver_name',
    'driver_type',
    'driver_cache',
    'driver_discard',
    'source_file',
    'source_protocol',
    'serial',
  ),
  libvirt_domain_interface_stats_info: gauge(
    'Identity of the network interface; always 1.',
    ...disk,
    'interface_type',
    'source_bridge',
    'mac_address',
    'model_type',
    'mtu_size',
    'virtual_interface',
  ),

  libvirt_domain_block_stats_limit_total_bytes: gauge('Limit of the disk: bytes per second.', ...disk),
  libvirt_domain_block_stats_limit_read_bytes: gauge('Limit of reads: bytes per second.', ...disk),
  libvirt_domain_block_stats_limit_write_bytes: gauge('Limit of writes: bytes per second.', ...disk),
  libvirt_domain_block_stats_limit_total_requests: gauge('Limit of the disk: requests per second.', ...disk),
  libvirt_domain_block_stats_limit_read_requests: gauge('Limit of reads: requests per second.', ...disk),
  libvirt_domain_block_stats_limit_write_requests: gauge('Limit of writes: requests per second.', ...disk),
  libvirt_domain_block_stats_limit_burst_total_bytes: gauge('Limit in a burst: bytes per second.', ...disk),
  libvirt_domain_block_stats_limit_burst_read_bytes: gauge(
    'Limit of reads in a burst: bytes per second.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_write_bytes: gauge(
    'Limit of writes in a burst: bytes per second.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_total_requests: gauge(
    'Limit in a burst: requests per second.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_read_requests: gauge(
    'Limit of reads in a burst: requests per second.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_write_requests: gauge(
    'Limit of writes in a burst: requests per second.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_total_bytes_length_seconds: gauge(
    'How long a burst in bytes may last.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_read_bytes_length_seconds: gauge(
    'How long a burst of reads in bytes may last.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_write_bytes_length_seconds: gauge(
    'How long a burst of writes in bytes may last.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_length_total_requests_seconds: gauge(
    'How long a burst in requests may last.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_length_read_requests_seconds: gauge(
    'How long a burst of reads in requests may last.',
    ...disk,
  ),
  libvirt_domain_block_stats_limit_burst_length_write_requests_seconds: gauge(
    'How long a burst of writes in requests may last.',
    ...disk,
  ),
  libvirt_domain_block_stats_size_iops_bytes: gauge(
    'Size up to which a request counts as one for the limits in requests.',
    ...disk,
  ),

  outrigger_domain_snapshots: gauge('Snapshots of the VM that libvirt knows.', 'domain'),
  outrigger_domain_snapshot_oldest_timestamp_seconds: gauge(
    'When the oldest snapshot of the VM was made, seconds since the epoch.',
    'domain',
  ),
  outrigger_domain_details_timed_out: gauge(
    '1 when libvirt did not give the definition of the VM in time, so that its identity and limits are those known before, or missing.',
    'domain',
  ),

  libvirt_storage_pool_state: gauge(
    "State of the storage pool as libvirt's number: 0 inactive, 1 building, 2 running, 3 degraded, 4 inaccessible.",
    ...pool,
  ),
  libvirt_storage_pool_capacity_bytes: gauge('Size of the storage pool.', ...pool),
  libvirt_storage_pool_allocation_bytes: gauge('What is in use of the storage pool.', ...pool),
  libvirt_storage_pool_available_bytes: gauge('What is free in the storage pool.', ...pool),
  libvirt_storage_pool_timed_out: gauge(
    '1 when libvirt did not tell of the storage pool in time, so that its figures are missing.',
    ...pool,
  ),
} as const;

/** Of a job that libvirt runs on a VM (migration, save, dump, backup, snapshot), not of an Outrigger job. */
export const domainJobFamilies = {
  libvirt_domain_job_info_type: gauge(
    "Kind of the libvirt job that runs on the VM, as libvirt's number: 0 none, 1 of known length, 2 of unknown length, 3 completed, 4 failed, 5 cancelled.",
    'domain',
  ),
  libvirt_domain_job_info_time_elapsed_seconds: gauge('Time since the job began.', 'domain'),
  libvirt_domain_job_info_time_remaining_seconds: gauge(
    'Time until the job ends, as libvirt guesses.',
    'domain',
  ),
  libvirt_domain_job_info_data_total_bytes: gauge('Data that the job moves: memory and files.', 'domain'),
  libvirt_domain_job_info_data_processed_bytes: gauge('Data that the job has moved.', 'domain'),
  libvirt_domain_job_info_data_remaining_bytes: gauge('Data that the job has yet to move.', 'domain'),
  libvirt_domain_job_info_memory_total_bytes: gauge('Memory that the job moves.', 'domain'),
  libvirt_domain_job_info_memory_processed_bytes: gauge('Memory that the job has moved.', 'domain'),
  libvirt_domain_job_info_memory_remaining_bytes: gauge('Memory that the job has yet to move.', 'domain'),
  libvirt_domain_job_info_file_total_bytes: gauge('Disk data that the job moves.', 'domain'),
  libvirt_domain_job_info_file_processed_bytes: gauge('Disk data that the job has moved.', 'domain'),
  libvirt_domain_job_info_file_remaining_bytes: gauge('Disk data that the job has yet to move.', 'domain'),
} as const;
