// Joins the engine to the operations: a job becomes a JobContext and an operation is run with it. It refuses to know where
// the connections come from: it is handed them for each run and lets go of them after it.
import type { Clock } from '../core/clock.js';
import type { Log } from '../core/log.js';
import { type ParsedJob, parseRequest } from '../ops/job.js';
import type { JobContext, Operation, Operations } from '../ops/operation.js';
import { runOperation, settleOperation } from '../ops/run.js';
import type { JobLife, JobWork } from './jobs-types.js';

/** What a run needs of its host. */
export type JobSurroundings = Pick<JobContext, 'host' | 'libvirt' | 'readers'> & {
  /** Called once, when the run is over. */
  release?: () => void;
};

export type JobWorkOptions = {
  operations: Operations;
  clock: Clock;
  log: Log;
  /** Throws JobError HOST_UNKNOWN, HOST_MAINTENANCE or OPS_DISABLED. `acts` is false for a read and for a dry run. */
  admit: (job: ParsedJob, acts: boolean) => void;
  /** Throws JobError HOST_UNKNOWN. */
  surroundings: (job: ParsedJob, signal: AbortSignal) => JobSurroundings;
};

export function jobWork(options: JobWorkOptions): JobWork {
  const { operations, clock, log, admit, surroundings } = options;
  const acts = (job: ParsedJob) => operations.get(job.op)?.acts ?? false;

  async function withContext<T>(
    job: ParsedJob,
    life: JobLife,
    work: (operation: Operation, ctx: JobContext) => Promise<T>,
  ): Promise<T> {
    const operation = operations.get(job.op);
    if (!operation) throw new Error(`no operation ${job.op}`);
    const { release, ...around } = surroundings(job, life.signal);
    const { op, vm, expectedUuid, params, requestId } = job;
    const { signal, begun, resolved } = life;
    const ctx: JobContext = {
      ...{ op, vm, expectedUuid, params, requestId, clock, log, signal, begun },
      ...around,
      ...(resolved && { resolved }),
      remainingMs: () => life.remainingMs(),
      step: (text, facts) => life.step(text, facts),
      beforeAct: (act, facts) => life.beforeAct(act, facts),
    };
    try {
      return await work(operation, ctx);
    } finally {
      release?.();
    }
  }

  return {
    parse: (name, data) => parseRequest(name, data, operations),
    acts,
    admit: (job) => admit(job, acts(job) && !job.dryRun),
    run: (job, life) => withContext(job, life, (operation, ctx) => runOperation(operation, ctx, job.dryRun)),
    settle: (job, life) => withContext(job, life, settleOperation),
  };
}
