// From a delivered job to its end, whatever happened before: parse → claim the request, and a place in the line for its VM →
// admit → place at the host → lock of the VM → run → write the answer → give back. It refuses to run what may have been
// begun before: that is settled by looking, and an answer once written is the answer for everybody.
//
//   the store says   this delivery                         ends as
//   lead             run it                                its result or failure
//   lead, found dead nothing was begun                     CANCELLED: interrupted before anything was done
//   begun            settle (also when only the audit      its truth; asked again while the host is away,
//                    log knows it)                         then OUTCOME_UNKNOWN
//   done             –                                     the same answer
//   follow, held     –                                     back to the queue, woken when the leader is done
//   other            –                                     BAD_REQUEST
import type { Clock } from '../core/clock.js';
import { sleep } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import type { Log } from '../core/log.js';
import { JobError, type JobResult, type ParsedJob } from '../ops/job.js';
import type { BegunAct } from '../ops/operation.js';
import { boundedRun } from './jobs-bounded.js';
import { cancelledFailure, failureOf, jobErrorOf } from './jobs-failure.js';
import { HostPlaces, type Place } from './jobs-hosts.js';
import { type JobRecords, type Opened, requestHash, requestKeptMs } from './jobs-records.js';
import { JobRun } from './jobs-run.js';
import type { Delivery, Ending, JobAudit, JobWork } from './jobs-types.js';

/** How long a host that is away keeps the truth about a begun act from us, before it is told as unknown. */
const settleWithinMs = 120_000;
const settleAgainMs = 2_000;
/** The lock of a VM on which something unsettled was begun. */
const unsettledLockMs = 60_000;
const finishRetryMs = 500;
const auditTimeoutMs = 10_000;
const waitFirstMs = 200;
const waitMaxMs = 5_000;
const unsettledMax = 10_000;

export type JobEngineOptions = {
  records: JobRecords;
  work: JobWork;
  audit: JobAudit;
  clock: Clock;
  log: Log;
  hostCap: number;
  /** These jobs may go on now. */
  wake: (jobIds: readonly string[]) => void;
  /** Resolves when jobs that act may be started on this store. */
  actable: (signal: AbortSignal) => Promise<void>;
  /** Told of each end before the job ends in the queue, at least once; `answer` is the result's JSON or the failure. */
  onEnd?: ((job: ParsedJob, ok: boolean, answer: string) => Promise<void>) | undefined;
  onDone?: ((op: string, end: string, durationMs: number, queueMs: number) => void) | undefined;
  onError: (error: unknown) => void;
  abortGraceMs?: number;
  settleWithinMs?: number;
};

export class JobEngine {
  readonly #options: JobEngineOptions;
  readonly #places: HostPlaces;
  readonly #deliveries = new Map<string, Promise<Ending>>();
  readonly #runs = new Map<string, JobRun>();
  /** Since when the truth about a job is sought, monotonic milliseconds. */
  readonly #unsettled = new Map<string, number>();
  readonly #ending = new AbortController();
  #stopping = false;

  constructor(options: JobEngineOptions) {
    this.#options = options;
    this.#places = new HostPlaces(options.hostCap);
  }

  runs(): Iterable<JobRun> {
    return this.#runs.values();
  }

  has(jobId: string): boolean {
    return this.#deliveries.has(jobId);
  }

  get size(): number {
    return this.#deliveries.size;
  }

  /** Resolves when every delivery that runs now has ended. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#deliveries.values());
  }

  cancelRequest(hash: string): void {
    this.#runs.get(hash)?.cancel();
  }

  /** What has not begun goes back to the queue; what has begun may end. */
  stop(): void {
    this.#stopping = true;
    for (const run of this.#runs.values()) run.interrupt('shutdown');
  }

  /** Nothing passes a gate from here on; what is left is settled at the next start. */
  abandon(): void {
    this.stop();
    this.#ending.abort(new JobError('OUTCOME_UNKNOWN', 'the service stopped'));
    for (const run of this.#runs.values()) {
      run.end();
      run.abandon(new JobError('OUTCOME_UNKNOWN', 'the service stopped'));
    }
  }

  /** Never rejects. A job that is delivered again while it runs shares the end of the first delivery. */
  handle(delivery: Delivery): Promise<Ending> {
    const running = this.#deliveries.get(delivery.id);
    if (running) return running;
    const handled = this.#handle(delivery).catch((error): Ending => {
      this.#options.onError(error);
      return { kind: 'delayed', delayMs: waitMaxMs };
    });
    this.#deliveries.set(delivery.id, handled);
    void handled.then(() => this.#deliveries.delete(delivery.id));
    return handled;
  }

  async #handle(delivery: Delivery): Promise<Ending> {
    if (this.#stopping) return { kind: 'delayed', delayMs: 0 };
    const { records, work } = this.#options;
    let job: ParsedJob;
    try {
      job = work.parse(delivery.name, delivery.data);
    } catch (error) {
      return { kind: 'failed', failure: failureOf(jobErrorOf(error, false)) };
    }
    const hash = requestHash(job.requestId);
    const opened = await records.open(job, delivery.id, {
      busy: this.#runs.has(hash),
      dueMs: this.#acts(job) ? delivery.dueMs : undefined,
    });
    switch (opened.kind) {
      case 'done':
        // Found lying: its engine may have died between the end and the telling of it.
        if (delivery.found) await this.#options.onEnd?.(job, opened.ok, opened.answer);
        return answered(opened.ok, opened.answer);
      case 'other':
        return { kind: 'failed', failure: failureOf(otherBody(job)) };
      case 'follow':
        return { kind: 'delayed', delayMs: waitMs(delivery) };
      case 'held':
        return delivery.found ? { kind: 'left' } : { kind: 'delayed', delayMs: waitMs(delivery) };
      default:
        return this.#lead(delivery, job, hash, opened);
    }
  }

  async #lead(delivery: Delivery, job: ParsedJob, hash: string, opened: Led): Promise<Ending> {
    const { records, audit, clock } = this.#options;
    const begun = merged(opened.begun, this.#audited(job));
    const run = new JobRun({
      ...{ records, audit, clock, job, hash, begun },
      jobId: delivery.id,
      dueMs: delivery.dueMs,
      acts: this.#acts(job),
      lock: (locking, vm) => this.#lock(locking, vm),
      onStep: (steps) => delivery.progress(steps),
    });
    this.#runs.set(hash, run);
    if (this.#stopping) run.interrupt('shutdown');
    const startedMs = clock.monotonicMs();
    try {
      const end = await (begun.length > 0
        ? this.#settle(run, opened.vm ?? begun.findLast((act) => act.vm)?.vm)
        : this.#begin(run, delivery, opened));
      if ('kind' in end) return await this.#giveBack(run, end);
      return await this.#finish(run, end, delivery, clock.monotonicMs() - startedMs);
    } finally {
      run.end();
      this.#runs.delete(hash);
    }
  }

  /** A job of which nothing is known to have begun. */
  async #begin(run: JobRun, delivery: Delivery, { kind, vm }: Led): Promise<End | Back> {
    // A lock that the dead owner held is taken over, to be given back with the end.
    if (vm && delivery.found) await this.#lock(run, vm);
    if (kind === 'cancelled') return new JobError('CANCELLED', 'cancelled before anything was done');
    if (delivery.found === 'own') return back(0);
    if (delivery.found === 'dead')
      return new JobError(
        'CANCELLED',
        'interrupted before anything was done; add it again with a new requestId',
      );
    const held: Place[] = [];
    try {
      return await this.#bounded(run, () => this.#runJob(run, delivery, held));
    } catch (error) {
      const { interruption } = run;
      if (interruption) return back(interruption === 'shutdown' ? 0 : waitMs(delivery));
      if (this.#ending.signal.aborted) return { kind: 'left' };
      return jobErrorOf(error, run.hasBegun);
    } finally {
      for (const place of held) place.free();
    }
  }

  async #runJob(run: JobRun, delivery: Delivery, held: Place[]): Promise<JobResult | Back> {
    const { work } = this.#options;
    const { job } = run.claim;
    if (run.remainingMs() <= 0) throw expired(job);
    work.admit(job);
    const place = await this.#places.take(job.host, run.signal);
    if (!place) return back(waitMs(delivery));
    held.push(place);
    if (run.mayAct) await this.#options.actable(run.signal);
    if (run.signal.aborted) throw run.signal.reason;
    return work.run(job, run);
  }

  /** What was begun in an earlier life: looked at, never sent again blindly. */
  async #settle(run: JobRun, known: JobVm): Promise<End | Back> {
    const { work, clock, log } = this.#options;
    const { job, jobId } = run.claim;
    if (this.#unsettled.size >= unsettledMax) this.#unsettled.clear();
    const sinceMs = this.#unsettled.get(jobId) ?? clock.monotonicMs();
    this.#unsettled.set(jobId, sinceMs);
    const again = () => clock.monotonicMs() - sinceMs < (this.#options.settleWithinMs ?? settleWithinMs);
    try {
      work.admit(job);
    } catch (error) {
      // Looking is allowed on a host in maintenance; a host that left the inventory cannot be looked at.
      const refusal = jobErrorOf(error, false);
      if (refusal.code === 'HOST_UNKNOWN') return unknown(job, run, error);
      run.forbid(refusal);
    }
    try {
      if (!(await this.#lock(run, known))) return back(settleAgainMs);
      const result = await this.#bounded(run, () => work.settle(job, run));
      this.#unsettled.delete(jobId);
      log.info({ host: job.host, op: job.op, jobId, outcome: result.outcome }, 'interrupted job settled');
      return result;
    } catch (error) {
      const failure = jobErrorOf(error, true);
      if (this.#ending.signal.aborted) return { kind: 'left' };
      if (failure.code === 'HOST_UNREACHABLE' && again()) return back(settleAgainMs, unsettledLockMs);
      this.#unsettled.delete(jobId);
      return failure.code === 'HOST_UNREACHABLE' ? unknown(job, run, failure) : failure;
    }
  }

  /** False when another job has the VM, or the store cannot be asked. */
  async #lock(run: JobRun, vm: JobVm): Promise<boolean> {
    const { records, clock, onError } = this.#options;
    if (run.claim.job.vm === undefined) return true;
    const askedMs = clock.monotonicMs();
    try {
      const locked = await records.lock(run.claim, vm);
      if (locked.kind === 'held') run.locked(locked.key, locked.holder, vm, askedMs);
      return locked.kind === 'held';
    } catch (error) {
      onError(error);
      return false;
    }
  }

  /** It wants to change something, and is more than a dry run. */
  #acts(job: ParsedJob): boolean {
    return this.#options.work.acts(job) && !job.dryRun;
  }

  #bounded<T>(run: JobRun, work: () => Promise<T>): Promise<T> {
    const { clock, abortGraceMs } = this.#options;
    return boundedRun(run, work, { clock, ending: this.#ending.signal, graceMs: abortGraceMs });
  }

  async #giveBack(run: JobRun, ending: Back): Promise<Ending> {
    run.end();
    const keepMs = ending.kind === 'delayed' ? ending.keepLockMs : run.hasBegun ? unsettledLockMs : 0;
    try {
      const next = await this.#options.records.release(run.claim, keepMs);
      if (next) this.#options.wake([next]);
    } catch (error) {
      this.#options.onError(error); // the lock's lease and our own next delivery mend it
    }
    return ending.kind === 'left' ? ending : { kind: 'delayed', delayMs: ending.delayMs };
  }

  async #finish(run: JobRun, end: End, delivery: Delivery, durationMs: number): Promise<Ending> {
    const { records, wake, onDone, work, clock } = this.#options;
    const ok = !(end instanceof JobError);
    run.end();
    await this.#auditEnd(run, end);
    const answer = ok ? JSON.stringify(end) : failureOf(end);
    for (;;) {
      try {
        const done = await records.finish(
          run.claim,
          { ok, answer },
          cancelledFailure,
          work.acts(run.claim.job),
        );
        wake(done.wake);
        if (done.kind === 'lost') return { kind: 'left' };
        const queueMs = Math.max(0, clock.wallMs() - delivery.addedMs - durationMs);
        await this.#options.onEnd?.(run.claim.job, done.ok, done.answer);
        onDone?.(run.claim.job.op, ok ? end.outcome : end.code, durationMs, queueMs);
        return answered(done.ok, done.answer);
      } catch (error) {
        this.#options.onError(error);
        if (this.#ending.signal.aborted) return { kind: 'left' };
        await sleep(clock, finishRetryMs, this.#ending.signal).catch(() => undefined);
      }
    }
  }

  /** The answer stands, whether or not the log takes this line: the act's own line is there. */
  async #auditEnd(run: JobRun, end: End): Promise<void> {
    const { audit, clock } = this.#options;
    const failed = end instanceof JobError;
    const acted = run.acts.length > 0;
    const settled = run.begun.length > 0;
    if (!acted && !settled && !(failed && run.mayAct)) return;
    const entry = run.entry(settled ? 'settled' : acted ? 'end' : 'refused');
    try {
      await withDeadline(
        () =>
          audit.append({
            ...entry,
            ...(failed ? { error: failureOf(end) } : { outcome: end.outcome, after: end.after }),
          }),
        { timeoutMs: auditTimeoutMs, clock, onTimeout: () => new Error('the audit log does not answer') },
      );
    } catch (error) {
      this.#options.log.error(
        { error, requestId: run.claim.job.requestId },
        'end of a job not in the audit log',
      );
    }
  }

  #audited(job: ParsedJob): readonly BegunAct[] {
    const sinceMs = this.#options.clock.wallMs() - requestKeptMs;
    return this.#options.audit.begun(job.requestId).filter(({ at }) => Date.parse(at) >= sinceMs);
  }
}

type JobVm = Parameters<JobRecords['lock']>[1];
type Led = Extract<Opened, { begun: unknown }>;
type End = JobResult | JobError;
type Back = { kind: 'delayed'; delayMs: number; keepLockMs: number } | { kind: 'left' };

function back(delayMs: number, keepLockMs = 0): Back {
  return { kind: 'delayed', delayMs, keepLockMs };
}

/** What either knows; the same act in both counts once. */
function merged(stored: readonly BegunAct[], audited: readonly BegunAct[]): readonly BegunAct[] {
  const both = [...stored];
  const open = stored.map(({ act }) => act);
  for (const begun of audited) {
    const at = open.indexOf(begun.act);
    if (at >= 0) open.splice(at, 1);
    else both.push(begun);
  }
  return both;
}

function waitMs({ deliveries }: Delivery): number {
  const grown = Math.min(waitMaxMs, waitFirstMs * 1.5 ** Math.max(0, deliveries - 1));
  return Math.round(grown * (0.75 + Math.random() / 2));
}

function answered(ok: boolean, answer: string): Ending {
  return ok
    ? { kind: 'completed', result: JSON.parse(answer) as JobResult }
    : { kind: 'failed', failure: answer };
}

function otherBody({ requestId }: ParsedJob): JobError {
  return new JobError('BAD_REQUEST', `requestId: ${JSON.stringify(requestId)} was used with another body`);
}

function expired({ deadlineMs = 0 }: ParsedJob): JobError {
  return new JobError('DEADLINE_EXPIRED', `the deadline ${new Date(deadlineMs).toISOString()} has passed`);
}

function unknown(job: ParsedJob, run: JobRun, cause: unknown): JobError {
  const acts = run.begun.map(({ act }) => act).join(', ');
  return new JobError(
    'OUTCOME_UNKNOWN',
    `interrupted after ${acts} had begun, and ${job.host} cannot be asked`,
    {
      cause,
    },
  );
}
