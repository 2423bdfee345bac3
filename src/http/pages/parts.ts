// Pieces that several pages share: a state as a coloured word, lists of jobs, VMs and events, a pager, a sortable heading.
import type { RecentEvent } from '../../fleet/recent-events.js';
import type { Host, Job } from '../api/schemas.js';
import { html, type Markup, path, query } from './html.js';
import { ago, count } from './words.js';

type Level = 'ok' | 'warn' | 'bad' | 'idle';
const shapes: Readonly<Record<Level, string>> = { ok: '●', warn: '▲', bad: '■', idle: '○' };

export function stateChip(level: Level, word: string): Markup {
  return html`<span class="state state-${level}"><i aria-hidden="true">${shapes[level]}</i>${word}</span>`;
}

const hostLevels: Readonly<Record<Host['state'], Level>> = {
  up: 'ok',
  degraded: 'warn',
  down: 'bad',
  'auth-failed': 'bad',
  'host-key-mismatch': 'bad',
  connecting: 'idle',
  maintenance: 'idle',
};

const hostWords: Readonly<Record<Host['state'], string>> = {
  up: 'up',
  degraded: 'degraded',
  down: 'down',
  'auth-failed': 'key refused',
  'host-key-mismatch': 'host key mismatch',
  connecting: 'connecting',
  maintenance: 'maintenance',
};

export function hostState({ state, stale }: Pick<Host, 'state' | 'stale'>): Markup {
  if (state === 'up' && stale) return stateChip('warn', 'stale');
  return stateChip(hostLevels[state], hostWords[state]);
}

const vmLevels: Readonly<Record<string, Level>> = {
  running: 'ok',
  blocked: 'ok',
  crashed: 'bad',
  paused: 'warn',
};

export function vmStateChip({
  state,
  busy,
  stale,
}: {
  state: string;
  busy: boolean;
  stale: boolean;
}): Markup {
  if (stale) return stateChip('idle', `${state}, last seen`);
  return busy ? stateChip('warn', `${state}, busy`) : stateChip(vmLevels[state] ?? 'idle', state);
}

export function jobState(job: Pick<Job, 'state' | 'failure' | 'result'>): Markup {
  switch (job.state) {
    case 'completed':
      return stateChip('ok', job.result?.outcome ?? 'done');
    case 'failed':
      return stateChip('bad', job.failure?.code === 'OUTCOME_UNKNOWN' ? 'outcome unknown' : 'failed');
    case 'active':
      return stateChip('warn', 'running');
    default:
      return stateChip('idle', job.state);
  }
}

/** A region of its own that scrolls sideways, so that the page never does. */
export function table(label: string, head: Markup, rows: readonly Markup[]): Markup {
  return html`<div class="table" role="region" aria-label="${label}" tabindex="0"><table><thead><tr>${head}</tr></thead><tbody>${rows}</tbody></table></div>`;
}

/** `of`: what the list is of, so that it need not be said in every row. */
export function jobsTable(
  jobs: readonly Job[],
  nowMs: number,
  of: 'fleet' | 'host' | 'vm' = 'fleet',
): Markup {
  const rows = jobs.map((job) => {
    const at = Date.parse(job.finishedAt ?? job.startedAt ?? job.createdAt);
    const last = job.failure ? `${job.failure.code}: ${job.failure.message}` : (job.steps.at(-1)?.step ?? '');
    return html`<tr data-key="${job.id}"><th scope="row"><a href="${path('jobs', job.id)}">${job.op}${job.dryRun && ' (dry run)'}</a></th>${of !== 'vm' && html`<td class="name">${target(job, of)}</td>`}<td>${jobState(job)}</td><td class="p2 name last muted">${cut(last)}</td><td class="p3 name">${job.requestedBy}</td><td class="num">${ago(at, nowMs)}</td></tr>`;
  });
  const head = html`<th scope="col">Operation</th>${of !== 'vm' && html`<th scope="col">VM</th>`}<th scope="col">State</th><th scope="col" class="p2">Last step</th><th scope="col" class="p3">Asked by</th><th scope="col" class="num">When</th>`;
  return table('Table of jobs', head, rows);
}

const cutChars = 140;

function cut(text: string): string {
  return text.length > cutChars ? `${text.slice(0, cutChars)}…` : text;
}

export function target({ host, vm }: Pick<Job, 'host' | 'vm'>, of: 'fleet' | 'host' = 'fleet'): Markup {
  if (host === undefined) return html``;
  const at = html`<a href="${path('hosts', host)}"><bdi>${host}</bdi></a>`;
  if (vm === undefined) return at;
  const name = html`<a href="${path('vms', host, vm)}"><bdi>${vm}</bdi></a>`;
  return of === 'host' ? name : html`${name} <span class="muted">on</span> ${at}`;
}

export function eventsList(events: readonly RecentEvent[], host: string, nowMs: number): Markup {
  if (events.length === 0) {
    return html`<p class="empty">No events since the collector started. They come as libvirt tells them.</p>`;
  }
  const lines = events.map(({ atMs, event, detail, vm }) => {
    const who = vm && html`<a href="${path('vms', host, vm.uuid)}"><bdi>${vm.name}</bdi></a> `;
    return html`<li>${ago(atMs, nowMs)}<span>${who}${event}${detail && html` <span class="muted">${detail}</span>`}</span></li>`;
  });
  return html`<ol class="steps body">${lines}</ol>`;
}

/** A list's heading that sorts by its column: again for the other way round. */
export function sortable(
  text: string,
  column: string,
  { sort, url, className = '' }: { sort: string; url: (sort: string) => string; className?: string },
): Markup {
  const [falling, by] = sort.startsWith('-') ? [true, sort.slice(1)] : [false, sort];
  const next = by === column && !falling ? `-${column}` : column;
  const sorted = by === column && html` aria-sort="${falling ? 'descending' : 'ascending'}"`;
  const arrow = by === column && html` <span aria-hidden="true">${falling ? '↓' : '↑'}</span>`;
  return html`<th scope="col" class="${className}"${sorted}><a class="sort" href="${url(next)}">${text}${arrow}</a></th>`;
}

export type PageOf<T> = { rows: readonly T[]; page: number; pages: number; total: number; first: number };

/** The page of that number, or the nearest there is. */
export function paged<T>(all: readonly T[], wanted: number, size: number): PageOf<T> {
  const pages = Math.max(1, Math.ceil(all.length / size));
  const page = Math.min(Math.max(1, Math.trunc(wanted) || 1), pages);
  const first = (page - 1) * size;
  return { rows: all.slice(first, first + size), page, pages, total: all.length, first };
}

export function pager(
  { rows, page, pages, total, first }: PageOf<unknown>,
  {
    what,
    base,
    parameters,
    name = 'page',
  }: { what: string; base: string; parameters: Parameters<typeof query>[0]; name?: string },
): Markup {
  if (pages === 1) return html``;
  const link = (to: number, text: string, rel: string) =>
    to >= 1 && to <= pages
      ? html`<a rel="${rel}" href="${base}${query({ ...parameters, [name]: to > 1 ? to : undefined })}">${text}</a>`
      : html`<span class="muted">${text}</span>`;
  return html`<nav class="pager small" aria-label="Pages of ${what}"><span class="muted">${count(first + 1)} to ${count(first + rows.length)} of ${count(total)}</span><span class="actions">${link(page - 1, '← Previous', 'prev')}<span>Page ${page} of ${pages}</span>${link(page + 1, 'Next →', 'next')}</span></nav>`;
}

export function facts(pairs: readonly (readonly [string, Markup | string | undefined])[]): Markup {
  return html`<dl class="facts">${pairs.map(([name, value]) => value !== undefined && html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

export function tags(labels: Readonly<Record<string, string>>): Markup | undefined {
  const entries = Object.entries(labels);
  if (entries.length === 0) return undefined;
  return html`${entries.map(([key, value]) => html`<a class="tag" href="/${query({ label: `${key}=${value}` })}">${key}=${value}</a> `)}`;
}

/** Said in place of what needs the store. */
export function storeAway(): Markup {
  return html`<p class="empty">The store is away: jobs cannot be read now. This page looks again by itself.</p>`;
}
