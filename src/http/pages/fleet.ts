// The fleet page: what is wrong now, then hosts, VMs, jobs and the queue. What is wrong comes before any filter: a shared link
// must not hide it. Pure: from the model to HTML.
import type { History } from '../../fleet/history.js';
import type { Host, Job, QueueState } from '../api/schemas.js';
import { chart } from './chart.js';
import { hostsSection } from './hosts-table.js';
import { html, type Markup, query } from './html.js';
import { page, type Viewer } from './layout.js';
import type { VmRow } from './model.js';
import { jobsTable, storeAway } from './parts.js';
import { runbookPath } from './runbooks.js';
import { vmsSection } from './vms.js';
import { ago, count, counted, plain } from './words.js';
import type { Wrong } from './wrong.js';

/** A larger fleet's samples are not streamed, for that would be some 100 KB a second: its page looks by itself. */
const hostsStreamedMax = 200;
const alsoEveryMs = 15_000;
/** More problems than these are a number. */
const wrongShownMax = 50;

export type FleetPageInput = {
  viewer: Viewer;
  filter: FleetFilter;
  hosts: readonly Host[];
  vms: readonly VmRow[];
  wrong: readonly Wrong[];
  /** Wall milliseconds of the oldest newest sample: how fresh "all is well" is. Undefined: nothing was seen yet. */
  freshMs: number | undefined;
  /** Undefined while the store is away. */
  jobs: readonly Job[] | undefined;
  queue: QueueState | undefined;
  history: History;
};

export type FleetFilter = {
  q: string;
  state: string;
  labels: readonly string[];
  sort: string;
  page: number;
  vm: string;
};

export function fleetPage(input: FleetPageInput): string {
  const { viewer, hosts, vms, filter, history } = input;
  const large = hosts.length > hostsStreamedMax;
  return page({
    viewer,
    title: input.wrong.length > 0 ? `${counted(input.wrong.length, 'problem')} now` : 'Fleet',
    section: 'fleet',
    stream: `/api/v1/stream${query({ topic: large ? ['vms', 'jobs'] : [] })}`,
    alsoEveryMs: large ? alsoEveryMs : undefined,
    main: html`<h1 class="hidden-text">Fleet</h1>
${wrongSection(input)}
${hostsSection({ hosts, history, filter, nowMs: viewer.nowMs })}
<div class="columns wide-left">
${vmsSection({ vms, history, filter: { q: filter.vm, state: '', sort: '', page: 1 }, nowMs: viewer.nowMs, short: true })}
<div>${queueSection(input)}</div>
</div>
${jobsSection(input)}`,
  });
}

function wrongSection({ wrong, hosts, vms, freshMs, viewer }: FleetPageInput): Markup {
  const severe = wrong.filter(({ severity }) => severity === 'severe').length;
  const level = severe > 0 ? '' : wrong.length > 0 ? 'minor' : 'well';
  const heading =
    wrong.length === 0
      ? hosts.length === 0
        ? 'No hosts yet'
        : 'Nothing is wrong'
      : `What is wrong now: ${count(wrong.length)}`;
  const numbers = html`<p class="muted small">${hostsUp(hosts)} · ${counted(vms.length, 'VM')}, ${count(vms.filter(({ state }) => state === 'running').length)} running</p>`;
  return html`<section class="card wrong ${level}" id="wrong" data-live aria-labelledby="wrong-title"><header><h2 id="wrong-title" aria-live="polite">${heading}</h2>${numbers}</header>${wrongBody(wrong, hosts, freshMs, viewer.nowMs)}</section>`;
}

function hostsUp(hosts: readonly Host[]): string {
  return `${counted(hosts.length, 'host')}, ${count(hosts.filter(({ state }) => state === 'up').length)} up`;
}

function wrongBody(
  wrong: readonly Wrong[],
  hosts: readonly Host[],
  freshMs: number | undefined,
  nowMs: number,
): Markup {
  if (wrong.length === 0 && hosts.length === 0) {
    return html`<p class="empty">Put your first host into the inventory file and run <code>outrigger enroll HOST</code>; it shows up here by itself.</p>`;
  }
  if (wrong.length === 0) {
    const fresh =
      freshMs === undefined
        ? 'No host has been polled yet.'
        : html`Every figure on this page is from ${ago(freshMs, nowMs)} or later.`;
    return html`<p class="empty">All hosts that should answer do, no VM has crashed or hangs, and no job failed in the last hour. ${fresh}</p>`;
  }
  const more = wrong.length - wrongShownMax;
  return html`<ul class="problems">${wrong.slice(0, wrongShownMax).map((one) => wrongItem(one, nowMs))}</ul>${
    more > 0 &&
    html`<footer class="muted small">and ${count(more)} more of lesser weight: filter the hosts by state to see them.</footer>`
  }`;
}

export function wrongItem(
  { key, severity, label, what, href, why, sinceMs, hint, command, runbook }: Wrong,
  nowMs: number,
): Markup {
  const chip = html`<span class="state state-${severity === 'severe' ? 'bad' : 'warn'}"><i aria-hidden="true">${severity === 'severe' ? '■' : '▲'}</i>${label}<span class="hidden-text">, ${severity}: </span></span>`;
  const link = html`<a href="${runbookPath(runbook)}">Runbook<span class="hidden-text">: ${runbook}</span></a>`;
  const help = html`<span class="help">${hint} ${command && html`<code>${command}</code> `}${link}</span>`;
  return html`<li data-key="${key}"><span>${chip}</span><span class="what">${href ? html`<a href="${href}">${what}</a>` : what}</span><span class="since">${sinceMs !== undefined && ago(sinceMs, nowMs)}</span>${why && html`<span class="why">${why}</span>`}${help}</li>`;
}

function jobsSection({ jobs, viewer }: FleetPageInput): Markup {
  const body =
    jobs === undefined
      ? storeAway()
      : jobs.length === 0
        ? html`<p class="empty">No jobs yet. Open a VM to start, stop or snapshot it, or run <code>outrigger vm stop HOST/VM --wait</code>.</p>`
        : jobsTable(jobs, viewer.nowMs);
  return html`<section class="card" id="jobs" data-live aria-labelledby="jobs-title"><header><h2 id="jobs-title">Newest jobs</h2><a class="small" href="/jobs">All jobs</a></header>${body}</section>`;
}

function queueSection({ queue, history, viewer }: FleetPageInput): Markup {
  if (viewer.principal?.confined) return html``;
  const numbers = queue
    ? html`<dl class="numbers">${(['waiting', 'active', 'delayed', 'failed'] as const).map((name) => html`<div><dt>${name}</dt><dd>${count(queue[name])}</dd></div>`)}</dl>`
    : html`<p class="muted">The store is away: the queue cannot be read now.</p>`;
  const oldest =
    queue?.oldestWaitingSeconds !== undefined &&
    html`<p class="small muted">The oldest has waited for ${plain(queue.oldestWaitingSeconds)} s.</p>`;
  const lines = [
    { name: 'waiting', points: history.fleet('jobsWaiting') },
    { name: 'running', points: history.fleet('jobsActive') },
  ];
  return html`<section class="card" id="queue" data-live aria-labelledby="queue-title"><header><h2 id="queue-title">Job queue</h2><a class="small" href="/jobs${query({ state: 'failed' })}">Failed jobs</a></header><div class="body stack">${numbers}${oldest}${chart({ title: 'Depth, last hour', lines, say: plain })}</div></section>`;
}
