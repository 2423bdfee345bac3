// One run of one job: its deadline, its cancel, its steps, and the gate before each act. The gate is where everything
// that may forbid an act is looked at last: shutdown, cancel, deadline, the VM's lock and its lease, the audit log.
// It refuses to say "cancelled" of a job whose act may have been sent.
//
//   preparing ──beforeAct──► gating ──recorded──► begun ──► ended
//       │ cancel, shutdown,     │ refused by store, audit,      (a deadline still aborts; cancel is too late)
//       ▼ deadline: abort       ▼ lease or deadline: nothing was sent
import type { Clock, Timer } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { describe } from '../core/errors.js';
import { JobError, type ParsedJob, type VmIdentity } from '../ops/job.js';
import type { ActFacts, BegunAct } from '../ops/operation.js';
import { type Claim, type JobRecords, leaseOf } from './jobs-records.js';
import type { JobAudit, JobAuditEntry, JobLife, JobStepView } from './jobs-types.js';

/** Part of a lease that is not used: what lies between the check and the act. */
const leaseMarginMs = 3_000;
const auditTimeoutMs = 10_000;
/** Longest wait of the clock's timer: a deadline in a year is looked at again after this. */
const timerMaxMs = 86_400_000;
const stepsMax = 500;
const stepCharsMax = 500;

export type RunOptions = {
  records: JobRecords;
  audit: JobAudit;
  clock: Clock;
  jobId: string;
  job: ParsedJob;
  hash: string;
  dueMs: number;
  acts: boolean;
  /** Takes the VM's lock; false when another job has it. */
  lock: (run: JobRun, vm: VmIdentity) => Promise<boolean>;
  begun: readonly BegunAct[];
  onStep: (steps: readonly JobStepView[]) => void;
};

/** Why a run that did nothing goes back to the queue. */
export type Interruption = 'shutdown' | 'lock' | 'store' | 'busy';

export class JobRun implements JobLife {
  readonly claim: Claim;
  readonly signal: AbortSignal;
  readonly begun: readonly BegunAct[];
  readonly #options: RunOptions;
  readonly #controller = new AbortController();
  readonly #steps: JobStepView[] = [];
  readonly #acts: BegunAct[] = [];
  #stage: 'preparing' | 'gating' | 'begun' | 'ended';
  #late: JobError | undefined;
  #interruption: Interruption | undefined;
  #leaseEndsMs = Number.NEGATIVE_INFINITY;
  #lost = false;
  #forbidden: JobError | undefined;
  #timer: Timer | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
    const { jobId, job, hash, dueMs, begun } = options;
    this.claim = { jobId, job, hash, dueMs, begun, lock: undefined };
    this.begun = begun;
    this.signal = this.#controller.signal;
    this.#stage = begun.length > 0 ? 'begun' : 'preparing';
    if (begun.length === 0) this.#planDeadline();
  }

  /** An act of this run, or of an earlier life, may have been sent. */
  get hasBegun(): boolean {
    return this.begun.length + this.#acts.length > 0;
  }

  get hasEnded(): boolean {
    return this.#stage === 'ended';
  }

  /** Acts of this run. */
  get acts(): readonly BegunAct[] {
    return this.#acts;
  }

  /** It wants to change something, and is more than a dry run. */
  get mayAct(): boolean {
    return this.#options.acts;
  }

  /** Set when the run must go back to the queue; never after an act. */
  get interruption(): Interruption | undefined {
    return this.hasBegun ? undefined : this.#interruption;
  }

  get resolved(): JobLife['resolved'] {
    return this.mayAct ? (vm) => this.#resolve(vm) : undefined;
  }

  remainingMs(): number {
    const { job, clock } = this.#options;
    if (job.deadlineMs === undefined || this.begun.length > 0) return Number.POSITIVE_INFINITY;
    return Math.max(0, job.deadlineMs - clock.wallMs());
  }

  step(text: string, facts?: object): void {
    if (this.#stage === 'ended' || this.#steps.length >= stepsMax) return;
    const at = new Date(this.#options.clock.wallMs()).toISOString();
    this.#steps.push({ at, step: text.slice(0, stepCharsMax), ...(facts && { facts }) });
    this.#options.onStep(this.#steps);
  }

  /** The VM's lock, as it was taken; `sinceMs` is when it was asked for. */
  locked(key: string, holder: string, vm: VmIdentity | undefined, sinceMs: number): void {
    this.claim.lock = { key, holder, vm };
    this.#leaseEndsMs = sinceMs + leaseOf(this.claim);
  }

  kept(sinceMs: number, leaseMs: number): void {
    this.#leaseEndsMs = Math.max(this.#leaseEndsMs, sinceMs + leaseMs);
  }

  /** The store says that the job or the VM is no longer ours. */
  lose(): void {
    this.#lost = true;
    if (this.#stage === 'preparing') this.interrupt('lock');
  }

  /** It may look and not act. */
  forbid(reason: JobError): void {
    this.#forbidden = reason;
  }

  /** Takes effect before the first act; else the act's gate, which asks the store, has decided. */
  cancel(): void {
    this.#abortUnbegun(new JobError('CANCELLED', 'cancelled before anything was done'));
  }

  interrupt(why: Interruption): void {
    if (this.hasBegun || this.#stage === 'ended') return;
    this.#interruption ??= why;
    const text = {
      shutdown: 'the service stops',
      lock: 'the lock on the VM was lost',
      store: 'the store is away',
      busy: 'another job has the VM',
    };
    this.#abortUnbegun(new JobError('CANCELLED', `${text[why]}; nothing was done`));
  }

  /** Nothing passes the gate from here on. */
  end(): void {
    this.#stage = 'ended';
    this.#timer?.cancel();
  }

  /** Aborts whatever still waits, for a run that is over. */
  abandon(reason: JobError): void {
    if (!this.signal.aborted) this.#controller.abort(reason);
  }

  async beforeAct(act: string, facts: ActFacts): Promise<void> {
    this.#mayGoOn();
    const { lock, job } = this.claim;
    if (!this.mayAct) throw new JobError('BAD_REQUEST', `${job.op} may not act`);
    if (job.vm !== undefined && !lock) throw this.#refuse('lock', 'the VM is not locked');
    if (facts.vm && lock?.vm && facts.vm.uuid !== lock.vm.uuid)
      throw this.#refuse('lock', 'it is another VM by now');
    const at = new Date(this.#options.clock.wallMs()).toISOString();
    const begin: BegunAct = { act, at, ...facts };
    const stage = this.#stage;
    this.#stage = 'gating';
    try {
      await this.#passStore(begin);
      await this.#passAudit(begin);
      this.#mayStillAct();
    } catch (error) {
      if (!this.hasEnded) this.#stage = stage;
      throw this.#late && stage === 'preparing' ? this.#abort(this.#late) : error;
    }
    this.#stage = 'begun';
    this.#acts.push(begin);
    this.claim.begun = [...this.begun, ...this.#acts];
    if (this.#late?.code === 'DEADLINE_EXPIRED') this.#abort(this.#late);
  }

  async #resolve(vm: VmIdentity): Promise<void> {
    this.#mayGoOn();
    const { lock } = this.claim;
    if (lock?.vm?.uuid === vm.uuid) return;
    if (lock) throw this.#refuse('lock', 'it is another VM by now');
    if (!(await this.#options.lock(this, vm))) throw this.#refuse('busy', 'another job has the VM');
    this.#mayGoOn();
  }

  async #passStore(begin: BegunAct): Promise<void> {
    const { records, clock } = this.#options;
    const begun = [...this.begun, ...this.#acts, begin];
    for (let attempt = 1; ; attempt++) {
      const askedMs = clock.monotonicMs();
      let kept: Awaited<ReturnType<JobRecords['gate']>>;
      try {
        kept = await records.gate(this.claim, begun);
        // A store that crashed may have forgotten the claim: it is put back, if nobody else has it, and asked again.
        if (kept === 'lost' && attempt === 1 && !this.#lost) {
          await records.renew(this.claim);
          continue;
        }
      } catch (error) {
        throw this.#refuse('store', `the store does not answer: ${describe(error)}`);
      }
      if (kept === 'cancelled') throw this.#cancelled();
      if (kept === 'lost') throw this.#refuse('lock', 'the lock on the VM was lost');
      this.#leaseEndsMs = askedMs + leaseOf({ begun });
      return;
    }
  }

  async #passAudit(begin: BegunAct): Promise<void> {
    const { audit, clock } = this.#options;
    const { act, vm, before } = begin;
    try {
      await withDeadline(() => audit.append({ ...this.entry('begin'), act, ...(vm && { vm }), before }), {
        timeoutMs: auditTimeoutMs,
        clock,
        onTimeout: () => new Error('no answer in time'),
      });
    } catch (error) {
      throw new JobError('OPS_DISABLED', `the audit log cannot be written: ${describe(error)}`);
    }
  }

  /** A line of the audit log, without what the caller adds. */
  entry(kind: JobAuditEntry['kind']): JobAuditEntry {
    const { job, lock } = this.claim;
    const vm = this.#acts.at(-1)?.vm ?? lock?.vm;
    return {
      kind,
      requestId: job.requestId,
      op: job.op,
      host: job.host,
      ...(vm && { vm }),
      requestedBy: job.requestedBy,
      ...(job.reason !== undefined && { reason: job.reason }),
    };
  }

  /** Before the gate. */
  #mayGoOn(): void {
    if (this.#stage === 'ended') throw new JobError('CANCELLED', 'the job has ended already');
    if (this.signal.aborted) throw this.signal.reason;
    if (this.#forbidden) throw this.#forbidden;
    if (this.#stage === 'gating') throw new JobError('CANCELLED', 'two acts at once');
    if (this.#deadlinePassed()) throw this.#tooLate();
    if (this.#lost) throw this.#refuse('lock', 'the lock on the VM was lost');
  }

  /** After the gate's records are made; the last look before the act. */
  #mayStillAct(): void {
    if (this.hasEnded) throw new JobError('CANCELLED', 'the job has ended already');
    if (this.#deadlinePassed()) throw this.#tooLate();
    if (this.#lost || this.#options.clock.monotonicMs() > this.#leaseEndsMs - leaseMarginMs)
      throw this.#refuse('lock', 'the lock on the VM ran out');
  }

  #refuse(why: Interruption, text: string): JobError {
    if (this.hasBegun) {
      const done = [...this.begun, ...this.#acts].map(({ act }) => act).join(', ');
      return new JobError('OUTCOME_UNKNOWN', `${text}; begun before: ${done}; nothing was sent since`);
    }
    this.#interruption ??= why;
    return this.#abort(new JobError('CANCELLED', `${text}; nothing was done`));
  }

  #cancelled(): JobError {
    return this.#abort(new JobError('CANCELLED', 'cancelled before anything was done'));
  }

  #abort(reason: JobError): JobError {
    if (!this.signal.aborted) this.#controller.abort(reason);
    return reason;
  }

  #abortUnbegun(reason: JobError): void {
    if (this.hasBegun || this.#stage === 'ended') return;
    if (this.#stage === 'gating') this.#late ??= reason;
    else this.#abort(reason);
  }

  /** What settles an earlier life may still read, and may act no more. */
  #tooLate(): JobError {
    return this.begun.length > 0 ? this.#expired() : this.#abort(this.#expired());
  }

  #deadlinePassed(): boolean {
    const { job, clock } = this.#options;
    return job.deadlineMs !== undefined && clock.wallMs() >= job.deadlineMs;
  }

  #expired(): JobError {
    const { deadlineMs = 0 } = this.#options.job;
    return new JobError('DEADLINE_EXPIRED', `the deadline ${new Date(deadlineMs).toISOString()} has passed`);
  }

  #planDeadline(): void {
    const leftMs = this.remainingMs();
    if (leftMs === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#options.clock.after(Math.min(leftMs, timerMaxMs), () => {
      if (!this.#deadlinePassed()) return this.#planDeadline();
      if (this.#stage === 'ended') return;
      if (this.#stage === 'gating') this.#late ??= this.#expired();
      else this.#abort(this.#expired());
    });
  }
}
