// VM jobs through a real store, from a caller that knows only BullMQ: one act per request, one job per VM, and a truthful
// end for every job. The operations are fakes that count; the kill -9 tests are in test/fault.
import { type Job, Worker } from 'bullmq';
import { describe, expect, it } from 'vitest';
import { JobError } from '../../src/ops/job.js';
import { urlAddress } from '../../src/queue/connection.js';
import { EmbeddedStore } from '../../src/queue/embedded-store.js';
import { JobQueue, type JobQueueOptions } from '../../src/queue/jobs.js';
import { Caller, FakeWork, KeptAudit, request, resultOf, uuidOf } from '../support/job-work.js';
import { keptLog, OutsideRedis, temporaryDirectory } from '../support/queue.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

type Engine = { work: FakeWork; audit: KeptAudit; queue: JobQueue };
type EngineOptions = Partial<JobQueueOptions> & { name?: string; known?: KeptAudit['known'] };

/** A store, a caller, and as many engines as are asked for. */
async function bench(): Promise<
  AsyncDisposable & { redis: OutsideRedis; caller: Caller; engine: (o?: EngineOptions) => Promise<Engine> }
> {
  const redis = await OutsideRedis.start();
  const caller = new Caller(redis.url);
  const queues: JobQueue[] = [];
  return {
    redis,
    caller,
    async engine({ name = 'one', known, ...options } = {}) {
      const work = new FakeWork();
      const audit = new KeptAudit(known);
      const queue = JobQueue.start({
        ...{ store: urlAddress(redis.url), work, audit, instanceId: name, exclusive: true },
        ...options,
      });
      queues.push(queue);
      await until('the engine to reach the store', () => queue.stats());
      return { work, audit, queue };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(queues.map((queue) => queue.close(5_000)));
      await caller[Symbol.asyncDispose]();
      await redis[Symbol.asyncDispose]();
    },
  };
}

/** A gate that the test opens. */
function latch(): { wait: Promise<void>; open: () => void } {
  let open: () => void = () => undefined;
  const wait = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { wait, open };
}

describe('one request', () => {
  it('is done once, and 100 adds of it at the same time get 100 equal answers', async () => {
    await using b = await bench();
    const { work, audit } = await b.engine();
    work.act = () => new Promise((resolve) => setTimeout(resolve, 50));
    const body = request();
    const answers = await Promise.all(Array.from({ length: 100 }, () => b.caller.ask('stop', body)));
    expect(work.acted).toEqual([body.requestId]);
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]?.result).toMatchObject({ op: 'stop', outcome: 'changed', vm: { name: 'web-1' } });
    expect(audit.entries.map(({ kind }) => kind)).toEqual(['begin', 'end']);
    const later = await b.caller.ask('stop', { ...body, requestedBy: 'another', reason: 'asks again' });
    expect(later).toEqual(answers[0]);
    expect(work.runs).toBe(1);
  });

  it("is done once by two engines on one store, and its failure is everybody's too", async () => {
    await using b = await bench();
    const [a, z] = [
      await b.engine({ exclusive: false, name: 'a' }),
      await b.engine({ exclusive: false, name: 'z' }),
    ];
    for (const { work } of [a, z]) {
      work.act = async () => {
        throw new JobError('GUEST_TIMEOUT', 'the guest does not shut down');
      };
    }
    const body = request();
    const answers = await Promise.all(Array.from({ length: 100 }, () => b.caller.ask('stop', body)));
    expect([...a.work.acted, ...z.work.acted]).toEqual([body.requestId]);
    expect(new Set(answers.map(({ failure }) => failure))).toEqual(
      new Set(['GUEST_TIMEOUT: the guest does not shut down']),
    );
  });

  it('with another body is refused; so is a body that is wrong', async () => {
    await using b = await bench();
    const { work, queue } = await b.engine();
    const body = request();
    await b.caller.ask('stop', body);
    const other = await b.caller.ask('stop', { ...body, params: { force: true } });
    expect(other.failure).toMatch(/^BAD_REQUEST: requestId: /);
    expect((await b.caller.ask('start', body)).failure).toMatch(/^BAD_REQUEST: /);
    expect((await b.caller.ask('stop', { ...request(), vmm: 1 })).failure).toBe(
      'BAD_REQUEST: unknown key "vmm"',
    );
    expect((await b.caller.ask('format', request())).failure).toMatch(/^BAD_REQUEST: no operation "format"/);
    expect(work.acted).toHaveLength(1);
    const known = await queue.add('stop', body);
    expect(known.existing).toBe(true);
    expect((await queue.get(known.jobId))?.state).toBe('completed');
    await expect(queue.add('stop', { ...body, dryRun: true })).rejects.toThrow('another body');
    await expect(queue.add('stop', { host: 'kvm-1' })).rejects.toThrow(JobError);
  });

  it('whose leading job is removed while it waits is led by another', async () => {
    await using b = await bench();
    const { work } = await b.engine();
    const first = latch();
    work.act = () => first.wait;
    const blocker = await b.caller.add('stop', request());
    await until('the first to act', () => work.acted.length === 1);
    const body = request();
    const leader = await b.caller.add('stop', body);
    await until('it to wait', () => leader.isDelayed());
    const follower = await b.caller.add('stop', body);
    await until('the follower to wait', () => follower.isDelayed());
    await until('the leader to be removed', () =>
      leader.remove().then(
        () => true,
        () => false,
      ),
    );
    first.open();
    expect((await b.caller.answer(follower)).result?.outcome).toBe('changed');
    expect((await b.caller.answer(blocker)).result?.outcome).toBe('changed');
    expect(work.acted).toHaveLength(2);
  });

  it('that failed is not tried again, whatever the caller says of attempts', async () => {
    await using b = await bench();
    const { work } = await b.engine();
    work.act = async () => {
      throw new Error('boom\n  at secret (stack)');
    };
    const job = await b.caller.queue.add('stop', request(), { attempts: 5, backoff: 10 });
    const { failure } = await b.caller.answer(job);
    expect(failure).toBe('OUTCOME_UNKNOWN: boom at secret (stack)');
    const found = await b.caller.queue.getJob(job.id ?? '');
    expect(found?.stacktrace?.filter(Boolean)).toEqual([]);
    expect(found?.attemptsMade).toBe(1);
    expect(work.acted).toHaveLength(1);
  });
});

describe('the VM', () => {
  it('has one job at a time, in the order of the adds; other hosts do not wait', async () => {
    await using b = await bench();
    const { work } = await b.engine();
    const first = latch();
    work.act = (job) => (job.host === 'kvm-1' && work.acted.length === 1 ? first.wait : Promise.resolve());
    const bodies = Array.from({ length: 8 }, (_, n) => request(n % 2 ? { vm: uuidOf('web-1') } : {}));
    const jobs = [];
    for (const body of bodies) {
      jobs.push(await b.caller.add('stop', body));
      await until(
        'it to act or wait',
        async () => work.acted.length > 0 && (await b.caller.queue.getWaitingCount()) === 0,
      );
    }
    const elsewhere = await b.caller.ask('stop', request({ host: 'kvm-2' }));
    expect(elsewhere.result?.host).toBe('kvm-2');
    const reading = await b.caller.ask('info', request());
    expect(reading.result?.outcome).toBe('unchanged');
    expect(work.acted).toHaveLength(2);
    first.open();
    await Promise.all(jobs.map((job) => b.caller.answer(job)));
    expect(work.overlaps).toEqual([]);
    const here = work.acted.filter((id) => bodies.some(({ requestId }) => requestId === id));
    expect(here).toEqual(bodies.map(({ requestId }) => requestId));
  });

  it('has the job that came first first, though it takes longer to find the VM', async () => {
    await using b = await bench();
    const { work } = await b.engine();
    const [first, second, refused, last] = [request(), request(), request(), request()];
    const [firstFound, refusedFound] = [latch(), latch()];
    work.find = async ({ requestId }) => {
      if (requestId === first.requestId) return firstFound.wait;
      if (requestId !== refused.requestId) return;
      await refusedFound.wait;
      throw new JobError('VM_NOT_FOUND', 'no VM web-1');
    };
    const jobs: Job[] = [];
    for (const body of [first, second, refused, last]) jobs.push(await b.caller.add('stop', body));
    await until('the second to have asked for the VM', () => jobs[1]?.isDelayed());
    expect(work.acted).toEqual([]);
    firstFound.open();
    await until('the second to act', () => work.acted.length === 2);
    await until('the last to wait for the one that looks', () => jobs[3]?.isDelayed());
    refusedFound.open();
    const answers = await Promise.all(jobs.map((job) => b.caller.answer(job)));
    expect(work.acted).toEqual([first, second, last].map(({ requestId }) => requestId));
    expect(answers.map(({ failure }) => failure)).toEqual([
      undefined,
      undefined,
      'VM_NOT_FOUND: no VM web-1',
      undefined,
    ]);
    await expect(b.caller.client.keys('*:line:*')).resolves.toEqual([]);
  });

  it('has one job at a time across two engines', async () => {
    await using b = await bench();
    const engines = [
      await b.engine({ exclusive: false, name: 'a' }),
      await b.engine({ exclusive: false, name: 'z' }),
    ];
    let running = 0;
    let most = 0;
    for (const { work } of engines) {
      work.act = async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 5));
        running--;
      };
    }
    await until('both engines to act', async () => {
      const answers = await Promise.all(Array.from({ length: 40 }, () => b.caller.ask('stop', request())));
      expect(answers.every(({ result }) => result?.outcome === 'changed')).toBe(true);
      return engines.every(({ work }) => work.acted.length > 0);
    });
    expect(most).toBe(1);
  });

  it('whose lock was lost is not touched: the job goes back and is done once', async () => {
    await using b = await bench();
    const { work } = await b.engine();
    let tries = 0;
    work.read = async () => {
      const [lock] = await b.caller.client.keys('outrigger:vm:kvm-1/*');
      if (++tries === 1 && lock) await b.caller.client.set(lock, 'stranger|1|9', 'PX', 1_000);
    };
    const job = await b.caller.add('stop', request());
    await until('it to go back', () => job.isDelayed());
    expect(work.acted).toEqual([]);
    expect((await b.caller.answer(job)).result?.outcome).toBe('changed');
    expect(work.acted).toHaveLength(1);
  });

  it('whose lock the store forgot is taken again, when nobody else has it', async () => {
    await using b = await bench();
    const { work } = await b.engine();
    work.read = async () => {
      await b.caller.client.flushall();
    };
    const body = request();
    await b.caller.add('stop', body);
    await until('the act', () => work.acted.length === 1);
    work.read = async () => undefined;
    const again = await b.caller.ask('stop', body);
    expect(again.result?.outcome).toBe('changed');
    expect(work.acted).toEqual([body.requestId]);
  });

  it('jobs on different hosts and on different VMs run side by side, up to the cap of a host', async () => {
    await using b = await bench();
    const { work } = await b.engine({ hostCap: 3 });
    const all = latch();
    const running = new Map<string, number>();
    work.act = async ({ host }) => {
      running.set(host, (running.get(host) ?? 0) + 1);
      await all.wait;
    };
    const jobs = await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        b.caller.add('stop', request({ host: `kvm-${n % 2}`, vm: `vm-${n}` })),
      ),
    );
    await until('both hosts to be full', () => running.get('kvm-0') === 3 && running.get('kvm-1') === 3);
    const elsewhere = await b.caller.ask('stop', request({ host: 'kvm-8', dryRun: true }));
    expect(elsewhere.result?.outcome).toBe('planned');
    expect([...running.values()]).toEqual([3, 3]);
    all.open();
    const answers = await Promise.all(jobs.map((job) => b.caller.answer(job, 60_000)));
    expect(answers.every(({ result }) => result)).toBe(true);
  });
});

describe('cancel', () => {
  it('before, while waiting and while preparing: nothing is done, and every job of the request says so', async () => {
    await using b = await bench();
    const { work, queue } = await b.engine();
    const first = latch();
    work.act = () => first.wait;
    const busy = await b.caller.add('stop', request());
    await until('the first to act', () => work.acted.length === 1);
    const body = request();
    const [waiting, twin] = [await b.caller.add('stop', body), await b.caller.add('stop', body)];
    await until('both to wait', async () => (await waiting.isDelayed()) && (await twin.isDelayed()));
    expect(await queue.cancel(twin.id ?? '')).toBe('cancelled');
    const cancelled = 'CANCELLED: cancelled before anything was done';
    expect((await b.caller.answer(waiting)).failure).toBe(cancelled);
    expect((await b.caller.answer(twin)).failure).toBe(cancelled);

    work.read = (_job, life) =>
      new Promise((_resolve, reject) => {
        life.signal.addEventListener('abort', () => reject(life.signal.reason));
      });
    const preparing = await b.caller.add('stop', request({ vm: 'db-1' }));
    await until('it to prepare', () => work.runs >= 2 && preparing.isActive());
    expect(await queue.cancel(preparing.id ?? '')).toBe('cancelled');
    expect((await b.caller.answer(preparing)).failure).toBe(cancelled);
    expect(await queue.cancel(preparing.id ?? '')).toBe('too late');

    expect(await queue.cancel(busy.id ?? '')).toBe('too late');
    first.open();
    expect((await b.caller.answer(busy)).result?.outcome).toBe('changed');
    expect(await queue.cancel(busy.id ?? '')).toBe('too late');
    expect(await queue.cancel('no-such-job')).toBe('unknown');
    expect(work.acted).toHaveLength(1);
  });

  it('from any client by a key, and from another engine', async () => {
    await using b = await bench();
    const a = await b.engine({ exclusive: false, name: 'a' });
    a.work.read = (_job, life) =>
      new Promise((_resolve, reject) => {
        life.signal.addEventListener('abort', () => reject(life.signal.reason));
      });
    const byKey = await b.caller.add('stop', request());
    await until('it to prepare', () => a.work.runs === 1);
    await b.caller.client.set(`outrigger:cancel:${byKey.id}`, '1');
    expect((await b.caller.answer(byKey)).failure).toMatch(/^CANCELLED: /);
    const byOther = await b.caller.add('stop', request());
    await until('it to prepare', () => a.work.runs === 2);
    const z = await b.engine({ exclusive: false, name: 'z' });
    expect(await z.queue.cancel(byOther.id ?? '')).toBe('cancelled');
    expect((await b.caller.answer(byOther)).failure).toMatch(/^CANCELLED: /);
    expect(a.work.acted).toEqual([]);
  });

  it('races with the act: what is told is what happened', async () => {
    await using b = await bench();
    const { work, queue } = await b.engine();
    const told = { cancelled: 0, 'too late': 0, unknown: 0 };
    for (let n = 0; n < 60; n++) {
      const body = request({ vm: `vm-${n}` });
      const job = await b.caller.add('stop', body);
      const waitMs = n % 12;
      await until('a moment', () => true, { everyMs: waitMs });
      await new Promise((resolve) => setTimeout(resolve, waitMs / 3));
      const answer = await queue.cancel(job.id ?? '');
      told[answer]++;
      const end = await b.caller.answer(job);
      if (answer === 'cancelled') {
        expect(end.failure).toMatch(/^CANCELLED: /);
        expect(work.acted).not.toContain(body.requestId);
      } else {
        expect(end.result?.outcome).toBe('changed');
      }
    }
    expect(told.unknown).toBe(0);
  });
});

describe('a deadline', () => {
  it('that has passed refuses the job; one that passes ends it, before or after its act', async () => {
    await using b = await bench();
    const { work } = await b.engine({ abortGraceMs: 100 });
    const soon = (ms: number) => new Date(Date.now() + ms).toISOString();
    expect((await b.caller.ask('stop', request({ deadline: soon(-86_400_000) }))).failure).toMatch(
      /^DEADLINE_EXPIRED: the deadline /,
    );
    expect(work.runs).toBe(0);
    let left = 0;
    work.read = async (_job, life) => {
      left = life.remainingMs();
      await new Promise(() => undefined);
    };
    expect((await b.caller.ask('stop', request({ deadline: soon(400) }))).failure).toMatch(
      /^DEADLINE_EXPIRED/,
    );
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(400);
    expect(work.acted).toEqual([]);
    work.read = async () => undefined;
    work.act = () => new Promise(() => undefined);
    const hung = await b.caller.ask('stop', request({ vm: 'db-1', deadline: soon(400) }));
    expect(hung.failure).toMatch(
      /^OUTCOME_UNKNOWN: the deadline .* has passed; begun: destroy; it does not end/,
    );
    expect((await b.caller.ask('stop', request({ vm: 'db-1', dryRun: true }))).result?.outcome).toBe(
      'planned',
    );
  });
});

describe('what is refused', () => {
  it('has its code and is written to the audit log; a dry run and a read are not', async () => {
    await using b = await bench();
    const { work, audit } = await b.engine();
    work.refusal = ({ host }) =>
      host === 'kvm-9' ? new JobError('HOST_UNKNOWN', 'there is no host "kvm-9"') : undefined;
    expect((await b.caller.ask('stop', request({ host: 'kvm-9' }))).failure).toBe(
      'HOST_UNKNOWN: there is no host "kvm-9"',
    );
    expect(audit.entries).toMatchObject([
      { kind: 'refused', host: 'kvm-9', error: expect.stringMatching(/^HOST_UNKNOWN/) },
    ]);
    await b.caller.ask('list', request({ vm: undefined, host: 'kvm-9' }));
    await b.caller.ask('stop', request({ host: 'kvm-9', dryRun: true }));
    expect(audit.entries).toHaveLength(1);
    audit.failure = new Error('no space left on device');
    expect((await b.caller.ask('stop', request())).failure).toBe(
      'OPS_DISABLED: the audit log cannot be written: no space left on device',
    );
    expect(work.acted).toEqual([]);
  });

  it('another VM than the locked one is not touched', async () => {
    await using b = await bench();
    const { work } = await b.engine();
    let tries = 0;
    work.read = async (_job, life) => {
      if (++tries > 1) return;
      const vm = { name: 'web-1', uuid: uuidOf('re-created') };
      await life.beforeAct('destroy', { vm, before: {} });
    };
    expect((await b.caller.ask('stop', request())).result?.outcome).toBe('changed');
    expect(tries).toBe(2);
    expect(work.acted).toHaveLength(1);
  });
});

describe('progress and results', () => {
  it('steps are seen while the job runs, and the state of the queue is told', async () => {
    await using b = await bench();
    const done: unknown[] = [];
    const { work, queue } = await b.engine({ onDone: (...args) => done.push(args) });
    const first = latch();
    work.act = () => first.wait;
    const job = await b.caller.add('stop', request());
    const view = await until('its step', async () => {
      const seen = await queue.get(job.id ?? '');
      return (seen?.progress as { steps?: unknown[] })?.steps?.length ? seen : undefined;
    });
    expect(view).toMatchObject({ state: 'active', progress: { steps: [{ step: 'destroyed' }] } });
    expect(await queue.stats()).toMatchObject({ active: 1, running: 1 });
    first.open();
    await b.caller.answer(job);
    const logs = await b.caller.queue.getJobLogs(job.id ?? '');
    expect(logs.logs[0]).toMatch(/ destroyed$/);
    expect(await queue.get(job.id ?? '')).toMatchObject({
      state: 'completed',
      result: { outcome: 'changed' },
    });
    expect(done).toEqual([['stop', 'changed', expect.any(Number), expect.any(Number)]]);
  });

  it('a job found with a dead owner is settled, or refused when nothing was begun', async () => {
    await using b = await bench();
    const { work, queue } = await b.engine({ sweepEveryMs: 200, strangerGraceMs: 0 });
    await queue.close();
    const begun = await b.caller.add('stop', request());
    const fresh = await b.caller.add('stop', request({ vm: 'db-1' }));
    const dead = { name: 'outrigger gone Xlife', token: 'x' };
    const taker = new Worker('outrigger-vm-jobs', null, {
      connection: { url: b.redis.url },
      name: dead.name,
    });
    for (let n = 0; n < 2; n++) await taker.getNextJob(dead.token);
    await taker.close(true);
    const vm = { name: 'web-1', uuid: uuidOf('web-1') };
    const known = new Map([
      [String(begun.data.requestId), [{ act: 'destroy', at: new Date().toISOString(), vm }]],
    ]);
    const next = await b.engine({ sweepEveryMs: 200, strangerGraceMs: 0, known });
    expect((await b.caller.answer(fresh)).failure).toMatch(
      /^CANCELLED: interrupted before anything was done/,
    );
    expect((await b.caller.answer(begun)).result?.outcome).toBe('changed');
    expect(next.work.settled).toEqual([begun.data.requestId]);
    expect([...work.acted, ...next.work.acted]).toEqual([]);
  });

  it('the truth about a begun act is sought while the host is away, and is told as unknown in the end', async () => {
    await using b = await bench();
    const { work, audit } = await b.engine({ settleWithinMs: 3_000 });
    let asked = 0;
    work.settleWith = async (job) => {
      if (job.host === 'kvm-1' && ++asked > 1) return resultOf(job);
      throw new JobError('HOST_UNREACHABLE', 'no route');
    };
    const [back, lost] = [request(), request({ host: 'kvm-2' })];
    const vm = { name: 'web-1', uuid: uuidOf('web-1') };
    for (const { requestId } of [back, lost])
      audit.known.set(requestId, [{ act: 'destroy', at: new Date().toISOString(), vm }]);
    const answers = await Promise.all([b.caller.ask('stop', back), b.caller.ask('stop', lost)]);
    expect(answers[0]?.result?.outcome).toBe('changed');
    expect(answers[1]?.failure).toMatch(/^OUTCOME_UNKNOWN: interrupted after destroy had begun, and kvm-2 /);
    expect(work.acted).toEqual([]);
    expect(audit.entries.map(({ kind }) => kind)).toEqual(['settled', 'settled']);
  });
});

describe('stopping', () => {
  it('gives back what has not begun, lets end what has, and leaves the rest to the next start', async () => {
    await using b = await bench();
    const { work, queue, audit } = await b.engine();
    const ends = latch();
    work.act = ({ vm }) => (vm === 'ends' ? ends.wait : new Promise(() => undefined));
    work.read = (job, life) =>
      job.vm !== 'prepares'
        ? Promise.resolve(undefined)
        : new Promise((_resolve, reject) => {
            life.signal.addEventListener('abort', () => reject(life.signal.reason));
          });
    const jobs = {
      ends: await b.caller.add('stop', request({ vm: 'ends' })),
      hangs: await b.caller.add('stop', request({ vm: 'hangs' })),
      prepares: await b.caller.add('stop', request({ vm: 'prepares' })),
    };
    await until('all to run', () => work.acted.length === 2 && work.runs === 3);
    const watch = new Stopwatch();
    const closing = queue.close(3_000);
    ends.open();
    await closing;
    expect(watch.ms).toBeLessThan(3_200);
    expect((await b.caller.answer(jobs.ends)).result?.outcome).toBe('changed');
    expect(await jobs.hangs.isActive()).toBe(true);
    expect(await jobs.prepares.isDelayed()).toBe(true);
    const next = await b.engine({ known: audit.known });
    expect((await b.caller.answer(jobs.prepares)).result?.outcome).toBe('changed');
    expect((await b.caller.answer(jobs.hangs)).result?.outcome).toBe('changed');
    expect(next.work.settled).toEqual([jobs.hangs.data.requestId]);
    expect(next.work.acted).toEqual([jobs.prepares.data.requestId]);
  });

  it('on the embedded store everything works the same, and nothing stays behind', async () => {
    await using directory = await temporaryDirectory();
    const { log, lines } = keptLog();
    const store = await EmbeddedStore.start({ dataDir: directory.path, log });
    const work = new FakeWork();
    const queue = JobQueue.start({
      store: store.address,
      work,
      audit: new KeptAudit(),
      instanceId: 'e',
      log,
    });
    try {
      await until('the engine to reach the store', () => queue.stats());
      const { jobId } = await queue.add('stop', request());
      const view = await until('its end', async () => {
        const seen = await queue.get(jobId);
        return seen?.state === 'completed' ? seen : undefined;
      });
      expect(view.result).toMatchObject({ outcome: 'changed' });
      const refused = await queue.add('stop', request({ deadline: '2020-01-01T00:00:00Z' }));
      const failed = await until('its end', async () => {
        const seen = await queue.get(refused.jobId);
        return seen?.state === 'failed' ? seen : undefined;
      });
      expect(failed.failure).toBe('DEADLINE_EXPIRED: the deadline 2020-01-01T00:00:00.000Z has passed');
    } finally {
      await queue.close();
      await store.stop();
    }
    expect(lines.filter(({ level, msg }) => level >= 40 && msg !== 'job found lying')).toEqual([]);
  });
});
