import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, HTTPMethods } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AuditLog } from '../../../../src/audit/log.js';
import { systemClock } from '../../../../src/core/clock.js';
import type { Need } from '../../../../src/http/auth/roles.js';
import { roles } from '../../../../src/http/auth/roles.js';
import { bearer, type Door, form, formType, openDoor, probes } from '../../../support/callers.js';

const methods = ['GET', 'POST', 'DELETE'] as const;
const needs = ['none', 'read', 'operate', 'admin'] as const;
const may: Record<string, readonly Need[]> = {
  viewer: ['none', 'read'],
  operator: ['none', 'read', 'operate'],
  admin: ['none', 'read', 'operate', 'admin'],
};

let door: Door;
beforeAll(async () => {
  door = await openDoor({ groups: [probes] });
});
afterAll(() => door[Symbol.asyncDispose]());

describe('role × route × how one comes', () => {
  const table = roles.flatMap((role) =>
    [false, true].flatMap((confined) =>
      needs.flatMap((need) => methods.map((method) => ({ role, confined, need, method }))),
    ),
  );

  it.each(table)(
    '$role (confined: $confined), $method of need $need',
    async ({ role, confined, need, method }) => {
      const token = door.token(role, confined);
      const url = `/probe/${need}`;
      const expected = may[role]?.includes(need) ? 200 : 403;
      const by = async (headers: Record<string, string>, remoteAddress = '192.0.2.1') =>
        (await door.app.inject({ method, url, headers, remoteAddress })).statusCode;
      expect(await by({ authorization: `Bearer ${token}` })).toBe(expected);
      expect(await by({ authorization: `Bearer ${token}` }, '127.0.0.1')).toBe(expected);
      expect(await by({ authorization: `Bearer ${token}x` })).toBe(need === 'none' ? 200 : 401);
      const { cookie, csrf } = await door.signIn(token);
      expect(await by({ cookie, 'x-csrf-token': csrf })).toBe(expected);
      // Without the form's token a cookie may read and no more.
      const without = method === 'GET' || need === 'none' ? expected : 403;
      expect(await by({ cookie })).toBe(without);
    },
  );

  it.each(needs.flatMap((need) => methods.map((method) => ({ need, method }))))(
    'nobody, $method of need $need, from here and from elsewhere',
    async ({ need, method }) => {
      for (const remoteAddress of ['192.0.2.1', '127.0.0.1']) {
        const answer = await door.app.inject({ method, url: `/probe/${need}`, remoteAddress });
        expect(answer.statusCode).toBe(need === 'none' ? 200 : 401);
        if (need === 'none') continue;
        expect(answer.headers['www-authenticate']).toBe('Bearer realm="outrigger"');
        expect(answer.headers['content-type']).toContain('application/problem+json');
      }
    },
  );

  it('sends people to the login page, and only where there is a page', async () => {
    const page = await door.app.inject({ url: '/probe/page?a=b' });
    expect([page.statusCode, page.headers.location]).toEqual([303, '/login?next=%2Fprobe%2Fpage%3Fa%3Db']);
    expect((await door.app.inject({ url: '/probe/read' })).statusCode).toBe(401);
  });

  it.each([
    '',
    'Bearer',
    'Bearer ',
    'Basic YTpi',
    'Bearer a b',
    `Bearer ${'a'.repeat(9_000)}`,
    'Bearer é',
    'bearer\tx',
  ])('the header %j is no way in, also with a good cookie beside it', async (authorization) => {
    const { cookie } = await door.signIn(door.token('admin'));
    const answer = await door.app.inject({ url: '/probe/read', headers: { authorization, cookie } });
    expect(answer.statusCode).toBe(401);
  });
});

describe('a route that does not say what it needs', () => {
  it.each([
    ['at all', (app: FastifyInstance) => void app.get('/forgotten', async () => 'open')],
    [
      'in words that exist',
      (app: FastifyInstance) => void app.get('/x', { config: { need: 'any' as Need } }, async () => 'open'),
    ],
    [
      'in a plugin',
      async (app: FastifyInstance) =>
        void (await app.register(async (inner) => void inner.get('/deep', async () => 'open'))),
    ],
  ])('stops the start: %s', async (_how, group) => {
    await expect(openDoor({ groups: [group] })).rejects.toThrow(
      /routes that do not say what they need: (GET|HEAD) \//,
    );
  });
});

describe('without any token configured', () => {
  let open: Door;
  beforeAll(async () => {
    open = await openDoor({ tokens: false, groups: [probes] });
  });
  afterAll(() => open[Symbol.asyncDispose]());
  const local = { remoteAddress: '127.0.0.1', headers: { host: 'localhost:9177' } };

  it.each(['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1'])(
    'this machine (%s) may read',
    async (remoteAddress) => {
      for (const host of ['localhost:9177', '127.0.0.1', '[::1]:9177', 'LOCALHOST']) {
        const answer = await open.app.inject({ url: '/probe/read', remoteAddress, headers: { host } });
        expect([answer.statusCode, answer.body]).toEqual([200, '{"name":"local"}']);
      }
    },
  );

  it.each<[string, string, Record<string, string>]>([
    ['another machine', '192.0.2.1', {}],
    ['one that only looks like this', '127.0.0.1.evil', {}],
    ['a proxy on this machine', '127.0.0.1', { 'x-forwarded-for': '127.0.0.1' }],
    ['a proxy that says so in the new way', '127.0.0.1', { forwarded: 'for=127.0.0.1' }],
    ['a proxy that names itself', '::1', { via: '1.1 proxy' }],
    ['a page whose name leads here (DNS rebinding)', '127.0.0.1', { host: 'evil.example:9177' }],
    ['a name that begins like ours', '127.0.0.1', { host: 'localhost.evil.example' }],
    ['an address that is another’s', '127.0.0.1', { host: '10.0.0.1:9177' }],
  ])('%s may not, and is told what to set', async (_who, remoteAddress, headers) => {
    const answer = await open.app.inject({
      url: '/probe/read',
      remoteAddress,
      headers: { ...local.headers, ...headers },
    });
    expect(answer.statusCode).toBe(401);
    expect(answer.json().hint).toContain('AGENT_API_TOKENS_FILE');
  });

  it.each(needs.filter((need) => need !== 'none'))(
    'refuses every write (need %s), and says what to set',
    async (need) => {
      for (const method of ['POST', 'DELETE'] as const) {
        const answer = await open.app.inject({ ...local, method, url: `/probe/${need}` });
        expect(answer.json()).toMatchObject({
          type: 'urn:outrigger:problem:writes-disabled',
          status: 403,
          hint: expect.stringContaining('outrigger token create'),
        });
      }
    },
  );

  it('lets nobody sign in', async () => {
    const answer = await open.app.inject({
      ...local,
      method: 'POST',
      url: '/login',
      payload: form({ token: 'x' }),
      headers: { ...local.headers, ...formType },
    });
    expect(answer.statusCode).toBe(401);
    expect(answer.body).toContain('AGENT_API_TOKENS_FILE');
  });
});

describe('the audit log', () => {
  it('has every write before it is done, with who, from where and what about', async () => {
    await using own = await openDoor({ groups: [probes] });
    await own.app.inject({
      method: 'POST',
      url: '/probe/hosts/kvm-01',
      ...bearer(own.token('operator')),
      payload: { op: 'stop', vm: 'web-1', dryRun: true, password: 'canary-1', params: { x: 'canary-2' } },
      remoteAddress: '192.0.2.7',
    });
    expect(own.entries).toEqual([
      {
        kind: 'access',
        requestId: expect.stringMatching(/^http-/),
        op: 'POST /probe/hosts/:host',
        host: 'kvm-01',
        requestedBy: 'operator',
        reason: 'by token from 192.0.2.7',
        before: { host: 'kvm-01', op: 'stop', vm: 'web-1', dryRun: true },
        outcome: 'admitted',
      },
    ]);
  });

  it('keeps a line break in a name inside its entry', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'guard-audit-'));
    const log = await AuditLog.open({ dir, clock: systemClock });
    await using own = await openDoor({ groups: [probes], sink: log });
    const name = 'a\r\n{"seq":1}\u2028b';
    await own.app.inject({
      ...{ method: 'POST', url: `/probe/hosts/${encodeURIComponent(name)}` },
      ...{ ...bearer(own.token('operator')), payload: { vm: name } },
    });
    await log.close();
    const [line = '', end] = (await readFile(join(dir, 'audit-000001.jsonl'), 'utf8')).split('\n');
    expect([JSON.parse(line).before, end]).toEqual([{ host: name, vm: name }, '']);
    await rm(dir, { recursive: true, force: true });
  });

  it('has refusals with their reason, and no reads', async () => {
    await using own = await openDoor({ groups: [probes] });
    await own.app.inject({ url: '/probe/read', ...bearer(own.token('viewer')) });
    await own.app.inject({ url: '/probe/admin', ...bearer(own.token('viewer')) });
    await own.app.inject({ url: '/probe/admin', ...bearer('canary-8642') });
    expect(own.entries.map(({ requestedBy, outcome, error }) => [requestedBy, outcome, error])).toEqual([
      ['viewer', 'refused 403', 'this needs the role admin; viewer is viewer'],
      ['nobody', 'refused 401', 'the token is not known here'],
    ]);
    expect(JSON.stringify(own.entries)).not.toContain('canary');
  });

  it('cannot be written: then nothing is done', async () => {
    let done = 0;
    await using own = await openDoor({
      auditFails: true,
      groups: [
        (app) =>
          void app.post('/act', { config: { need: 'operate' } }, async () => {
            done++;
            return {};
          }),
      ],
    });
    const answer = await own.app.inject({ method: 'POST', url: '/act', ...bearer(own.token('admin')) });
    expect([answer.statusCode, done]).toEqual([503, 0]);
    expect(answer.json().detail).toBe('nothing was done: the audit log cannot be written');
  });
});

const traversals: readonly [HTTPMethods, string][] = [
  ['GET', '/probe/none/../admin'],
  ['GET', '/probe/none/%2e%2e/admin'],
  ['GET', '/probe/none/..%2fadmin'],
  ['GET', '/probe/none/..%5cadmin'],
  ['GET', '//probe/admin'],
  ['GET', '/probe/admin/'],
  ['GET', '/PROBE/ADMIN'],
  ['GET', '/probe/admin;x'],
  ['GET', '/probe/%61dmin'],
  ['HEAD', '/probe/admin'],
  ['OPTIONS', '/probe/admin'],
  ['GET', '/login/../../etc/passwd'],
  ['GET', '/probe/..%00/admin'],
];
it.each(traversals)('no spelling of a path gets past the guard: %s %s', async (method, url) => {
  for (const headers of [{}, { authorization: `Bearer ${door.token('viewer')}` }]) {
    const answer = await door.app.inject({ method: method as 'GET', url, headers });
    expect([400, 401, 403, 404, 405]).toContain(answer.statusCode);
  }
});
