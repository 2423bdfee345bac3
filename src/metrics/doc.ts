// docs/metrics.md, from the families: the page cannot say something else than the code. It refuses to write files.

import { families } from './families.js';
import { hostFamilies, ownFamilies } from './families-own.js';
import { vmFamilies } from './families-vm.js';
import type { Family } from './family.js';

export function metricsDocument(): string {
  const isSystem = (name: string) => !Object.hasOwn(hostFamilies, name) && !Object.hasOwn(vmFamilies, name);
  return [
    '# Metrics',
    '',
    'Generated from `src/metrics`; after a change there run `npm run docs:metrics`.',
    '',
    '`/metrics` has every host, each series with an `instance` label: scrape it with `honor_labels: true`.',
    '`/metrics/hosts/{name}` has one host without that label. `/metrics/collector` has the collector alone.',
    '',
    'A figure that is not known has no series: it is never 0 and never NaN. When a host is down its series go, except those',
    'of the next table. Only `*_info` series carry identity, so that any two figures with the same labels can be divided.',
    '',
    '## Each host, as the collector sees it',
    '',
    ...table(Object.entries(hostFamilies)),
    '',
    '## VMs (names of inovex/prometheus-libvirt-exporter)',
    '',
    'Beyond that exporter: `libvirt_domain_cpu_user_seconds_total`, `libvirt_domain_cpu_system_seconds_total`,',
    '`libvirt_domain_block_stats_allocation_bytes`, `libvirt_domain_block_stats_physicalsize_bytes`, the `uuid` label of',
    '`libvirt_domain_info`, series of stopped VMs, and sizes of their disks. CPU time is that of `virsh domstats`.',
    '',
    ...table(Object.entries(vmFamilies)),
    '',
    '## Hosts (names of node_exporter)',
    '',
    '`promtool check metrics` dislikes the inherited names that are camelCase (`node_memory_MemTotal_bytes`), here as in',
    'node_exporter: they stay, because dashboards use them.',
    '',
    ...table([...families].filter(([name]) => isSystem(name))),
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
