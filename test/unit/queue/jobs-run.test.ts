import { describe, expect, it } from 'vitest';
import { JobError, type ParsedJob } from '../../../src/ops/job.js';
import type { BegunAct } from '../../../src/ops/operation.js';
import type { JobRecords, Kept } from '../../../src/queue/jobs-records.js';
import { begunLeaseMs, leaseMs } from '../../../src/queue/jobs-records.js';
import { JobRun } from '../../../src/queue/jobs-run.js';
import { FakeClock } from '../../support/fake-clock.js';
import { FakeWork, KeptAudit, uuidOf } from '../../support/job-work.js';

const vm = { name: 'web-1', uuid: uuidOf('web-1') };
const before = { state: 'running' };

function setUp(change: { deadlineInMs?: number; begun?: BegunAct[]; acts?: boolean } = {}) {
  const clock = new FakeClock();
  const audit = new KeptAudit();
  const asked: (readonly BegunAct[])[] = [];
  const store = {
    answer: 'ok' as Kept,
    onGate: () => undefined as unknown,
    renewed: 0,
    failure: undefined as unknown,
  };
  const records = {
    async gate(_claim: unknown, begun: readonly BegunAct[]) {
      asked.push(begun);
      await store.onGate();
      if (store.failure) throw store.failure;
      return store.answer;
    },
    async renew() {
      store.renewed++;
      return store.answer;
    },
  } as unknown as JobRecords;
  const { deadlineInMs } = change;
  const parsed = new FakeWork().parse('stop', {
    host: 'kvm-1',
    vm: 'web-1',
    requestId: 'r-1',
    reason: 'why',
  });
  const job: ParsedJob = {
    ...parsed,
    deadlineMs: deadlineInMs === undefined ? undefined : clock.wallMs() + deadlineInMs,
  };
  const steps: unknown[] = [];
  const run = new JobRun({
    ...{ records, audit, clock, job, jobId: '7', hash: 'h', dueMs: 1 },
    acts: change.acts ?? true,
    begun: change.begun ?? [],
    lock: async () => true,
    onStep: (all) => steps.push(...all),
  });
  const lock = () => run.locked('outrigger:vm:x', 'life|1|7', vm, clock.monotonicMs());
  const act = (name = 'destroy') => run.beforeAct(name, { vm, before });
  return { clock, audit, asked, store, run, lock, act, steps };
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'passed',
    (error) => (error instanceof JobError ? error.failure : String(error)),
  );

describe('the gate', () => {
  it('records the act in the store, then in the audit log, before it opens', async () => {
    const { run, lock, act, audit, asked } = setUp();
    lock();
    await act();
    expect(asked).toMatchObject([[{ act: 'destroy', vm, before }]]);
    expect(audit.entries).toMatchObject([
      { kind: 'begin', act: 'destroy', requestId: 'r-1', reason: 'why', vm, before },
    ]);
    expect(run.hasBegun).toBe(true);
    await act('undefine');
    expect(asked[1]?.map(({ act: name }) => name)).toEqual(['destroy', 'undefine']);
    expect(run.claim.begun).toHaveLength(2);
  });

  it('stays shut without a lock, for another VM, for a job that only reads, and after the end', async () => {
    const unlocked = setUp();
    expect(await failure(unlocked.act())).toMatch(/^CANCELLED: the VM is not locked/);
    const other = setUp();
    other.lock();
    const uuid = uuidOf('another');
    expect(await failure(other.run.beforeAct('destroy', { vm: { name: 'web-1', uuid }, before }))).toMatch(
      /^CANCELLED: it is another VM by now/,
    );
    expect(other.run.interruption).toBe('lock');
    const reading = setUp({ acts: false });
    expect(await failure(reading.act())).toMatch(/^BAD_REQUEST/);
    const ended = setUp();
    ended.lock();
    ended.run.end();
    expect(await failure(ended.act())).toMatch(/^CANCELLED: the job has ended/);
    for (const { asked, audit } of [unlocked, other, reading, ended])
      expect([asked, audit.entries]).toEqual([[], []]);
  });

  it('stays shut when the lease has run out, also while the audit log was written', async () => {
    const late = setUp();
    late.lock();
    await late.clock.advance(leaseMs + 1);
    late.store.onGate = () => late.clock.advance(begunLeaseMs);
    expect(await failure(late.act())).toMatch(/^CANCELLED: the lock on the VM ran out/);
    expect(late.run.interruption).toBe('lock');
    expect(late.run.hasBegun).toBe(false);
  });

  it('asks again after it has put back what the store forgot, and gives up when it is still lost', async () => {
    const { run, lock, act, store } = setUp();
    lock();
    store.answer = 'lost';
    expect(await failure(act())).toBe('CANCELLED: the lock on the VM was lost; nothing was done');
    expect(store.renewed).toBe(1);
    expect(run.interruption).toBe('lock');
  });

  it('stays shut when the store or the audit log does not take the act', async () => {
    const store = setUp();
    store.lock();
    store.store.failure = new Error('Command timed out');
    expect(await failure(store.act())).toMatch(/^CANCELLED: the store does not answer: Command timed out/);
    expect(store.run.interruption).toBe('store');
    const audit = setUp();
    audit.lock();
    audit.audit.failure = new Error('ENOSPC');
    expect(await failure(audit.act())).toMatch(/^OPS_DISABLED: the audit log cannot be written: ENOSPC/);
    expect(audit.run.interruption).toBeUndefined();
    expect(audit.run.hasBegun).toBe(false);
  });

  it('after the first act a lost lock leaves the outcome unknown and names what was begun', async () => {
    const { lock, act, run } = setUp();
    lock();
    await act();
    run.lose();
    expect(await failure(act('undefine'))).toBe(
      'OUTCOME_UNKNOWN: the lock on the VM was lost; begun before: destroy; nothing was sent since',
    );
    expect(run.interruption).toBeUndefined();
  });
});

describe('cancel and shutdown', () => {
  it('abort what has not begun, and nothing else', async () => {
    const fresh = setUp();
    fresh.lock();
    fresh.run.cancel();
    expect(fresh.run.signal.reason).toMatchObject({ code: 'CANCELLED' });
    expect(await failure(fresh.act())).toMatch(/^CANCELLED: cancelled before anything was done/);
    const begun = setUp();
    begun.lock();
    await begun.act();
    begun.run.cancel();
    begun.run.interrupt('shutdown');
    expect(begun.run.signal.aborted).toBe(false);
    await begun.act('undefine');
    expect(begun.run.interruption).toBeUndefined();
  });

  it('that come while the act is recorded are too late when the store let it pass', async () => {
    const { run, lock, act, store } = setUp();
    lock();
    store.onGate = () => run.interrupt('shutdown');
    await act();
    expect(run.signal.aborted).toBe(false);
    expect(run.hasBegun).toBe(true);
  });

  it('that the store knows of shut the gate', async () => {
    const { run, lock, act, store } = setUp();
    lock();
    store.answer = 'cancelled';
    expect(await failure(act())).toMatch(/^CANCELLED: cancelled before/);
    expect(run.signal.aborted).toBe(true);
  });
});

describe('the deadline', () => {
  it('aborts when it passes, also one that is further away than a timer reaches', async () => {
    const { run, clock } = setUp({ deadlineInMs: 3 * 86_400_000 });
    await clock.advance(2 * 86_400_000);
    expect(run.signal.aborted).toBe(false);
    expect(run.remainingMs()).toBe(86_400_000);
    await clock.advance(86_400_000);
    expect(run.signal.reason).toMatchObject({ code: 'DEADLINE_EXPIRED' });
    expect(run.remainingMs()).toBe(0);
    expect(setUp().run.remainingMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('that passes while the act is recorded shuts the gate', async () => {
    const { lock, act, store, clock, run } = setUp({ deadlineInMs: 1_000 });
    lock();
    store.onGate = () => clock.advance(1_001);
    expect(await failure(act())).toMatch(/^DEADLINE_EXPIRED/);
    expect(run.hasBegun).toBe(false);
  });

  it('does not end the settling of an earlier life, and lets it act no more', async () => {
    const begun = [{ act: 'destroy', at: '2026-11-21T00:00:00.000Z', vm, before }];
    const { run, lock, act, clock } = setUp({ deadlineInMs: 1_000, begun });
    lock();
    await clock.advance(2_000);
    expect(run.signal.aborted).toBe(false);
    expect(await failure(act('undefine'))).toMatch(/^DEADLINE_EXPIRED/);
    expect(run.signal.aborted).toBe(false);
  });
});

it('steps are bounded in number and length', () => {
  const { run, steps } = setUp();
  run.step('x'.repeat(10_000), { a: 1 });
  expect(steps).toMatchObject([{ step: 'x'.repeat(500), facts: { a: 1 } }]);
  for (let n = 0; n < 2_000; n++) run.step('again');
  expect(new Set(steps).size).toBe(500);
});
