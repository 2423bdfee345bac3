// The order of things, with an operation made for it: the UUID before the decision, the gate before the act, and reading in place
// of sending again. And the registry, which must be whole.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { HostError } from '../../../src/core/errors.js';
import { silentLog } from '../../../src/core/log.js';
import { LibvirtError } from '../../../src/libvirt/errors.js';
import { asJobError } from '../../../src/ops/failure.js';
import { JobError, operationNames } from '../../../src/ops/job.js';
import type {
  BegunAct,
  Decision,
  Facts,
  JobContext,
  Operation,
  Settled,
} from '../../../src/ops/operation.js';
import { loadOperations, registry } from '../../../src/ops/registry.js';
import { runOperation, settleOperation, truthWaitMs } from '../../../src/ops/run.js';
import { FakeClock } from '../../support/fake-clock.js';
import { uuid } from './fixtures.js';

let log: string[];
let clock: FakeClock;
let ticking: NodeJS.Timeout;

beforeEach(() => {
  log = [];
  clock = new FakeClock();
  ticking = setInterval(() => clock.advance(500), 1);
});
afterEach(() => clearInterval(ticking));

const facts = (state: string): Facts => ({ vm: { name: 'web-1', uuid }, summary: { state } });

type Script = {
  reads?: (Facts | Error)[];
  decision?: Decision;
  act?: (ctx: JobContext) => Promise<unknown>;
  settle?: (now: Facts | 'missing', begun: readonly BegunAct[]) => Settled;
  resume?: (ctx: JobContext) => Promise<unknown>;
};

function scripted({
  reads = [facts('running')],
  decision = { kind: 'act', plan: ['x'] },
  act,
  settle,
  resume,
}: Script): Operation {
  let read = 0;
  return {
    name: 'stop',
    needsVm: true,
    acts: true,
    params: z.unknown(),
    async read(ctx) {
      log.push(`read ${ctx.vm}`);
      const next = reads[Math.min(read++, reads.length - 1)];
      if (next instanceof Error) throw next;
      return next as Facts;
    },
    decide: () => decision,
    async act(ctx) {
      if (act) return act(ctx);
      await ctx.beforeAct('x', { before: null });
      log.push('sent');
      return undefined;
    },
    async verify(_ctx, _facts, done) {
      log.push('verify');
      return { after: { state: 'shutoff' }, data: done };
    },
    settle: (now, begun) => (settle ? settle(now, begun) : 'unknown'),
    ...(resume && { resume }),
  };
}

function context(more: Partial<JobContext> = {}): JobContext {
  return {
    op: 'stop',
    host: { name: 'kvm-1' } as JobContext['host'],
    vm: 'web-1',
    expectedUuid: undefined,
    params: {},
    requestId: 'r',
    clock,
    log: silentLog,
    libvirt: () => Promise.reject(new Error('none here')),
    readers: {} as JobContext['readers'],
    signal: new AbortController().signal,
    remainingMs: () => Number.POSITIVE_INFINITY,
    step: () => undefined,
    async beforeAct(act) {
      log.push(`gate ${act}`);
    },
    begun: [],
    ...more,
  };
}

const lost = new HostError('CLOSED', { outcome: 'unknown', message: 'the connection is gone' });
const failure = async (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof JobError ? error.failure : error),
  );

describe('a run', () => {
  it('reads, passes the gate, acts and verifies, by UUID once it knows it', async () => {
    const result = await runOperation(
      scripted({}),
      context({ resolved: async () => void log.push('lock') }),
      false,
    );
    expect(log).toEqual(['read web-1', 'lock', `read ${uuid}`, 'gate x', 'sent', 'verify']);
    expect(result).toMatchObject({
      outcome: 'changed',
      before: { state: 'running' },
      after: { state: 'shutoff' },
      data: null,
    });
  });

  it('refuses another UUID before it takes the lock or decides', async () => {
    const ctx = context({ expectedUuid: 'other', resolved: async () => void log.push('lock') });
    expect(await failure(runOperation(scripted({}), ctx, false))).toMatch(
      /^VM_UUID_MISMATCH: web-1 has the UUID/,
    );
    expect(log).toEqual(['read web-1']);
  });

  it('a dry run plans, what is so already is unchanged, what may not be is refused: no gate is passed', async () => {
    expect(await runOperation(scripted({}), context(), true)).toMatchObject({
      outcome: 'planned',
      data: { plan: ['x'] },
    });
    const so = scripted({ decision: { kind: 'unchanged' } });
    expect(await runOperation(so, context(), false)).toMatchObject({
      outcome: 'unchanged',
      after: { state: 'running' },
    });
    const no = scripted({ decision: { kind: 'refuse', code: 'INVALID_STATE', message: 'no' } });
    expect(await failure(runOperation(no, context(), false))).toBe('INVALID_STATE: no');
    expect(log.filter((line) => line.startsWith('gate'))).toEqual([]);
  });

  it('what the gate or the lock throws comes out as it is, and nothing is sent', async () => {
    const delayed = new Error('delayed');
    const throwing = () => Promise.reject(delayed);
    expect(await failure(runOperation(scripted({}), context({ beforeAct: throwing }), false))).toBe(delayed);
    expect(await failure(runOperation(scripted({}), context({ resolved: throwing }), false))).toBe(delayed);
    const cancelled = () => Promise.reject(new JobError('CANCELLED', 'by a person'));
    expect(await failure(runOperation(scripted({}), context({ beforeAct: cancelled }), false))).toBe(
      'CANCELLED: by a person',
    );
    expect(log).not.toContain('sent');
  });

  it('libvirt’s refusal of a later act names the acts before it', async () => {
    const act = async (ctx: JobContext) => {
      await ctx.beforeAct('one', { before: null });
      await ctx.beforeAct('two', { before: null });
      throw new LibvirtError({ code: 1, domain: 10, message: 'no way', level: 2 }, 'kvm-1', 'domainDestroy');
    };
    expect(await failure(runOperation(scripted({ act }), context(), false))).toBe(
      'LIBVIRT_ERROR: no way; begun before that: one',
    );
  });
});

describe('a lost reply', () => {
  const act = async (ctx: JobContext) => {
    await ctx.beforeAct('x', { before: null });
    log.push('sent');
    throw lost;
  };
  const sent = () => log.filter((line) => line === 'sent').length;

  it('is found done, also late: changed, sent once', async () => {
    let looks = 0;
    const settle = (): Settled => (++looks < 4 ? 'not-done' : 'done');
    const reads = [facts('running'), lost, facts('running')];
    expect(await runOperation(scripted({ act, settle, reads }), context(), false)).toMatchObject({
      outcome: 'changed',
    });
    expect(sent()).toBe(1);
  });

  it('is not found: OUTCOME_UNKNOWN with the state, within the time for it', async () => {
    const startedMs = clock.monotonicMs();
    expect(await failure(runOperation(scripted({ act }), context(), false))).toBe(
      'OUTCOME_UNKNOWN: the connection is gone; begun: x; the VM is running now',
    );
    expect(clock.monotonicMs() - startedMs).toBeLessThan(truthWaitMs + 3_000);
    expect(sent()).toBe(1);
  });

  it('is not excused by a later question that was not sent', async () => {
    const later = async (ctx: JobContext) => {
      await ctx.beforeAct('x', { before: null });
      throw new HostError('CLOSED', { outcome: 'not-sent', message: 'closed' });
    };
    const settle = (): Settled => 'done';
    expect(await runOperation(scripted({ act: later, settle }), context(), false)).toMatchObject({
      outcome: 'changed',
    });
  });

  it('and the host stays away: OUTCOME_UNKNOWN, and it says so', async () => {
    expect(
      await failure(runOperation(scripted({ act, reads: [facts('running'), lost] }), context(), false)),
    ).toContain('libvirt could not be read since');
    expect(sent()).toBe(1);
  });

  it('a VM that is gone is a state, too', async () => {
    const reads = [facts('running'), new JobError('VM_NOT_FOUND', 'gone')];
    const settle = (now: Facts | 'missing'): Settled => (now === 'missing' ? 'done' : 'unknown');
    expect(await runOperation(scripted({ act, reads, settle }), context(), false)).toMatchObject({
      outcome: 'changed',
    });
  });

  it('the deadline during an act: read once, told as expired', async () => {
    const expired = async (ctx: JobContext) => {
      await ctx.beforeAct('x', { before: null });
      throw new JobError('DEADLINE_EXPIRED', 'too late');
    };
    expect(await failure(runOperation(scripted({ act: expired }), context(), false))).toBe(
      'DEADLINE_EXPIRED: too late; begun: x; the VM is running now',
    );
    expect(log.filter((line) => line.startsWith('read'))).toHaveLength(2);
  });

  it('while only reading is no mystery: the host cannot be reached', async () => {
    expect(await failure(runOperation(scripted({ reads: [lost] }), context(), false))).toBe(
      'HOST_UNREACHABLE: the connection is gone',
    );
  });
});

describe('after a crash', () => {
  const begun = [
    { act: 'x', at: '2026-11-20T12:00:00Z', vm: { name: 'web-1', uuid }, before: { state: 'running' } },
  ];
  const settled = (verdict: Settled, more: Script = {}) =>
    settleOperation(scripted({ ...more, settle: () => verdict }), context({ begun }));

  it('reads by the UUID of the record, and sends nothing', async () => {
    expect(await settled('done')).toMatchObject({
      outcome: 'changed',
      before: { state: 'running' },
      vm: { uuid },
    });
    expect(await failure(settled('not-done'))).toMatch(/^CANCELLED: interrupted, and not done: begun was x/);
    expect(await failure(settled('unknown'))).toMatch(
      /^OUTCOME_UNKNOWN: interrupted after x; the VM is running now/,
    );
    expect(await failure(settled('unknown', { reads: [lost] }))).toMatch(/^HOST_UNREACHABLE/);
    expect(new Set(log)).toEqual(new Set([`read ${uuid}`, 'verify']));
  });

  it('with nothing begun it is cancelled', async () => {
    expect(await failure(settleOperation(scripted({}), context()))).toBe(
      'CANCELLED: interrupted before anything was done',
    );
  });

  it('goes on where it may, through the gate', async () => {
    const resume = async (ctx: JobContext) => {
      await ctx.beforeAct('y', { before: null });
      return ctx.begun.map(({ act }) => act);
    };
    expect(await settled('resume', { resume })).toMatchObject({ data: ['x', 'y'] });
    expect(log).toEqual([`read ${uuid}`, 'gate y', 'verify']);
  });
});

describe('errors', () => {
  it.each([
    [new HostError('FORWARD_DENIED', { message: 'm' }), 'OPS_DISABLED'],
    [new HostError('POLKIT_DENIED', { message: 'm' }), 'OPS_DISABLED'],
    [new HostError('HOST_DOWN', { message: 'm' }), 'HOST_UNREACHABLE'],
    [new HostError('HOST_KEY_MISMATCH', { message: 'm' }), 'HOST_UNREACHABLE'],
    [new HostError('BAD_REQUEST', { message: 'm' }), 'BAD_REQUEST'],
    [new HostError('ABORTED', { cause: new JobError('CANCELLED', 'c') }), 'CANCELLED'],
    [new Error('anything'), 'LIBVIRT_ERROR'],
  ])('%s is %s', (error, code) => {
    expect(asJobError(error).code).toBe(code);
  });
  it('the mend is told', () => {
    const error = new HostError('FORWARD_DENIED', { message: 'forbidden', hint: 'allow it' });
    expect(asJobError(error).failure).toBe('OPS_DISABLED: forbidden (allow it)');
  });
});

describe('the registry', () => {
  it('has every operation, each from its own file', async () => {
    expect([...(await loadOperations()).keys()].sort()).toEqual([...operationNames].sort());
  });
  it('names every fault', () => {
    const operation = scripted({});
    const found = [
      { file: 'a.ts', operation },
      { file: 'b.ts', operation },
      { file: 'c.ts', operation: { ...operation, name: 'fly' } },
      { file: 'd.ts', operation: undefined },
    ];
    expect(() => registry(found, ['stop', 'start'])).toThrow(
      'b.ts and a.ts both handle stop; c.ts handles fly, which is no operation of a job; d.ts exports no operation; nothing handles start',
    );
  });
});
