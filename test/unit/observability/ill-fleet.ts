// A page of metrics on which every declared series stands, with values that make every panel and most alerts find something: two
// hosts with VMs of the same names, half of them ill. It is made from the declarations, so that a new family is on it by itself.
import { families } from '../../../src/metrics/families.js';
import { ownFamilies } from '../../../src/metrics/families-own.js';
import type { Family } from '../../../src/metrics/family.js';
import { processNames } from './served.js';

export const hosts = ['kvm-01', 'kvm-02'];
export const vm = 'db-1';

/** What each label may be; one that is not here is "x". */
const labelValues: Readonly<Record<string, readonly string[]>> = {
  domain: ['web-1', vm],
  vcpu: ['0', '1'],
  cpu: ['0', '1'],
  mode: ['idle', 'user', 'steal'],
  poller: ['vms', 'system'],
  mountpoint: ['/'],
  detail: ['crashed'],
  end: ['OUTCOME_UNKNOWN'],
  queue: ['outrigger-polls', 'outrigger-vm-jobs'],
  le: ['1', '+Inf'],
};

/** Where the name of the label alone does not say it. */
const special: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  outrigger_host_session_state: { state: ['up', 'degraded'] },
  outrigger_domain_state_reason_info: { state: ['paused'], reason: ['ioerror', 'crashed'] },
  libvirt_domain_info_state: { state_desc: ['as it is'] },
  outrigger_queue_jobs: { state: ['waiting'] },
  node_network_receive_bytes_total: { device: ['eth0'] },
};

/** Value by name; otherwise gauges are 1 and counters grow. web-1 runs, db-1 has crashed. */
function figureOf(name: string, labels: string, type: string, turn: number): number {
  if (name === 'libvirt_domain_info_state') return labels.includes(vm) ? 6 : 1;
  if (name === 'outrigger_host_maintenance') return 0;
  if (name === 'libvirt_up' && labels.includes('kvm-02')) return 0;
  if (name === 'node_memory_MemTotal_bytes') return 4;
  return type === 'counter' || type === 'histogram' || name.endsWith('_total') ? turn : 1;
}

function labelSets(name: string, labels: readonly string[]): string[] {
  let sets = [''];
  for (const label of labels) {
    const values = special[name]?.[label] ?? labelValues[label] ?? ['x'];
    sets = sets.flatMap((set) => values.map((value) => `${set}${set && ','}${label}="${value}"`));
  }
  return sets;
}

function series(name: string, { type, labels }: Omit<Family, 'help'>, turn: number): string {
  const lines = labelSets(name, labels).map((set) => `${name}{${set}} ${figureOf(name, set, type, turn)}\n`);
  return lines.join('');
}

function histogram(name: string, { type, labels }: Family, turn: number): string {
  const parts = [
    ['_bucket', [...labels, 'le']],
    ['_sum', labels],
    ['_count', labels],
  ] as const;
  return parts.map(([suffix, all]) => series(name + suffix, { type, labels: all }, turn)).join('');
}

/** The page at the `turn`-th scrape. */
export function illFleetPage(turn: number): string {
  let page = '';
  for (const [name, { type, labels }] of families) {
    const all = series(name, { type, labels: ['instance', ...labels] }, turn);
    page += hosts.map((host) => all.replaceAll('instance="x"', `instance="${host}"`)).join('');
  }
  for (const [name, family] of Object.entries<Family>(ownFamilies)) {
    page += family.type === 'histogram' ? histogram(name, family, turn) : series(name, family, turn);
  }
  for (const name of processNames())
    page += series(name, { type: name.endsWith('_total') ? 'counter' : 'gauge', labels: [] }, turn);
  return page;
}
