import { describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { HostError } from '../../../src/core/errors.js';
import { PollFailure, type PollRun, PollRunner } from '../../../src/queue/poll-runner.js';
import { type PollSchedule, scheduleId } from '../../../src/queue/schedules.js';
import { FakeClock } from '../../support/fake-clock.js';

function runnerOf(run: PollRun, hosts: string[] = ['a'], runTimeoutMs?: number) {
  const skips: string[] = [];
  const runner = new PollRunner({
    clock: systemClock,
    run,
    onSkip: (host, poller, cause) => skips.push(`${host} ${poller}: ${cause}`),
    ...(runTimeoutMs && { runTimeoutMs }),
  });
  runner.setSchedules(schedules(hosts));
  return { runner, skips };
}

/** All are asked for at once. */
function piledUp(
  hosts: string[],
  { intervalMs, runTimeoutMs }: { intervalMs?: number; runTimeoutMs?: number } = {},
) {
  const clock = new FakeClock();
  const begun: string[] = [];
  const run: PollRun = async (host) => void begun.push(host);
  const runner = new PollRunner({ clock, run, ...(runTimeoutMs && { runTimeoutMs }) });
  runner.setSchedules(schedules(hosts, intervalMs));
  return { clock, begun, all: Promise.all(hosts.map((host) => runner.runJob(host, 'vms'))) };
}

function schedules(hosts: string[], intervalMs = 1_000): Map<string, PollSchedule> {
  return new Map(
    hosts.map((host) => [scheduleId({ host, poller: 'vms' }), { host, poller: 'vms', intervalMs }]),
  );
}

describe('PollRunner', () => {
  it('runs and notes the start', async () => {
    const seen: string[] = [];
    const { runner } = runnerOf(async (host, poller) => void seen.push(`${host} ${poller}`));
    expect(runner.lastStartedMs('a', 'vms')).toBeUndefined();
    expect(await runner.runJob('a', 'vms')).toBe('done');
    expect(seen).toEqual(['a vms']);
    expect(runner.lastStartedMs('a', 'vms')).toBeGreaterThan(0);
  });

  it('never runs a poll beside itself', async () => {
    const ends: (() => void)[] = [];
    const { runner, skips } = runnerOf(() => new Promise((resolve) => ends.push(resolve)));
    const first = runner.runJob('a', 'vms');
    expect(await runner.runJob('a', 'vms')).toBe('skipped');
    for (const entry of runner.watched()) runner.startDirect(entry);
    expect(skips).toEqual(['a vms: still running']);
    await vi.waitFor(() => expect(ends).toHaveLength(1));
    ends[0]?.();
    expect(await first).toBe('done');
    expect(runner.direct).toBe(0);
    const again = runner.runJob('a', 'vms');
    await vi.waitFor(() => expect(ends).toHaveLength(2));
    ends[1]?.();
    expect(await again).toBe('done');
  });

  it('begins what piled up at twice the pace that the intervals ask for, in order', async () => {
    const hosts = Array.from({ length: 100 }, (_, at) => `h${at}`);
    const { clock, begun, all } = piledUp(hosts);
    await clock.advance(0);
    expect(begun).toEqual(['h0']);
    await clock.advance(250);
    expect(begun).toEqual(hosts.slice(0, 51));
    await clock.advance(250);
    await all;
    expect(begun).toEqual(hosts);
  });

  it('lets polls of a small fleet begin a hundredth of a second apart', async () => {
    const { clock, begun, all } = piledUp(['a', 'b'], { intervalMs: 60_000 });
    await clock.advance(10);
    await all;
    expect(begun).toEqual(['a', 'b']);
  });

  it('does not begin a poll whose time was up while it waited for its turn', async () => {
    const { clock, begun, all } = piledUp(['a', 'b'], { runTimeoutMs: 5 });
    const ends = all.catch((error) => error.message);
    await clock.advance(100);
    expect(await ends).toBe('TIMEOUT: the poll did not end in 5 ms');
    expect(begun).toEqual(['a']);
  });

  it('does not run an unknown host', async () => {
    const { runner, skips } = runnerOf(async () => expect.unreachable());
    expect(await runner.runJob('b', 'vms')).toBe('unknown');
    expect(await runner.runJob('a', 'other')).toBe('unknown');
    expect(skips).toHaveLength(2);
    expect(runner.skipped).toBe(2);
  });

  it('fails in one line with the code first and no stack', async () => {
    const cause = new HostError('REFUSED', { message: 'port 22\nrefused the connection' });
    const { runner } = runnerOf(() => {
      throw new HostError('HOST_DOWN', { message: 'kvm-01 is down', cause });
    });
    const failure = await runner.runJob('a', 'vms').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(PollFailure);
    expect(failure).toMatchObject({
      message: 'HOST_DOWN: kvm-01 is down: port 22 refused the connection',
      stack: '',
    });
  });

  it('bounds the text of a failure and names an unforeseen one INTERNAL', () => {
    const { message } = new PollFailure(new Error('x'.repeat(5_000)));
    expect(message).toMatch(/^INTERNAL: x+$/);
    expect(message.length).toBe(500);
  });

  it('frees the place of a poll that never ends', async () => {
    const { runner } = runnerOf(() => new Promise(() => {}), ['a'], 20);
    await expect(runner.runJob('a', 'vms')).rejects.toThrow(/^TIMEOUT: /);
    await expect(runner.runJob('a', 'vms')).rejects.toThrow(/^TIMEOUT: /);
  });

  it('a failed direct poll is nobody’s unhandled rejection', async () => {
    const { runner } = runnerOf(async () => {
      throw new Error('no');
    });
    for (const entry of runner.watched()) runner.startDirect(entry);
    expect(runner.direct).toBe(1);
    await runner.idle();
    await Promise.resolve();
    expect(runner.direct).toBe(0);
  });

  it('keeps the history of what stays and forgets what goes', async () => {
    const { runner } = runnerOf(async () => {}, ['a', 'b']);
    await runner.runJob('a', 'vms');
    await runner.runJob('b', 'vms');
    runner.setSchedules(schedules(['a'], 2_000));
    expect(runner.lastStartedMs('a', 'vms')).toBeGreaterThan(0);
    expect(runner.lastStartedMs('b', 'vms')).toBeUndefined();
    expect([...runner.watched()].map(({ schedule }) => schedule.intervalMs)).toEqual([2_000]);
  });
});
