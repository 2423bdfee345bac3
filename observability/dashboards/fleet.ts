// The fleet at a glance: what is wrong, where, and which hosts and VMs are the busiest. Wide sums come from the recording
// rules, so that a thousand hosts cost Grafana nothing. It refuses to show what only one host or VM is looked at for.
import {
  anyIsBad,
  busy,
  latency,
  nearlyFull,
  neutral,
  sessionStateWords,
  steal,
  toHost,
  toHostOfLine,
  toVm,
  toVmOfLine,
  vmStates,
} from './common.js';
import { bars, type Dashboard, graph, marksWhile, stat, table, variable } from './grafana.js';

/** Of the hosts that the variables choose by a label of the inventory. */
function chosen(expr: string): string {
  return `(${expr}) and on (instance) outrigger_host_info{$label=~"$value"}`;
}

function top(expr: string): string {
  return `topk(10, ${chosen(expr)})`;
}

const now = {
  title: 'Now',
  panels: [
    stat({
      title: 'Hosts',
      description: 'Hosts in the inventory.',
      unit: 'none',
      width: 3,
      thresholds: neutral,
      query: [`count(${chosen('outrigger_host_up')}) or vector(0)`, 'hosts'],
    }),
    stat({
      title: 'Without figures',
      description: 'Hosts not in maintenance whose figures are missing. The alert is OutriggerHostStale.',
      unit: 'none',
      width: 3,
      thresholds: anyIsBad,
      query: [`sum(${chosen('instance:outrigger_host_stale:bool')}) or vector(0)`, 'stale'],
    }),
    stat({
      title: 'In maintenance',
      description: 'Hosts that the inventory has in maintenance: they raise no alerts.',
      unit: 'none',
      width: 3,
      thresholds: neutral,
      query: [`sum(${chosen('outrigger_host_maintenance')}) or vector(0)`, 'maintenance'],
    }),
    stat({
      title: 'VMs running',
      description: 'VMs that run now.',
      unit: 'none',
      width: 3,
      thresholds: neutral,
      spark: true,
      query: [`sum(${chosen('instance:outrigger_domains_running:count')})`, 'running'],
    }),
    stat({
      title: 'VMs defined',
      description: 'VMs that the hosts know, in any state.',
      unit: 'none',
      width: 3,
      thresholds: neutral,
      query: [`sum(${chosen('libvirt_domains')})`, 'defined'],
    }),
    stat({
      title: 'VMs crashed',
      description: 'VMs that lie crashed. The alert is OutriggerVmCrashed.',
      unit: 'none',
      width: 3,
      thresholds: anyIsBad,
      query: [
        `count(${chosen('libvirt_domain_info_state == 6 or on (instance, domain) outrigger_domain_state_reason_info{state=~"shutoff|paused",reason="crashed"}')}) or vector(0)`,
        'crashed',
      ],
    }),
    stat({
      title: 'VMs stuck',
      description:
        'VMs that libvirt cannot ask because another operation holds them. The alert is OutriggerVmStuck.',
      unit: 'none',
      width: 3,
      thresholds: anyIsBad,
      query: [`sum(${chosen('libvirt_domain_timed_out')}) or vector(0)`, 'stuck'],
    }),
    stat({
      title: 'Alerts firing',
      description: 'Of the rules in observability/prometheus, critical and warning.',
      unit: 'none',
      width: 3,
      thresholds: anyIsBad,
      query: [
        'count(ALERTS{alertname=~"Outrigger.*",alertstate="firing",severity=~"critical|warning"}) or vector(0)',
        'alerts',
      ],
    }),
  ],
};

const wrong = {
  title: 'What is wrong',
  panels: [
    table({
      title: 'Alerts',
      description: 'Alerts that fire now. docs/runbooks.md has a section for each.',
      unit: 'none',
      width: 14,
      height: 8,
      sortBy: 'Severity',
      columns: [
        {
          name: 'Alert',
          label: 'alertname',
          query:
            'count by (alertname, severity, instance, domain) (ALERTS{alertname=~"Outrigger.*",alertstate="firing"})',
        },
        {
          name: 'Severity',
          label: 'severity',
          words: { critical: ['critical', 'red'], warning: ['warning', 'orange'], info: ['info', 'blue'] },
        },
        { name: 'Host', label: 'instance', link: toHost },
        { name: 'VM', label: 'domain', link: toVm },
      ],
    }),
    graph({
      title: 'Hosts by state',
      description: 'States of the sessions with the hosts; docs/operations.md says what each means.',
      unit: 'none',
      width: 10,
      height: 8,
      stack: true,
      queries: [[`sum by (state) (${chosen('outrigger_host_session_state')}) > 0`, '{{state}}']],
    }),
  ],
};

const hosts = {
  title: 'Hosts',
  panels: [
    table({
      title: 'Hosts',
      description:
        'State, load and age of every host. Memory and CPUs given: what running VMs were promised, as a share of what there is.',
      unit: 'none',
      width: 24,
      height: 12,
      sortBy: 'CPU',
      descending: true,
      columns: [
        { name: 'Host', label: 'instance', link: toHost },
        {
          name: 'State',
          label: 'state',
          query: `max by (instance, state) (${chosen('outrigger_host_session_state == 1')})`,
          words: sessionStateWords,
        },
        {
          name: 'Cause',
          label: 'code',
          query: `max by (instance, code) (${chosen('outrigger_host_cause_info')})`,
        },
        {
          name: 'VMs running',
          query: `max by (instance) (${chosen('instance:outrigger_domains_running:count')})`,
          unit: 'none',
        },
        {
          name: 'CPU',
          query: `max by (instance) (${chosen('instance:outrigger_host_cpu_used:ratio_rate5m')})`,
          unit: 'percentunit',
          thresholds: busy,
        },
        {
          name: 'Memory',
          query: `max by (instance) (${chosen('instance:outrigger_host_memory_used:ratio')})`,
          unit: 'percentunit',
          thresholds: busy,
        },
        {
          name: 'Memory given',
          query: `max by (instance) (${chosen('instance:outrigger_host_memory_given:ratio')})`,
          unit: 'percentunit',
        },
        {
          name: 'CPUs given',
          query: `max by (instance) (${chosen('instance:outrigger_host_vcpus_given:ratio')})`,
          unit: 'percentunit',
        },
        {
          name: 'Age of VM figures',
          query: `max by (instance) (${chosen('outrigger_host_sample_age_seconds{poller="vms"}')})`,
          unit: 's',
          thresholds: [
            [60, 'orange'],
            [180, 'red'],
          ],
        },
      ],
    }),
    graph({
      title: 'CPU used, the ten busiest hosts',
      description: 'Share of all CPUs that is not idle and does not wait for I/O.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      max: 1,
      links: [toHostOfLine],
      queries: [[top('instance:outrigger_host_cpu_used:ratio_rate5m'), '{{instance}}']],
    }),
    graph({
      title: 'Memory used, the ten fullest hosts',
      description: 'Share of memory that could not be handed out without swapping.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      max: 1,
      links: [toHostOfLine],
      queries: [[top('instance:outrigger_host_memory_used:ratio'), '{{instance}}']],
    }),
  ],
};

const vms = {
  title: 'VMs',
  panels: [
    graph({
      title: 'CPU used, the ten busiest VMs',
      description: 'Share of the virtual CPUs that the VM has.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      links: [toVmOfLine],
      queries: [
        [top('instance_domain:outrigger_domain_cpu_used:ratio_rate5m'), '{{domain}} on {{instance}}'],
      ],
    }),
    graph({
      title: 'Steal, the ten worst VMs',
      description: 'Share of time in which a virtual CPU was ready and the host ran something else.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      thresholds: steal,
      links: [toVmOfLine],
      queries: [
        [top('instance_domain:outrigger_domain_cpu_steal:ratio_rate5m'), '{{domain}} on {{instance}}'],
      ],
    }),
    graph({
      title: 'Write latency, the ten slowest disks',
      description: 'Mean time of a write request, as QEMU sees it.',
      unit: 's',
      width: 12,
      min: 0,
      thresholds: latency,
      links: [toVmOfLine],
      queries: [
        [
          top('instance_domain_target_device:outrigger_domain_block_write_latency:seconds_rate5m'),
          '{{domain}} {{target_device}} on {{instance}}',
        ],
      ],
    }),
    graph({
      title: 'Read latency, the ten slowest disks',
      description: 'Mean time of a read request, as QEMU sees it.',
      unit: 's',
      width: 12,
      min: 0,
      thresholds: latency,
      links: [toVmOfLine],
      queries: [
        [
          top('instance_domain_target_device:outrigger_domain_block_read_latency:seconds_rate5m'),
          '{{domain}} {{target_device}} on {{instance}}',
        ],
      ],
    }),
    graph({
      title: 'Disk traffic, the ten busiest VMs',
      description: 'Reads and writes of all disks of the VM.',
      unit: 'Bps',
      width: 12,
      min: 0,
      links: [toVmOfLine],
      queries: [[top('instance_domain:outrigger_domain_block_bytes:rate5m'), '{{domain}} on {{instance}}']],
    }),
    graph({
      title: 'Network traffic, the ten busiest VMs',
      description: 'Received and sent by all interfaces of the VM.',
      unit: 'Bps',
      width: 12,
      min: 0,
      links: [toVmOfLine],
      queries: [
        [top('instance_domain:outrigger_domain_interface_bytes:rate5m'), '{{domain}} on {{instance}}'],
      ],
    }),
    table({
      title: 'VMs that do not run as they should',
      description: 'Paused, crashed, suspended or stuck.',
      unit: 'none',
      width: 24,
      height: 8,
      sortBy: 'State',
      columns: [
        { name: 'Host', label: 'instance', link: toHost },
        { name: 'VM', label: 'domain', link: toVm },
        {
          name: 'State',
          query: `max by (instance, domain) (${chosen('libvirt_domain_info_state != 1 and libvirt_domain_info_state != 5 or on (instance, domain) (libvirt_domain_info_state and on (instance, domain) (libvirt_domain_timed_out == 1 or on (instance, domain) outrigger_domain_state_reason_info{reason="crashed"}))')})`,
          words: vmStates,
        },
        {
          name: 'Reason',
          label: 'reason',
          query: `max by (instance, domain, reason) (${chosen('outrigger_domain_state_reason_info{state!~"running|shutoff"} or on (instance, domain) (outrigger_domain_state_reason_info and on (instance, domain) (libvirt_domain_timed_out == 1)) or on (instance, domain) outrigger_domain_state_reason_info{reason="crashed"}')})`,
        },
        {
          name: 'Stuck',
          query: `max by (instance, domain) (${chosen('libvirt_domain_timed_out == 1')})`,
          words: { 1: ['stuck', 'red'] },
        },
      ],
    }),
  ],
};

const space = {
  title: 'Space',
  panels: [
    bars({
      title: 'Fullest storage pools',
      description: 'Share in use. Alerts at 90 and 97 %.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      max: 1,
      thresholds: nearlyFull,
      links: [toHostOfLine],
      queries: [
        [top('instance_storage_pool:outrigger_storage_pool_used:ratio'), '{{storage_pool}} on {{instance}}'],
      ],
    }),
    bars({
      title: 'Fullest filesystems in guests',
      description:
        'As their agents tell; only of hosts whose inventory entry has poll.guest. Alerts at 90 and 97 %.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      max: 1,
      thresholds: nearlyFull,
      links: [toVmOfLine],
      queries: [
        [
          top('instance_domain_mountpoint:outrigger_domain_guest_filesystem_used:ratio'),
          '{{mountpoint}} in {{domain}} on {{instance}}',
        ],
      ],
    }),
  ],
};

export const fleet: Dashboard = {
  uid: 'outrigger-fleet',
  title: 'Outrigger / Fleet',
  description:
    'All hosts and VMs: what is wrong, where, and which are the busiest. Needs the recording rules.',
  variables: [
    variable({
      name: 'label',
      label: 'Hosts whose label',
      query: 'label_names(outrigger_host_info)',
      regex: '/^(?!__name__$|job$)(.+)$/',
      first: 'instance',
    }),
    variable({ name: 'value', label: 'is', query: 'label_values(outrigger_host_info, $label)', all: true }),
  ],
  annotations: [
    marksWhile(
      'Critical alerts',
      'red',
      'max by (alertname) (ALERTS{alertname=~"Outrigger.*",alertstate="firing",severity="critical"})',
      '{{alertname}}',
      'A critical alert fires.',
    ),
  ],
  rows: [now, wrong, hosts, vms, space],
};
