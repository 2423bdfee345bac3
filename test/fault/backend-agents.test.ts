import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { HostSamples, HostStatus } from '../../src/backend/agent-reports.js';
import { Backend } from '../../src/backend/backend.js';
import type { Clock } from '../../src/core/clock.js';
import { createLog, silentLog } from '../../src/core/log.js';
import { loadSettings } from '../../src/core/settings.js';
import {
  beat,
  clientOf,
  closeAll,
  failure,
  folder,
  lifecycle,
  listening,
  one,
  opened,
  portOf,
  started,
} from '../support/backend-client.js';
import { FakeClock } from '../support/fake-clock.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

/** Of the test that runs. */
const reporting: Backend[] = [];

afterEach(async () => {
  reporting.length = 0;
  await closeAll();
});

describe('away', () => {
  test('nothing listens, and no such name', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await backend.down();
    const refused = await failure(client.register(one));
    expect(refused).toMatchObject({ code: 'BACKEND_UNREACHABLE', outcome: 'not-sent', retryable: true });
    expect(refused.message).toMatch(/nothing listens at the backend: 127\.0\.0\.1:/);
    const lost = await failure((await clientOf('http://nowhere.invalid', { tries: 1 })).register(one));
    expect(lost.message).toMatch(/nowhere\.invalid/);
    expect(client.reachability).toMatchObject({ reachable: false });
    await backend.up();
    await client.register(one);
    expect(client.reachability).toMatchObject({ reachable: true, cause: undefined });
  });

  test('a host that swallows packets ends the call in time', async () => {
    const full = await listening(createServer((socket) => socket.pause()));
    const client = await clientOf(`https://127.0.0.1:${portOf(full)}`, { timeoutMs: 400, tries: 1 });
    const watch = new Stopwatch();
    expect(await failure(client.register(one))).toMatchObject({ code: 'BACKEND_UNREACHABLE' });
    expect(watch.ms).toBeLessThan(1_500);
  });

  test('down at the start and for 30 minutes: no flood, and every host is there one heartbeat after it is back', async () => {
    const clock = new FakeClock();
    const hosts = Array.from({ length: 20 }, (_, index) => hostNamed(`kvm-${index}`));
    const backend = await started();
    await backend.down();
    const calls: string[] = [];
    const reporting = await reportingTo(backend.url, clock, {
      onCall: (call, result) => calls.push(`${call} ${result}`),
    });
    reporting.reporter.apply(hosts);
    await minutes(clock, 30);
    expect(new Set(calls)).toEqual(new Set(['register unreachable']));
    expect(calls.length).toBeLessThan(20 * 31 * 3);
    expect(reporting.state()).toMatchObject({
      ok: false,
      detail: expect.stringContaining('nothing listens'),
    });
    await backend.up();
    await minutes(clock, 0.5);
    await until('all agents', () => backend.state.agents.size === hosts.length);
    await minutes(clock, 0.5);
    await until('all heartbeats', () => [...backend.state.agents.values()].every((agent) => agent.heartbeat));
    expect(reporting.state()).toMatchObject({ ok: true, detail: 'answers; 20 hosts registered' });
  });
});

describe('agents', () => {
  test('each host registers when it comes up, and heartbeats with its true status, spread over the interval', async () => {
    const clock = new FakeClock();
    const backend = await started({ latestVersion: '99.0.0' });
    const status = new Map<string, HostStatus>();
    const jobs: unknown[] = [];
    const reporting = await reportingTo(backend.url, clock, {
      status,
      onJobs: (host, given) => jobs.push([host, given]),
    });
    const hosts = ['kvm-01', 'kvm-02', 'kvm-03'].map(hostNamed);
    const down = { code: 'TIMEOUT', message: 'no answer' };
    status.set('kvm-03', { status: 'unreachable', lastError: down });
    reporting.reporter.apply(hosts);
    await minutes(clock, 0.5);
    const names = () => [...backend.state.agents.values()].map(({ facts }) => facts.name).sort();
    expect(names()).toEqual(['kvm-01', 'kvm-02']);
    status.set('kvm-03', { status: 'degraded' });
    await minutes(clock, 0.5);
    expect(names()).toEqual(['kvm-01', 'kvm-02', 'kvm-03']);
    status.set('kvm-03', { status: 'unreachable', lastError: down });
    await minutes(clock, 0.5);
    const third = [...backend.state.agents.values()].find(({ facts }) => facts.name === 'kvm-03');
    expect(third?.heartbeat).toMatchObject({ status: 'unreachable', last_error: down });
    expect(reporting.reporter.updateAvailable).toBe(true);
    expect(reporting.reporter.heartbeatAgeMs('kvm-03')).toBeLessThanOrEqual(30_000);
    expect(reporting.reporter.registered()).toBe(3);
    expect(jobs).toEqual([]);
    reporting.reporter.apply([]);
    const before = backend.asked.length;
    await minutes(clock, 1);
    expect(backend.asked.length).toBe(before);
  });

  test('events and results are delivered, also for a host that left the inventory; repeats are one', async () => {
    const clock = new FakeClock();
    const backend = await started();
    const { reporter } = await reportingTo(backend.url, clock, {});
    reporter.apply([hostNamed('kvm-01')]);
    await reporter.deliver('events', 'kvm-01', lifecycle(1), 'key-1');
    await reporter.deliver('events', 'kvm-01', lifecycle(1), 'key-1');
    expect(backend.events).toHaveLength(1);
    reporter.apply([]);
    const asked = {
      job_id: 'j/1',
      request_id: 'j/1',
      op: 'stop',
      host: 'kvm-01',
      finished_at: new Date().toISOString(),
    };
    const result = { ...asked, status: 'failed', error: { code: 'HOST_UNKNOWN', message: 'gone' } };
    await reporter.deliver('job_result', 'kvm-01', result, 'key-2');
    expect(backend.results).toHaveLength(1);
    const malformed = failure(reporter.deliver('events', 'kvm-01', { events: [] }, 'key-3'));
    expect(await malformed).toMatchObject({ retryable: false, outcome: 'not-sent' });
    const stranger = failure(reporter.deliver('events', 'kvm-99', lifecycle(1), 'key-4'));
    expect(await stranger).toMatchObject({ retryable: false, outcome: 'not-sent' });
  });

  test('figures are told once, with rates; a sample that is not new is not told again', async () => {
    const clock = new FakeClock();
    const backend = await started();
    const samples: HostSamples = { vms: undefined, system: undefined };
    const { reporter } = await reportingTo(backend.url, clock, { samples });
    reporter.apply([hostNamed('kvm-01')]);
    await minutes(clock, 1);
    expect(backend.count('metrics')).toBe(0);
    const sampled = () => {
      const times = { takenAtMs: clock.wallMs(), takenAtMonotonicMs: clock.monotonicMs() };
      const stat = {
        cpus: [
          { cpu: 0, user: clock.monotonicMs() / 2000, nice: 0, system: 0, idle: clock.monotonicMs() / 2000 },
        ],
      };
      const none = { pressure: {}, netstat: {}, sockstat: {}, kernel: {}, problems: [] };
      samples.system = { ...times, sample: { takenAtMs: clock.wallMs(), stat, ...none } };
    };
    sampled();
    await minutes(clock, 2);
    expect(backend.count('metrics')).toBe(1);
    sampled();
    await minutes(clock, 1);
    const [agent] = [...backend.state.agents.values()];
    expect(agent?.metrics?.system).toMatchObject({ interval_seconds: 120, figures: { cpu_percent: 50 } });
    expect(agent?.metrics?.vms).toBeUndefined();
  });

  test('the log holds no token', async () => {
    const file = join(folder(), 'log');
    const backend = await started();
    const log = createLog({ level: 'DEBUG', file });
    const client = await clientOf(backend.url, { log });
    await client.register(one);
    backend.revokeAccessTokens();
    backend.revokeRefreshTokens();
    await client.heartbeat(one, beat);
    backend.fault({ kind: 'status', status: 500 });
    await failure(client.heartbeat(one, beat));
    await client.close();
    await until('the log', async () => (await readFile(file, 'utf8')).includes('registered'));
    const written = await readFile(file, 'utf8');
    const headers = backend.asked.map(({ headers }) => String(headers.authorization).replace('Bearer ', ''));
    for (const token of headers) expect(written).not.toContain(token);
  });
});

function hostNamed(name: string) {
  return { name, address: '192.0.2.1', labels: { rack: 'r1' }, libvirt: { uri: 'qemu:///system' } };
}

type Told = {
  status?: Map<string, HostStatus>;
  samples?: HostSamples;
  onJobs?: (host: string, jobs: readonly unknown[]) => void;
  onCall?: (call: string, result: string) => void;
};

async function reportingTo(
  url: string,
  clock: Clock,
  { status, samples, onJobs, onCall }: Told,
): Promise<Backend> {
  const env = { AGENT_BACKEND_URL: url, AGENT_TOKEN: 'bootstrap-token', AGENT_DATA_DIR: folder() };
  const { settings } = loadSettings(env);
  if (!settings?.backendUrl) throw new Error('settings');
  const none: HostSamples = { vms: undefined, system: undefined };
  const opening = await Backend.open({
    settings: { ...settings, backendUrl: settings.backendUrl },
    ...{ env: {}, collectorId: 'test', clock, log: silentLog },
    sources: {
      status: (host) => status?.get(host) ?? { status: 'online' },
      samples: () => samples ?? none,
      facts: async () => ({ hostname: undefined, hypervisor: {} }),
      operations: () => ['list'],
    },
    ...(onJobs && { onJobs }),
    ...(onCall && { onCall }),
  });
  reporting.push(opening);
  opened.push(() => opening.close());
  return opening;
}

/** Fake time, a second at a step; it stands still while a real request is under way, whose deadline it would reach. */
async function minutes(clock: FakeClock, count: number): Promise<void> {
  for (let step = 0; step < count * 60; step++) {
    await clock.advance(1_000);
    await until(
      'the requests to be answered',
      async () => {
        for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
        return reporting.every(({ requests }) => requests === 0);
      },
      { everyMs: 0 },
    );
  }
}
