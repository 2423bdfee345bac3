// What the public dashboards of the peers ask for: names of series, and the labels that their queries and variables filter
// or group by. Facts only, read from the dashboards; none of their text.

type Asked = { series: string; labels: readonly string[] };

const vm = ['domain'];
const disk = ['domain', 'target_device'];
const nova = ['domain', 'instance_id', 'instance_name', 'project_name'];

/** inovex/prometheus-libvirt-exporter, dashboards/openstack-libvirt-dashboard. */
export const inovexAsks: readonly Asked[] = [
  { series: 'libvirt_domain_openstack_info', labels: nova },
  { series: 'libvirt_domain_info_state', labels: vm },
  { series: 'libvirt_domain_info_cpu_time_seconds_total', labels: vm },
  { series: 'libvirt_domain_vcpu_current', labels: vm },
  { series: 'libvirt_domain_vcpu_delay_seconds_total', labels: vm },
  { series: 'libvirt_domain_vcpu_time_seconds_total', labels: vm },
  { series: 'libvirt_domain_memory_stats_maximum_bytes', labels: vm },
  { series: 'libvirt_domain_memory_stats_used_percent', labels: vm },
  { series: 'libvirt_domain_memory_stats_swap_in_bytes', labels: vm },
  { series: 'libvirt_domain_memory_stats_swap_out_bytes', labels: vm },
  { series: 'libvirt_domain_block_stats_info', labels: vm },
  { series: 'libvirt_domain_block_stats_read_bytes_total', labels: disk },
  { series: 'libvirt_domain_block_stats_read_requests_total', labels: disk },
  { series: 'libvirt_domain_block_stats_read_time_seconds_total', labels: disk },
  { series: 'libvirt_domain_block_stats_write_bytes_total', labels: disk },
  { series: 'libvirt_domain_block_stats_write_requests_total', labels: disk },
  { series: 'libvirt_domain_block_stats_write_time_seconds_total', labels: disk },
  { series: 'libvirt_domain_interface_stats_info', labels: vm },
  { series: 'libvirt_domain_interface_stats_receive_bytes_total', labels: disk },
  { series: 'libvirt_domain_interface_stats_receive_packets_total', labels: disk },
  { series: 'libvirt_domain_interface_stats_receive_errors_total', labels: disk },
  { series: 'libvirt_domain_interface_stats_receive_drops_total', labels: disk },
  { series: 'libvirt_domain_interface_stats_transmit_bytes_total', labels: disk },
  { series: 'libvirt_domain_interface_stats_transmit_packets_total', labels: disk },
  { series: 'libvirt_domain_interface_stats_transmit_errors_total', labels: disk },
];

const host = ['instance', 'domain'];
const hostDisk = ['instance', 'domain', 'target_device'];

/**
 * stackhpc/stackhpc-kayobe-config, grafana/dashboards/openstack/libvirt.json. Not here: the values of `source_bridge` on
 * libvirt_domain_interface_stats_receive_bytes_total, which fill a variable that no panel uses; inovex's exporter has that
 * label on the info series alone, and so have we.
 */
export const stackhpcAsks: readonly Asked[] = [
  { series: 'libvirt_up', labels: ['instance'] },
  { series: 'libvirt_domain_info_virtual_cpus', labels: host },
  { series: 'libvirt_domain_info_cpu_time_seconds_total', labels: host },
  { series: 'libvirt_domain_info_memory_usage_bytes', labels: host },
  { series: 'libvirt_domain_info_maximum_memory_bytes', labels: host },
  { series: 'libvirt_domain_block_stats_read_bytes_total', labels: hostDisk },
  { series: 'libvirt_domain_block_stats_read_requests_total', labels: hostDisk },
  { series: 'libvirt_domain_block_stats_write_bytes_total', labels: hostDisk },
  { series: 'libvirt_domain_block_stats_write_requests_total', labels: hostDisk },
  { series: 'libvirt_domain_interface_stats_receive_bytes_total', labels: hostDisk },
  { series: 'libvirt_domain_interface_stats_receive_packets_total', labels: hostDisk },
  { series: 'libvirt_domain_interface_stats_receive_errors_total', labels: hostDisk },
  { series: 'libvirt_domain_interface_stats_receive_drops_total', labels: hostDisk },
  { series: 'libvirt_domain_interface_stats_transmit_bytes_total', labels: hostDisk },
  { series: 'libvirt_domain_interface_stats_transmit_packets_total', labels: hostDisk },
  { series: 'libvirt_domain_interface_stats_transmit_errors_total', labels: hostDisk },
  { series: 'libvirt_domain_interface_stats_transmit_drops_total', labels: hostDisk },
];
