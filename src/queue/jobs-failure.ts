// A job's failure as its caller reads it: one line, `CODE: text`, no stack. It refuses to call an unforeseen error harmless
// once an act may have been sent.
import { UnrecoverableError } from 'bullmq';
import { describe, HostError } from '../core/errors.js';
import { asJobError, outcomeUnknown } from '../ops/failure.js';
import { JobError } from '../ops/job.js';

const failureCharsMax = 1_000;

export const cancelledFailure = 'CANCELLED: cancelled; what it found is not told';

/** Thrown into BullMQ: never tried again, whatever `attempts` the caller set. */
export class JobFailure extends UnrecoverableError {
  constructor(failure: string) {
    super(failure);
    this.name = 'UnrecoverableError';
    this.stack = '';
  }
}

/** Without the causes: the message says what there is to say. */
export function failureOf({ code, message }: JobError): string {
  return `${code}: ${message.replaceAll(/\s+/g, ' ')}`.slice(0, failureCharsMax);
}

export function jobErrorOf(error: unknown, begun: boolean): JobError {
  if (error instanceof JobError) return error;
  const unknown = outcomeUnknown(error) || !(error instanceof HostError);
  return begun && unknown
    ? new JobError('OUTCOME_UNKNOWN', describe(error), { cause: error })
    : asJobError(error);
}
