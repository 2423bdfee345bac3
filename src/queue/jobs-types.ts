// What the job engine is handed and what it hands out. The engine knows that a job has a host, a VM and acts; what they
// are is told by `JobWork`. It refuses to know SSH, libvirt or the inventory.
import type { JobResult, ParsedJob, VmIdentity } from '../ops/job.js';
import type { ActFacts, BegunAct } from '../ops/operation.js';

/** One run of a job, as the operation sees it: the part of a JobContext that the engine makes. */
export interface JobLife {
  /** Aborts at the deadline, and on cancel before the first act; the reason is a JobError. */
  readonly signal: AbortSignal;
  /** Acts of earlier lives of this job. */
  readonly begun: readonly BegunAct[];
  /** Until the deadline, milliseconds; Infinity without one. */
  remainingMs(): number;
  step(text: string, facts?: object): void;
  /**
   * For a job that may act: to be told which VM it is, so that its lock is taken. Rejects with a JobError when another job
   * has the VM; then this one goes back to the queue. What was read before must be read again.
   */
  readonly resolved: ((vm: VmIdentity) => Promise<void>) | undefined;
  /** Rejects with a JobError when the act may not be sent. */
  beforeAct(act: string, facts: ActFacts): Promise<void>;
}

/** The jobs' content. Every method may throw JobError; HostError is understood too. */
export interface JobWork {
  /** Throws JobError BAD_REQUEST. */
  parse(name: string, data: unknown): ParsedJob;
  /** False for what only reads: it needs no lock and no audit. */
  acts(job: ParsedJob): boolean;
  /** Throws HOST_UNKNOWN, HOST_MAINTENANCE or OPS_DISABLED. */
  admit(job: ParsedJob): void;
  run(job: ParsedJob, life: JobLife): Promise<JobResult>;
  /** What became of a job that was interrupted after an act had begun. Throws HOST_UNREACHABLE to be asked again. */
  settle(job: ParsedJob, life: JobLife): Promise<JobResult>;
}

export type JobAuditEntry = {
  kind: 'begin' | 'end' | 'refused' | 'settled';
  requestId: string;
  op: string;
  act?: string;
  host: string;
  vm?: VmIdentity;
  requestedBy: string;
  reason?: string;
  before?: unknown;
  after?: unknown;
  outcome?: string;
  error?: string;
};

export interface JobAudit {
  /** Resolves after fsync. */
  append(entry: JobAuditEntry): Promise<void>;
  /** Acts that were begun for this request, ended or not. */
  begun(requestId: string): readonly BegunAct[];
}

export type CancelAnswer = 'cancelled' | 'too late' | 'unknown';

export type JobState = 'waiting' | 'active' | 'delayed' | 'completed' | 'failed';

export type JobView = {
  id: string;
  name: string;
  state: JobState | 'unknown';
  data: unknown;
  progress: unknown;
  result: unknown;
  /** `CODE: text` */
  failure: string | undefined;
  /** Wall milliseconds. */
  addedMs: number;
  startedMs: number | undefined;
  finishedMs: number | undefined;
};

export type JobsStats = Record<JobState, number> & {
  /** In this process. */
  running: number;
  /** How long the job that waits longest has been due; 0 while none waits. */
  oldestWaitMs: number;
};

/** How a delivery of a job ends. */
export type Ending =
  | { kind: 'completed'; result: JobResult }
  | { kind: 'failed'; failure: string }
  /** Back to the queue, to be delivered again after `delayMs`. */
  | { kind: 'delayed'; delayMs: number }
  /** Another engine has it, or nothing can be told now: leave it where it is. */
  | { kind: 'left' };

/** A job as the queue delivers it. */
export type Delivery = {
  id: string;
  name: string;
  data: unknown;
  /** Wall milliseconds at which it was added. */
  addedMs: number;
  /** Wall milliseconds at which it was to be run: when it was added, or after the delay that it was added with. */
  dueMs: number;
  /** How often it was delivered, this time included. */
  deliveries: number;
  /** `own`: found lying, and this process lost it; `dead`: found lying, and its owner is gone. */
  found?: 'own' | 'dead';
  progress(steps: readonly JobStepView[]): void;
};

export type JobStepView = { at: string; step: string; facts?: object };
