// Every route of the API, asked over HTTP: what it answers, to whom, and in the shapes that the schemas promise.
import { mkdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { AuditLog } from '../../../../src/audit/log.js';
import * as shapes from '../../../../src/http/api/schemas.js';
import { type ApiRig, apiRig, type apiTokens, bearer, newKey } from '../../../support/api.js';
import { settle } from '../../../support/fake-clock.js';
import { aHost } from '../../../support/host.js';
import { running, stopped, systemSample } from '../../metrics/fixtures.js';

let rig: ApiRig;

beforeAll(async () => {
  rig = await apiRig([
    aHost({ name: 'kvm-02', address: '192.0.2.12', labels: { dc: 'fra1' }, ops: false }),
    aHost({ name: 'kvm-01', labels: { dc: 'ams1', rack: 'r1' }, groups: ['edge'] }),
    aHost({ name: 'kvm-03', labels: { dc: 'ams1' }, maintenance: true }),
  ]);
  await settle();
  const vm = (name: string, n: number) =>
    running(name, { domain: { name, uuid: `5c0a9b1e-2f53-4f5c-9d8e-00000000000${n}`, id: n } });
  rig.samples.put('kvm-01', 'vms', { takenAtMs: 1, vms: [vm('web-2', 2), vm('web-1', 1), stopped('old')] });
  rig.samples.put('kvm-01', 'system', systemSample({ problems: ['/proc/x: no'] }));
  rig.samples.put('kvm-02', 'vms', { takenAtMs: 1, vms: [vm('DB <1>', 4)] });
});

afterAll(() => rig[Symbol.asyncDispose]());

type Who = keyof typeof apiTokens;

async function get(path: string, who: Who = 'viewer', headers: Record<string, string> = {}) {
  const answer = await rig.app.inject({ url: `/api/v1${path}`, headers: { ...bearer(who), ...headers } });
  return {
    status: answer.statusCode,
    headers: answer.headers,
    json: answer.body ? answer.json() : undefined,
  };
}

async function post(path: string, body: unknown, headers: Record<string, string>, who: Who = 'operator') {
  const answer = await rig.app.inject({
    ...{ method: 'POST', url: `/api/v1${path}`, headers: { ...bearer(who), ...headers } },
    payload: body as object,
  });
  return { status: answer.statusCode, headers: answer.headers, json: answer.json() };
}

/** Also refuses keys that the schema does not have. */
function inShape(schema: z.ZodType, value: unknown): void {
  expect(schema.parse(value)).toEqual(value);
}

const names = (json: { items: { name: string }[] }) => json.items.map(({ name }) => name);

describe('hosts', () => {
  it('are listed by name, with what is known and why they are down', async () => {
    const { status, json } = await get('/hosts');
    expect(status).toBe(200);
    inShape(shapes.pageOf(shapes.Host, 'x'), json);
    expect(names(json)).toEqual(['kvm-01', 'kvm-02', 'kvm-03']);
    expect(json.total).toBe(3);
    const [first, second, third] = json.items;
    expect(first).toMatchObject({
      state: 'down',
      cause: { code: 'REFUSED', message: 'cannot connect', hint: 'Start sshd.' },
      stale: true,
      vms: { total: 3, running: 2 },
      load: { one: 0.04 },
      kernel: 'Linux 6.1.0-28-amd64',
      os: 'Debian GNU/Linux 12',
      problems: ['/proc/x: no'],
    });
    expect(second.ops).toEqual({ allowed: false, why: expect.stringContaining('only watched') });
    expect(third).toMatchObject({ state: 'maintenance', maintenance: true });
    expect(third.vms).toBeUndefined();
  });

  it.each([
    ['state=maintenance', ['kvm-03']],
    ['label=dc=ams1', ['kvm-01', 'kvm-03']],
    ['label=dc=ams1&label=rack=r1', ['kvm-01']],
    ['label=dc=', []],
    ['label=constructor=x', []],
    ['q=EDGE', ['kvm-01']],
    ['q=192.0.2.12', ['kvm-02']],
  ])('are filtered by %s', async (query, expected) => {
    expect(names((await get(`/hosts?${query}`)).json)).toEqual(expected);
  });

  it('come in pages, each with a Link to the next', async () => {
    const seen: string[] = [];
    let path: string | undefined = '/hosts?limit=2&q=kvm';
    while (path) {
      const { json, headers } = await get(path);
      seen.push(...names(json));
      const link: string | undefined = /^<\/api\/v1([^>]*)>; rel="next"$/.exec(
        String(headers.link ?? ''),
      )?.[1];
      expect(Boolean(link)).toBe(json.next !== undefined);
      path = link;
    }
    expect(seen).toEqual(['kvm-01', 'kvm-02', 'kvm-03']);
  });

  it('answer 304 until something changes, and not to somebody else', async () => {
    const { headers } = await get('/hosts?q=kvm-02');
    const etag = String(headers.etag);
    expect(etag).toMatch(/^W\/"/);
    const again = await get('/hosts?q=kvm-02', 'viewer', { 'if-none-match': `"x", ${etag}` });
    expect([again.status, again.json]).toEqual([304, undefined]);
    expect((await get('/hosts?q=kvm-02', 'admin', { 'if-none-match': etag })).status).toBe(200);
    rig.samples.put('kvm-03', 'system', systemSample());
    expect((await get('/hosts?q=kvm-02', 'viewer', { 'if-none-match': etag })).status).toBe(304);
    rig.samples.put('kvm-02', 'system', systemSample());
    expect((await get('/hosts?q=kvm-02', 'viewer', { 'if-none-match': etag })).status).toBe(200);
  });

  it('are shown one at a time; one that is not there, or hidden, is the same 404', async () => {
    const one = await get('/hosts/kvm-01');
    inShape(shapes.Host, one.json);
    expect(one.json.name).toBe('kvm-01');
    const unknown = await get('/hosts/kvm-9');
    expect(unknown).toMatchObject({
      status: 404,
      json: { type: 'urn:outrigger:problem:host-unknown', status: 404 },
    });
    inShape(shapes.Problem, unknown.json);
    const hidden = await get('/hosts/kvm-02', 'confined');
    expect(hidden.json).toEqual({
      ...unknown.json,
      detail: 'no host "kvm-02" in the inventory',
      hint: 'Did you mean kvm-01?',
    });
    expect(names((await get('/hosts', 'confined')).json)).toEqual(['kvm-01']);
    expect((await get('/hosts', 'confined')).json.total).toBe(1);
  });
});

describe('VMs', () => {
  it('are listed by host and name', async () => {
    const { json } = await get('/vms');
    inShape(shapes.pageOf(shapes.Vm, 'x'), json);
    expect(names(json)).toEqual(['old', 'web-1', 'web-2', 'DB <1>']);
    expect(json.items[1]).toMatchObject({
      host: 'kvm-01',
      state: 'running',
      reason: 'booted',
      vcpus: 2,
      stale: true,
      memory: { maximumBytes: 524_288 * 1024 },
      disks: [{ device: 'vda', capacityBytes: 1_073_741_824, writesTotal: 6 }],
      interfaces: [{ device: 'vnet0', receivedBytesTotal: 1000 }],
    });
    expect(json.items[0]).toMatchObject({ state: 'shutoff', reason: 'shutdown', interfaces: [] });
    expect(json.items[0].cpuSecondsTotal).toBeUndefined();
  });

  it.each([
    ['state=shutoff', ['old']],
    ['host=kvm-02', ['DB <1>']],
    ['label=dc=fra1', ['DB <1>']],
    ['q=db', ['DB <1>']],
    ['q=WEB&limit=1000', ['web-1', 'web-2']],
    ['q=000000000001', ['old', 'web-1']],
  ])('are filtered by %s', async (query, expected) => {
    expect(names((await get(`/vms?${query}`)).json)).toEqual(expected);
  });

  it('come in pages that know how many there are', async () => {
    const first = await get('/vms?limit=3');
    expect([first.json.items.length, first.json.total]).toEqual([3, 4]);
    const second = await get(`/vms?limit=3&cursor=${first.json.next}`);
    expect([names(second.json), second.json.next]).toEqual([['DB <1>'], undefined]);
  });

  it('of one host, and one of them by name or UUID', async () => {
    expect(names((await get('/hosts/kvm-01/vms?q=web')).json)).toEqual(['web-1', 'web-2']);
    expect((await get('/hosts/kvm-9/vms')).json.type).toBe('urn:outrigger:problem:host-unknown');
    expect((await get('/vms?host=kvm-02', 'confined')).status).toBe(404);
    const byName = await get(`/hosts/kvm-02/vms/${encodeURIComponent('DB <1>')}`);
    inShape(shapes.Vm, byName.json);
    expect((await get(`/hosts/kvm-02/vms/${byName.json.uuid.toUpperCase()}`)).json).toEqual(byName.json);
    expect((await get('/hosts/kvm-02/vms/none')).json.type).toBe('urn:outrigger:problem:vm-unknown');
    expect((await get('/hosts/kvm-9/vms/none')).json.type).toBe('urn:outrigger:problem:host-unknown');
  });
});

describe('asking for a job', () => {
  const stop = { op: 'stop', host: 'kvm-01', vm: 'web-1' };

  it('makes one, asked for by who is signed in; the same key and body is the same job', async () => {
    const key = newKey();
    const first = await post('/jobs', stop, key);
    expect(first.status).toBe(202);
    expect(first.headers.location).toBe(`/api/v1/jobs/${first.json.id}`);
    inShape(shapes.Job, first.json);
    expect(first.json).toMatchObject({
      ...{ op: 'stop', state: 'waiting', host: 'kvm-01', vm: 'web-1', requestedBy: 'operator' },
      ...{ requestId: key['idempotency-key'], cancel: 'possible', steps: [] },
    });
    const again = await post('/jobs', stop, key);
    expect([again.status, again.json.id]).toEqual([200, first.json.id]);
    const quoted = await post('/jobs', stop, { 'idempotency-key': `"${key['idempotency-key']}"` });
    expect(quoted.json.id).toBe(first.json.id);
    const other = await post('/jobs', { ...stop, vm: 'web-2' }, key);
    expect([other.status, other.json.type]).toEqual([422, 'urn:outrigger:problem:idempotency-key-reused']);
    expect(rig.written.length).toBeGreaterThan(0);
  });

  it.each<[string, object, string, number, string]>([
    ['without a key', stop, '', 400, 'idempotency-key-missing'],
    ['with a key of control characters', stop, 'a\tb', 400, 'validation'],
    ['with an unknown key in the body', { ...stop, requestedBy: 'root' }, 'k1', 400, 'validation'],
    ['with an unknown operation', { ...stop, op: 'explode' }, 'k2', 400, 'validation'],
    ['with wrong params', { ...stop, params: { forec: true } }, 'k3', 400, 'validation'],
    ['without a VM', { op: 'stop', host: 'kvm-01' }, 'k4', 400, 'validation'],
    ['for an unknown host', { ...stop, host: 'kvm-9' }, 'k5', 404, 'host-unknown'],
    ['for what only an admin may', { ...stop, op: 'reset' }, 'k6', 403, 'forbidden'],
  ])('is refused %s', async (_what, body, key, status, type) => {
    const before = rig.jobs.views.length;
    const answer = await post('/jobs', body, key ? { 'idempotency-key': key } : {});
    expect([answer.status, answer.json.type]).toEqual([status, `urn:outrigger:problem:${type}`]);
    inShape(shapes.Problem, answer.json);
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(rig.jobs.views).toHaveLength(before);
  });

  it('names each wrong field', async () => {
    const { json } = await post('/jobs', { op: 'stop', vm: 7 }, newKey());
    expect(json.errors.map(({ field }: { field: string }) => field).sort()).toEqual(['body.host', 'body.vm']);
  });

  it('is refused on a host that may not be seen, and to viewers', async () => {
    expect((await post('/jobs', { ...stop, host: 'kvm-02' }, newKey(), 'confined')).status).toBe(404);
    expect((await post('/jobs', stop, newKey(), 'viewer')).status).toBe(403);
    expect((await post('/jobs', { ...stop, op: 'reset' }, newKey(), 'admin')).status).toBe(202);
  });
});

describe('jobs', () => {
  it('are listed, filtered and paged; a confined caller sees its hosts’ alone', async () => {
    for (let n = 0; n < 5; n++) {
      rig.jobs.put({
        name: 'list',
        data: { host: `kvm-0${1 + (n % 2)}`, requestId: `l${n}`, requestedBy: 'cron' },
      });
    }
    rig.jobs.put({ name: 'x', data: 'nonsense', state: 'failed', failure: 'BAD_REQUEST: no', finishedMs: 9 });
    const { json } = await get('/jobs?op=list&limit=2');
    inShape(shapes.pageOf(shapes.Job, 'x'), json);
    expect(json.items).toHaveLength(2);
    const rest = await get(`/jobs?op=list&limit=50&cursor=${json.next}`);
    expect(rest.json.items).toHaveLength(3);
    expect((await get('/jobs?requestedBy=cron&host=kvm-02')).json.items).toHaveLength(2);
    const hosts = (await get('/jobs', 'confined')).json.items.map((job: shapes.Job) => job.host);
    expect(new Set(hosts)).toEqual(new Set(['kvm-01']));
    const failed = await get('/jobs?state=failed&state=completed');
    expect(failed.json.items).toMatchObject([
      { op: 'x', failure: { code: 'BAD_REQUEST', message: 'no' }, cancel: 'too-late' },
    ]);
    const etag = String(failed.headers.etag);
    expect(
      (await get('/jobs?state=failed&state=completed', 'viewer', { 'if-none-match': etag })).status,
    ).toBe(304);
  });

  it('show their steps, their result, and no secret', async () => {
    const step = { at: '2026-01-01T00:00:00.000Z', step: 'shutdown requested' };
    rig.jobs.put({
      ...{
        id: 'active',
        state: 'active',
        startedMs: 5,
        progress: { steps: [step, { at: 1 }, { ...step, facts: {} }] },
      },
      data: { host: 'kvm-01', requestId: 'r', params: { password: 'hunter2' }, vm: ['x'], dryRun: 'yes' },
    });
    const { json } = await get('/jobs/active');
    inShape(shapes.Job, json);
    expect(json).toMatchObject({
      steps: [step, step],
      params: { password: '[secret]' },
      dryRun: false,
      cancel: 'maybe',
    });
    expect(json.vm).toBeUndefined();
    const listed = await get('/jobs?state=active');
    expect(listed.json.items[0].steps).toEqual([step]);
  });

  it('are cancelled while they have not begun to act', async () => {
    rig.jobs.put({ id: 'w', data: { host: 'kvm-01' } });
    rig.jobs.put({ id: 'd', state: 'completed', finishedMs: 5, data: { host: 'kvm-02' } });
    expect((await post('/jobs/w/cancel', undefined, {})).json.id).toBe('w');
    expect(await post('/jobs/d/cancel', undefined, {})).toMatchObject({
      status: 409,
      json: { type: 'urn:outrigger:problem:too-late' },
    });
    expect((await post('/jobs/none/cancel', undefined, {})).json.type).toBe(
      'urn:outrigger:problem:job-unknown',
    );
    expect((await post('/jobs/d/cancel', undefined, {}, 'confined')).status).toBe(404);
    expect((await post('/jobs/w/cancel', undefined, {}, 'viewer')).status).toBe(403);
  });

  it('answer 503 with Retry-After while the store is away', async () => {
    rig.jobs.away = true;
    try {
      for (const path of ['/jobs', '/jobs/w', '/queue']) {
        const { status, json, headers } = await get(path);
        expect([status, json.type, headers['retry-after']]).toEqual([
          503,
          'urn:outrigger:problem:store-away',
          '5',
        ]);
      }
      expect((await get('/hosts')).status).toBe(200);
    } finally {
      rig.jobs.away = false;
    }
  });

  it('stand in a queue that tells how it is', async () => {
    const { json } = await get('/queue');
    inShape(shapes.QueueState, json);
    expect(json).toMatchObject({ name: 'outrigger-vm-jobs', workers: 1, oldestWaitingSeconds: 1.5 });
  });
});

describe('the audit log', () => {
  it('is read from its newest entry backwards, by operators and admins', async () => {
    await mkdir(rig.auditDir, { recursive: true });
    const audit = await AuditLog.open({ dir: rig.auditDir, clock: rig.clock, rotateBytes: 2_000 });
    for (let n = 0; n < 12; n++) {
      await audit.append({
        ...{ kind: 'begin', requestId: `r${n}`, op: n % 2 ? 'stop' : 'start', act: 'a', requestedBy: 'anna' },
        ...{
          host: n === 7 ? 'kvm-02' : 'kvm-01',
          vm: { name: 'web-1', uuid: 'u' },
          before: { password: 'x' },
        },
      });
    }
    await audit.close();
    const seen: number[] = [];
    let cursor = '';
    do {
      const { json } = await get(`/audit?limit=5${cursor}`, 'operator');
      inShape(shapes.pageOf(shapes.AuditEntry, 'x'), json);
      seen.push(...json.items.map(({ seq }: { seq: number }) => seq));
      cursor = json.next ? `&cursor=${json.next}` : '';
    } while (cursor);
    expect(seen).toEqual([12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    const stops = await get('/audit?op=stop&host=kvm-02', 'admin');
    expect(stops.json.items).toMatchObject([{ requestId: 'r7', before: { password: '[secret]' } }]);
    expect((await get('/audit', 'confined')).json.items).toHaveLength(11);
    expect((await get('/audit', 'viewer')).status).toBe(403);
  });
});

describe('a request that is not understood', () => {
  it.each<[string, Record<string, unknown>, number, string]>([
    ['an unknown parameter', { url: '/api/v1/hosts?sate=down' }, 400, 'validation'],
    ['a limit of nothing', { url: '/api/v1/hosts?limit=0' }, 400, 'validation'],
    ['a limit twice', { url: '/api/v1/hosts?limit=1&limit=2' }, 400, 'validation'],
    ['a cursor of another list', { url: '/api/v1/hosts?cursor=WzEsMl0' }, 400, 'validation'],
    ['a cursor of nothing', { url: '/api/v1/vms?cursor=%00' }, 400, 'validation'],
    ['a path that is not there', { url: '/api/v1/nothing' }, 404, 'not-found'],
    ['a URL that cannot be decoded', { url: '/api/v1/hosts/%zz' }, 400, 'bad-request'],
    [
      'a method that is not taken',
      { method: 'DELETE', url: '/api/v1/hosts/kvm-01' },
      405,
      'method-not-allowed',
    ],
    ['JSON that is none', { method: 'POST', url: '/api/v1/jobs', payload: '{' }, 400, 'bad-request'],
    [
      'a poisoned prototype',
      { method: 'POST', url: '/api/v1/jobs', payload: '{"__proto__":{}}' },
      400,
      'bad-request',
    ],
    [
      'text',
      { method: 'POST', url: '/api/v1/jobs', payload: 'x', type: 'text/plain' },
      415,
      'unsupported-media-type',
    ],
    [
      'a form',
      { method: 'POST', url: '/api/v1/jobs', payload: 'a=b', type: 'application/x-www-form-urlencoded' },
      415,
      'unsupported-media-type',
    ],
    [
      'too much',
      { method: 'POST', url: '/api/v1/jobs', payload: `"${'x'.repeat(70_000)}"` },
      413,
      'too-large',
    ],
  ])('%s', async (_what, { type = 'application/json', payload, ...request }, status, problem) => {
    const answer = await rig.app.inject({
      ...request,
      ...(payload !== undefined && { payload: String(payload) }),
      headers: {
        ...bearer('operator'),
        ...newKey(),
        ...(payload !== undefined && { 'content-type': String(type) }),
      },
    });
    expect([answer.statusCode, answer.json().type]).toEqual([status, `urn:outrigger:problem:${problem}`]);
    inShape(shapes.Problem, answer.json());
    expect(answer.headers['content-type']).toContain('application/problem+json');
  });

  it('tells which methods there are', async () => {
    const answer = await rig.app.inject({ method: 'PUT', url: '/api/v1/jobs', headers: bearer('admin') });
    expect(answer.headers.allow).toBe('GET, HEAD, POST');
  });

  it('by nobody is 401, with what to send', async () => {
    const answer = await rig.app.inject({ url: '/api/v1/hosts' });
    expect([answer.statusCode, answer.headers['www-authenticate']]).toEqual([
      401,
      'Bearer realm="outrigger"',
    ]);
  });
});
