// The hosts as a table: filtered and sorted by what stands in the address, so that a link shows the same to everybody.
import type { History } from '../../fleet/history.js';
import type { Host } from '../api/schemas.js';
import { bar, sparkline } from './chart.js';
import type { FleetFilter } from './fleet.js';
import { html, type Markup, path, query } from './html.js';
import { hostState, paged, pager, sortable, table } from './parts.js';
import { ago, bytes, count, counted, percent, plain, unknown } from './words.js';

export const hostsPerPage = 100;
const percentAll = 100;

type Input = { hosts: readonly Host[]; history: History; filter: FleetFilter; nowMs: number };

export function hostsSection({ hosts, history, filter, nowMs }: Input): Markup {
  const found = sorted(
    hosts.filter((host) => matches(host, filter)),
    filter.sort,
  );
  const shown = paged(found, filter.page, hostsPerPage);
  const parameters = { q: filter.q, state: filter.state, label: filter.labels, vm: filter.vm };
  const url = (sort: string) =>
    `/${query({ ...parameters, sort: sort === 'name' ? undefined : sort })}#hosts`;
  const sort = { sort: filter.sort || 'name', url };
  const right = { ...sort, className: 'num' };
  const head = html`${sortable('Host', 'name', sort)}${sortable('State', 'state', sort)}${sortable('Sample', 'age', right)}${sortable('VMs', 'vms', right)}${sortable('Load', 'load', right)}<th scope="col" class="p3">Load, last hour</th>${sortable('Memory', 'memory', { ...sort, className: 'num gauge' })}${sortable('Fullest disk', 'disk', { ...sort, className: 'num gauge p2' })}<th scope="col" class="p3">Labels</th>`;
  const rows = shown.rows.map((host) => row(host, history, nowMs));
  const body =
    rows.length > 0
      ? table('Table of hosts', head, rows)
      : html`<p class="empty">${hosts.length === 0 ? 'The inventory has no hosts that you may see.' : html`No host matches. <a href="/">Show all ${count(hosts.length)}</a>`}</p>`;
  const turn = pager(shown, { what: 'hosts', base: '/', parameters: { ...parameters, sort: filter.sort } });
  return html`<section class="card" id="hosts" aria-labelledby="hosts-title"><header><h2 id="hosts-title">Hosts</h2>${form(filter)}</header><div id="hosts-list" data-live>${body}${shown.pages > 1 && html`<footer>${turn}</footer>`}</div></section>`;
}

function form({ q, state, labels, sort, vm }: FleetFilter): Markup {
  const states = [
    'wrong',
    'up',
    'degraded',
    'down',
    'auth-failed',
    'host-key-mismatch',
    'connecting',
    'maintenance',
  ];
  const options = states.map((one) => html`<option${one === state && html` selected`}>${one}</option>`);
  return html`<form class="filter" action="/" data-filter role="search" aria-label="Hosts"><input type="search" name="q" value="${q}" maxlength="255" placeholder="Name, address, label" aria-label="Filter hosts by name, address or label"><select name="state" aria-label="State"><option value="">Any state</option>${options}</select>${labels.map(
    (label) =>
      html`<label class="tag"><input type="checkbox" name="label" value="${label}" checked>${label}</label>`,
  )}${sort && html`<input type="hidden" name="sort" value="${sort}">`}${vm && html`<input type="hidden" name="vm" value="${vm}">`}<button>Filter</button></form>`;
}

function matches(host: Host, { q, state, labels }: FleetFilter): boolean {
  const isWrong =
    (host.state !== 'up' && host.state !== 'maintenance') || (host.state === 'up' && host.stale);
  if (state && (state === 'wrong' ? !isWrong : host.state !== state)) return false;
  for (const label of labels) {
    const at = label.indexOf('=');
    const [key, value] = at < 0 ? [label, undefined] : [label.slice(0, at), label.slice(at + 1)];
    if (!Object.hasOwn(host.labels, key) || (value !== undefined && host.labels[key] !== value)) return false;
  }
  const text = [
    host.name,
    host.address,
    ...host.groups,
    ...Object.entries(host.labels).map((pair) => pair.join('=')),
  ];
  return !q || text.join('\n').toLowerCase().includes(q.toLowerCase());
}

const stateOrder: readonly Host['state'][] = [
  'host-key-mismatch',
  'down',
  'auth-failed',
  'degraded',
  'connecting',
  'maintenance',
  'up',
];

const figures: Readonly<Record<string, (host: Host) => number | undefined>> = {
  state: (host) => stateOrder.indexOf(host.state),
  age: (host) => host.sampleAgeSeconds,
  vms: (host) => host.vms?.total,
  load: loadOfCpus,
  memory: memoryPercent,
  disk: (host) => diskOf(host)?.usedPercent,
};

/** By name within the same figure; what has no figure comes last, whichever way round. */
function sorted(hosts: Host[], sort: string): Host[] {
  const falling = sort.startsWith('-');
  const by = falling ? sort.slice(1) : sort;
  const figure = Object.hasOwn(figures, by) ? figures[by] : undefined;
  if (!figure) return falling ? hosts.reverse() : hosts;
  const known = hosts.map((host) => ({ host, value: figure(host) }));
  known.sort((a, b) => {
    if (a.value === undefined || b.value === undefined)
      return Number(a.value === undefined) - Number(b.value === undefined);
    return falling ? b.value - a.value : a.value - b.value;
  });
  return known.map(({ host }) => host);
}

function row(host: Host, history: History, nowMs: number): Markup {
  const sampledMs = host.sampledAt === undefined ? undefined : Date.parse(host.sampledAt);
  const memory = memoryPercent(host);
  const disk = diskOf(host);
  const load = host.load?.one;
  const cpus = host.cpus;
  const loadTitle = cpus !== undefined && html` title="${counted(cpus, 'CPU')}"`;
  const memoryTitle =
    host.memory &&
    html` title="${bytes(host.memory.availableBytes)} of ${bytes(host.memory.totalBytes)} available"`;
  const diskTitle =
    disk &&
    html` title="${disk.mountpoint}: ${bytes(disk.availableBytes)} of ${bytes(disk.sizeBytes)} available"`;
  return html`<tr data-key="${host.name}"><th scope="row" class="name"><a href="${path('hosts', host.name)}">${host.name}</a></th><td>${hostState(host)}</td><td class="num${host.stale && ' muted'}">${ago(sampledMs, nowMs)}</td><td class="num">${host.vms ? html`${count(host.vms.running)}<span class="muted">/${count(host.vms.total)}</span>` : unknown}</td><td class="num"${loadTitle}>${plain(load)}${cpus !== undefined && load !== undefined && html`<span class="muted">/${cpus}</span>`}</td><td class="p3">${sparkline(history.host(host.name, 'load1'), cpus)}</td><td class="num gauge"${memoryTitle}>${percent(memory)}${bar(memory)}</td><td class="num gauge p2"${diskTitle}>${percent(disk?.usedPercent)}${bar(disk?.usedPercent)}</td><td class="p3 muted small">${labelsOf(host)}</td></tr>`;
}

const labelsShown = 3;

function labelsOf({ labels }: Host): string {
  const pairs = Object.entries(labels).map((pair) => pair.join('='));
  return pairs.length > labelsShown ? `${pairs.slice(0, labelsShown).join(', ')} …` : pairs.join(', ');
}

function loadOfCpus({ load, cpus }: Host): number | undefined {
  return load && load.one / (cpus || 1);
}

export function memoryPercent({ memory }: Host): number | undefined {
  return memory && memory.totalBytes > 0
    ? percentAll * (1 - memory.availableBytes / memory.totalBytes)
    : undefined;
}

type Disk = NonNullable<Host['filesystems']>[number] & { usedPercent: number };

export function diskOf({ filesystems }: Host): Disk | undefined {
  const [fullest] = filesystems ?? [];
  return (
    fullest && { ...fullest, usedPercent: percentAll * (1 - fullest.availableBytes / fullest.sizeBytes) }
  );
}
