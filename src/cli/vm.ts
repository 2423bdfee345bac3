// `outrigger vm OP HOST/VM`: asks the running service for an operation, and follows it with --wait. Deleting names the
// VM's UUID and asks for its name. It refuses to speak to a host itself: the service does, and keeps the audit log.
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import { HostError } from '../core/errors.js';
import { didYouMean } from '../core/suggest.js';
import type { Job, NewJob, Vm } from '../http/api/schemas.js';
import { ApiClient } from './api-client.js';
import type { Environment } from './configuration.js';
import { followJob, hasEnded } from './follow.js';
import { withNearestHost } from './hosts.js';
import { endOf, jobText } from './jobs.js';
import { painter, printable, printJson } from './output.js';

export type VmOptions = {
  force?: boolean;
  timeout?: number;
  param?: Record<string, unknown>;
  reason?: string;
  deadline?: string;
  uuid?: string;
  dryRun?: boolean;
  wait?: boolean;
  yes?: boolean;
  requestId?: string;
  json?: boolean;
};

/** The operation that cannot be taken back: it asks first. */
const destroys = 'delete';

export async function vm(
  env: Environment,
  op: NewJob['op'],
  target: string,
  options: VmOptions,
): Promise<number> {
  const api = ApiClient.from(env);
  if (!api) return 1;
  const { host, vm } = targetOf(target);
  const uuid = await confirmedUuid(api, op, { host, vm, options });
  const body: NewJob = {
    op,
    host,
    ...(vm !== undefined && { vm }),
    ...(uuid && { expectedUuid: uuid }),
    params: paramsOf(options),
    ...(options.reason && { reason: options.reason }),
    ...(options.deadline && { deadline: options.deadline }),
    ...(options.dryRun && { dryRun: true }),
  };
  const headers = { 'idempotency-key': options.requestId ?? randomUUID() };
  let job: Job;
  try {
    job = await api.post<Job>('/jobs', body, headers);
  } catch (error) {
    throw await withNearestHost(api, host, error);
  }
  return options.wait ? waitFor(api, job, options) : enqueued(job, options);
}

/** `HOST/VM`, or `HOST` alone for an operation on the host. A VM's name may hold a slash, a host's cannot. */
export function targetOf(target: string): { host: string; vm: string | undefined } {
  const slash = target.indexOf('/');
  if (slash < 0) return { host: target, vm: undefined };
  return { host: target.slice(0, slash), vm: target.slice(slash + 1) || undefined };
}

export function paramsOf({ force, timeout, param }: VmOptions): Record<string, unknown> {
  return {
    ...param,
    ...(force && { force: true }),
    ...(timeout !== undefined && { timeoutSeconds: timeout }),
  };
}

async function confirmedUuid(
  api: ApiClient,
  op: string,
  { host, vm, options }: { host: string; vm: string | undefined; options: VmOptions },
): Promise<string | undefined> {
  if (options.uuid || op !== destroys || vm === undefined) return options.uuid;
  const found = await findVm(api, host, vm);
  if (options.yes || options.dryRun) return found.uuid;
  if (!process.stdin.isTTY)
    throw new HostError('BAD_REQUEST', {
      message: `delete ${host}/${vm} wants to be confirmed`,
      hint: `Give --yes, or --uuid ${found.uuid}.`,
    });
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const said = await prompt.question(
      `This deletes ${printable(`${host}/${found.name}`)} (${found.state}, UUID ${found.uuid}). Type its name to go on: `,
    );
    if (said.trim() === found.name) return found.uuid;
  } finally {
    prompt.close();
  }
  throw new HostError('ABORTED', { message: 'that is not its name: nothing was done' });
}

async function findVm(api: ApiClient, host: string, vm: string): Promise<Vm> {
  let all: Vm[];
  try {
    all = await api.list<Vm>(`/hosts/${encodeURIComponent(host)}/vms`);
  } catch (error) {
    throw await withNearestHost(api, host, error);
  }
  const found = all.find(({ name, uuid }) => name === vm || uuid === vm.toLowerCase());
  if (found) return found;
  const hint = didYouMean(
    vm,
    all.map(({ name }) => name),
  );
  throw new HostError('BAD_REQUEST', {
    message: `${host} has no VM ${printable(vm)}`,
    hint: hint ?? `outrigger vms ${host} lists them.`,
  });
}

function enqueued(job: Job, { json }: VmOptions): number {
  if (json) printJson(job);
  else if (hasEnded(job)) return ended(job);
  else process.stdout.write(`job ${job.id} is enqueued. See it with: outrigger jobs show ${job.id}\n`);
  return job.state === 'failed' ? 1 : 0;
}

async function waitFor(api: ApiClient, given: Job, { json }: VmOptions): Promise<number> {
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  process.once('SIGINT', interrupt);
  try {
    const job = await followJob(api, given, stop.signal);
    if (!hasEnded(job)) {
      process.stderr.write(`job ${job.id} goes on. See it with: outrigger jobs show ${job.id}\n`);
      return 1;
    }
    if (json) printJson(job);
    else return ended(job);
    return job.state === 'failed' ? 1 : 0;
  } finally {
    process.off('SIGINT', interrupt);
  }
}

function ended(job: Job): number {
  const paint = painter(process.stdout);
  const target = job.vm ? `${job.host}/${job.vm}` : (job.host ?? '');
  const what = `${printable(job.op)} ${printable(target)}`;
  if (job.failure) {
    process.stderr.write(`${paint('red', what)}: ${endOf(job)}\n`);
    return 1;
  }
  process.stdout.write(`${paint('green', what)}: ${endOf(job)}\n`);
  if (job.result?.data || job.dryRun) process.stdout.write(jobText(job, paint));
  return 0;
}
