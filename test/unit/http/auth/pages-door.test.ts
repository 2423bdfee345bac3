import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bearer, type Door, form, formType, openDoor, probes } from '../../../support/callers.js';

let door: Door;
beforeAll(async () => {
  door = await openDoor({ groups: [probes] });
});
afterAll(() => door[Symbol.asyncDispose]());

describe('a write with the cookie', () => {
  const post = async (headers: Record<string, string>, payload = '', url = '/probe/operate') =>
    (await door.app.inject({ method: 'POST', url, headers: { host: 'localhost:9177', ...headers }, payload }))
      .statusCode;

  it('carries the token of its own session, in a field or a header', async () => {
    const [mine, other] = [
      await door.signIn(door.token('operator')),
      await door.signIn(door.token('operator')),
    ];
    const { cookie } = mine;
    expect(await post({ cookie, ...formType }, form({ _csrf: mine.csrf }))).toBe(200);
    expect(
      await post({ cookie, 'content-type': 'application/json' }, JSON.stringify({ _csrf: mine.csrf })),
    ).toBe(200);
    expect(await post({ cookie, 'x-csrf-token': mine.csrf })).toBe(200);
    for (const wrong of [other.csrf, '', 'x', `${mine.csrf}x`]) {
      expect(await post({ cookie, ...formType }, form({ _csrf: wrong }))).toBe(403);
      expect(await post({ cookie, 'x-csrf-token': wrong })).toBe(403);
    }
    expect(await post({ cookie, ...formType }, `_csrf=${mine.csrf}&_csrf=${mine.csrf}`)).toBe(403);
    expect(
      await post({ cookie, 'content-type': 'application/json' }, '{"__proto__":{"_csrf":"x"}}'),
    ).toBeGreaterThanOrEqual(400);
  });

  it.each<[string, Record<string, string>]>([
    ['another site', { 'sec-fetch-site': 'cross-site' }],
    ['a sister site', { 'sec-fetch-site': 'same-site' }],
    ['another origin', { origin: 'https://evil.example' }],
    ['an origin that is hidden', { origin: 'null' }],
    ['another port', { origin: 'http://localhost:1' }],
  ])('is refused when the browser says that %s sent it, whatever it carries', async (_who, headers) => {
    const { cookie, csrf } = await door.signIn(door.token('operator'));
    expect(await post({ cookie, 'x-csrf-token': csrf, ...headers })).toBe(403);
    expect(await post({ cookie, ...headers }, '', '/probe/origin')).toBe(403);
  });

  it('on the queue page, which has no form token of ours, wants the browser’s word', async () => {
    const { cookie } = await door.signIn(door.token('operator'));
    expect(await post({ cookie }, '', '/probe/origin')).toBe(403);
    expect(await post({ cookie, 'sec-fetch-site': 'none' }, '', '/probe/origin')).toBe(403);
    expect(await post({ cookie, 'sec-fetch-site': 'same-origin' }, '', '/probe/origin')).toBe(200);
    expect(await post({ cookie, origin: 'http://localhost:9177' }, '', '/probe/origin')).toBe(200);
  });

  it('does not leave the token in the form for others to read', async () => {
    const { cookie, csrf } = await door.signIn(door.token('operator'));
    const answer = await door.app.inject({
      method: 'POST',
      url: '/probe/hosts/kvm-01',
      headers: { cookie, ...formType },
      payload: form({ _csrf: csrf, op: 'stop' }),
    });
    expect(answer.json()).toEqual({ body: { op: 'stop' } });
  });
});

describe('signing in', () => {
  const login = (fields: Record<string, string>, more: object = {}, headers = {}) =>
    door.app.inject({
      method: 'POST',
      url: '/login',
      payload: form(fields),
      headers: { ...formType, ...headers },
      ...more,
    });

  it('gives a cookie that scripts cannot read and other sites cannot use, and leads on', async () => {
    const answer = await login(
      { token: `  ${door.token('viewer')}\n`, next: '/hosts/kvm-01' },
      { remoteAddress: '198.51.100.1' },
    );
    expect([answer.statusCode, answer.headers.location]).toEqual([303, '/hosts/kvm-01']);
    expect(answer.headers['set-cookie']).toMatch(
      /^outrigger_session=[\w-]{43}; Max-Age=86400; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    expect(door.entries.at(-1)).toMatchObject({
      kind: 'access',
      op: 'login',
      requestedBy: 'viewer',
      outcome: 'signed in',
    });
  });

  it('leads nowhere else', async () => {
    const answer = await login({ token: door.token('viewer'), next: '//evil.example' });
    expect(answer.headers.location).toBe('/');
  });

  it('ends with signing out, and with the token', async () => {
    const { cookie, csrf } = await door.signIn(door.token('viewer'));
    const read = async () => (await door.app.inject({ url: '/probe/read', headers: { cookie } })).statusCode;
    expect(await read()).toBe(200);
    expect((await door.app.inject({ method: 'POST', url: '/logout', headers: { cookie } })).statusCode).toBe(
      403,
    );
    const out = await door.app.inject({
      method: 'POST',
      url: '/logout',
      headers: { cookie, ...formType },
      payload: form({ _csrf: csrf }),
    });
    expect([out.statusCode, out.headers.location]).toEqual([303, '/login']);
    expect(out.headers['set-cookie']).toContain('outrigger_session=;');
    expect(await read()).toBe(401);
  });

  it('is kept off after 10 wrong tokens, for that address alone, and a form of another site is refused', async () => {
    const from = (remoteAddress: string, token = 'wrong', headers = {}) =>
      login({ token }, { remoteAddress }, headers);
    for (let n = 0; n < 10; n++) expect((await from('198.51.100.7')).statusCode).toBe(401);
    const kept = await from('198.51.100.7', door.token('admin'));
    expect(kept.statusCode).toBe(429);
    expect(Number(kept.headers['retry-after'])).toBeGreaterThan(200);
    expect(kept.headers['set-cookie']).toBeUndefined();
    expect((await from('198.51.100.8', door.token('admin'))).statusCode).toBe(303);
    expect(
      (await from('198.51.100.9', door.token('admin'), { 'sec-fetch-site': 'cross-site' })).statusCode,
    ).toBe(403);
  });

  it('shows what was typed nowhere, and what it was asked for only escaped', async () => {
    const answer = await login({ token: 'canary-7531', next: '/"><script>x' });
    expect(answer.statusCode).toBe(401);
    expect(answer.body).not.toContain('canary-7531');
    expect(answer.body).not.toContain('<script>x');
    const page = await door.app.inject({ url: `/login?next=${encodeURIComponent('/"><script>x')}` });
    expect(page.body).not.toContain('<script>x');
  });
});

it('a token that is taken out of the file ends its sessions at once', async () => {
  await using own = await openDoor({ groups: [probes] });
  const { cookie } = await own.signIn(own.token('admin'));
  const read = async () => (await own.app.inject({ url: '/probe/read', headers: { cookie } })).statusCode;
  expect(await read()).toBe(200);
  await writeFile(own.file, 'version: 1\ntokens: []\n');
  await own.access.reload();
  expect(await read()).toBe(401);
  expect((await own.app.inject({ url: '/probe/read', ...bearer(own.token('admin')) })).statusCode).toBe(401);
  await writeFile(own.file, 'version: 1\n');
  await own.access.reload();
  expect(own.access.detail).toMatch(
    /^0 API tokens; the file now has a problem and is not taken: .*tokens\.yaml:1:1/,
  );
});

describe('behind a proxy', () => {
  it('the cookie is Secure, and addresses are the callers’, when the proxy is trusted, and only then', async () => {
    for (const [trustedProxies, secure, address] of [
      [['10.0.0.0/8'], true, '203.0.113.9'],
      [undefined, false, '10.1.2.3'],
    ] as const) {
      await using own = await openDoor({ ...(trustedProxies && { trustedProxies }) });
      const answer = await own.app.inject({
        method: 'POST',
        url: '/login',
        payload: form({ token: own.token('viewer') }),
        headers: { ...formType, 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' },
        remoteAddress: '10.1.2.3',
      });
      expect(String(answer.headers['set-cookie']).includes('; Secure')).toBe(secure);
      expect(own.entries[0]?.reason).toBe(`by token from ${address}`);
    }
  });
});

describe('headers', () => {
  it('keep pages out of frames, scripts to our own files, and answers out of caches', async () => {
    for (const url of ['/login', '/probe/read', '/nothing', '/probe/none']) {
      const { headers } = await door.app.inject({ url });
      expect(headers['content-security-policy']).toBe(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
          "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
      );
      expect(headers).toMatchObject({
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'same-origin',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
        'cache-control': 'no-store',
      });
      expect(headers['strict-transport-security']).toBeUndefined();
      expect(headers['access-control-allow-origin']).toBeUndefined();
      expect(headers['x-powered-by']).toBeUndefined();
    }
  });

  it('lead nowhere else, whatever name or proxy is claimed, and claim nothing themselves', async () => {
    const evil = 'evil.example';
    const claims = {
      host: evil,
      'x-forwarded-host': evil,
      'x-forwarded-proto': `https\u000bX-Evil: 1`,
      'x-forwarded-for': evil,
      forwarded: `host=${evil}`,
      'x-original-url': `//${evil}/`,
      origin: `http://${evil}`,
    };
    for (const trustedProxies of [undefined, ['127.0.0.1']]) {
      await using own = await openDoor({ groups: [probes], ...(trustedProxies && { trustedProxies }) });
      for (const url of ['/probe/page', '/login', '/nothing', '/probe/none']) {
        const { headers, body } = await own.app.inject({ url, headers: claims });
        expect(JSON.stringify(headers) + body).not.toMatch(/evil/i);
      }
    }
  });

  it('cannot be added to by what is asked for', async () => {
    for (const url of [
      '/probe/page?a=%0d%0aSet-Cookie:%20a=b',
      '/probe/page?a=\u0000',
      '/login?next=/%0d%0aX-Evil:%201',
    ]) {
      const answer = await door.app.inject({ url });
      expect(answer.headers['x-evil']).toBeUndefined();
      expect(answer.headers['set-cookie']).toBeUndefined();
      expect(String(answer.headers.location ?? '')).not.toMatch(/[\r\n]/);
    }
    const login = await door.app.inject({
      method: 'POST',
      url: '/login',
      headers: formType,
      payload: form({ token: door.token('viewer'), next: '/x\r\nX-Evil: 1' }),
    });
    expect([login.headers.location, login.headers['x-evil']]).toEqual(['/', undefined]);
  });
});
