// The sample backend over TCP, the way a collector meets it, and the faults that the tests put before it.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RegisterRequest, Tokens } from '../../../src/backend/api.js';
import { TestBackend } from '../../support/backend.js';

const at = '2026-11-20T12:00:00Z';
const facts: RegisterRequest = {
  agent_id: 'a1',
  name: 'kvm-01',
  hostname: 'kvm-01',
  libvirt_uri: 'qemu:///system',
  version: '0.1.0',
  operations: ['start'],
  hypervisor: {},
  labels: {},
  collector: { id: 'c', name: 'outrigger', version: '0.1.0' },
};

let backend: TestBackend;
beforeEach(async () => {
  backend = await TestBackend.start();
});
afterEach(() => backend[Symbol.asyncDispose]());

function post(path: string, body: unknown, token?: string, headers: Record<string, string> = {}) {
  return fetch(backend.url + path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: {
      'content-type': 'application/json',
      ...(token && { authorization: `Bearer ${token}` }),
      ...headers,
    },
    redirect: 'manual',
    signal: AbortSignal.timeout(5_000),
  });
}

async function register(agentId = 'a1'): Promise<Tokens> {
  const answer = await post('/api/agent/register', { ...facts, agent_id: agentId }, backend.bootstrapToken);
  expect(answer.status).toBe(201);
  return (await answer.json()) as Tokens;
}

const heartbeat = { status: 'online', at };
const event = (sequence: number) => ({ sequence, at, event: 'stopped', detail: 'destroyed' });

describe('the sample backend', () => {
  it('registers whoever has the bootstrap token, and knows its agents by their tokens', async () => {
    expect((await post('/api/agent/register', facts, 'wrong')).status).toBe(401);
    expect((await post('/api/agent/register', { ...facts, name: 7 }, backend.bootstrapToken)).status).toBe(
      400,
    );
    const { access_token } = await register();
    const { access_token: other } = await register('a2');
    const statuses = [access_token, other, 'x.y.z', undefined].map(
      async (token) => (await post('/api/agent/a1/heartbeat', heartbeat, token)).status,
    );
    expect(await Promise.all(statuses)).toEqual([200, 403, 401, 401]);
    backend.forgetAgents();
    expect((await post('/api/agent/a1/heartbeat', heartbeat, access_token)).status).toBe(404);
  });

  it('gives new tokens for a refresh token once, and none after they were revoked', async () => {
    const { refresh_token } = await register();
    const answer = await post('/api/agent/token/refresh', { refresh_token });
    expect(answer.status).toBe(200);
    const next = (await answer.json()) as Tokens;
    expect((await post('/api/agent/token/refresh', { refresh_token })).status).toBe(401);
    expect((await post('/api/agent/a1/heartbeat', heartbeat, next.access_token)).status).toBe(200);
    backend.revokeRefreshTokens();
    backend.revokeAccessTokens();
    const { refresh_token: revoked } = next;
    expect((await post('/api/agent/token/refresh', { refresh_token: revoked })).status).toBe(401);
    expect((await post('/api/agent/a1/heartbeat', heartbeat, next.access_token)).status).toBe(401);
  });

  it('takes a report once, whatever comes again', async () => {
    const { access_token } = await register();
    for (const [sequence, key] of [
      [1, 'k1'],
      [1, 'k1'],
      [2, 'k2'],
    ] as const) {
      const answer = await post('/api/agent/a1/events', { events: [event(sequence)] }, access_token, {
        'idempotency-key': key,
      });
      expect(answer.status).toBe(202);
    }
    expect(backend.events.map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  it('sends a job that the form asked for with each heartbeat until its result is here', async () => {
    const { access_token } = await register();
    const form = new URLSearchParams({ agent: 'a1', op: 'stop', vm: 'web-1', params: '{"force":true}' });
    const asked = await fetch(`${backend.url}/jobs`, { method: 'POST', body: form, redirect: 'manual' });
    expect(asked.status).toBe(303);
    const beat = async () =>
      (await (await post('/api/agent/a1/heartbeat', heartbeat, access_token)).json()) as {
        jobs?: Record<string, unknown>[];
      };
    const [job] = (await beat()).jobs ?? [];
    expect(job).toMatchObject({ op: 'stop', vm: 'web-1', params: { force: true } });
    expect((await beat()).jobs).toEqual([job]);
    const id = String(job?.request_id);
    const result = {
      ...{ status: 'failed', job_id: '7', request_id: id, op: 'stop', host: 'kvm-01', finished_at: at },
      error: { code: 'VM_NOT_FOUND', message: 'no VM <b>web-1</b>' },
    };
    expect((await post(`/api/agent/a1/jobs/8/result`, result, access_token)).status).toBe(400);
    expect((await post(`/api/agent/a1/jobs/7/result`, result, access_token)).status).toBe(202);
    expect((await beat()).jobs).toBeUndefined();
    const text = await (await fetch(backend.url)).text();
    expect(text).toContain('VM_NOT_FOUND: no VM &lt;b&gt;web-1');
    expect(text).not.toContain('<b>web-1');
  });

  it('refuses a form from another site, and one that is no form of a job', async () => {
    await register();
    const form = (fields: Record<string, string>, origin: string) =>
      fetch(`${backend.url}/jobs`, {
        method: 'POST',
        body: new URLSearchParams(fields),
        headers: { origin },
      });
    expect((await form({ agent: 'a1', op: 'stop' }, 'https://elsewhere.example')).status).toBe(403);
    expect((await form({ agent: 'a1', op: 'stop' }, 'null')).status).toBe(403);
    expect((await form({ agent: 'a1', op: 'stop', params: '[' }, backend.url)).status).toBe(400);
    expect((await form({ agent: 'a9', op: 'stop' }, backend.url)).status).toBe(404);
    expect(backend.state.jobs.size).toBe(0);
  });
});

describe('the faults', () => {
  it('come for one call, so often, and then no more', async () => {
    const { access_token } = await register();
    backend.fault({ kind: 'status', status: 503, retryAfter: '7' }, { call: 'heartbeat', times: 1 });
    const first = await post('/api/agent/a1/heartbeat', heartbeat, access_token);
    expect([first.status, first.headers.get('retry-after')]).toEqual([503, '7']);
    expect((await post('/api/agent/a1/metrics', { at }, access_token)).status).toBe(202);
    expect((await post('/api/agent/a1/heartbeat', heartbeat, access_token)).status).toBe(200);
    expect(backend.asked.map(({ call, status }) => `${call} ${status}`)).toEqual([
      'register 201',
      'heartbeat 503',
      'metrics 202',
      'heartbeat 200',
    ]);
  });

  it('hang, cut, reset, redirect, and answer with what is no answer', async () => {
    const { access_token } = await register();
    const beat = () => post('/api/agent/a1/heartbeat', heartbeat, access_token);
    const once = { times: 1 };
    backend.fault({ kind: 'reset' }, once);
    await expect(beat()).rejects.toThrow();
    backend.fault({ kind: 'cut' }, once);
    await expect(beat().then((answer) => answer.text())).rejects.toThrow();
    backend.fault({ kind: 'html' }, once);
    expect((await beat()).headers.get('content-type')).toContain('text/html');
    backend.fault({ kind: 'redirect', to: 'http://127.0.0.1:1/' }, once);
    expect((await beat()).status).toBe(307);
    backend.fault({ kind: 'broken json' }, once);
    await expect(beat().then((answer) => answer.json())).rejects.toThrow();
    backend.fault({ kind: 'huge', bytes: 3_000_000 }, once);
    expect((await (await beat()).arrayBuffer()).byteLength).toBeGreaterThan(3_000_000);
    backend.fault({ kind: 'hang' }, once);
    const hanging = beat();
    const failed = expect(hanging).rejects.toThrow();
    expect((await beat()).status).toBe(200);
    await backend.down();
    await failed;
    await expect(beat()).rejects.toThrow();
    await backend.up();
    expect((await beat()).status).toBe(200);
  });

  it('lose the answer of what was done', async () => {
    const { access_token } = await register();
    backend.fault({ kind: 'lost answer' }, { call: 'events', times: 1 });
    const send = () =>
      post('/api/agent/a1/events', { events: [event(1)] }, access_token, { 'idempotency-key': 'k' });
    await expect(send()).rejects.toThrow();
    expect(backend.events).toHaveLength(1);
    expect((await send()).status).toBe(202);
    expect(backend.events).toHaveLength(1);
  });
});
