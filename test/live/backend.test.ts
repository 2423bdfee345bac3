// The whole circle: real hosts, the service, and the sample backend. To the backend every host is an agent.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { TestBackend } from '../support/backend.js';
import { JobsClient } from '../support/jobs-client.js';
import { Service } from '../support/outrigger.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

const heartbeatSeconds = 2;

let lab: Lab;
let backend: TestBackend;
let service: Service;
let sinceStart: Stopwatch;

beforeAll(async () => {
  lab = await raiseLab({ name: 'backend', hosts: 3, guests: ['web-1'] });
  backend = await TestBackend.start({ latestVersion: '99.0.0' });
  sinceStart = new Stopwatch();
  service = await Service.start(lab.inventoryFile, env());
});

afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  await backend?.[Symbol.asyncDispose]();
  await lab?.down();
});

function env(): Record<string, string> {
  return {
    AGENT_BACKEND_URL: backend.url,
    AGENT_TOKEN: backend.bootstrapToken,
    AGENT_HEARTBEAT_INTERVAL: String(heartbeatSeconds),
    AGENT_METRICS_INTERVAL: '3',
  };
}

function agentOf(host: LabHost) {
  return [...backend.state.agents.values()].find(({ facts }) => facts.name === host.name);
}

function hostAt(index: number): LabHost {
  const host = lab.hosts[index];
  if (!host) throw new Error('the lab has three hosts');
  return host;
}

describe('every host is an agent', () => {
  it('registered within one heartbeat of coming up, with its facts', async () => {
    await until('all agents', () => backend.state.agents.size === lab.hosts.length, { timeoutMs: 20_000 });
    expect(sinceStart.ms).toBeLessThan(15_000);
    for (const host of lab.hosts) {
      expect(agentOf(host)?.facts).toMatchObject({
        libvirt_uri: 'qemu:///system',
        hypervisor: { type: 'QEMU', cpus: expect.any(Number) },
        operations: expect.arrayContaining(['start', 'stop', 'delete', 'list']),
      });
    }
  });

  it('heartbeats online, and reports figures with rates', async () => {
    for (const host of lab.hosts) {
      await until('a heartbeat', () => agentOf(host)?.heartbeat?.status === 'online');
      const metrics = await until(
        'a second report',
        () => {
          const { metrics } = agentOf(host) ?? {};
          return JSON.stringify(metrics ?? {}).includes('per_second') ? metrics : undefined;
        },
        { timeoutMs: 20_000 },
      );
      expect(JSON.stringify(metrics)).not.toMatch(/_per_second":-/);
    }
  });

  it('tells a VM that was stopped on the host within two seconds', async () => {
    const host = hostAt(0);
    const watch = new Stopwatch();
    await host.virsh('destroy', 'web-1');
    await until('the event', () =>
      backend.events.find(
        ({ event, vm, agentId }) =>
          event === 'stopped' && vm?.name === 'web-1' && agentId === agentOf(host)?.id,
      ),
    );
    expect(watch.ms).toBeLessThan(2_000);
  });

  it('does the job that a heartbeat brings, and its result comes back', async () => {
    const host = hostAt(0);
    const agent = agentOf(host);
    if (!agent) throw new Error('no agent');
    const form = new URLSearchParams({ agent: agent.id, op: 'start', vm: 'web-1', params: '{}' });
    const asked = await fetch(`${backend.url}/jobs`, { method: 'POST', body: form, redirect: 'manual' });
    expect(asked.status).toBe(303);
    const job = [...backend.state.jobs.values()].at(-1);
    if (!job) throw new Error('the page took no job');
    const kept = await until('the result', () => backend.state.resultOf(job), { timeoutMs: 20_000 });
    expect(kept.result).toMatchObject({
      status: 'completed',
      op: 'start',
      outcome: 'changed',
      host: host.name,
    });
    expect((await host.virsh('domstate', 'web-1')).trim()).toBe('running');
    const wrong = backend.state.enqueue(agent.id, { op: 'explode', vm: 'web-1' });
    const refused = await until('the refusal', () => backend.state.resultOf(wrong), { timeoutMs: 20_000 });
    expect(refused.result).toMatchObject({ status: 'failed', error: { code: 'BAD_REQUEST' } });
    const missing = backend.state.enqueue(agent.id, { op: 'stop', vm: 'nobody' });
    const failed = await until('the failure', () => backend.state.resultOf(missing), { timeoutMs: 20_000 });
    expect(failed.result).toMatchObject({ status: 'failed', error: { code: 'VM_NOT_FOUND' } });
  });

  it('heartbeats for a host that is down, with the reason', async () => {
    const host = hostAt(2);
    await host.killSshd();
    try {
      const heartbeat = await until(
        'the heartbeat',
        () => {
          const { heartbeat } = agentOf(host) ?? {};
          return heartbeat?.status === 'unreachable' ? heartbeat : undefined;
        },
        { timeoutMs: 20_000 },
      );
      expect(['CLOSED', 'REFUSED']).toContain(heartbeat.last_error?.code);
    } finally {
      await host.startSshd();
    }
    await until('online again', () => agentOf(host)?.heartbeat?.status === 'online', { timeoutMs: 75_000 });
  });
});

describe('a backend that goes away', () => {
  it('costs polls nothing, and misses nothing: events and results come when it is back', async () => {
    const host = hostAt(1);
    const agent = agentOf(host);
    if (!agent) throw new Error('no agent');
    const before = backend.events.filter(({ agentId }) => agentId === agent.id).length;
    await backend.down();
    for (let round = 0; round < 3; round++) {
      await host.virsh('suspend', 'web-1');
      await host.virsh('resume', 'web-1');
    }
    {
      await using jobs = new JobsClient(join(service.dataDir, 'store', 'store.sock'));
      const done = await jobs.run('pause', { host: hostAt(2).name, vm: 'web-1' });
      expect(done).toMatchObject({ state: 'completed', result: { outcome: 'changed' } });
    }
    const page = await service.pageWhen(
      'the backend to be missed',
      (page) => page.value('outrigger_backend_up') === 0,
    );
    expect(
      page.value('outrigger_host_sample_age_seconds', { instance: host.name, poller: 'vms' }),
    ).toBeLessThan(4);
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    await service.pageWhen('what waits', (page) => (page.value('outrigger_outbox_entries') ?? 0) >= 6);
    await service.kill();
    service = await Service.start(lab.inventoryFile, env(), service.dataDir);
    await backend.up();
    const own = () => backend.events.filter(({ agentId }) => agentId === agent.id).slice(before);
    await until('the six events', () => own().length >= 6, { timeoutMs: 90_000 });
    expect(
      own()
        .slice(0, 6)
        .map(({ event }) => event),
    ).toEqual(Array.from({ length: 3 }, () => ['suspended', 'resumed']).flat());
    const sequences = own().map(({ sequence }) => sequence);
    expect(sequences).toEqual([...sequences].sort((a, b) => a - b));
    await service.pageWhen('nothing to wait', (page) => page.value('outrigger_outbox_entries') === 0, 30_000);
    const audit = await readFile(join(service.dataDir, 'audit', 'audit-000001.jsonl'), 'utf8');
    const acted = [...audit.matchAll(/"requestId":"([^"]+)"/g)].map(([, requestId]) => requestId);
    expect(acted.length).toBeGreaterThanOrEqual(5);
    const told = backend.results.map(({ result }) => result.request_id);
    expect(told).toEqual(expect.arrayContaining([...new Set(acted)]));
    await service.pageWhen(
      'heartbeats to arrive again',
      (page) =>
        page.value('outrigger_backend_up') === 1 &&
        page.value('outrigger_update_available') === 1 &&
        (page.value('outrigger_host_heartbeat_age_seconds', { instance: host.name }) ?? 99) <
          2 * heartbeatSeconds,
    );
  });
});
