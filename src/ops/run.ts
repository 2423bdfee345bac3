// Runs one operation: read → check the UUID → decide → (a dry run ends here) → act → verify. It turns every failure into
// a JobError that says what is true, and refuses to send anything twice: a lost reply is answered by reading.
//
//   reply of an act    then
//   ok                 verify
//   refused            the job fails with libvirt's words, and with what was done before
//   lost, or the connection fails at any call after an act
//                      libvirt is read over a new connection, for `truthWaitMs`, or the guest's own time if that is more:
//                      done → verify → changed; resume → goes on; else OUTCOME_UNKNOWN and the state it is in now
import { sleep } from '../core/clock.js';
import { describe, HostError } from '../core/errors.js';
import { asJobError, connectionFailed } from './failure.js';
import { JobError, type JobOutcome, type JobResult, type JobStep } from './job.js';
import type { BegunAct, Facts, JobContext, Operation, Settled, Verified } from './operation.js';

/** How long a lost reply is looked for in what libvirt says. */
export const truthWaitMs = 10_000;
const truthPauseMs = 500;
/** Steps kept for the result. */
export const stepsMax = 200;

/** Throws JobError, or what the context's own callbacks threw. */
export function runOperation(op: Operation, ctx: JobContext, dryRun: boolean): Promise<JobResult> {
  return new Run(op, ctx).run(dryRun);
}

/**
 * For a job whose acts were begun in an earlier life (`ctx.begun`): reads what became of them. Throws JobError:
 * HOST_UNREACHABLE when libvirt cannot be read now, CANCELLED when it was not done, OUTCOME_UNKNOWN when none can tell.
 */
export function settleOperation(op: Operation, ctx: JobContext): Promise<JobResult> {
  return new Run(op, ctx).settle();
}

/** What the context's callbacks threw, other than a JobError: it goes through untouched. */
class Foreign {
  constructor(readonly error: unknown) {}
}

type Now = { facts: Facts | 'missing'; verdict: Settled };

class Run {
  readonly #op: Operation;
  readonly #outer: JobContext;
  readonly #ctx: JobContext;
  readonly #steps: JobStep[] = [];
  readonly #begun: BegunAct[] = [];
  readonly #startedMs: number;
  #uuid: string | undefined;

  constructor(op: Operation, outer: JobContext) {
    this.#op = op;
    this.#outer = outer;
    this.#startedMs = outer.clock.monotonicMs();
    this.#ctx = this.#context(outer.signal, () => outer.remainingMs());
  }

  async run(dryRun: boolean): Promise<JobResult> {
    try {
      return await this.#run(dryRun);
    } catch (error) {
      throw error instanceof Foreign ? error.error : asJobError(error);
    }
  }

  async settle(): Promise<JobResult> {
    try {
      return await this.#settle();
    } catch (error) {
      throw error instanceof Foreign ? error.error : asJobError(error);
    }
  }

  async #run(dryRun: boolean): Promise<JobResult> {
    const facts = await this.#readFirst();
    const decision = this.#op.decide(facts, this.#ctx.params);
    switch (decision.kind) {
      case 'refuse':
        throw new JobError(decision.code, decision.message);
      case 'unchanged':
        return this.#result(facts, 'unchanged', { after: facts.summary, data: decision.data });
      case 'act':
        if (!dryRun) return this.#act(facts, decision.plan);
        return this.#result(facts, 'planned', { after: facts.summary, data: { plan: decision.plan } });
    }
  }

  async #readFirst(): Promise<Facts> {
    const facts = await this.#read(this.#ctx);
    if (!facts.vm) return facts;
    const { expectedUuid } = this.#outer;
    if (expectedUuid !== undefined && facts.vm.uuid !== expectedUuid) {
      throw new JobError(
        'VM_UUID_MISMATCH',
        `${facts.vm.name} has the UUID ${facts.vm.uuid}, not ${expectedUuid}: it is another VM`,
      );
    }
    this.#uuid = facts.vm.uuid;
    const { resolved } = this.#outer;
    if (!resolved) return facts;
    await foreign(resolved.call(this.#outer, facts.vm));
    return this.#read(this.#ctx);
  }

  async #read(ctx: JobContext): Promise<Facts> {
    try {
      return await this.#op.read(ctx);
    } catch (error) {
      throw error instanceof Foreign ? error : asJobError(error);
    }
  }

  async #act(facts: Facts, plan: readonly string[]): Promise<JobResult> {
    let done: unknown;
    try {
      done = await this.#op.act(this.#ctx, facts, plan);
    } catch (error) {
      return this.#afterFailure(error, facts);
    }
    return this.#verified(facts, done);
  }

  async #verified(facts: Facts, done: unknown): Promise<JobResult> {
    const { ctx, cancel } = this.#unhurried();
    try {
      return this.#result(facts, 'changed', await this.#op.verify(ctx, facts, done));
    } catch (error) {
      if (error instanceof Foreign || error instanceof JobError) throw error;
      return await this.#truth(error, facts);
    } finally {
      cancel();
    }
  }

  /** An act did not end well. */
  async #afterFailure(error: unknown, facts: Facts): Promise<JobResult> {
    const [first] = this.#begun;
    if (error instanceof Foreign || !first) throw error;
    if (connectionFailed(error)) return this.#truth(error, facts);
    const failure = asJobError(error);
    if (isExpired(failure)) return this.#truth(failure, facts);
    const refused = error instanceof HostError;
    const before = (refused ? this.#begun.slice(0, -1) : this.#begun).map(({ act }) => act);
    if (before.length === 0 || failure.code === 'GUEST_TIMEOUT') throw failure;
    throw new JobError(failure.code, `${failure.message}; begun before that: ${listed(before)}`, {
      cause: error,
    });
  }

  /** The reply is lost, or there is no time left: only reading can tell. */
  async #truth(error: unknown, facts: Facts): Promise<JobResult> {
    this.#step('the reply is missing: reading what is true');
    const guestMs = Math.min(this.#op.guestWaitMs?.(this.#ctx.params) ?? 0, this.#ctx.remainingMs());
    const { ctx, cancel, untilMs } = this.#unhurried(Math.max(truthWaitMs, guestMs));
    try {
      let last: string | undefined;
      do {
        const now = await this.#look(ctx, this.#begun).catch((failure: unknown) => {
          if (failure instanceof Foreign) throw failure;
          return undefined;
        });
        if (now?.verdict === 'done') return await this.#done(ctx, facts);
        if (now?.verdict === 'resume' && this.#op.resume)
          return await this.#verified(facts, await this.#op.resume(this.#ctx, now.facts));
        if (now) last = shown(now.facts);
        if (now && isExpired(error)) break;
        await sleep(ctx.clock, truthPauseMs);
      } while (ctx.clock.monotonicMs() < untilMs);
      throw this.#unknown(error, last);
    } finally {
      cancel();
    }
  }

  async #done(ctx: JobContext, facts: Facts): Promise<JobResult> {
    this.#step('libvirt says that it is done');
    return this.#result(facts, 'changed', await this.#op.verify(ctx, facts));
  }

  #unknown(error: unknown, last: string | undefined): JobError {
    const acts = listed(this.#begun.map(({ act }) => act));
    const state = last === undefined ? 'libvirt could not be read since' : `the VM is ${last} now`;
    return new JobError(
      isExpired(error) ? 'DEADLINE_EXPIRED' : 'OUTCOME_UNKNOWN',
      `${describe(error)}; begun: ${acts}; ${state}`,
      { cause: error },
    );
  }

  async #look(ctx: JobContext, begun: readonly BegunAct[]): Promise<Now> {
    const facts = await this.#op.read(ctx).catch((error: unknown) => {
      if (error instanceof JobError && error.code === 'VM_NOT_FOUND') return 'missing' as const;
      throw error;
    });
    return { facts, verdict: this.#op.settle(facts, begun, ctx.params) };
  }

  async #settle(): Promise<JobResult> {
    const { begun, expectedUuid } = this.#outer;
    const [first] = begun;
    if (!first) throw new JobError('CANCELLED', 'interrupted before anything was done');
    const vm = begun.find((act) => act.vm)?.vm;
    this.#uuid = vm?.uuid ?? expectedUuid;
    this.#step('interrupted: reading what is true');
    const now = await this.#look(this.#ctx, begun);
    const facts: Facts = { vm: vm ?? null, summary: first.before ?? null };
    const acts = listed([...new Set(begun.map(({ act }) => act))]);
    switch (now.verdict) {
      case 'done': {
        const verified = await this.#op.verify(this.#ctx, now.facts === 'missing' ? facts : now.facts);
        return this.#result(facts, 'changed', verified);
      }
      case 'resume': {
        if (!this.#op.resume) throw new JobError('OUTCOME_UNKNOWN', `interrupted after ${acts}`);
        const done = await this.#op.resume(this.#ctx, now.facts);
        return this.#result(facts, 'changed', await this.#op.verify(this.#ctx, facts, done));
      }
      case 'not-done':
        throw new JobError(
          'CANCELLED',
          `interrupted, and not done: begun was ${acts}; the VM is ${shown(now.facts)} now`,
        );
      case 'unknown':
        throw new JobError('OUTCOME_UNKNOWN', `interrupted after ${acts}; the VM is ${shown(now.facts)} now`);
    }
  }

  #result(facts: Facts, outcome: JobOutcome, { after, data }: Verified): JobResult {
    const { op, host, clock } = this.#outer;
    return {
      op,
      host: host.name,
      vm: facts.vm,
      outcome,
      before: facts.summary,
      after,
      steps: this.#steps,
      data: data ?? null,
      durationMs: Math.round(clock.monotonicMs() - this.#startedMs),
    };
  }

  #step(text: string, facts?: object): void {
    if (this.#steps.length < stepsMax) {
      this.#steps.push({ at: new Date(this.#outer.clock.wallMs()).toISOString(), step: text });
    }
    this.#outer.step(text, facts);
  }

  /** For reading after the act: the job's deadline does not count any more, but a time of its own does. */
  #unhurried(waitMs = truthWaitMs): { ctx: JobContext; cancel: () => void; untilMs: number } {
    const { clock } = this.#outer;
    const controller = new AbortController();
    const untilMs = clock.monotonicMs() + waitMs;
    const timer = clock.after(waitMs, () => controller.abort());
    const ctx = this.#context(controller.signal, () => Math.max(0, untilMs - clock.monotonicMs()));
    return { ctx, cancel: () => timer.cancel(), untilMs };
  }

  #context(signal: AbortSignal, remainingMs: () => number): JobContext {
    const outer = this.#outer;
    const uuid = () => this.#uuid;
    const begun = this.#begun;
    return {
      ...pick(outer),
      signal,
      remainingMs,
      get vm() {
        return uuid() ?? outer.vm;
      },
      get begun() {
        return [...outer.begun, ...begun];
      },
      readers: outer.readers,
      libvirt: () => outer.libvirt(),
      step: (text, facts) => this.#step(text, facts),
      beforeAct: async (act, facts) => {
        await foreign(outer.beforeAct(act, facts));
        this.#begun.push({
          act,
          at: new Date(outer.clock.wallMs()).toISOString(),
          vm: facts.vm,
          before: facts.before,
        });
      },
    };
  }
}

function pick({ op, host, expectedUuid, params, requestId, clock, log }: JobContext) {
  return { op, host, expectedUuid, params, requestId, clock, log };
}

async function foreign<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw error instanceof JobError ? error : new Foreign(error);
  }
}

function isExpired(error: unknown): boolean {
  return error instanceof JobError && error.code === 'DEADLINE_EXPIRED';
}

function listed(acts: readonly string[]): string {
  return acts.length === 0 ? 'nothing' : acts.join(', ');
}

function shown(facts: Facts | 'missing'): string {
  if (facts === 'missing') return 'gone';
  const { summary } = facts;
  const state =
    typeof summary === 'object' && summary !== null && 'state' in summary ? summary.state : undefined;
  return typeof state === 'string' ? state : 'there';
}
