// The sample backend's page: agents, a form that asks for a job, what became of the jobs, the newest events. Every text
// comes from outside and is escaped. It refuses to hold state: each call draws what there is.
import { operationNames } from '../../ops/job.js';
import type { Agent, BackendState, Job, KeptEvent } from './state.js';

const rowsMax = 25;

export function page(state: BackendState): string {
  const agents = [...state.agents.values()].map(
    ({ id, facts }) => html`<option value="${id}">${facts.name}</option>`,
  );
  const operations = operationNames.map((name) => html`<option>${name}</option>`);
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Sample backend</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; max-width: 70rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
form { display: flex; gap: .5rem; flex-wrap: wrap; margin: 1rem 0 } .bad { color: #b00 }
</style>
<h1>Sample backend</h1>
<form method="post" action="/jobs">
<select name="agent" aria-label="host">${agents.join('')}</select>
<select name="op" aria-label="operation">${operations.join('')}</select>
<input name="vm" placeholder="VM: name or UUID"><input name="expected_uuid" placeholder="expected UUID (delete)">
<input name="params" placeholder='params: {"force": true}'><button>Ask for it</button>
</form>
<div id="tables">${tables(state)}</div>
<script>
setInterval(async () => {
  const answer = await fetch('/tables').catch(() => undefined);
  if (answer?.ok) document.getElementById('tables').innerHTML = await answer.text();
}, 2000);
</script></html>`;
}

export function tables(state: BackendState): string {
  const nameOf = (id: string) => state.agents.get(id)?.facts.name ?? id;
  const jobs = [...state.jobs.values()].reverse().slice(0, rowsMax);
  const events = state.events.slice(-rowsMax).reverse();
  return [
    table(
      'Agents',
      ['host', 'status', 'last heartbeat', 'VMs', 'hypervisor'],
      [...state.agents.values()].map(agentRow),
    ),
    table(
      'Jobs',
      ['asked', 'host', 'job', 'result'],
      jobs.map((job) => jobRow(state, job, nameOf)),
    ),
    table(
      'Events',
      ['at', 'host', 'VM', 'event', 'number'],
      events.map((event) => eventRow(event, nameOf)),
    ),
  ].join('');
}

function agentRow({ facts, heartbeat, lastHeartbeatAt }: Agent): string {
  const status = heartbeat?.status ?? 'registered';
  const why = heartbeat?.last_error?.message ?? '';
  const { type = '', version = '' } = facts.hypervisor;
  return html`<tr><td>${facts.name}<td class="${status === 'online' ? '' : 'bad'}">${status} ${why}
<td>${lastHeartbeatAt ?? 'none yet'}<td>${heartbeat?.vms?.total ?? ''}<td>${type} ${version}`;
}

function jobRow(state: BackendState, job: Job, nameOf: (id: string) => string): string {
  const { op, vm } = job.asked;
  const result = state.resultOf(job)?.result;
  const waits = job.sent > 0 ? 'sent, no result yet' : 'goes with the next heartbeat';
  const ended =
    result?.status === 'failed' ? `${result.error.code}: ${result.error.message}` : result?.outcome;
  return html`<tr><td>${job.askedAt}<td>${nameOf(job.agentId)}<td>${op} ${vm ?? ''}
<td class="${result?.status === 'failed' ? 'bad' : ''}">${ended ?? waits}`;
}

function eventRow(
  { at, agentId, vm, event, detail, sequence }: KeptEvent,
  nameOf: (id: string) => string,
): string {
  return html`<tr><td>${at}<td>${nameOf(agentId)}<td>${vm?.name ?? ''}<td>${event} ${detail ?? ''}<td>${sequence}`;
}

function table(title: string, heads: readonly string[], rows: readonly string[]): string {
  const body = rows.length > 0 ? rows.join('') : '<tr><td>none';
  return `<h2>${title}</h2><table><tr>${heads.map((head) => `<th>${head}`).join('')}${body}</table>`;
}

function html(parts: TemplateStringsArray, ...values: readonly (string | number)[]): string {
  return String.raw({ raw: parts }, ...values.map(escaped));
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function escaped(value: string | number): string {
  return String(value).replace(/[&<>"]/g, (char) => entities[char] ?? char);
}
