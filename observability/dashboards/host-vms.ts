// The VMs of one host, as a row of the host's dashboard. It refuses to show one VM alone: that is the VM's dashboard.
import { busy, latency, steal, toVm, toVmOfLine, vmStates } from './common.js';
import { graph, type Row, table } from './grafana.js';

const h = 'instance="$instance"';
const rate = '$__rate_interval';

export const vmsOfHost: Row = {
  title: 'VMs',
  panels: [
    table({
      title: 'VMs',
      description: 'Every VM that the host knows.',
      unit: 'none',
      width: 24,
      height: 10,
      sortBy: 'CPU',
      descending: true,
      columns: [
        { name: 'Host', label: 'instance' },
        { name: 'VM', label: 'domain', link: toVm },
        {
          name: 'State',
          query: `max by (instance, domain) (libvirt_domain_info_state{${h}})`,
          words: vmStates,
        },
        {
          name: 'Reason',
          label: 'reason',
          query: `max by (instance, domain, reason) (outrigger_domain_state_reason_info{${h}})`,
        },
        {
          name: 'vCPUs',
          query: `max by (instance, domain) (libvirt_domain_info_virtual_cpus{${h}})`,
          unit: 'none',
        },
        {
          name: 'CPU',
          query: `avg by (instance, domain) (rate(libvirt_domain_vcpu_time_seconds_total{${h}}[${rate}]))`,
          unit: 'percentunit',
          thresholds: busy,
        },
        {
          name: 'Steal',
          query: `avg by (instance, domain) (rate(libvirt_domain_vcpu_delay_seconds_total{${h}}[${rate}]))`,
          unit: 'percentunit',
          thresholds: steal,
        },
        {
          name: 'Memory',
          query: `max by (instance, domain) (libvirt_domain_info_memory_usage_bytes{${h}})`,
          unit: 'bytes',
        },
        {
          name: 'Used in the guest',
          query: `max by (instance, domain) (libvirt_domain_memory_stats_used_percent{${h}})`,
          unit: 'percent',
        },
        {
          name: 'Disks',
          query: `sum by (instance, domain) (rate(libvirt_domain_block_stats_read_bytes_total{${h}}[${rate}]) + rate(libvirt_domain_block_stats_write_bytes_total{${h}}[${rate}]))`,
          unit: 'Bps',
        },
        {
          name: 'Network',
          query: `sum by (instance, domain) (rate(libvirt_domain_interface_stats_receive_bytes_total{${h}}[${rate}]) + rate(libvirt_domain_interface_stats_transmit_bytes_total{${h}}[${rate}]))`,
          unit: 'Bps',
        },
        {
          name: 'Snapshots',
          query: `max by (instance, domain) (outrigger_domain_snapshots{${h}})`,
          unit: 'none',
        },
      ],
    }),
    graph({
      title: 'CPU time by VM',
      description: 'CPUs of the host that each VM uses, its emulator included.',
      unit: 'none',
      width: 12,
      min: 0,
      stack: true,
      links: [toVmOfLine],
      queries: [
        [
          `topk(20, sum by (instance, domain) (rate(libvirt_domain_info_cpu_time_seconds_total{${h}}[${rate}])))`,
          '{{domain}}',
        ],
      ],
    }),
    graph({
      title: 'Memory by VM',
      description: "Resident memory of each VM's process on the host.",
      unit: 'bytes',
      width: 12,
      min: 0,
      stack: true,
      links: [toVmOfLine],
      queries: [
        [`topk(20, max by (instance, domain) (libvirt_domain_memory_stats_rss_bytes{${h}}))`, '{{domain}}'],
      ],
    }),
    graph({
      title: 'Steal by VM',
      description: 'Share of time in which a virtual CPU was ready and the host ran something else.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      thresholds: steal,
      links: [toVmOfLine],
      queries: [
        [
          `topk(10, avg by (instance, domain) (rate(libvirt_domain_vcpu_delay_seconds_total{${h}}[${rate}])))`,
          '{{domain}}',
        ],
      ],
    }),
    graph({
      title: 'Write latency by disk',
      description: 'Mean time of a write request, as QEMU sees it.',
      unit: 's',
      width: 12,
      min: 0,
      thresholds: latency,
      links: [toVmOfLine],
      queries: [
        [
          `topk(10, rate(libvirt_domain_block_stats_write_time_seconds_total{${h}}[${rate}]) / (rate(libvirt_domain_block_stats_write_requests_total{${h}}[${rate}]) > 0))`,
          '{{domain}} {{target_device}}',
        ],
      ],
    }),
    graph({
      title: 'Events of VMs',
      description: 'What libvirt tells of VMs, by kind and reason.',
      unit: 'none',
      width: 24,
      height: 6,
      min: 0,
      queries: [
        [
          `sum by (event, detail) (increase(outrigger_domain_events_total{${h}}[${rate}])) > 0`,
          '{{event}} {{detail}}',
        ],
      ],
    }),
  ],
};
