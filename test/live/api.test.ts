// The API of the running service on real guests, asked as a script asks it: a job from the request to its end, followed as it
// happens; the same job asked twice; cancelling; lists by pages; nothing new; who may not.
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { Host, Job, pageOf, QueueState, Vm } from '../../src/http/api/schemas.js';
import { hashToken } from '../../src/http/auth/tokens.js';
import { type Judge, judgeOf, type OpenApi } from '../support/openapi.js';
import { Service } from '../support/outrigger.js';
import { until } from '../support/until.js';

let lab: Lab;
let host: LabHost;
let service: Service;
/** The running service's own document. */
let judge: Judge;

beforeAll(async () => {
  lab = await raiseLab({
    name: 'api',
    hosts: 1,
    guests: ['web-1', 'web-2', { name: 'deaf', acpi: false, agent: false }],
  });
  const [only] = lab.hosts;
  if (!only) throw new Error('the lab has a host');
  host = only;
  const tokens = join(lab.dir, 'tokens.yaml');
  const entries = ['viewer', 'operator', 'admin'].map(
    (role) => `  - { name: ${role}, role: ${role}, sha256: ${hashToken(role)} }`,
  );
  await writeFile(tokens, `version: 1\ntokens:\n${entries.join('\n')}\n`, { mode: 0o600 });
  service = await Service.start(lab.inventoryFile, { AGENT_API_TOKENS_FILE: tokens });
  const document = await fetch(`${service.url}/api/openapi.json`, {
    headers: { authorization: 'Bearer viewer' },
  });
  judge = judgeOf((await document.json()) as OpenApi);
  await service.pageWhen('the host up', (page) => page.value('libvirt_up') === 1);
  await until('jobs to be taken', async () => (await ask('/queue')).status === 200);
  // VMs are seen before the host's own figures.
  await until('every figure of it', async () => (await ask('/hosts')).json.items[0].stale === false);
});

afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  await lab?.down();
});

type Options = { who?: string; body?: unknown; method?: string; headers?: Record<string, string> };

async function ask(
  path: string,
  { who = 'operator', body, method = body ? 'POST' : 'GET', headers = {} }: Options = {},
) {
  const answer = await fetch(`${service.url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${who}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await answer.text();
  const mediaType = answer.headers.get('content-type');
  const url = `/api/v1${path}`;
  expect(judge({ method, url, status: answer.status, mediaType, body: text })).toEqual([]);
  return { status: answer.status, headers: answer.headers, json: text ? JSON.parse(text) : undefined };
}

const newJob = (body: object, key: string = randomUUID(), who = 'operator') =>
  ask('/jobs', { body: { host: host.name, ...body }, headers: { 'idempotency-key': key }, who });

function ended(id: string): Promise<Job> {
  return until(
    `the end of ${id}`,
    async () => {
      const { json } = await ask(`/jobs/${id}`);
      return ['completed', 'failed'].includes(json.state) ? json : undefined;
    },
    { timeoutMs: 60_000, everyMs: 100 },
  );
}

type StreamEvent = { event: string; data: Record<string, unknown> };

/** Events of the stream as they come. */
async function listen(query: string): Promise<{ events: StreamEvent[]; close: () => void }> {
  const leave = new AbortController();
  const answer = await fetch(`${service.url}/api/v1/stream${query}`, {
    headers: { authorization: 'Bearer viewer' },
    signal: leave.signal,
  });
  expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const events: StreamEvent[] = [];
  let text = '';
  void (async () => {
    for await (const chunk of answer.body ?? []) {
      text += Buffer.from(chunk).toString();
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const [, event] = /^event: (.*)$/m.exec(block) ?? [];
        const [, data] = /^data: (.*)$/m.exec(block) ?? [];
        if (event && data) events.push({ event, data: JSON.parse(data) });
      }
    }
  })().catch(() => undefined);
  await until('hello', () => events.find(({ event }) => event === 'hello'));
  return { events, close: () => leave.abort() };
}

describe('the fleet', () => {
  it('is told as virsh and the kernel tell it', async () => {
    const { json } = await ask('/hosts', { who: 'viewer' });
    const { items } = pageOf(Host, 'HostPageLive').parse(json);
    expect(items).toMatchObject([
      {
        name: host.name,
        state: 'up',
        stale: false,
        ssh: true,
        libvirt: true,
        files: true,
        ops: { allowed: true },
      },
    ]);
    expect(items[0]?.vms).toEqual({ total: 3, running: 3 });
    expect(items[0]?.memory?.totalBytes).toBeGreaterThan(1e8);
    const vms = pageOf(Vm, 'VmPageLive').parse((await ask('/vms?q=web-', { who: 'viewer' })).json);
    expect(vms.items.map(({ name, state }) => `${name} ${state}`)).toEqual([
      'web-1 running',
      'web-2 running',
    ]);
    expect(vms.items[0]?.uuid).toBe((await host.virsh('domuuid', 'web-1')).trim());
    expect(vms.items[0]?.disks.length).toBeGreaterThan(0);
  });
});

describe('a job over HTTP', () => {
  it('is done on the guest, and told step by step to who listens', async () => {
    const stream = await listen('?topic=jobs&topic=vms');
    try {
      const params = { timeoutSeconds: 120 };
      const asked = await newJob({ op: 'stop', vm: 'deaf', params, reason: 'a test' });
      expect([asked.status, asked.headers.get('location')]).toEqual([202, `/api/v1/jobs/${asked.json.id}`]);
      const ofJob = () =>
        stream.events.filter(({ event, data }) => event === 'job' && data.id === asked.json.id);
      await until('its steps in the stream', () =>
        ofJob().some(
          ({ data }) => data.state === 'active' && JSON.stringify(data.steps).includes('by the power button'),
        ),
      );
      // What its guest does not do when it is asked to.
      await host.virsh('destroy', 'deaf');
      const job = Job.parse(await ended(asked.json.id));
      expect(job).toMatchObject({
        ...{ state: 'completed', requestedBy: 'operator', reason: 'a test', cancel: 'too-late' },
        result: { outcome: 'changed', vm: { name: 'deaf' }, after: { state: 'shutoff' } },
      });
      expect(job.steps.length).toBeGreaterThan(0);
      expect((await host.virsh('domstate', 'deaf')).trim()).toBe('shut off');
      await until('its end in the stream', () => ofJob().some(({ data }) => data.state === 'completed'));
      await until('the VM in the stream', () =>
        stream.events.some(
          ({ event, data }) => event === 'vm' && data.name === 'deaf' && data.state === 'shutoff',
        ),
      );
      const audit = await ask(`/audit?requestId=${job.requestId}`);
      // It was asked through its agent, which it has not, and by the power button.
      const kinds = audit.json.items.map(({ kind }: { kind: string }) => kind);
      expect(kinds).toEqual(['end', 'begin', 'begin']);
    } finally {
      stream.close();
    }
    const started = await newJob({ op: 'start', vm: 'deaf' });
    expect(await ended(started.json.id)).toMatchObject({ result: { outcome: 'changed' } });
  });

  it('is one job for one key, and none for viewers or for what is too much', async () => {
    const key = randomUUID();
    const body = { op: 'pause', vm: 'web-2', dryRun: true };
    const asked = await Promise.all(Array.from({ length: 5 }, () => newJob(body, key)));
    expect(new Set(asked.map(({ json }) => json.id)).size).toBe(1);
    await ended(asked[0]?.json.id);
    const again = await newJob(body, key);
    expect([again.status, again.json.result.outcome]).toEqual([200, 'planned']);
    expect((await newJob({ ...body, dryRun: false }, key)).status).toBe(422);
    expect((await newJob(body, randomUUID(), 'viewer')).status).toBe(403);
    expect((await newJob({ op: 'reset', vm: 'web-2' })).json.type).toBe('urn:outrigger:problem:forbidden');
    const missing = await newJob({ op: 'info', vm: 'nobody' });
    expect(await ended(missing.json.id)).toMatchObject({
      state: 'failed',
      failure: { code: 'VM_NOT_FOUND' },
    });
    expect((await host.virsh('domstate', 'web-2')).trim()).toBe('running');
  });

  it('that waits for another is cancelled, and does nothing', async () => {
    const first = await newJob({ op: 'restart', vm: 'web-2', params: { mode: 'cold' } });
    const second = await newJob({ op: 'pause', vm: 'web-2' });
    const cancelled = await ask(`/jobs/${second.json.id}/cancel`, { method: 'POST' });
    expect(cancelled.status).toBe(200);
    expect(await ended(second.json.id)).toMatchObject({ state: 'failed', failure: { code: 'CANCELLED' } });
    expect(await ended(first.json.id)).toMatchObject({ state: 'completed' });
    expect((await ask(`/jobs/${first.json.id}/cancel`, { method: 'POST' })).json.type).toBe(
      'urn:outrigger:problem:too-late',
    );
    expect((await host.virsh('domstate', 'web-2')).trim()).toBe('running');
  });

  it('is found in a list of many, page by page; nothing new is 304', async () => {
    const asked = await Promise.all(Array.from({ length: 25 }, () => newJob({ op: 'agent_info' })));
    for (const { json } of asked) await ended(json.id);
    const found: string[] = [];
    let path: string | undefined = '/jobs?op=agent_info&limit=7';
    while (path) {
      const { json, headers } = await ask(path);
      found.push(
        ...pageOf(Job, 'JobPageLive')
          .parse(json)
          .items.map(({ id }) => id),
      );
      path = /^<\/api\/v1([^>]*)>/.exec(headers.get('link') ?? '')?.[1];
    }
    expect(found.sort()).toEqual(asked.map(({ json }) => json.id).sort());
    const list = await ask('/jobs?op=agent_info');
    const etag = list.headers.get('etag') ?? '';
    expect((await ask('/jobs?op=agent_info', { headers: { 'if-none-match': etag } })).status).toBe(304);
    const queue = QueueState.parse((await ask('/queue')).json);
    expect(queue).toMatchObject({ waiting: 0, workers: 1 });
    expect(queue.completed).toBeGreaterThan(25);
  });
});
