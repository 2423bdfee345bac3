// The families of VMs: names, units and labels of inovex/prometheus-libvirt-exporter, so that its dashboards work. Where
// that exporter's type contradicts the name (hugetlb_*_total as gauges) the type follows the name.
import { counter, gauge } from './family.js';

const disk = ['domain', 'target_device'];
const net = ['domain', 'target_device'];
const vcpu = ['domain', 'vcpu'];

export const vmFamilies = {
  libvirt_domains: gauge('Number of VMs defined on the host, in any state.'),
  libvirt_domain_timed_out: gauge(
    '1 while libvirt cannot ask the VM for its figures because another operation holds it, so that some are missing.',
    'domain',
  ),
  libvirt_domain_info_state: gauge(
    "State of the VM as libvirt's number: 1 running, 2 blocked, 3 paused, 4 shutting down, 5 shut off, 6 crashed, 7 suspended by the guest.",
    'domain',
    'state_desc',
  ),
  libvirt_domain_info_maximum_memory_bytes: gauge('Memory that the VM may have at most.', 'domain'),
  libvirt_domain_info_memory_usage_bytes: gauge('Memory that the VM is given now.', 'domain'),
  libvirt_domain_info_virtual_cpus: gauge('Virtual CPUs of the VM that are online.', 'domain'),
  libvirt_domain_info_cpu_time_seconds_total: counter(
    'CPU time used by the VM, its emulator included.',
    'domain',
  ),
  libvirt_domain_cpu_user_seconds_total: counter('CPU time of the VM in user mode of the host.', 'domain'),
  libvirt_domain_cpu_system_seconds_total: counter(
    'CPU time of the VM in kernel mode of the host.',
    'domain',
  ),

  libvirt_domain_memory_stats_current_balloon_bytes: gauge(
    'Memory that the balloon leaves to the VM.',
    'domain',
  ),
  libvirt_domain_memory_stats_maximum_bytes: gauge(
    'Memory that the balloon can give to the VM at most.',
    'domain',
  ),
  libvirt_domain_memory_stats_swap_in_bytes: gauge(
    'Data that the guest has read from swap since its boot.',
    'domain',
  ),
  libvirt_domain_memory_stats_swap_out_bytes: gauge(
    'Data that the guest has written to swap since its boot.',
    'domain',
  ),
  libvirt_domain_memory_stats_major_fault_total: counter(
    'Page faults of the guest that needed its disk.',
    'domain',
  ),
  libvirt_domain_memory_stats_minor_fault_total: counter(
    'Page faults of the guest that needed no disk.',
    'domain',
  ),
  libvirt_domain_memory_stats_unused_bytes: gauge('Memory that the guest leaves entirely unused.', 'domain'),
  libvirt_domain_memory_stats_available_bytes: gauge('Memory that the guest sees as its own.', 'domain'),
  libvirt_domain_memory_stats_usable_bytes: gauge(
    'Memory that the guest could hand out without swapping (MemAvailable of its kernel).',
    'domain',
  ),
  libvirt_domain_memory_stats_last_update_timestamp_seconds: gauge(
    'When the guest last reported its memory, seconds since the epoch.',
    'domain',
  ),
  libvirt_domain_memory_stats_disk_caches_bytes: gauge(
    'Memory of the guest that caches its disks.',
    'domain',
  ),
  libvirt_domain_memory_stats_hugetlb_pgalloc_total: counter(
    'Huge pages that the guest has allocated.',
    'domain',
  ),
  libvirt_domain_memory_stats_hugetlb_pgfail_total: counter(
    'Huge pages that the guest could not allocate.',
    'domain',
  ),
  libvirt_domain_memory_stats_rss_bytes: gauge("Resident memory of the VM's process on the host.", 'domain'),
  libvirt_domain_memory_stats_used_percent: gauge(
    'Memory in use inside the guest: (available - usable) / available, in percent.',
    'domain',
  ),

  libvirt_domain_vcpu_current: gauge('Virtual CPUs that are online.', 'domain'),
  libvirt_domain_vcpu_maximum: gauge('Virtual CPUs that can be online.', 'domain'),
  libvirt_domain_vcpu_state: gauge('State of the virtual CPU: 0 offline, 1 running, 2 blocked.', ...vcpu),
  libvirt_domain_vcpu_time_seconds_total: counter('Time that the virtual CPU has run.', ...vcpu),
  libvirt_domain_vcpu_wait_seconds_total: counter(
    "Time that the virtual CPU wanted to run while the host ran something else, by the scheduler's wait_sum.",
    ...vcpu,
  ),
  libvirt_domain_vcpu_delay_seconds_total: counter(
    'Time that the virtual CPU stood in the run queue of the host; the guest sees it as steal.',
    ...vcpu,
  ),

  libvirt_domain_block_stats_read_bytes_total: counter('Data read from the disk.', ...disk),
  libvirt_domain_block_stats_read_requests_total: counter('Read requests to the disk.', ...disk),
  libvirt_domain_block_stats_read_time_seconds_total: counter('Time spent in reads of the disk.', ...disk),
  libvirt_domain_block_stats_write_bytes_total: counter('Data written to the disk.', ...disk),
  libvirt_domain_block_stats_write_requests_total: counter('Write requests to the disk.', ...disk),
  libvirt_domain_block_stats_write_time_seconds_total: counter('Time spent in writes to the disk.', ...disk),
  libvirt_domain_block_stats_flush_requests_total: counter('Flush requests to the disk.', ...disk),
  libvirt_domain_block_stats_flush_time_seconds_total: counter('Time spent in flushes of the disk.', ...disk),
  libvirt_domain_block_stats_capacity_bytes: gauge('Size of the disk as the guest sees it.', ...disk),
  libvirt_domain_block_stats_allocation_bytes: gauge(
    'Highest offset written in the image of the disk.',
    ...disk,
  ),
  libvirt_domain_block_stats_physicalsize_bytes: gauge('Size of the image of the disk on the host.', ...disk),

  libvirt_domain_interface_stats_receive_bytes_total: counter('Data received by the interface.', ...net),
  libvirt_domain_interface_stats_receive_packets_total: counter('Packets received by the interface.', ...net),
  libvirt_domain_interface_stats_receive_errors_total: counter('Errors while receiving.', ...net),
  libvirt_domain_interface_stats_receive_drops_total: counter('Packets dropped while receiving.', ...net),
  libvirt_domain_interface_stats_transmit_bytes_total: counter('Data sent by the interface.', ...net),
  libvirt_domain_interface_stats_transmit_packets_total: counter('Packets sent by the interface.', ...net),
  libvirt_domain_interface_stats_transmit_errors_total: counter('Errors while sending.', ...net),
  libvirt_domain_interface_stats_transmit_drops_total: counter('Packets dropped while sending.', ...net),
} as const;
