// Which poll runs when: one at a time of a kind on a host, whole ones shared, and after events those that follow them.
import PQueue from 'p-queue';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import type { Fleet } from '../../../src/fleet/fleet.js';
import { SampleStore } from '../../../src/fleet/samples.js';
import { detailsPoller } from '../../../src/pollers/details.js';
import { domainJobsPoller } from '../../../src/pollers/domain-jobs.js';
import type { PollContext } from '../../../src/pollers/poller.js';
import { HostPolls, pollerNames, pollers, type Samples, schedulesOf } from '../../../src/pollers/runner.js';
import { vmsPoller } from '../../../src/pollers/vms.js';
import { FakeClock, settle } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';

type Run = { context: PollContext; end(error?: Error): void };

let clock: FakeClock;
let queue: PQueue;
let polls: HostPolls;
let samples: SampleStore<Samples>;
let runs: Run[];
let observed: [string, string | undefined][];
let ended: string[];
let skipped: string[];
let openParts: string[];
/** The host leaves the inventory. */
let leaves: () => void;

const settleEventsMs = 300;
const changedIn = (run: Run | undefined) => run?.context.changed && [...run.context.changed].sort();

beforeEach(() => {
  vi.restoreAllMocks();
  clock = new FakeClock();
  runs = [];
  observed = [];
  ended = [];
  skipped = [];
  openParts = ['way', 'libvirt', 'files'];
  samples = new SampleStore<Samples>(clock);
  for (const name of pollerNames) {
    vi.spyOn(pollers[name] as unknown as { poll(): Promise<unknown> }, 'poll').mockResolvedValue({});
  }
  vi.spyOn(detailsPoller, 'poll').mockImplementation(
    (_readers, context) =>
      new Promise((resolve, reject) => {
        const sample = { takenAtMs: runs.length, versions: {}, domains: [], problems: [] };
        runs.push({ context, end: (error) => (error ? reject(error) : resolve(sample)) });
      }),
  );
  queue = new PQueue();
  const session = {
    host: aHost(),
    queue,
    has: (part: string) => openParts.includes(part),
    observe: (part: string, failure?: HostError) => observed.push([part, failure?.code]),
  };
  let isThere = true;
  leaves = () => {
    isThere = false;
  };
  const find = (host: string) => (isThere && host === 'kvm-01' ? session : undefined);
  polls = new HostPolls({
    fleet: { find, get: find } as unknown as Fleet,
    samples,
    opsLibvirt: () => Promise.reject(new Error('none')),
    clock,
    onSample: () => undefined,
    onDone: (poller, outcome) => ended.push(`${poller} ${outcome}`),
    onSkip: (poller) => skipped.push(poller),
  });
});

describe('a whole poll', () => {
  it('is shared by all who ask while it runs', async () => {
    const both = [polls.run('kvm-01', 'details'), polls.run('kvm-01', 'details')];
    await settle();
    expect(runs).toHaveLength(1);
    expect(runs[0]?.context).toMatchObject({ changed: undefined, previous: undefined });
    runs[0]?.end();
    await Promise.all(both);
    const next = polls.run('kvm-01', 'details');
    await settle();
    expect(runs[1]?.context.previous).toMatchObject({ takenAtMs: 0 });
    runs[1]?.end();
    await next;
  });

  it('of details that fails says nothing of libvirt; of VMs it does', async () => {
    const failed = polls.run('kvm-01', 'details').catch((error) => error);
    await settle();
    runs[0]?.end(new HostError('TIMEOUT', { message: 'late' }));
    expect(await failed).toMatchObject({ code: 'TIMEOUT' });
    expect(samples.get('kvm-01', 'details')?.failure).toMatchObject({ code: 'TIMEOUT' });
    expect(observed).toEqual([]);
    vi.mocked(vmsPoller.poll).mockRejectedValue(new HostError('TIMEOUT', { message: 'late' }));
    await polls.run('kvm-01', 'vms').catch(() => undefined);
    expect(observed).toEqual([['libvirt', 'TIMEOUT']]);
  });

  it('that waited in the queue of its host until its time was up is not begun', async () => {
    queue.pause();
    const late = polls.run('kvm-01', 'details').catch((error) => error);
    await clock.advance(detailsPoller.timeoutMs);
    expect(await late).toMatchObject({ code: 'TIMEOUT' });
    queue.start();
    await queue.onIdle();
    expect(detailsPoller.poll).not.toHaveBeenCalled();
  });

  it('of a poller that does not exist is refused', async () => {
    await expect(polls.run('kvm-01', 'constructor')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('after events', () => {
  it('of some VMs, those that follow events run once, for these VMs', async () => {
    for (const uuid of ['a', 'b', 'a']) polls.lookAgain('kvm-01', uuid);
    await clock.advance(settleEventsMs);
    expect(runs).toHaveLength(1);
    expect(changedIn(runs[0])).toEqual(['a', 'b']);
    expect(vmsPoller.poll).toHaveBeenCalledTimes(1);
    expect(pollers.system.poll).not.toHaveBeenCalled();
    runs[0]?.end();
    await settle();
  });

  it('of any VM, everything is read', async () => {
    polls.lookAgain('kvm-01', 'a');
    polls.lookAgain('kvm-01');
    await clock.advance(settleEventsMs);
    expect(runs).toHaveLength(1);
    expect(changedIn(runs[0])).toBeUndefined();
    runs[0]?.end();
    await settle();
  });

  it('while a poll runs, which may have read the VM already, another follows it', async () => {
    const whole = polls.run('kvm-01', 'details');
    await settle();
    polls.lookAgain('kvm-01', 'a');
    await clock.advance(settleEventsMs);
    polls.lookAgain('kvm-01', 'b');
    await clock.advance(settleEventsMs);
    expect(runs).toHaveLength(1);
    runs[0]?.end();
    await whole;
    await settle();
    expect(changedIn(runs[1])).toEqual(['a', 'b']);
    const asked = polls.run('kvm-01', 'details');
    await settle();
    expect(runs).toHaveLength(2);
    runs[1]?.end();
    await settle();
    expect(changedIn(runs[2])).toBeUndefined();
    runs[2]?.end();
    await asked;
  });

  it('a poll that waits for its turn becomes whole when a whole one is asked for', async () => {
    const first = polls.run('kvm-01', 'details');
    await settle();
    polls.lookAgain('kvm-01', 'a');
    await clock.advance(settleEventsMs);
    const whole = polls.run('kvm-01', 'details');
    runs[0]?.end();
    await first;
    await settle();
    expect(runs).toHaveLength(2);
    expect(changedIn(runs[1])).toBeUndefined();
    runs[1]?.end();
    await whole;
  });

  it('of a host that has left meanwhile, nothing runs', async () => {
    polls.lookAgain('kvm-02', 'a');
    await clock.advance(settleEventsMs);
    expect(runs).toEqual([]);
  });
});

describe('what a poll that failed was to read', () => {
  const late = new HostError('TIMEOUT', { message: 'late' });
  const { intervalMs } = aHost().poll;

  /** A poll of the VM `a`, after an event of it, that fails. */
  async function failed(error: Error = late) {
    polls.lookAgain('kvm-01', 'a');
    await clock.advance(settleEventsMs);
    runs[0]?.end(error);
    await settle();
  }

  it('is read an interval of the host later, again and again until it is had', async () => {
    await failed();
    await clock.advance(intervalMs - 1);
    expect(runs).toHaveLength(1);
    await clock.advance(1);
    expect(runs).toHaveLength(2);
    expect(changedIn(runs[1])).toEqual(['a']);
    runs[1]?.end(late);
    await clock.advance(intervalMs);
    expect(runs).toHaveLength(3);
    expect(changedIn(runs[2])).toEqual(['a']);
    runs[2]?.end();
    await settle();
    expect(clock.pending).toBe(0);
    expect(samples.get('kvm-01', 'details')?.failure).toBeUndefined();
  });

  it('is read by whichever poll comes first, and once', async () => {
    await failed();
    polls.lookAgain('kvm-01', 'b');
    await clock.advance(settleEventsMs);
    expect(changedIn(runs[1])).toEqual(['a', 'b']);
    runs[1]?.end(late);
    await settle();
    const whole = polls.run('kvm-01', 'details').catch(() => undefined);
    await settle();
    expect(changedIn(runs[2])).toBeUndefined();
    runs[2]?.end(late);
    await whole;
    polls.lookAgain('kvm-01', 'c');
    await clock.advance(settleEventsMs);
    expect(changedIn(runs[3])).toBeUndefined();
    runs[3]?.end();
    await clock.advance(2 * intervalMs);
    expect(runs).toHaveLength(4);
  });

  it('waits for libvirt to be back, where that is down; then any VM may have changed', async () => {
    openParts = ['way', 'files'];
    await failed(new HostError('HOST_DOWN', { message: 'no libvirt' }));
    expect(clock.pending).toBe(0);
  });

  it('does not wait for its own interval where only the files are not open yet', async () => {
    openParts = ['way', 'libvirt'];
    await failed(new HostError('HOST_DOWN', { message: 'no files yet' }));
    await clock.advance(intervalMs);
    expect(runs).toHaveLength(2);
    expect(changedIn(runs[1])).toEqual(['a']);
  });

  it('is the whole, where a poll that went well found less than there must be', async () => {
    polls.lookAgain('kvm-01', 'a');
    await clock.advance(settleEventsMs);
    runs[0]?.context.again?.();
    runs[0]?.end();
    await clock.advance(intervalMs);
    expect(runs).toHaveLength(2);
    expect(changedIn(runs[1])).toBeUndefined();
    runs[1]?.end();
    await settle();
    expect(clock.pending).toBe(0);
    expect(ended.filter((end) => end.startsWith('details'))).toEqual(['details ok', 'details ok']);
  });

  it('is left to the next poll where that comes as soon', async () => {
    vi.mocked(vmsPoller.poll).mockRejectedValue(late);
    await polls.run('kvm-01', 'vms').catch(() => undefined);
    expect(clock.pending).toBe(0);
  });

  it('is forgotten with its host', async () => {
    await failed();
    leaves();
    await clock.advance(intervalMs);
    expect(runs).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });
});

describe('a poller that runs after the poll of the VMs', () => {
  type Job = { context: PollContext; end(): void; fail(error: Error): void };
  const sample = { takenAtMs: 1, vms: [] };
  const asked = { takenAtMs: 2, domains: [] };
  const scheduled = () => polls.run('kvm-01', 'vms', { scheduled: true });
  let jobs: Job[];

  beforeEach(() => {
    jobs = [];
    vi.mocked(vmsPoller.poll).mockResolvedValue(sample);
    vi.spyOn(domainJobsPoller, 'poll').mockImplementation(
      (_readers, context) =>
        new Promise((resolve, reject) => {
          jobs.push({ context, end: () => resolve(asked), fail: reject });
        }),
    );
  });

  it('has no schedule of its own', () => {
    const planned = schedulesOf([aHost()]).map(({ poller }) => poller);
    expect(planned).toContain('vms');
    expect(planned).not.toContain('domain-jobs');
  });

  it('is told what that one found, and is not waited for', async () => {
    await scheduled();
    await settle();
    expect(jobs).toHaveLength(1);
    expect(jobs[0]?.context.vms).toBe(sample.vms);
    expect(ended).toEqual(['vms ok']);
    jobs[0]?.end();
    await settle();
    expect(samples.get('kvm-01', 'domain-jobs')?.last?.sample).toBe(asked);
    expect(ended).toEqual(['vms ok', 'domain-jobs ok']);
  });

  it('does not run after a poll that events or a job asked for, nor after one that failed', async () => {
    await polls.run('kvm-01', 'vms');
    polls.lookAgain('kvm-01', 'a');
    await clock.advance(settleEventsMs);
    expect(vmsPoller.poll).toHaveBeenCalledTimes(2);
    vi.mocked(vmsPoller.poll).mockRejectedValue(new HostError('TIMEOUT', { message: 'late' }));
    await expect(scheduled()).rejects.toMatchObject({ code: 'TIMEOUT' });
    await settle();
    expect(jobs).toEqual([]);
    expect(skipped).toEqual([]);
  });

  it('runs after a poll that the schedule shares, while it runs and while it waits', async () => {
    const ends: (() => void)[] = [];
    vi.mocked(vmsPoller.poll).mockImplementation(
      () => new Promise((resolve) => ends.push(() => resolve(sample))),
    );
    const shared = [polls.run('kvm-01', 'vms'), settle().then(scheduled)];
    await settle();
    polls.lookAgain('kvm-01', 'a');
    await clock.advance(settleEventsMs);
    const waits = scheduled();
    ends[0]?.();
    await Promise.all(shared);
    await settle();
    expect(jobs).toHaveLength(1);
    jobs[0]?.end();
    await settle();
    ends[1]?.();
    await waits;
    await settle();
    expect(jobs).toHaveLength(2);
    expect(ends).toHaveLength(2);
    jobs[1]?.end();
    await settle();
  });

  it('never runs beside itself: it is skipped, and runs the next time', async () => {
    await scheduled();
    await scheduled();
    await settle();
    expect(jobs).toHaveLength(1);
    expect(skipped).toEqual(['domain-jobs']);
    jobs[0]?.end();
    await settle();
    await scheduled();
    await settle();
    expect(jobs).toHaveLength(2);
    expect(skipped).toHaveLength(1);
    jobs[1]?.end();
    await settle();
  });

  it('fails alone, and ends at its own deadline', async () => {
    await scheduled();
    await settle();
    jobs[0]?.fail(new Error('broken'));
    await settle();
    expect(samples.get('kvm-01', 'domain-jobs')).toMatchObject({ last: undefined, failure: {} });
    expect(samples.get('kvm-01', 'vms')?.failure).toBeUndefined();
    await scheduled();
    await clock.advance(domainJobsPoller.timeoutMs);
    expect(samples.get('kvm-01', 'domain-jobs')?.failure).toMatchObject({ code: 'TIMEOUT' });
    expect(jobs[1]?.context.signal.aborted).toBe(true);
    expect(ended).toEqual(['vms ok', 'domain-jobs failed', 'vms ok', 'domain-jobs failed']);
    expect(observed.filter(([, code]) => code)).toEqual([]);
  });
});
