// The VMs of the fleet: found by name, UUID or host, sorted and paged on the server, for there may be 20,000.
import type { History, VmSeries } from '../../fleet/history.js';
import { sparkline } from './chart.js';
import { html, type Markup, path, query } from './html.js';
import { page, type Viewer } from './layout.js';
import type { VmRow } from './model.js';
import { paged, pager, sortable, table, vmStateChip } from './parts.js';
import { bytes, bytesPerSecond, count, percent, unknown } from './words.js';

export const vmsPerPage = 100;
const vmsPerPageShort = 12;
/** Figures change with each sample, which the stream of VMs does not tell. */
const alsoEveryMs = 15_000;

export type VmFilter = { q: string; state: string; sort: string; page: number };
type Input = { vms: readonly VmRow[]; history: History; filter: VmFilter; nowMs: number };

export function vmsPage(input: Input & { viewer: Viewer }): string {
  return page({
    viewer: input.viewer,
    title: 'VMs',
    section: 'vms',
    stream: '/api/v1/stream?topic=vms',
    alsoEveryMs,
    main: html`<h1 class="hidden-text">VMs</h1>${vmsSection({ ...input, short: false })}`,
  });
}

/** `short`: the first few, for the fleet page, where the search is of its own. */
export function vmsSection({ vms, history, filter, short }: Input & { short: boolean }): Markup {
  const found = sorted(
    vms.filter((vm) => matches(vm, filter)),
    filter.sort,
    history,
  );
  const shown = paged(found, filter.page, short ? vmsPerPageShort : vmsPerPage);
  const body =
    shown.total > 0
      ? vmsTable(shown.rows, history, { sort: short ? undefined : filter })
      : html`<p class="empty">${vms.length === 0 ? 'No VMs yet: they show up with the first poll of their host.' : 'No VM matches.'}</p>`;
  const parameters = { q: filter.q, state: filter.state, sort: filter.sort };
  const more = short
    ? shown.pages > 1 &&
      html`<footer class="small"><a href="/vms${query({ q: filter.q })}">All ${count(shown.total)} ${filter.q ? 'that match' : 'VMs'}</a></footer>`
    : shown.pages > 1 && html`<footer>${pager(shown, { what: 'VMs', base: '/vms', parameters })}</footer>`;
  return html`<section class="card" id="vms" aria-labelledby="vms-title"><header><h2 id="vms-title">VMs</h2>${short ? shortForm(filter.q) : form(filter)}</header><div id="vms-list" data-live>${body}${more}</div></section>`;
}

function shortForm(q: string): Markup {
  return html`<form class="filter" action="/" data-filter role="search" aria-label="VMs"><input type="search" name="vm" value="${q}" maxlength="255" placeholder="Name, UUID or host" aria-label="Find VMs by name, UUID or host"><button>Find</button></form>`;
}

function form({ q, state, sort }: VmFilter): Markup {
  const states = [
    'running',
    'paused',
    'shutoff',
    'crashed',
    'busy',
    'pmsuspended',
    'shutdown',
    'blocked',
    'unknown',
  ];
  return html`<form class="filter" action="/vms" data-filter role="search" aria-label="VMs"><input type="search" name="q" value="${q}" maxlength="255" placeholder="Name, UUID or host" aria-label="Find VMs by name, UUID or host"><select name="state" aria-label="State"><option value="">Any state</option>${states.map((one) => html`<option${one === state && html` selected`}>${one}</option>`)}</select>${sort && html`<input type="hidden" name="sort" value="${sort}">`}<button>Find</button></form>`;
}

function matches(vm: VmRow, { q, state }: VmFilter): boolean {
  if (state && (state === 'busy' ? !vm.busy : vm.state !== state)) return false;
  if (!q) return true;
  const wanted = q.toLowerCase();
  return [vm.name, vm.uuid, vm.host, `${vm.host}/${vm.name}`].some((text) =>
    text.toLowerCase().includes(wanted),
  );
}

type Figure = (vm: VmRow, history: History) => number | string | undefined;
const ofHistory = (series: VmSeries) => (vm: VmRow, history: History) =>
  history.latestOfVm(vm.host, vm.uuid, series);

const figures: Readonly<Record<string, Figure>> = {
  name: ({ name }) => name,
  state: ({ state }) => state,
  vcpus: ({ vcpus }) => vcpus,
  cpu: ofHistory('cpuPercent'),
  memory: ofHistory('memoryUsedBytes'),
  disk: (vm, history) => io(vm, history, 'disk'),
  net: (vm, history) => io(vm, history, 'net'),
};

function io({ host, uuid }: VmRow, history: History, kind: 'disk' | 'net'): number | undefined {
  const [a, b] = (
    kind === 'disk'
      ? (['diskReadBytesPerSecond', 'diskWriteBytesPerSecond'] as const)
      : (['netReceiveBytesPerSecond', 'netTransmitBytesPerSecond'] as const)
  ).map((series) => history.latestOfVm(host, uuid, series));
  return a === undefined && b === undefined ? undefined : (a ?? 0) + (b ?? 0);
}

/** As they come (by host and name) without a figure; what is not known comes last, whichever way round. */
function sorted(vms: VmRow[], sort: string, history: History): VmRow[] {
  const falling = sort.startsWith('-');
  const by = falling ? sort.slice(1) : sort;
  const figure = Object.hasOwn(figures, by) ? figures[by] : undefined;
  if (!figure) return falling ? vms.reverse() : vms;
  const known = vms.map((vm) => ({ vm, value: figure(vm, history) }));
  known.sort(({ value: a }, { value: b }) => {
    if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
    const order = a < b ? -1 : a > b ? 1 : 0;
    return falling ? -order : order;
  });
  return known.map(({ vm }) => vm);
}

export function vmsTable(
  vms: readonly VmRow[],
  history: History,
  { sort, ofHost = false }: { sort?: VmFilter | undefined; ofHost?: boolean } = {},
): Markup {
  const heading = (text: string, column: string, className = '') =>
    sort
      ? sortable(text, column, {
          sort: sort.sort || 'host',
          url: (to) => `/vms${query({ q: sort.q, state: sort.state, sort: to === 'host' ? undefined : to })}`,
          className,
        })
      : html`<th scope="col" class="${className}">${text}</th>`;
  const head = html`${heading('VM', 'name')}${!ofHost && heading('Host', 'host')}${heading('State', 'state')}${heading('CPU', 'cpu', 'num')}<th scope="col" class="p3">CPU, last hour</th>${heading('Memory', 'memory', 'num p2')}${heading('Disk I/O', 'disk', 'num p2')}${heading('Network', 'net', 'num p3')}`;
  const rows = vms.map((vm) => {
    const { host, uuid, name } = vm;
    const latest = (series: VmSeries) => history.latestOfVm(host, uuid, series);
    const on = !ofHost && html`<td class="name"><a href="${path('hosts', host)}">${host}</a></td>`;
    const cells = vm.stale
      ? html`<td class="num muted">${unknown}</td><td class="p3"></td><td class="num muted p2">${unknown}</td><td class="num muted p2">${unknown}</td><td class="num muted p3">${unknown}</td>`
      : html`<td class="num">${percent(latest('cpuPercent'))}</td><td class="p3">${sparkline(history.vm(host, uuid, 'cpuPercent'), 100 * (vm.vcpus ?? 1))}</td><td class="num p2">${bytes(latest('memoryUsedBytes'))}<span class="muted">/${bytes(vm.memoryMaximumBytes)}</span></td><td class="num p2">${bytesPerSecond(io(vm, history, 'disk'))}</td><td class="num p3">${bytesPerSecond(io(vm, history, 'net'))}</td>`;
    return html`<tr data-key="${host}/${uuid}"><th scope="row" class="name"><a href="${path('vms', host, uuid)}"><bdi>${name}</bdi></a></th>${on}<td>${vmStateChip(vm)}</td>${cells}</tr>`;
  });
  return table('Table of VMs', head, rows);
}
