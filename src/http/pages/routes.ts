// The routes of the pages: each parses its address, asks the model, and hands plain values to a page. Forms lead back with a
// redirect, so that loading again sends nothing twice. It refuses to do any page's or any job's work.
import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { HostError } from '../../core/errors.js';
import { otherShardHint } from '../../core/shard.js';
import { JobError, line, nameLengthMax } from '../../ops/job.js';
import type { Job, Vm } from '../api/schemas.js';
import { csrfField } from '../auth/csrf.js';
import type { Principal } from '../auth/principal.js';
import { HttpProblem, type ProblemPage } from '../problem.js';
import { addAssets } from './assets.js';
import { type FleetFilter, fleetPage } from './fleet.js';
import { hostPage } from './host.js';
import { path } from './html.js';
import { jobPage, jobsPage, jobsPerPage } from './jobs.js';
import type { Viewer } from './layout.js';
import { problemPage } from './login-page.js';
import { FleetModel, type JobFilter, type PageSources } from './model.js';
import { pageOperation, paramsOf, whyNone } from './operations.js';
import { readRunbooks, runbooksPage } from './runbooks.js';
import { confirmPage, vmPage } from './vm.js';
import { vmsPage } from './vms.js';
import { whatIsWrong } from './wrong.js';

const textCharsMax = 255;
const cursorCharsMax = 1024;
const labelsMax = 8;
const formBytesMax = 16 * 1024;
const failedJobsMax = 50;
const newestJobsMax = 10;
const idempotencyKeyForm = /^page-[0-9a-f-]{36}$/;

type Query = Readonly<Record<string, unknown>>;
type Form = Readonly<Record<string, unknown>>;
type HostPath = { name: string };
type VmPath = { host: string; vm: string };
type OpPath = VmPath & { op: string };
type JobPath = { id: string };

const read = { config: { need: 'read', page: true } } as const;
const operate = { config: { need: 'operate', page: true }, bodyLimit: formBytesMax } as const;

/** From here on a person gets a problem as a page, also where no page is. */
export function addPages(app: FastifyInstance, sources: PageSources): void {
  const problemPageOf: ProblemPage = (request, type, details) =>
    problemPage(viewerOf(request, sources), type, details);
  app.decorate('problemPage', problemPageOf);
  addAssets(app);
  addReads(app, sources);
  addForms(app, sources);
}

function addReads(app: FastifyInstance, sources: PageSources): void {
  const runbooks = readRunbooks();
  app.get('/runbooks', read, async (request, reply) =>
    send(reply, runbooksPage(viewerOf(request, sources), runbooks)),
  );
  app.get('/', read, async (request, reply) => send(reply, await fleet(request, sources)));
  app.get('/vms', read, async (request, reply) => send(reply, vms(request, sources)));
  app.get<{ Params: HostPath }>('/hosts/:name', read, async (request, reply) =>
    send(reply, await host(request, request.params.name, sources)),
  );
  app.get<{ Params: VmPath }>('/vms/:host/:vm', read, async (request, reply) =>
    send(reply, await vm(request, request.params, sources)),
  );
  app.get('/jobs', read, async (request, reply) => send(reply, await jobs(request, sources)));
  app.get<{ Params: JobPath }>('/jobs/:id', read, async (request, reply) =>
    send(reply, await job(request, request.params.id, sources)),
  );
}

function addForms(app: FastifyInstance, sources: PageSources): void {
  app.get<{ Params: OpPath }>('/vms/:host/:vm/:op', operate, async (request, reply) =>
    send(reply, confirm(request, request.params, sources)),
  );
  app.post<{ Params: OpPath }>('/vms/:host/:vm/:op', operate, async (request, reply) =>
    enqueue(request, reply, request.params, sources),
  );
  app.post<{ Params: JobPath }>('/jobs/:id/cancel', operate, async (request, reply) => {
    const { id } = request.params;
    const principal = principalOf(request);
    const found = await sources.jobs.get(id, principal);
    if (!found) throw new HttpProblem('job-unknown', 'There is no such job.');
    if (!principal.mayOp(found.op))
      throw new HttpProblem('forbidden', `Your role may not cancel a ${found.op}.`);
    const answer = await sources.jobs.cancel(id, principal);
    return reply.redirect(`${path('jobs', id)}?cancel=${encodeURIComponent(answer)}`, 303);
  });
}

async function fleet(request: FastifyRequest, sources: PageSources): Promise<string> {
  const viewer = viewerOf(request, sources);
  const principal = principalOf(request);
  const model = new FleetModel(sources, principal);
  const hosts = model.hosts();
  const rows = model.vms();
  const [failedJobs, newest, queue] = await Promise.all([
    jobsOrNone(sources, principal, { state: 'failed' }, failedJobsMax),
    jobsOrNone(sources, principal, {}, newestJobsMax),
    sources.jobs.queue().catch(noStore),
  ]);
  const collector = sources.collector();
  return fleetPage({
    viewer,
    filter: fleetFilter(request.query as Query),
    hosts,
    vms: rows,
    wrong: whatIsWrong({ collector, hosts, vms: rows, failedJobs, nowMs: viewer.nowMs }),
    freshMs: oldest(hosts.map(({ sampledAt }) => sampledAt)),
    jobs: newest,
    queue,
    history: sources.chronicle.history,
  });
}

function vms(request: FastifyRequest, sources: PageSources): string {
  const viewer = viewerOf(request, sources);
  const query = request.query as Query;
  return vmsPage({
    viewer,
    vms: new FleetModel(sources, principalOf(request)).vms(),
    filter: { ...texts(query, ['q', 'state', 'sort']), page: pageNumber(query) },
    history: sources.chronicle.history,
    nowMs: viewer.nowMs,
  });
}

async function host(request: FastifyRequest, name: string, sources: PageSources): Promise<string> {
  const viewer = viewerOf(request, sources);
  const principal = principalOf(request);
  const model = new FleetModel(sources, principal);
  const found = model.host(name);
  if (!found) {
    const elsewhere = otherShardHint(sources.shard, name);
    throw new HttpProblem('host-unknown', [`There is no host ${name}.`, elsewhere].filter(Boolean).join(' '));
  }
  const rows = model.vms(name);
  const recent = await jobsOrNone(sources, principal, { host: name }, newestJobsMax);
  const { nowMs } = viewer;
  const well = { store: { up: true, detail: '' }, inventory: { problems: [] } };
  return hostPage({
    viewer,
    host: found,
    wrong: whatIsWrong({ collector: well, hosts: [found], vms: rows, failedJobs: recent, nowMs }),
    vms: rows,
    vmPage: pageNumber(request.query as Query),
    events: sources.chronicle.events.of(name),
    jobs: recent,
    history: sources.chronicle.history,
  });
}

async function vm(request: FastifyRequest, at: VmPath, sources: PageSources): Promise<string> {
  const principal = principalOf(request);
  const found = findVm(sources, principal, at);
  const { host, vm } = found;
  const { chronicle } = sources;
  return vmPage({
    viewer: viewerOf(request, sources),
    ...found,
    since: chronicle.vmSince(host.name, vm.uuid),
    storeUp: sources.collector().store.up,
    events: chronicle.events.of(host.name, vm.uuid),
    jobs: await jobsOfVm(sources, principal, vm),
    history: chronicle.history,
  });
}

/** Jobs name a VM as they were asked for: by its name or its UUID. */
async function jobsOfVm(
  sources: PageSources,
  principal: Principal,
  { host, name, uuid }: Vm,
): Promise<Job[] | undefined> {
  const lists = await Promise.all(
    [name, uuid].map((vm) => jobsOrNone(sources, principal, { host, vm }, newestJobsMax)),
  );
  const found = lists.flatMap((list) => list ?? []);
  found.sort((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt));
  return lists.includes(undefined) ? undefined : found.slice(0, newestJobsMax);
}

async function jobs(request: FastifyRequest, sources: PageSources): Promise<string> {
  const query = request.query as Query;
  const { cursor } = texts(query, ['cursor'], cursorCharsMax);
  const filter = texts(query, ['host', 'vm', 'op', 'state']);
  const page = { limit: jobsPerPage, cursor: cursor || undefined };
  const found = await sources.jobs.list(given(filter), page, principalOf(request)).catch(noStore);
  const viewer = viewerOf(request, sources);
  return jobsPage({ viewer, filter: { ...filter, cursor }, jobs: found?.items, next: found?.next });
}

const cancelWords: Readonly<Record<string, string>> = {
  cancelled: 'Cancelled: it does nothing any more.',
  'too late': 'Too late: it may have acted already, or it has ended.',
  unknown: 'The queue does not know this job any more.',
};

async function job(request: FastifyRequest, id: string, sources: PageSources): Promise<string> {
  const found = await sources.jobs.get(id, principalOf(request));
  if (!found) throw new HttpProblem('job-unknown', 'There is no such job, or it has been forgotten.');
  const { cancel } = texts(request.query as Query, ['cancel']);
  const message = Object.hasOwn(cancelWords, cancel) ? cancelWords[cancel] : undefined;
  return jobPage({ viewer: viewerOf(request, sources), job: found, message });
}

function confirm(request: FastifyRequest, at: OpPath, sources: PageSources): string {
  const { vm, operation } = allowed(request, at, sources);
  const idempotencyKey = `page-${randomUUID()}`;
  const viewer = viewerOf(request, sources);
  return confirmPage({ viewer, operation, vm, csrf: viewer.csrf, idempotencyKey });
}

async function enqueue(
  request: FastifyRequest,
  reply: FastifyReply,
  at: OpPath,
  sources: PageSources,
): Promise<FastifyReply> {
  const { vm, operation, principal } = allowed(request, at, sources);
  const form = (request.body ?? {}) as Form;
  const viewer = viewerOf(request, sources);
  const { idempotencyKey, expectedUuid, typedName } = texts(form, [
    'idempotencyKey',
    'expectedUuid',
    'typedName',
  ]);
  const again = (status: number, message: string) => {
    const key = idempotencyKeyForm.test(idempotencyKey) ? idempotencyKey : `page-${randomUUID()}`;
    const page = { viewer, operation, vm, csrf: viewer.csrf, idempotencyKey: key, message };
    return send(reply.code(status), confirmPage(page));
  };
  if (!idempotencyKeyForm.test(idempotencyKey)) return again(400, 'This form was not whole. Send it again.');
  if (expectedUuid !== vm.uuid) return again(409, 'This is another VM of the same name now. Look again.');
  if (operation.typeName && typedName !== vm.name.trim() && typedName !== vm.uuid)
    return again(400, `That is not its name: nothing was done. Its name is ${vm.name}.`);
  const params = paramsOf(operation, form);
  // by its name, for people who read the list of jobs; by its UUID where the name is none that a job may carry
  const name = line(nameLengthMax).safeParse(vm.name).success ? vm.name : vm.uuid;
  const wanted = { op: operation.op, host: vm.host, vm: name, expectedUuid: vm.uuid, params };
  try {
    const { id } = await sources.jobs.add(wanted, idempotencyKey, principal);
    return reply.redirect(path('jobs', id), 303);
  } catch (error) {
    if (error instanceof HttpProblem) return again(error.statusCode, error.message);
    if (error instanceof JobError) return again(400, error.message);
    throw error;
  }
}

function allowed(request: FastifyRequest, at: OpPath, sources: PageSources) {
  const principal = principalOf(request);
  const operation = pageOperation(at.op);
  const { host, vm } = findVm(sources, principal, at);
  if (!operation) throw new HttpProblem('not-found', 'There is no such operation.');
  if (!principal.mayOp(operation.op))
    throw new HttpProblem('forbidden', `Your role, ${principal.role}, may not ${operation.op} a VM.`);
  const why = whyNone(host, principal, sources.collector().store.up);
  if (why) throw new HttpProblem('refused', why);
  return { principal, operation, vm };
}

function findVm(sources: PageSources, principal: Principal, at: VmPath) {
  const found = new FleetModel(sources, principal).vm(at.host, at.vm);
  if (!found) throw new HttpProblem('vm-unknown', `There is no VM ${at.vm} on a host ${at.host}.`);
  return found;
}

function jobsOrNone(
  sources: PageSources,
  principal: Principal,
  filter: JobFilter,
  limit: number,
): Promise<Job[] | undefined> {
  return sources.jobs.list(filter, { limit }, principal).then(({ items }) => items, noStore);
}

function noStore(error: unknown): undefined {
  const away = error instanceof HttpProblem ? error.type === 'store-away' : isStore(error);
  if (!away) throw error;
}

function isStore(error: unknown): boolean {
  return error instanceof HostError && error.code === 'STORE';
}

function send(reply: FastifyReply, text: string): FastifyReply {
  return reply.type('text/html; charset=utf-8').header('cache-control', 'no-store').send(text);
}

function principalOf({ principal }: FastifyRequest): Principal {
  if (!principal) throw new Error('a page without a principal');
  return principal;
}

/** For the login page, too, which has no principal. */
export function viewerOf(request: FastifyRequest, { nowMs }: Pick<PageSources, 'nowMs'>): Viewer {
  const [, theme] = /(?:^|;\s*)theme=(dark|light)(?:;|$)/.exec(request.headers.cookie ?? '') ?? [];
  return {
    principal: request.principal,
    csrf: csrfField(request),
    theme: theme as Viewer['theme'],
    nowMs: nowMs(),
  };
}

function fleetFilter(query: Query): FleetFilter {
  const label = Array.isArray(query.label) ? query.label : [query.label];
  return {
    ...texts(query, ['q', 'state', 'sort', 'vm']),
    labels: label.slice(0, labelsMax).flatMap((one) => text(one) || []),
    page: pageNumber(query),
  };
}

function texts<N extends string>(
  values: Query,
  names: readonly N[],
  charsMax = textCharsMax,
): Record<N, string> {
  return Object.fromEntries(
    names.map((name) => [name, text(Object.hasOwn(values, name) ? values[name] : undefined, charsMax)]),
  ) as Record<N, string>;
}

function text(value: unknown, charsMax = textCharsMax): string {
  return typeof value === 'string' ? value.slice(0, charsMax).trim() : '';
}

function pageNumber({ page }: Query): number {
  return /^\d{1,6}$/.test(String(page)) ? Number(page) : 1;
}

function given<T extends Record<string, string>>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== '')) as Partial<T>;
}

/** Wall milliseconds of the oldest of the newest samples; undefined while one is missing. */
function oldest(sampled: readonly (string | undefined)[]): number | undefined {
  const times = sampled.map((at) => (at === undefined ? Number.NaN : Date.parse(at)));
  const least = times.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  return Number.isFinite(least) ? least : undefined;
}
