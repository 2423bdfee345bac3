// One VM, known by host AND name, since two hosts may have a VM of the same name. It stands on raw series. It refuses to
// show what only the inside of the guest could tell, but for what its agent does tell.
import { nearlyFull, steal, upWords, vmStates, yesIsBad } from './common.js';
import { bars, type Dashboard, graph, marksAt, marksWhile, stat, table, variable } from './grafana.js';
import { disks, network } from './vm-devices.js';

const vm = 'instance="$instance",domain="$domain"';
const rate = '$__rate_interval';
const per = (name: string) => `rate(${name}{${vm}}[${rate}])`;

const now = {
  title: 'Now',
  panels: [
    stat({
      title: 'State',
      description: 'As libvirt tells it.',
      unit: 'none',
      width: 4,
      words: vmStates,
      query: [`max(libvirt_domain_info_state{${vm}})`, 'state'],
    }),
    stat({
      title: 'Stuck',
      description: 'Whether another operation holds it, so that libvirt cannot ask it.',
      unit: 'none',
      width: 2,
      words: yesIsBad,
      query: [`max(libvirt_domain_timed_out{${vm}})`, 'stuck'],
    }),
    stat({
      title: 'Guest agent',
      description: 'Whether it answers; empty for a VM without one, and where poll.guest is off.',
      unit: 'none',
      width: 3,
      words: upWords,
      query: [`max(outrigger_domain_guest_agent_up{${vm}})`, 'agent'],
    }),
    stat({
      title: 'Up for',
      description: 'Since it was started on this host.',
      unit: 's',
      width: 3,
      query: [`time() - max(outrigger_domain_start_time_seconds{${vm}})`, 'up'],
    }),
    stat({
      title: 'Virtual CPUs',
      description: 'That are online.',
      unit: 'none',
      width: 3,
      query: [`max(libvirt_domain_info_virtual_cpus{${vm}})`, 'vCPUs'],
    }),
    stat({
      title: 'Memory',
      description: 'That it is given now.',
      unit: 'bytes',
      width: 3,
      query: [`max(libvirt_domain_info_memory_usage_bytes{${vm}})`, 'memory'],
    }),
    stat({
      title: 'Steal',
      description: 'Share of time in which a virtual CPU was ready and the host ran something else.',
      unit: 'percentunit',
      width: 3,
      decimals: 1,
      thresholds: steal,
      query: [`avg(${per('libvirt_domain_vcpu_delay_seconds_total')})`, 'steal'],
    }),
    stat({
      title: 'Users logged in',
      description: 'Inside the guest, as its agent tells.',
      unit: 'none',
      width: 3,
      query: [`max(outrigger_domain_guest_users{${vm}})`, 'users'],
    }),
  ],
};

const cpu = {
  title: 'CPU',
  panels: [
    graph({
      title: 'CPU used by virtual CPU',
      description: 'Share of time that each ran.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      queries: [[per('libvirt_domain_vcpu_time_seconds_total'), 'vCPU {{vcpu}}']],
    }),
    graph({
      title: 'Steal and wait by virtual CPU',
      description:
        'Steal: in the run queue of the host, seen by the guest. Wait: wanted to run while the host ran something else.',
      unit: 'percentunit',
      width: 12,
      min: 0,
      thresholds: steal,
      queries: [
        [per('libvirt_domain_vcpu_delay_seconds_total'), 'steal {{vcpu}}'],
        [per('libvirt_domain_vcpu_wait_seconds_total'), 'wait {{vcpu}}'],
      ],
    }),
    graph({
      title: 'CPU time on the host',
      description:
        'CPUs of the host that it uses: all, and what of it is the emulator in user and kernel mode.',
      unit: 'none',
      width: 24,
      height: 6,
      min: 0,
      queries: [
        [per('libvirt_domain_info_cpu_time_seconds_total'), 'all'],
        [per('libvirt_domain_cpu_user_seconds_total'), 'user mode'],
        [per('libvirt_domain_cpu_system_seconds_total'), 'kernel mode'],
      ],
    }),
  ],
};

const memory = {
  title: 'Memory',
  panels: [
    graph({
      title: 'Memory',
      description:
        'What the guest sees and uses needs balloon statistics (poll.balloonPeriod); the process is what the host pays.',
      unit: 'bytes',
      width: 12,
      min: 0,
      queries: [
        [`libvirt_domain_memory_stats_current_balloon_bytes{${vm}}`, 'given'],
        [
          `libvirt_domain_memory_stats_available_bytes{${vm}} - libvirt_domain_memory_stats_usable_bytes{${vm}}`,
          'used in the guest',
        ],
        [`libvirt_domain_memory_stats_disk_caches_bytes{${vm}}`, 'disk caches of the guest'],
        [`libvirt_domain_memory_stats_rss_bytes{${vm}}`, 'its process on the host'],
      ],
    }),
    graph({
      title: 'Swap of the guest',
      description: 'Read from swap (up) and written to it (down).',
      unit: 'Bps',
      width: 6,
      queries: [
        [per('libvirt_domain_memory_stats_swap_in_bytes'), 'in'],
        [per('libvirt_domain_memory_stats_swap_out_bytes'), 'out'],
      ],
      negative: /^out/,
    }),
    graph({
      title: 'Page faults of the guest',
      description: 'Major ones needed its disk.',
      unit: 'ops',
      width: 6,
      min: 0,
      queries: [[per('libvirt_domain_memory_stats_major_fault_total'), 'major']],
    }),
  ],
};

const inside = {
  title: 'Inside the guest',
  panels: [
    bars({
      title: 'Filesystems',
      description: 'Share in use, as its agent tells. Alerts at 90 and 97 %.',
      unit: 'percentunit',
      width: 12,
      height: 7,
      min: 0,
      max: 1,
      thresholds: nearlyFull,
      queries: [
        [
          `outrigger_domain_guest_filesystem_used_bytes{${vm}} / (outrigger_domain_guest_filesystem_size_bytes{${vm}} > 0)`,
          '{{mountpoint}}',
        ],
      ],
    }),
    table({
      title: 'Identity',
      description: 'As libvirt and the guest agent tell.',
      unit: 'none',
      width: 12,
      height: 7,
      sortBy: 'VM',
      columns: [
        { name: 'VM', label: 'domain' },
        { name: 'UUID', label: 'uuid', query: `max by (domain, uuid) (libvirt_domain_info{${vm}})` },
        {
          name: 'Machine',
          label: 'os_type_machine',
          query: `max by (domain, os_type_machine) (libvirt_domain_info{${vm}})`,
        },
        {
          name: 'Name inside',
          label: 'hostname',
          query: `max by (domain, hostname) (outrigger_domain_guest_info{${vm}})`,
        },
        {
          name: 'System',
          label: 'os_pretty_name',
          query: `max by (domain, os_pretty_name) (outrigger_domain_guest_info{${vm}})`,
        },
        {
          name: 'Kernel',
          label: 'kernel',
          query: `max by (domain, kernel) (outrigger_domain_guest_info{${vm}})`,
        },
      ],
    }),
  ],
};

const jobs = {
  title: "Snapshots and libvirt's own jobs",
  panels: [
    stat({
      title: 'Snapshots',
      description: 'That libvirt knows.',
      unit: 'none',
      width: 4,
      height: 7,
      query: [`max(outrigger_domain_snapshots{${vm}})`, 'snapshots'],
    }),
    stat({
      title: 'Age of the oldest',
      description: 'Snapshots slow disks down and fill pools: they are not backups.',
      unit: 's',
      width: 4,
      height: 7,
      thresholds: [[604800, 'orange']],
      query: [`time() - max(outrigger_domain_snapshot_oldest_timestamp_seconds{${vm}})`, 'age'],
    }),
    graph({
      title: 'Job under way',
      description: 'Migration, save, dump, backup or snapshot: what it has yet to move.',
      unit: 'bytes',
      width: 8,
      height: 7,
      min: 0,
      queries: [
        [`libvirt_domain_job_info_data_remaining_bytes{${vm}}`, 'all'],
        [`libvirt_domain_job_info_memory_remaining_bytes{${vm}}`, 'memory'],
        [`libvirt_domain_job_info_file_remaining_bytes{${vm}}`, 'disks'],
      ],
    }),
    graph({
      title: 'Time of the job',
      description: 'Since it began, and until it ends as libvirt guesses.',
      unit: 's',
      width: 8,
      height: 7,
      min: 0,
      queries: [
        [`libvirt_domain_job_info_time_elapsed_seconds{${vm}}`, 'since it began'],
        [`libvirt_domain_job_info_time_remaining_seconds{${vm}}`, 'until it ends'],
      ],
    }),
  ],
};

export const vmDashboard: Dashboard = {
  uid: 'outrigger-vm',
  title: 'Outrigger / VM',
  description: 'One VM: what it does, what it waits for, and what its guest tells.',
  variables: [
    variable({ name: 'instance', label: 'Host', query: 'label_values(libvirt_domain_info_state, instance)' }),
    variable({
      name: 'domain',
      label: 'VM',
      query: 'label_values(libvirt_domain_info_state{instance="$instance"}, domain)',
    }),
  ],
  annotations: [
    marksAt(
      'State changes',
      'blue',
      `outrigger_domain_state_change_timestamp_seconds{${vm}}`,
      '{{domain}}',
      'The VM came into the state that it is in.',
    ),
    marksAt(
      'Starts',
      'green',
      `outrigger_domain_start_time_seconds{${vm}}`,
      '{{domain}}',
      'The VM was started.',
    ),
    marksWhile(
      'Alerts',
      'red',
      `max by (alertname) (ALERTS{alertname=~"Outrigger.*",alertstate="firing",${vm}})`,
      '{{alertname}}',
      'An alert about this VM fires.',
    ),
  ],
  rows: [now, cpu, memory, disks, network, inside, jobs],
};
