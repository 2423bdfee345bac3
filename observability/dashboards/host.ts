// One host: is it well, what is it busy with, which VMs does it carry. It stands on raw series, so that it also works where
// the recording rules are not loaded. It refuses to be Node Exporter Full: that dashboard shows the rest.
import { busy, latency, nearlyFull, upWords } from './common.js';
import { bars, type Dashboard, graph, marksAt, marksWhile, stat, table, variable } from './grafana.js';
import { vmsOfHost } from './host-vms.js';

const h = 'instance="$instance"';
const rate = '$__rate_interval';

const now = {
  title: 'Now',
  panels: [
    stat({
      title: 'Session',
      description: 'State of the connection; docs/operations.md says what each means.',
      unit: 'none',
      width: 3,
      text: true,
      thresholds: [[1, 'blue']],
      query: [`outrigger_host_session_state{${h}} == 1`, '{{state}}'],
    }),
    stat({
      title: 'libvirt',
      description: 'Whether libvirt is connected and the last poll of its VMs went well.',
      unit: 'none',
      width: 3,
      words: upWords,
      query: [`max(libvirt_up{${h}})`, 'libvirt'],
    }),
    stat({
      title: 'Age of VM figures',
      description: 'Since VMs were last read well.',
      unit: 's',
      width: 3,
      thresholds: [
        [60, 'orange'],
        [180, 'red'],
      ],
      query: [`max(outrigger_host_sample_age_seconds{${h},poller="vms"})`, 'age'],
    }),
    stat({
      title: 'VMs running',
      description: 'VMs that run now.',
      unit: 'none',
      width: 3,
      spark: true,
      query: [`count(libvirt_domain_info_state{${h}} == 1) or vector(0)`, 'running'],
    }),
    stat({
      title: 'CPU used',
      description: 'Share of all CPUs that is not idle and does not wait for I/O.',
      unit: 'percentunit',
      width: 3,
      decimals: 1,
      thresholds: busy,
      query: [
        `1 - avg(sum by (cpu) (rate(node_cpu_seconds_total{${h},mode=~"idle|iowait"}[${rate}])))`,
        'CPU',
      ],
    }),
    stat({
      title: 'Memory used',
      description: 'Share that could not be handed out without swapping.',
      unit: 'percentunit',
      width: 3,
      decimals: 1,
      thresholds: busy,
      query: [`1 - node_memory_MemAvailable_bytes{${h}} / node_memory_MemTotal_bytes{${h}}`, 'memory'],
    }),
    stat({
      title: 'Memory given to VMs',
      description: 'What running VMs are given, as a share of what there is; above 100 % is overcommitted.',
      unit: 'percentunit',
      width: 3,
      decimals: 1,
      thresholds: [
        [1, 'orange'],
        [1.5, 'red'],
      ],
      query: [
        `sum(libvirt_domain_info_memory_usage_bytes{${h}} and on (domain) libvirt_domain_info_state{${h}} == 1) / max(node_memory_MemTotal_bytes{${h}})`,
        'given',
      ],
    }),
    stat({
      title: 'Up for',
      description: 'Since the host booted.',
      unit: 's',
      width: 3,
      query: [`max(node_time_seconds{${h}} - node_boot_time_seconds{${h}})`, 'up'],
    }),
  ],
};

const load = {
  title: 'CPU and memory of the host',
  panels: [
    graph({
      title: 'CPU by mode',
      description: 'Share of all CPUs. Guests run in user time.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      max: 1,
      stack: true,
      queries: [[`avg by (mode) (rate(node_cpu_seconds_total{${h},mode!="idle"}[${rate}]))`, '{{mode}}']],
    }),
    graph({
      title: 'Load and CPUs',
      description: 'Tasks that run or wait for a disk, beside the number of CPUs.',
      unit: 'none',
      width: 12,
      min: 0,
      queries: [
        [`node_load1{${h}}`, '1 minute'],
        [`node_load15{${h}}`, '15 minutes'],
        [`count(node_cpu_seconds_total{${h},mode="idle"})`, 'CPUs'],
      ],
    }),
    graph({
      title: 'Memory',
      description: 'Where the memory is.',
      unit: 'bytes',
      width: 12,
      min: 0,
      stack: true,
      queries: [
        [`node_memory_MemTotal_bytes{${h}} - node_memory_MemAvailable_bytes{${h}}`, 'used'],
        [`node_memory_MemAvailable_bytes{${h}} - node_memory_MemFree_bytes{${h}}`, 'can be freed'],
        [`node_memory_MemFree_bytes{${h}}`, 'free'],
      ],
    }),
    graph({
      title: 'Pressure',
      description: 'Share of time in which some task waited.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      thresholds: [[0.1, 'red']],
      queries: [
        [`rate(node_pressure_cpu_waiting_seconds_total{${h}}[${rate}])`, 'for a CPU'],
        [`rate(node_pressure_memory_waiting_seconds_total{${h}}[${rate}])`, 'for memory'],
        [`rate(node_pressure_io_waiting_seconds_total{${h}}[${rate}])`, 'for I/O'],
      ],
    }),
    graph({
      title: 'Swap traffic',
      description: 'Pages written to swap and read back.',
      unit: 'none',
      width: 12,
      queries: [
        [`rate(node_vmstat_pswpin{${h}}[${rate}])`, 'in'],
        [`rate(node_vmstat_pswpout{${h}}[${rate}])`, 'out'],
      ],
      negative: /^out/,
    }),
    graph({
      title: 'Killed for want of memory',
      description: 'Processes that the kernel killed; a VM is one of them.',
      unit: 'none',
      width: 12,
      min: 0,
      queries: [[`increase(node_vmstat_oom_kill{${h}}[${rate}])`, 'killed']],
    }),
  ],
};

const storage = {
  title: 'Disks and space of the host',
  panels: [
    bars({
      title: 'Storage pools',
      description: 'Share in use. Alerts at 90 and 97 %.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      max: 1,
      thresholds: nearlyFull,
      queries: [
        [
          `1 - libvirt_storage_pool_available_bytes{${h}} / (libvirt_storage_pool_capacity_bytes{${h}} > 0)`,
          '{{storage_pool}}',
        ],
      ],
    }),
    bars({
      title: 'Filesystems',
      description: 'Share that is not available to everyone.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      max: 1,
      thresholds: nearlyFull,
      queries: [
        [
          `1 - node_filesystem_avail_bytes{${h},fstype!~"tmpfs|ramfs|overlay|squashfs"} / (node_filesystem_size_bytes{${h}} > 0)`,
          '{{mountpoint}}',
        ],
      ],
    }),
    graph({
      title: 'Disk traffic',
      description: 'Bytes read (up) and written (down).',
      unit: 'Bps',
      width: 12,
      queries: [
        [`rate(node_disk_read_bytes_total{${h}}[${rate}])`, 'read {{device}}'],
        [`rate(node_disk_written_bytes_total{${h}}[${rate}])`, 'written {{device}}'],
      ],
      negative: /^written/,
    }),
    graph({
      title: 'Disk latency',
      description: 'Mean time of a request.',
      unit: 's',
      width: 12,
      min: 0,
      thresholds: latency,
      queries: [
        [
          `rate(node_disk_read_time_seconds_total{${h}}[${rate}]) / (rate(node_disk_reads_completed_total{${h}}[${rate}]) > 0)`,
          'read {{device}}',
        ],
        [
          `rate(node_disk_write_time_seconds_total{${h}}[${rate}]) / (rate(node_disk_writes_completed_total{${h}}[${rate}]) > 0)`,
          'write {{device}}',
        ],
      ],
    }),
  ],
};

const network = {
  title: 'Network of the host',
  panels: [
    graph({
      title: 'Network traffic',
      description: 'Received (up) and sent (down), without the interfaces of VMs.',
      unit: 'Bps',
      width: 12,
      queries: [
        [
          `rate(node_network_receive_bytes_total{${h},device!~"lo|vnet.*|tap.*"}[${rate}])`,
          'received {{device}}',
        ],
        [
          `rate(node_network_transmit_bytes_total{${h},device!~"lo|vnet.*|tap.*"}[${rate}])`,
          'sent {{device}}',
        ],
      ],
      negative: /^sent/,
    }),
    graph({
      title: 'Network errors and drops',
      description: 'Packets a second that were lost, received (up) and sent (down).',
      unit: 'pps',
      width: 12,
      queries: [
        [
          `rate(node_network_receive_errs_total{${h},device!="lo"}[${rate}]) + rate(node_network_receive_drop_total{${h},device!="lo"}[${rate}]) > 0`,
          'received {{device}}',
        ],
        [
          `rate(node_network_transmit_errs_total{${h},device!="lo"}[${rate}]) + rate(node_network_transmit_drop_total{${h},device!="lo"}[${rate}]) > 0`,
          'sent {{device}}',
        ],
      ],
      negative: /^sent/,
    }),
  ],
};

const watching = {
  title: 'How it is watched',
  collapsed: true,
  panels: [
    graph({
      title: 'Age of figures',
      description: 'Since each poller last read the host well.',
      unit: 's',
      width: 12,
      min: 0,
      queries: [[`max by (poller) (outrigger_host_sample_age_seconds{${h}})`, '{{poller}}']],
    }),
    graph({
      title: 'State of the session',
      description: 'docs/operations.md says what each means.',
      unit: 'none',
      width: 12,
      stack: true,
      queries: [[`outrigger_host_session_state{${h}} == 1`, '{{state}}']],
    }),
    table({
      title: 'Identity',
      description: 'What the host says of itself and of its libvirt.',
      unit: 'none',
      width: 24,
      height: 4,
      sortBy: 'Host',
      columns: [
        { name: 'Host', label: 'instance' },
        {
          name: 'System',
          label: 'pretty_name',
          query: `max by (instance, pretty_name) (node_os_info{${h}})`,
        },
        { name: 'Kernel', label: 'release', query: `max by (instance, release) (node_uname_info{${h}})` },
        {
          name: 'libvirt',
          label: 'libvirtd_running',
          query: `max by (instance, libvirtd_running) (libvirt_versions_info{${h}})`,
        },
        {
          name: 'Hypervisor',
          label: 'hypervisor_running',
          query: `max by (instance, hypervisor_running) (libvirt_versions_info{${h}})`,
        },
        { name: 'Cause', label: 'code', query: `max by (instance, code) (outrigger_host_cause_info{${h}})` },
      ],
    }),
  ],
};

export const host: Dashboard = {
  uid: 'outrigger-host',
  title: 'Outrigger / Host',
  description: 'One host and the VMs on it.',
  variables: [
    variable({ name: 'instance', label: 'Host', query: 'label_values(outrigger_host_up, instance)' }),
  ],
  annotations: [
    marksAt(
      'VM state changes',
      'blue',
      `outrigger_domain_state_change_timestamp_seconds{${h}}`,
      '{{domain}}',
      'The VM came into the state that it is in.',
    ),
    marksWhile(
      'Alerts',
      'red',
      `max by (alertname, domain) (ALERTS{alertname=~"Outrigger.*",alertstate="firing",${h}})`,
      '{{alertname}} {{domain}}',
      'An alert about this host fires.',
    ),
  ],
  rows: [now, vmsOfHost, load, storage, network, watching],
};
