// One host: its state with cause and what helps, facts, graphs of the last hour, its VMs, recent events and jobs.
import type { History, HostSeries } from '../../fleet/history.js';
import type { RecentEvent } from '../../fleet/recent-events.js';
import type { Host, Job } from '../api/schemas.js';
import { bar, chart } from './chart.js';
import { wrongItem } from './fleet.js';
import { diskOf, memoryPercent } from './hosts-table.js';
import { html, type Markup, path, query } from './html.js';
import { page, type Viewer } from './layout.js';
import type { VmRow } from './model.js';
import { eventsList, facts, hostState, jobsTable, paged, pager, storeAway, tags } from './parts.js';
import { throughputCharts } from './throughput.js';
import { vmsPerPage, vmsTable } from './vms.js';
import { ago, bytes, counted, duration, percent, plain } from './words.js';
import type { Wrong } from './wrong.js';

export type HostPageInput = {
  viewer: Viewer;
  host: Host;
  /** Of this host and its VMs. */
  wrong: readonly Wrong[];
  vms: readonly VmRow[];
  vmPage: number;
  events: readonly RecentEvent[];
  jobs: readonly Job[] | undefined;
  history: History;
};

export function hostPage(input: HostPageInput): string {
  const { viewer, host, events, jobs } = input;
  const { nowMs } = viewer;
  return page({
    viewer,
    title: host.name,
    stream: `/api/v1/stream${query({ host: host.name })}`,
    main: html`<div id="head" data-live class="stack"><p class="crumbs"><a href="/">Fleet</a> / hosts</p><div class="title"><h1>${host.name}</h1>${hostState(host)}<span class="muted">since ${ago(Date.parse(host.since), nowMs)}</span></div>
${wrongCard(input)}</div>
<div class="columns wide-left">
<section class="card" id="graphs" data-live aria-labelledby="graphs-title"><header><h2 id="graphs-title">Last hour</h2></header><div class="body charts">${graphs(input)}</div></section>
<section class="card" id="facts" data-live aria-labelledby="facts-title"><header><h2 id="facts-title">Facts</h2></header><div class="body">${factsOf(host, nowMs)}</div></section>
</div>
${vmsOf(input)}
<div class="columns">
<section class="card" id="events" data-live aria-labelledby="events-title"><header><h2 id="events-title">Recent events</h2></header>${eventsList(events.slice(0, eventsShownMax), host.name, nowMs)}</section>
<section class="card" id="jobs" data-live aria-labelledby="jobs-title"><header><h2 id="jobs-title">Recent jobs</h2><a class="small" href="/jobs${query({ host: host.name })}">All of this host</a></header>${jobsOf(jobs, nowMs, 'host')}</section>
</div>`,
  });
}

export const eventsShownMax = 20;

export function jobsOf(jobs: readonly Job[] | undefined, nowMs: number, of: 'host' | 'vm'): Markup {
  if (jobs === undefined) return storeAway();
  if (jobs.length === 0) return html`<p class="empty">No jobs here yet.</p>`;
  return jobsTable(jobs, nowMs, of);
}

function wrongCard({ wrong, viewer }: HostPageInput): Markup {
  if (wrong.length === 0) return html``;
  const level = wrong.some(({ severity }) => severity === 'severe') ? '' : 'minor';
  return html`<section class="card wrong ${level}" data-key="wrong" aria-labelledby="wrong-title"><header><h2 id="wrong-title" aria-live="polite">What is wrong here</h2></header><ul class="problems">${wrong.map((one) => wrongItem(one, viewer.nowMs))}</ul></section>`;
}

function vmsOf({ host, vms, vmPage, history }: HostPageInput): Markup {
  const shown = paged(vms, vmPage, vmsPerPage);
  const body =
    vms.length > 0
      ? vmsTable(shown.rows, history, { ofHost: true })
      : html`<p class="empty">${host.vms ? 'This host has no VMs.' : 'Its VMs are not known yet: libvirt has not been read.'}</p>`;
  const turn = pager(shown, { what: 'VMs', base: path('hosts', host.name), parameters: {} });
  return html`<section class="card" id="vms" data-live aria-labelledby="vms-title"><header><h2 id="vms-title">${counted(vms.length, 'VM')}</h2></header>${body}${shown.pages > 1 && html`<footer>${turn}</footer>`}</section>`;
}

function graphs({ host, history }: HostPageInput): Markup[] {
  const of = (series: HostSeries) => history.host(host.name, series);
  return [
    chart({
      title: host.cpus ? `Load, ${counted(host.cpus, 'CPU')}` : 'Load',
      lines: [{ name: 'load', points: of('load1') }],
      say: plain,
    }),
    chart({ title: 'CPU', lines: [{ name: 'cpu', points: of('cpuPercent') }], say: percent, top: 100 }),
    chart({
      title: 'Memory used',
      lines: [{ name: 'memory', points: of('memoryUsedBytes') }],
      say: bytes,
      top: host.memory?.totalBytes,
    }),
    chart({
      title: 'Fullest filesystem',
      lines: [{ name: 'disk', points: of('diskUsedPercent') }],
      say: percent,
      top: 100,
    }),
    ...throughputCharts(of),
  ];
}

const filesystemsShownMax = 6;

function factsOf(host: Host, nowMs: number): Markup {
  const { memory, load } = host;
  const disk = diskOf(host);
  const used = memoryPercent(host);
  const filesystems = host.filesystems
    ?.slice(0, filesystemsShownMax)
    .map(
      ({ mountpoint, sizeBytes, availableBytes }) =>
        html`<div><code>${mountpoint}</code> ${bytes(availableBytes)} of ${bytes(sizeBytes)} free</div>`,
    );
  const parts = (['ssh', 'libvirt', 'files'] as const)
    .map((part) => `${part} ${host[part] ? 'open' : 'closed'}`)
    .join(', ');
  return facts([
    ['Address', host.address],
    ['Connection', host.via ? `${parts} (via ${host.via})` : parts],
    ['Newest sample', ago(host.sampledAt === undefined ? undefined : Date.parse(host.sampledAt), nowMs)],
    ['Jobs', host.ops.allowed ? 'taken' : `refused: ${host.ops.why ?? 'only watched'}`],
    ['VMs', host.vms && `${host.vms.running} of ${host.vms.total} running`],
    ['Load', load && `${plain(load.one)}, ${plain(load.five)}, ${plain(load.fifteen)}`],
    ['Memory', memory && html`${percent(used)} of ${bytes(memory.totalBytes)}${bar(used)}`],
    ['Filesystems', disk && html`${filesystems}`],
    ['Uptime', host.uptimeSeconds === undefined ? undefined : duration(host.uptimeSeconds * 1000)],
    ['System', host.os],
    ['Kernel', host.kernel],
    ['Groups', host.groups.length > 0 ? host.groups.join(', ') : undefined],
    ['Labels', tags(host.labels)],
    ['Not readable', host.problems && html`${host.problems.map((problem) => html`<div>${problem}</div>`)}`],
  ]);
}
