// docs/metrics.md, from the families: the page cannot say something else than the code. It refuses to write files.

import { families } from './families.js';
import { detailsFamilies, domainJobFamilies } from './families-details.js';
import { eventFamilies } from './families-events.js';
import { guestFamilies } from './families-guest.js';
import { hostFamilies, ownFamilies } from './families-own.js';
import { vmFamilies } from './families-vm.js';
import type { Family } from './family.js';

type Section = { title: string; text: readonly string[]; families: Readonly<Record<string, Family>> };

const vmSections: readonly Section[] = [
  {
    title: 'VMs (names of inovex/prometheus-libvirt-exporter)',
    text: [
      'Beyond that exporter: `libvirt_domain_cpu_user_seconds_total`, `libvirt_domain_cpu_system_seconds_total`,',
      '`libvirt_domain_block_stats_allocation_bytes`, `libvirt_domain_block_stats_physicalsize_bytes`, the `uuid` label of',
      '`libvirt_domain_info`, series of stopped VMs, and sizes of their disks. CPU time is that of `virsh domstats`.',
    ],
    families: vmFamilies,
  },
  {
    title: 'Identity of VMs, limits, snapshots, storage pools',
    text: [
      'Read again after an event of the VM, every `poll.details`, and one `poll.interval` after a reading that failed. Names are those of',
      'inovex/prometheus-libvirt-exporter; limits and versions are those of Tinkoff/libvirt-exporter.',
    ],
    families: detailsFamilies,
  },
  {
    title: "libvirt's own jobs on VMs",
    text: ['While one runs: a migration, a backup, a dump.'],
    families: domainJobFamilies,
  },
  { title: 'Events and states of VMs', text: [], families: eventFamilies },
  {
    title: 'What guests tell',
    text: ['Where the inventory sets `poll.guest`, from agents that answer.'],
    families: guestFamilies,
  },
];

export function metricsDocument(): string {
  const told = new Set([hostFamilies, ...vmSections.map((section) => section.families)].flatMap(Object.keys));
  return [
    '# Metrics',
    '',
    'Generated from `src/metrics`; after a change there run `npm run docs:metrics`.',
    '',
    '`/metrics` has every host, each series with an `instance` label: scrape it with `honor_labels: true`.',
    '`/metrics/hosts/{name}` has one host without that label. `/metrics/collector` has the collector alone.',
    '[Prometheus](prometheus.md) shows how to scrape either.',
    '',
    'A figure that is not known has no series: it is never 0 and never NaN. When a host is down its series go, except those',
    'of the next table and the counts of events. Only `*_info` series carry identity, so that any two figures with the same labels can',
    'be divided.',
    '',
    '## Each host, as the collector sees it',
    '',
    ...table(Object.entries(hostFamilies)),
    '',
    ...vmSections.flatMap(({ title, text, families: ofSection }) => [
      `## ${title}`,
      '',
      ...(text.length > 0 ? [...text, ''] : []),
      ...table(Object.entries(ofSection)),
      '',
    ]),
    '## Hosts (names of node_exporter)',
    '',
    '`promtool check metrics` dislikes inherited names that are camelCase (`node_memory_MemTotal_bytes`) or count bits, here as in',
    'node_exporter: they stay, because dashboards use them. Which of these are read is a setting of the inventory: [Collectors](collectors.md).',
    '',
    ...table([...families].filter(([name]) => !told.has(name))),
    '',
    '## The collector',
    '',
    'Beside these, figures of its process (`outrigger_process_…`) and of Node.js (`outrigger_nodejs_…`, with the event-loop lag).',
    '',
    ...table(Object.entries(ownFamilies)),
    '',
  ].join('\n');
}

function table(rows: Iterable<readonly [string, Family]>): string[] {
  const lines = ['| name | type | labels | meaning |', '|---|---|---|---|'];
  for (const [name, { type, labels, help }] of rows) {
    lines.push(`| ${name} | ${type} | ${labels.join(', ')} | ${help.replaceAll('|', '\\|')} |`);
  }
  return lines;
}
