// A job of the queue in the API's shape. Anybody with the store's password may have put it there, so every field is looked at
// before it is shown. It refuses to pass on what a job's form does not know.
import { type JobCode, jobCodes } from '../../ops/job.js';
import type { JobHead } from '../../queue/jobs-list.js';
import type { JobView } from '../../queue/jobs-types.js';
import { masked, maskedText } from '../mask.js';
import { type Job, type JobFailure, JobResult, type JobStep } from './schemas.js';

const textLengthMax = 1_024;
const stepsShownMax = 500;
const paramsCharsMax = 16_384;
const texts = ['host', 'vm', 'expectedUuid', 'requestId', 'requestedBy', 'reason', 'deadline'] as const;

/** In a list, only the last step is shown, and not what a read found. */
export function jobOf(view: JobView, shape: 'whole' | 'listed' = 'whole'): Job {
  const whole = shape === 'whole';
  const data = recordOf(view.data);
  const params = paramsOf(data.params);
  const result = resultOf(view.result);
  const steps = result?.steps ?? stepsOf(view.progress);
  return {
    id: view.id,
    op: view.name.slice(0, textLengthMax),
    state: view.state,
    ...textsOf(data),
    ...(params && { params }),
    dryRun: data.dryRun === true,
    createdAt: iso(view.addedMs),
    ...(view.startedMs !== undefined && { startedAt: iso(view.startedMs) }),
    ...(view.finishedMs !== undefined && { finishedAt: iso(view.finishedMs) }),
    steps: whole ? steps.slice(0, stepsShownMax) : steps.slice(-1),
    ...(result && { result: whole ? result : { ...result, steps: [], data: null } }),
    ...(view.failure !== undefined && { failure: failureOf(view.failure) }),
    cancel: cancelOf(view),
  };
}

/** What a list is filtered by. */
export function headOf({ name, data }: JobHead): { op: string } & ReturnType<typeof textsOf> {
  return { op: name, ...textsOf(recordOf(data)) };
}

function textsOf(data: Record<string, unknown>): { [K in (typeof texts)[number]]?: string } {
  const found: { [K in (typeof texts)[number]]?: string } = {};
  for (const name of texts) {
    const value = data[name];
    if (typeof value === 'string') found[name] = maskedText(value.slice(0, textLengthMax));
  }
  return found;
}

function paramsOf(params: unknown): Record<string, unknown> | undefined {
  if (typeof params !== 'object' || params === null || Array.isArray(params)) return undefined;
  const plain = masked(params);
  return JSON.stringify(plain)?.length <= paramsCharsMax ? recordOf(plain) : undefined;
}

function resultOf(given: unknown): JobResult | undefined {
  if (given === null || given === undefined) return undefined;
  const result = JobResult.safeParse(masked(given));
  return result.success ? result.data : undefined;
}

function stepsOf(progress: unknown): JobStep[] {
  const { steps } = recordOf(progress);
  if (!Array.isArray(steps)) return [];
  return steps.flatMap((one: unknown) => {
    const { at, step } = recordOf(one);
    if (typeof at !== 'string' || typeof step !== 'string') return [];
    return [{ at: at.slice(0, textLengthMax), step: step.slice(0, textLengthMax) }];
  });
}

function failureOf(text: string): JobFailure {
  const [, code, message] = /^([A-Z_]{1,40}): (.*)$/s.exec(text) ?? [];
  const known = jobCodes.find((one): one is JobCode => one === code);
  return { code: known ?? 'UNKNOWN', message: maskedText((known ? message : text) ?? '') };
}

function cancelOf({ state, finishedMs }: JobView): Job['cancel'] {
  if (finishedMs !== undefined) return 'too-late';
  return state === 'active' ? 'maybe' : 'possible';
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function iso(wallMs: number): string {
  const time = new Date(wallMs);
  return Number.isNaN(time.getTime()) ? new Date(0).toISOString() : time.toISOString();
}
