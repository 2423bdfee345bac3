// The disks and network interfaces of one VM, as rows of the VM's dashboard. It refuses to show what is not a device.
import { latency } from './common.js';
import { graph, type Row, table } from './grafana.js';

const vm = 'instance="$instance",domain="$domain"';
const rate = '$__rate_interval';
const per = (name: string) => `rate(${name}{${vm}}[${rate}])`;

export const disks: Row = {
  title: 'Disks',
  panels: [
    graph({
      title: 'Disk traffic',
      description: 'Bytes read (up) and written (down).',
      unit: 'Bps',
      width: 12,
      queries: [
        [per('libvirt_domain_block_stats_read_bytes_total'), 'read {{target_device}}'],
        [per('libvirt_domain_block_stats_write_bytes_total'), 'written {{target_device}}'],
      ],
      negative: /^written/,
    }),
    graph({
      title: 'Disk requests',
      description: 'Requests read (up) and written (down). Limits stand beside them where they are set.',
      unit: 'iops',
      width: 12,
      queries: [
        [per('libvirt_domain_block_stats_read_requests_total'), 'read {{target_device}}'],
        [per('libvirt_domain_block_stats_write_requests_total'), 'written {{target_device}}'],
        [`libvirt_domain_block_stats_limit_total_requests{${vm}} > 0`, 'limit {{target_device}}'],
      ],
      negative: /^written/,
    }),
    graph({
      title: 'Disk latency',
      description: 'Mean time of a request, as QEMU sees it; nothing for a disk without requests.',
      unit: 's',
      width: 12,
      min: 0,
      thresholds: latency,
      queries: [
        [
          `${per('libvirt_domain_block_stats_read_time_seconds_total')} / (${per('libvirt_domain_block_stats_read_requests_total')} > 0)`,
          'read {{target_device}}',
        ],
        [
          `${per('libvirt_domain_block_stats_write_time_seconds_total')} / (${per('libvirt_domain_block_stats_write_requests_total')} > 0)`,
          'write {{target_device}}',
        ],
        [
          `${per('libvirt_domain_block_stats_flush_time_seconds_total')} / (${per('libvirt_domain_block_stats_flush_requests_total')} > 0)`,
          'flush {{target_device}}',
        ],
      ],
    }),
    table({
      title: 'Disks',
      description: 'What they are, how large they look to the guest and how large they are on the host.',
      unit: 'none',
      width: 12,
      height: 8,
      sortBy: 'Disk',
      columns: [
        { name: 'Disk', label: 'target_device' },
        {
          name: 'Source',
          label: 'source_file',
          query: `max by (target_device, source_file) (libvirt_domain_block_stats_info{${vm}})`,
        },
        {
          name: 'Bus',
          label: 'target_bus',
          query: `max by (target_device, target_bus) (libvirt_domain_block_stats_info{${vm}})`,
        },
        {
          name: 'Size',
          query: `max by (target_device) (libvirt_domain_block_stats_capacity_bytes{${vm}})`,
          unit: 'bytes',
        },
        {
          name: 'Written up to',
          query: `max by (target_device) (libvirt_domain_block_stats_allocation_bytes{${vm}})`,
          unit: 'bytes',
        },
        {
          name: 'On the host',
          query: `max by (target_device) (libvirt_domain_block_stats_physicalsize_bytes{${vm}})`,
          unit: 'bytes',
        },
      ],
    }),
  ],
};

export const network: Row = {
  title: 'Network',
  panels: [
    graph({
      title: 'Network traffic',
      description: 'Received (up) and sent (down) by the VM.',
      unit: 'Bps',
      width: 12,
      queries: [
        [per('libvirt_domain_interface_stats_receive_bytes_total'), 'received {{target_device}}'],
        [per('libvirt_domain_interface_stats_transmit_bytes_total'), 'sent {{target_device}}'],
      ],
      negative: /^sent/,
    }),
    graph({
      title: 'Packets, errors and drops',
      description: 'Packets a second, received (up) and sent (down); lost ones only where there are any.',
      unit: 'pps',
      width: 12,
      queries: [
        [per('libvirt_domain_interface_stats_receive_packets_total'), 'received {{target_device}}'],
        [per('libvirt_domain_interface_stats_transmit_packets_total'), 'sent {{target_device}}'],
        [
          `${per('libvirt_domain_interface_stats_receive_errors_total')} + ${per('libvirt_domain_interface_stats_receive_drops_total')} > 0`,
          'lost while receiving {{target_device}}',
        ],
        [
          `${per('libvirt_domain_interface_stats_transmit_errors_total')} + ${per('libvirt_domain_interface_stats_transmit_drops_total')} > 0`,
          'lost while sending {{target_device}}',
        ],
      ],
      negative: /^(sent|lost while sending)/,
    }),
  ],
};
