// What the job engine's tests share: operations that count their acts and can hang, fail and be cut, an audit log on disk,
// and a caller that uses nothing but BullMQ. It refuses to stand in for the store: every test runs the real one.
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { type Job, Queue, QueueEvents } from 'bullmq';
import { Redis } from 'ioredis';
import { z } from 'zod';
import {
  type JobError,
  type JobResult,
  type OperationName,
  operationNames,
  type ParsedJob,
  parseRequest,
  type RequestRules,
  type VmIdentity,
} from '../../src/ops/job.js';
import type { BegunAct } from '../../src/ops/operation.js';
import type { JobAudit, JobAuditEntry, JobLife, JobWork } from '../../src/queue/jobs-types.js';
import { storeNames } from '../../src/queue/store-names.js';

const reads = new Set<OperationName>(['list', 'info', 'snapshot_list', 'health_check', 'agent_info']);
const hostWide = new Set<OperationName>(['list', 'health_check', 'collect_metrics', 'agent_info']);
const rules = new Map<OperationName, RequestRules>(
  operationNames.map((name) => [name, { needsVm: !hostWide.has(name), params: z.looseObject({}) }]),
);

export function uuidOf(name: string): string {
  const hex = createHash('md5').update(name).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

export function vmOf(job: ParsedJob): VmIdentity | null {
  if (job.vm === undefined) return null;
  return /^[0-9a-f-]{36}$/.test(job.vm)
    ? { name: 'by-uuid', uuid: job.vm }
    : { name: job.vm, uuid: uuidOf(job.vm) };
}

export function resultOf(job: ParsedJob, change: Partial<JobResult> = {}): JobResult {
  const { op, host } = job;
  return {
    ...{ op, host, vm: vmOf(job), outcome: 'changed' },
    ...{ before: { state: 'running' }, after: { state: 'shutoff' }, steps: [], data: null, durationMs: 1 },
    ...change,
  };
}

export type Act = (job: ParsedJob, life: JobLife) => Promise<unknown>;

/** Operations whose act is `act`; each passes the gate once before it. */
export class FakeWork implements JobWork {
  /** Request ids, in the order in which acts were done. */
  readonly acted: string[] = [];
  readonly settled: string[] = [];
  readonly overlaps: string[] = [];
  runs = 0;
  /** Before it is known which VM it is. */
  find: Act = async () => undefined;
  /** Before the gate. */
  read: Act = async () => undefined;
  act: Act = async () => undefined;
  refusal: ((job: ParsedJob) => JobError | undefined) | undefined;
  settleWith: (job: ParsedJob, life: JobLife) => Promise<JobResult> = async (job) => resultOf(job);
  readonly #busy = new Set<string>();

  parse(name: string, data: unknown): ParsedJob {
    return parseRequest(name, data, rules);
  }

  acts({ op }: ParsedJob): boolean {
    return !reads.has(op);
  }

  admit(job: ParsedJob): void {
    const refusal = this.refusal?.(job);
    if (refusal) throw refusal;
  }

  async run(job: ParsedJob, life: JobLife): Promise<JobResult> {
    this.runs++;
    const vm = vmOf(job);
    await this.find(job, life);
    if (vm) await life.resolved?.(vm);
    await this.read(job, life);
    if (job.dryRun) return resultOf(job, { outcome: 'planned' });
    if (!this.acts(job)) return resultOf(job, { outcome: 'unchanged', data: { runs: this.runs } });
    await life.beforeAct('destroy', { ...(vm && { vm }), before: { state: 'running' } });
    const key = `${job.host}/${vm?.uuid}`;
    if (this.#busy.has(key)) this.overlaps.push(key);
    this.#busy.add(key);
    try {
      this.acted.push(job.requestId);
      life.step('destroyed');
      await this.act(job, life);
    } finally {
      this.#busy.delete(key);
    }
    return resultOf(job);
  }

  async settle(job: ParsedJob, life: JobLife): Promise<JobResult> {
    this.settled.push(job.requestId);
    return this.settleWith(job, life);
  }
}

/** Lines of JSON, fsynced: enough of an audit log to outlive kill -9. */
export class FileAudit implements JobAudit {
  readonly #file: string;
  readonly #fd: number;
  readonly #begun = new Map<string, BegunAct[]>();

  constructor(file: string) {
    this.#file = file;
    for (const entry of this.entries()) this.#note(entry);
    this.#fd = openSync(file, 'a');
  }

  entries(): (JobAuditEntry & { at: string })[] {
    if (!existsSync(this.#file)) return [];
    const lines = readFileSync(this.#file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line));
  }

  async append(entry: JobAuditEntry): Promise<void> {
    const line = { at: new Date().toISOString(), ...entry };
    writeSync(this.#fd, `${JSON.stringify(line)}\n`);
    fsyncSync(this.#fd);
    this.#note(line);
  }

  begun(requestId: string): readonly BegunAct[] {
    return this.#begun.get(requestId) ?? [];
  }

  #note({ kind, requestId, act = '', at, vm, before }: JobAuditEntry & { at: string }): void {
    if (kind !== 'begin') return;
    this.#begun.set(requestId, [...this.begun(requestId), { act, at, before, ...(vm && { vm }) }]);
  }
}

/** An audit log in memory. */
export class KeptAudit implements JobAudit {
  readonly entries: JobAuditEntry[] = [];
  readonly known: Map<string, BegunAct[]>;
  failure: Error | undefined;

  /** `known`: acts that an earlier life had begun. */
  constructor(known: ReadonlyMap<string, BegunAct[]> = new Map()) {
    this.known = new Map(known);
  }

  async append(entry: JobAuditEntry): Promise<void> {
    if (this.failure) throw this.failure;
    this.entries.push(entry);
    if (entry.kind !== 'begin') return;
    const { act = '', vm, before, requestId } = entry;
    const begun = { act, at: new Date().toISOString(), before, ...(vm && { vm }) };
    this.known.set(requestId, [...this.begun(requestId), begun]);
  }

  begun(requestId: string): readonly BegunAct[] {
    return this.known.get(requestId) ?? [];
  }
}

export type Answer = { result?: JobResult; failure?: string };

/** A backend: it knows BullMQ and the form of a job, and nothing of the service. */
export class Caller implements AsyncDisposable {
  readonly client: Redis;
  readonly queue: Queue;
  readonly #events: QueueEvents;
  readonly #eventClient: Redis;

  constructor(url: string) {
    this.client = new Redis(url, { maxRetriesPerRequest: null });
    this.queue = new Queue(storeNames().jobs, { connection: this.client });
    this.#eventClient = new Redis(url, { maxRetriesPerRequest: null });
    this.#events = new QueueEvents(storeNames().jobs, { connection: this.#eventClient });
    this.client.on('error', () => undefined);
    this.#eventClient.on('error', () => undefined);
    this.queue.on('error', () => undefined);
    this.#events.on('error', () => undefined);
    this.queue.setMaxListeners(0); // one for each answer that is awaited
    this.#events.setMaxListeners(0);
  }

  add(op: string, data: object): Promise<Job> {
    return this.queue.add(op, data);
  }

  async answer(job: Job, timeoutMs = 20_000): Promise<Answer> {
    try {
      return { result: (await job.waitUntilFinished(this.#events, timeoutMs)) as JobResult };
    } catch (error) {
      return { failure: error instanceof Error ? error.message : String(error) };
    }
  }

  async ask(op: string, data: object): Promise<Answer> {
    return this.answer(await this.add(op, data));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#eventClient.disconnect();
    this.client.disconnect();
    this.#events.close().catch(() => undefined);
    this.queue.close().catch(() => undefined);
  }
}

let count = 0;

/** A request for a job, with an id of its own. */
export function request(change: object = {}): { requestId: string } & Record<string, unknown> {
  return { host: 'kvm-1', vm: 'web-1', requestId: `r-${process.pid}-${++count}`, ...change };
}

/** One line in a file, on the disk before this returns. */
export function note(file: string, line: string): void {
  appendFileSync(file, `${line}\n`, { flush: true });
}
