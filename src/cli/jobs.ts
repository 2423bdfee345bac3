// `outrigger jobs`: the VM jobs that the service knows, one of them whole, and cancelling one. It refuses to enqueue:
// `vm` does that.
import type { Job } from '../http/api/schemas.js';
import { ApiClient } from './api-client.js';
import type { Environment } from './configuration.js';
import {
  age,
  type Column,
  count,
  fittedTable,
  type Paint,
  painter,
  printable,
  printJson,
  type Style,
  widthOf,
} from './output.js';

export type JobsListOptions = {
  json?: boolean;
  state?: string;
  host?: string;
  op?: string;
  requestedBy?: string;
  limit: number;
};

const columns: Column[] = [
  { title: 'JOB' },
  { title: 'STATE' },
  { title: 'OP' },
  { title: 'HOST', shrinkTo: 10 },
  { title: 'VM', shrinkTo: 10 },
  { title: 'AGE', right: true, drop: 3 },
  { title: 'BY', shrinkTo: 8, drop: 2 },
  { title: 'OUTCOME', shrinkTo: 16, drop: 1 },
];

export async function jobsList(env: Environment, options: JobsListOptions): Promise<number> {
  const api = ApiClient.from(env);
  if (!api) return 1;
  const { state, host, op, requestedBy, limit } = options;
  const found = await api.list<Job>('/jobs', { state, host, op, requestedBy }, limit);
  if (options.json) printJson(found);
  else {
    const paint = painter(process.stdout);
    process.stdout.write(jobTable(found, { width: widthOf(process.stdout), paint }));
    process.stdout.write(`\n${count(found.length, 'job')}, the newest first.\n`);
  }
  return 0;
}

export function jobTable(
  rows: readonly Job[],
  fit: { width: number; paint: Paint },
  nowMs = Date.now(),
): string {
  return fittedTable(
    columns,
    rows.map((job) => [
      job.id,
      stateOf(job, fit.paint),
      printable(job.op),
      printable(job.host ?? '-'),
      printable(job.vm ?? '-'),
      age((nowMs - Date.parse(job.createdAt)) / 1000),
      printable(job.requestedBy ?? '-'),
      endOf(job),
    ]),
    fit,
  );
}

export async function jobsShow(env: Environment, id: string, { json }: { json?: boolean }): Promise<number> {
  const api = ApiClient.from(env);
  if (!api) return 1;
  const job = await api.get<Job>(`/jobs/${encodeURIComponent(id)}`);
  if (json) printJson(job);
  else process.stdout.write(jobText(job, painter(process.stdout)));
  return 0;
}

export async function jobsCancel(
  env: Environment,
  id: string,
  { json }: { json?: boolean },
): Promise<number> {
  const api = ApiClient.from(env);
  if (!api) return 1;
  const job = await api.post<Job>(`/jobs/${encodeURIComponent(id)}/cancel`);
  if (json) printJson(job);
  else process.stdout.write(`job ${id} is cancelled: it does nothing.\n`);
  return 0;
}

const stateStyles: Partial<Record<Job['state'], Style>> = {
  completed: 'green',
  failed: 'red',
  active: 'yellow',
};

function stateOf({ state }: Job, paint: Paint): string {
  const style = stateStyles[state];
  return style ? paint(style, state) : state;
}

/** What became of it, on one line; empty while nothing is known. */
export function endOf({ result, failure }: Job): string {
  if (failure) return printable(`${failure.code}: ${failure.message}`);
  return result?.outcome ?? '';
}

export function jobText(job: Job, paint: Paint): string {
  const facts: [string, string | undefined][] = [
    ['state', stateOf(job, paint)],
    ['operation', printable(job.op) + (job.dryRun ? ' (dry run)' : '')],
    ['host', job.host && printable(job.host)],
    ['vm', job.vm && printable(job.vm)],
    ['params', job.params && Object.keys(job.params).length > 0 ? shown(job.params) : undefined],
    ['asked by', job.requestedBy && printable(job.requestedBy)],
    ['reason', job.reason && printable(job.reason)],
    ['request', job.requestId && printable(job.requestId)],
    ['created', job.createdAt],
    ['started', job.startedAt],
    ['finished', job.finishedAt],
    ['outcome', endOf(job) || undefined],
    ['before', job.result?.before ? shown(job.result.before) : undefined],
    ['after', job.result?.after ? shown(job.result.after) : undefined],
  ];
  const lines = facts.flatMap(([name, value]) =>
    value === undefined ? [] : [`${paint('bold', name.padEnd(10))} ${value}`],
  );
  const steps = job.steps.map(({ at, step }) => `  ${at}  ${printable(step)}`);
  const data = job.result?.data ? [JSON.stringify(job.result.data, null, 2)] : [];
  return `${paint('bold', `job ${job.id}`)}\n${[...lines, ...steps, ...data].join('\n')}\n`;
}

function shown(value: unknown): string {
  return printable(JSON.stringify(value) ?? '-');
}
