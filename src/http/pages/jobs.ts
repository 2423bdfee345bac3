// The jobs as a list, filtered through the address, and one job with its steps as they come.
import type { Job } from '../api/schemas.js';
import { jobStates } from '../api/schemas.js';
import { html, type Markup, path, query } from './html.js';
import { hidden, page, type Viewer } from './layout.js';
import { facts, jobState, jobsTable, storeAway, target } from './parts.js';
import { ago, duration } from './words.js';

export const jobsPerPage = 100;

export type JobsPageInput = {
  viewer: Viewer;
  filter: { host: string; vm: string; op: string; state: string; cursor: string };
  /** Undefined while the store is away. */
  jobs: readonly Job[] | undefined;
  next: string | undefined;
};

export function jobsPage({ viewer, filter, jobs, next }: JobsPageInput): string {
  const { cursor, ...parameters } = filter;
  const filtered = Object.values(parameters).some(Boolean);
  const body =
    jobs === undefined
      ? storeAway()
      : jobs.length > 0
        ? jobsTable(jobs, viewer.nowMs)
        : filtered
          ? html`<p class="empty">No job matches. <a href="/jobs">Show all</a></p>`
          : html`<p class="empty">No jobs yet. Open a VM to start, stop or snapshot it.</p>`;
  const first = cursor && html`<a href="/jobs${query(parameters)}">Newest</a>`;
  const older =
    next !== undefined &&
    html`<a rel="next" href="/jobs${query({ ...parameters, cursor: next })}">Older →</a>`;
  const turn =
    (first || older) &&
    html`<footer><nav class="pager small" aria-label="Pages of jobs"><span>${first}</span><span>${older}</span></nav></footer>`;
  return page({
    viewer,
    title: 'Jobs',
    section: 'jobs',
    stream: '/api/v1/stream?topic=jobs',
    main: html`<h1 class="hidden-text">Jobs</h1><section class="card" id="jobs" aria-labelledby="jobs-title"><header><h2 id="jobs-title">Jobs</h2>${form(parameters)}</header><div id="jobs-list" data-live>${body}${turn}</div></section>`,
  });
}

function form({ host, vm, op, state }: Record<'host' | 'vm' | 'op' | 'state', string>): Markup {
  const text = (name: string, value: string, label: string) =>
    html`<input type="search" name="${name}" value="${value}" maxlength="255" placeholder="${label}" aria-label="${label}">`;
  return html`<form class="filter" action="/jobs" data-filter role="search" aria-label="Jobs">${text('host', host, 'Host')}${text('vm', vm, 'VM')}${text('op', op, 'Operation')}<select name="state" aria-label="State"><option value="">Any state</option>${jobStates.map((one) => html`<option${one === state && html` selected`}>${one}</option>`)}</select><button>Filter</button></form>`;
}

export type JobPageInput = {
  viewer: Viewer;
  job: Job;
  /** What became of a wish just sent. */
  message?: string | undefined;
};

const refreshMs = 400;

export function jobPage({ viewer, job, message }: JobPageInput): string {
  const { nowMs, principal } = viewer;
  const ended = job.state === 'completed' || job.state === 'failed';
  const mayCancel = principal?.mayOp(job.op) && !ended && job.cancel !== 'too-late';
  const on = job.vm ?? job.host ?? '';
  return page({
    viewer,
    title: `${job.op} ${on}`,
    section: 'jobs',
    stream: `/api/v1/stream${query({ job: job.id })}`,
    refreshMs,
    main: html`<div id="head" data-live class="stack"><p class="crumbs"><a href="/">Fleet</a> / <a href="/jobs">Jobs</a></p><div class="title"><h1>${job.op} <bdi>${on}</bdi></h1>${jobState(job)}${job.dryRun && html`<span class="tag">dry run</span>`}<span class="muted">asked for ${ago(Date.parse(job.createdAt), nowMs)}</span></div>
${message && html`<p class="note" data-key="message">${message}</p>`}${endNote(job)}</div>
<div class="columns wide-left">
<section class="card" id="steps" data-live aria-labelledby="steps-title"><header><h2 id="steps-title">Steps</h2>${mayCancel && cancelForm(job, viewer)}</header>${steps(job, nowMs)}</section>
<section class="card" id="facts" data-live aria-labelledby="facts-title"><header><h2 id="facts-title">Request</h2></header><div class="body">${factsOf(job, nowMs)}</div></section>
</div>
${job.result && html`<section class="card" id="result" data-live aria-labelledby="result-title"><header><h2 id="result-title">Result</h2></header><div class="body"><pre tabindex="0" aria-label="Result as JSON">${JSON.stringify({ before: job.result.before, after: job.result.after, data: job.result.data }, null, 2)}</pre></div></section>`}`,
  });
}

function endNote(job: Job): Markup {
  if (job.failure) {
    const level = job.failure.code === 'CANCELLED' ? 'warn' : 'bad';
    return html`<p class="note note-${level}" data-key="end"><b>${job.failure.code}</b> ${job.failure.message}</p>`;
  }
  if (!job.result) return html``;
  const words = {
    changed: 'Done: it is so now and was not before.',
    unchanged: 'Nothing had to be done: it was so already.',
    planned: 'A dry run: this is what would be done.',
  };
  return html`<p class="note note-ok" data-key="end">${words[job.result.outcome]} It took ${duration(job.result.durationMs)}.</p>`;
}

function cancelForm(job: Job, { csrf }: Viewer): Markup {
  const title = job.cancel === 'maybe' && 'It runs: it can be cancelled until its first act has been sent';
  return html`<form method="post" action="${path('jobs', job.id, 'cancel')}">${hidden(csrf)}<button title="${title}">Cancel the job</button></form>`;
}

function steps({ steps: taken, result, state }: Job, nowMs: number): Markup {
  const shown = result ? result.steps : taken;
  if (shown.length === 0) {
    return html`<p class="empty">${state === 'waiting' || state === 'delayed' ? 'It waits for its turn: one job at a time changes a VM.' : 'No steps.'}</p>`;
  }
  return html`<ol class="steps body">${shown.map(({ at, step }) => html`<li>${ago(Date.parse(at), nowMs)}<span>${step}</span></li>`)}</ol>`;
}

function factsOf(job: Job, nowMs: number): Markup {
  const { params = {}, result } = job;
  const time = (at: string | undefined) => at && ago(Date.parse(at), nowMs);
  return facts([
    ['Operation', job.op],
    ['VM', target(job)],
    ['UUID', result?.vm ? html`<code>${result.vm.uuid}</code>` : undefined],
    ['Parameters', Object.keys(params).length > 0 ? html`<code>${JSON.stringify(params)}</code>` : undefined],
    ['Asked by', job.requestedBy],
    ['Reason', job.reason],
    ['Begun', time(job.startedAt)],
    ['Ended', time(job.finishedAt)],
    ['Deadline', job.deadline],
    ['Job', html`<code>${job.id}</code>`],
    ['Request', job.requestId && html`<code>${job.requestId}</code>`],
  ]);
}
