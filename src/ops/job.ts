// The form of a VM job: what a request may say, what a result and a failure look like. Whoever enqueues is not trusted:
// every string has a limit, unknown keys are refused, and what is wrong is named by its field. It knows no queue.
import { createHash } from 'node:crypto';
import { z } from 'zod';

export const operationNames = [
  'start',
  'stop',
  'restart',
  'pause',
  'resume',
  'reset',
  'delete',
  'list',
  'info',
  'snapshot',
  'snapshot_list',
  'snapshot_revert',
  'snapshot_delete',
  'set_autostart',
  'health_check',
  'collect_metrics',
  'agent_info',
] as const;
export type OperationName = (typeof operationNames)[number];

export const jobCodes = [
  'HOST_UNKNOWN',
  'HOST_UNREACHABLE',
  'HOST_MAINTENANCE',
  'OPS_DISABLED',
  'VM_NOT_FOUND',
  'VM_UUID_MISMATCH',
  'INVALID_STATE',
  'GUEST_TIMEOUT',
  'DEADLINE_EXPIRED',
  'CANCELLED',
  'BAD_REQUEST',
  'LIBVIRT_ERROR',
  'OUTCOME_UNKNOWN',
] as const;
export type JobCode = (typeof jobCodes)[number];

export class JobError extends Error {
  override readonly name = 'JobError';
  readonly code: JobCode;

  constructor(code: JobCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
  }

  /** The failure as the caller of the job reads it. */
  get failure(): string {
    return `${this.code}: ${this.message}`;
  }
}

export type VmIdentity = { readonly name: string; readonly uuid: string };

/** `changed`: it is so now and was not before; `unchanged`: it was so already; `planned`: a dry run. */
export type JobOutcome = 'changed' | 'unchanged' | 'planned';

export type JobStep = { readonly at: string; readonly step: string };

export type JobResult = {
  op: OperationName;
  host: string;
  vm: VmIdentity | null;
  outcome: JobOutcome;
  before: unknown;
  after: unknown;
  steps: readonly JobStep[];
  /** What a read found; what a dry run would do: `{ plan: string[] }`; what an act made; else null. */
  data: unknown;
  durationMs: number;
};

/** UTF-16 units. */
export const nameLengthMax = 255;
export const requestIdLengthMax = 200;
export const reasonLengthMax = 1024;

const lineBreaks = new Set(['\n', '\r', '\t']);

/** Also the Unicode line separators and direction marks, which make a log or a screen lie. */
function holdsControl(text: string, allowed: ReadonlySet<string> = new Set()): boolean {
  for (const char of text)
    if (!allowed.has(char) && /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u202a-\u202e\u2066-\u2069]/u.test(char)) return true;
  return false;
}

/** One line of text without control characters, 1 to `lengthMax` long. */
export function line(lengthMax: number) {
  return z
    .string()
    .min(1, 'must not be empty')
    .max(lengthMax, `must have at most ${lengthMax} characters`)
    .refine((text) => !holdsControl(text), 'must not hold control characters');
}

/** Text that may have several lines. */
export function lines(lengthMax: number) {
  return z
    .string()
    .max(lengthMax, `must have at most ${lengthMax} characters`)
    .refine((text) => !holdsControl(text, lineBreaks), 'must not hold control characters');
}

export const uuidText = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'must be a UUID')
  .transform((text) => text.toLowerCase());

/** CONTRACT: the body of a job. `null` stands for absent where a JSON writer has nothing better. */
export const JobRequest = z.strictObject({
  host: line(nameLengthMax),
  vm: line(nameLengthMax).nullish(),
  expectedUuid: uuidText.nullish(),
  params: z.record(z.string(), z.unknown()).nullish(),
  requestId: line(requestIdLengthMax),
  requestedBy: line(nameLengthMax).nullish(),
  reason: lines(reasonLengthMax).nullish(),
  deadline: z.iso.datetime({ offset: true, error: 'must be a time such as 2026-11-20T12:00:00Z' }).nullish(),
  dryRun: z.boolean().nullish(),
});
export type JobRequest = z.infer<typeof JobRequest>;

export type ParsedJob = {
  op: OperationName;
  host: string;
  vm: string | undefined;
  expectedUuid: string | undefined;
  /** What the operation's schema made of it, with its defaults. */
  params: unknown;
  requestId: string;
  requestedBy: string;
  reason: string | undefined;
  /** Wall milliseconds. */
  deadlineMs: number | undefined;
  dryRun: boolean;
  /** SHA-256 of what is asked, in hex: not of who asks, why and until when. */
  bodyHash: string;
};

/** What the form must know of an operation; every Operation is one. */
export type RequestRules = {
  readonly needsVm: boolean;
  readonly needsUuid?: boolean;
  readonly params: z.ZodType;
};

/** Throws JobError BAD_REQUEST that names the field. `name` is the job's name. */
export function parseRequest(
  name: string,
  data: unknown,
  operations: ReadonlyMap<OperationName, RequestRules>,
): ParsedJob {
  const op = operationNames.find((known) => known === name);
  const rules = op && operations.get(op);
  if (!op || !rules) throw bad(`no operation ${quoted(name)}; there are ${operationNames.join(', ')}`);
  const request = parsed(JobRequest, data, []);
  const vm = request.vm ?? undefined;
  const expectedUuid = request.expectedUuid ?? undefined;
  if (rules.needsVm && vm === undefined) throw bad(`vm: ${op} needs the name or UUID of a VM`);
  if (!rules.needsVm && vm !== undefined) throw bad(`vm: ${op} takes no VM`);
  if (!rules.needsVm && expectedUuid !== undefined) throw bad(`expectedUuid: ${op} takes no VM`);
  if (rules.needsUuid && expectedUuid === undefined)
    throw bad(`expectedUuid: ${op} needs the UUID of the VM`);
  const params = parsed(rules.params, request.params ?? {}, ['params']);
  const dryRun = request.dryRun ?? false;
  return {
    op,
    host: request.host,
    vm,
    expectedUuid,
    params,
    requestId: request.requestId,
    requestedBy: request.requestedBy ?? 'unknown',
    reason: request.reason ?? undefined,
    deadlineMs: request.deadline ? Date.parse(request.deadline) : undefined,
    dryRun,
    bodyHash: hashOf({ op, host: request.host, vm, expectedUuid, params, dryRun }),
  };
}

function parsed<T>(schema: z.ZodType<T>, value: unknown, path: readonly string[]): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = [...path, ...(issue?.path ?? [])].map((part) => quotedKey(part)).join('.');
  const message =
    issue?.code === 'unrecognized_keys' ? unknownKeys(issue.keys) : (issue?.message ?? 'is wrong');
  throw bad(field ? `${field}: ${message}` : message);
}

function unknownKeys(keys: readonly string[]): string {
  return `unknown ${keys.length === 1 ? 'key' : 'keys'} ${keys.slice(0, 5).map(quoted).join(', ')}`;
}

const quotedLengthMax = 60;

/** The text in quotes, escaped and cut: it comes from outside and goes into logs. */
export function quoted(text: string): string {
  const cut = text.length > quotedLengthMax ? `${text.slice(0, quotedLengthMax)}…` : text;
  return JSON.stringify(cut).replace(/[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
}

function quotedKey(part: PropertyKey): string {
  const text = String(part);
  return /^[A-Za-z0-9_]{1,60}$/.test(text) ? text : quoted(text);
}

function bad(message: string): JobError {
  return new JobError('BAD_REQUEST', message);
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex');
}

/** JSON with sorted keys; absent and undefined are the same. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join(',')}}`;
}
