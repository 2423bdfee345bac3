// One VM: its state, what can be done with it, graphs of the last hour, identity, devices, recent events and jobs; and the page
// that asks before an operation is sent, for browsers without scripts.
import type { History, VmSeries } from '../../fleet/history.js';
import type { RecentEvent } from '../../fleet/recent-events.js';
import type { Host, Job, Vm } from '../api/schemas.js';
import type { VmSince } from '../vms-past.js';
import { chart } from './chart.js';
import { eventsShownMax, jobsOf } from './host.js';
import { html, type Markup, path, query } from './html.js';
import { page, type Viewer } from './layout.js';
import { type ConfirmForm, confirmForm, operationButtons } from './operations.js';
import { eventsList, facts, hostState, vmStateChip } from './parts.js';
import { throughputCharts } from './throughput.js';
import { ago, bytes, percent } from './words.js';

export type VmPageInput = {
  viewer: Viewer;
  host: Host;
  vm: Vm;
  since: VmSince | undefined;
  storeUp: boolean;
  events: readonly RecentEvent[];
  jobs: readonly Job[] | undefined;
  history: History;
};

const refreshMs = 1_000;

export function vmPage(input: VmPageInput): string {
  const { viewer, host, vm, since, events, jobs, storeUp } = input;
  const { nowMs, principal } = viewer;
  return page({
    viewer,
    title: `${vm.name} on ${vm.host}`,
    stream: `/api/v1/stream${query({ host: vm.host })}`,
    refreshMs,
    main: html`<div id="head" data-live class="stack">${crumbs(vm)}<div class="title"><h1><bdi>${vm.name}</bdi></h1>${vmStateChip(vm)}<span class="muted">${since?.stateSinceMs !== undefined && html`since ${ago(since.stateSinceMs, nowMs)} · `}${vm.reason && `${vm.reason} · `}sample ${ago(Date.parse(vm.sampledAt), nowMs)}</span></div>${notes(host, vm)}</div>
<section class="card" id="operations" data-live aria-label="Operations"><div class="body stack">${principal && operationButtons(host, vm, principal, storeUp)}</div></section>
<div class="columns wide-left">
<section class="card" id="graphs" data-live aria-labelledby="graphs-title"><header><h2 id="graphs-title">Last hour</h2></header><div class="body charts">${graphs(input)}</div></section>
<section class="card" id="facts" data-live aria-labelledby="facts-title"><header><h2 id="facts-title">Identity</h2></header><div class="body">${factsOf(host, vm)}</div></section>
</div>
<div class="columns">
<section class="card" id="events" data-live aria-labelledby="events-title"><header><h2 id="events-title">Recent events</h2></header>${eventsList(events.slice(0, eventsShownMax), vm.host, nowMs)}</section>
<section class="card" id="jobs" data-live aria-labelledby="jobs-title"><header><h2 id="jobs-title">Recent jobs</h2><a class="small" href="/jobs${query({ host: vm.host, vm: vm.name })}">All of this VM</a></header>${jobsOf(jobs, nowMs, 'vm')}</section>
</div>`,
  });
}

function crumbs(vm: Vm): Markup {
  return html`<p class="crumbs"><a href="/">Fleet</a> / <a href="${path('hosts', vm.host)}">${vm.host}</a> / VMs</p>`;
}

function notes(host: Host, vm: Vm): Markup {
  if (vm.stale) {
    return html`<p class="note note-warn">Its host does not answer: this is what was seen last. <a href="${path('hosts', host.name)}">See ${host.name}</a></p>`;
  }
  if (vm.busy) {
    return html`<p class="note note-warn">libvirt could not ask its QEMU process: figures are missing. A disk, a backup or a migration may hold it.</p>`;
  }
  return html``;
}

function graphs({ vm, history }: VmPageInput): Markup[] {
  const of = (series: VmSeries) => history.vm(vm.host, vm.uuid, series);
  const empty =
    vm.state === 'shutoff'
      ? 'Nothing to draw: it is switched off.'
      : 'Nothing to draw yet: a point comes every minute.';
  return [
    chart({
      title: 'CPU',
      lines: [{ name: 'cpu', points: of('cpuPercent') }],
      say: percent,
      top: vm.vcpus ? vm.vcpus * 100 : undefined,
      empty,
    }),
    chart({
      title: 'Memory used',
      lines: [{ name: 'memory', points: of('memoryUsedBytes') }],
      say: bytes,
      top: vm.memory.maximumBytes,
      empty,
    }),
    ...throughputCharts(of, empty),
  ];
}

const devicesShownMax = 8;

function factsOf(host: Host, vm: Vm): Markup {
  const disks = vm.disks
    .slice(0, devicesShownMax)
    .map(
      ({ device, capacityBytes, allocationBytes }) =>
        html`<div><code>${device}</code> ${bytes(capacityBytes)}${allocationBytes !== undefined && `, ${bytes(allocationBytes)} on disk`}</div>`,
    );
  const nets = vm.interfaces
    .slice(0, devicesShownMax)
    .map(
      ({ device, receivedBytesTotal, transmittedBytesTotal }) =>
        html`<div><code>${device}</code> ${bytes(receivedBytesTotal)} in, ${bytes(transmittedBytesTotal)} out</div>`,
    );
  return facts([
    ['UUID', html`<code>${vm.uuid}</code>`],
    ['Host', html`<a href="${path('hosts', host.name)}">${host.name}</a> ${hostState(host)}`],
    ['vCPUs', vm.vcpus === undefined ? undefined : String(vm.vcpus)],
    [
      'Memory',
      vm.memory.maximumBytes === undefined
        ? undefined
        : `${bytes(vm.memory.currentBytes)} of ${bytes(vm.memory.maximumBytes)}`,
    ],
    ['Disks', disks.length > 0 ? html`${disks}` : undefined],
    ['Interfaces', nets.length > 0 ? html`${nets}` : undefined],
    ['Command line', html`<code>outrigger vm info ${vm.host}/${vm.name} --wait</code>`],
  ]);
}

export function confirmPage({ viewer, ...form }: ConfirmForm & { viewer: Viewer }): string {
  const { operation, vm } = form;
  return page({
    viewer,
    title: `${operation.title} ${vm.name}?`,
    main: html`${crumbs(vm)}<section class="card narrow"><div class="body">${confirmForm(form)}</div></section>`,
  });
}
