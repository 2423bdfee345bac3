import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type JwtOptions, JwtVerifier } from '../../../../src/http/auth/jwt.js';
import { bearer, form, formType, openDoor, probes } from '../../../support/callers.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { keptLog } from '../../../support/queue.js';

const issuer = 'https://idp.example.net/';
const audience = 'outrigger';
/** Undefined takes the claim out. */
type Claims = Record<string, unknown>;
type Pair = Awaited<ReturnType<typeof generateKeyPair>>;
let ours: Pair;
let others: Pair;
let rsa: Pair;
beforeAll(async () => {
  [ours, others, rsa] = await Promise.all([
    generateKeyPair('ES256'),
    generateKeyPair('ES256'),
    generateKeyPair('RS256'),
  ]);
});

/** A provider's key server that can be away, odd, or turn its keys. */
class KeyServer {
  readonly #server: Server;
  asked = 0;
  answer: { status: number; body: string } = { status: 200, body: '' };

  constructor() {
    this.#server = createServer((_request, response) => {
      this.asked++;
      response.writeHead(this.answer.status, { 'content-type': 'application/json' }).end(this.answer.body);
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/jwks`;
  }

  async publish(...keys: [Pair, string, string][]): Promise<void> {
    const jwks = await Promise.all(
      keys.map(async ([pair, kid, alg]) => ({ ...(await exportJWK(pair.publicKey)), kid, alg })),
    );
    this.answer = { status: 200, body: JSON.stringify({ keys: jwks }) };
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

let keys: KeyServer;
let jwksUrl: string;
let clock: FakeClock;
beforeEach(async () => {
  keys = new KeyServer();
  jwksUrl = await keys.listen();
  await keys.publish([ours, 'k1', 'ES256'], [rsa, 'k2', 'RS256']);
  clock = new FakeClock(Date.now());
});
afterEach(() => keys.close());

const verifier = (more: Partial<JwtOptions> = {}) =>
  new JwtVerifier({ jwksUrl, issuer, audience, roleClaim: 'role', clock, ...more });

async function sign(
  payload: Claims = {},
  {
    pair = ours,
    kid = 'k1',
    alg = 'ES256',
    lifeSeconds = 300,
  }: { pair?: Pair; kid?: string; alg?: string; lifeSeconds?: number } = {},
): Promise<string> {
  const nowSeconds = Math.floor(clock.wallMs() / 1_000);
  return new SignJWT({
    iss: issuer,
    aud: audience,
    sub: 'alice',
    role: 'operator',
    iat: nowSeconds,
    exp: nowSeconds + lifeSeconds,
    ...payload,
  })
    .setProtectedHeader({ alg, kid })
    .sign(pair.privateKey);
}

describe('a JWT', () => {
  it('of the provider gives a name and a role, by either kind of key', async () => {
    for (const token of [await sign(), await sign({}, { pair: rsa, kid: 'k2', alg: 'RS256' })]) {
      const verdict = await verifier().verify(token);
      expect(verdict).toMatchObject({
        kind: 'good',
        principal: { name: 'alice', role: 'operator', via: 'jwt', confined: false },
      });
    }
  });

  it.each<[string, () => Promise<string> | string, string]>([
    ['of another issuer', () => sign({ iss: 'https://evil.example/' }), 'its claim iss is not accepted here'],
    ['for another audience', () => sign({ aud: 'other' }), 'its claim aud is not accepted here'],
    ['without an audience', () => sign({ aud: undefined }), 'its claim aud is not accepted here'],
    ['without an end', () => sign({ exp: undefined }), 'its claim exp is not accepted here'],
    ['without a name', () => sign({ sub: undefined }), 'its claim sub is not accepted here'],
    ['with a name that cannot be seen', () => sign({ sub: '\u200b\u202e' }), 'its sub claim is empty'],
    ['that has expired', () => sign({}, { lifeSeconds: -31 }), 'the token has expired'],
    [
      'that is not good yet',
      () => sign({ nbf: Math.floor(clock.wallMs() / 1_000) + 31 }),
      'its claim nbf is not accepted here',
    ],
    ['signed by somebody else', () => sign({}, { pair: others }), 'its signature cannot be verified'],
    [
      'with a key that is not published',
      () => sign({}, { pair: others, kid: 'k9' }),
      'its signature cannot be verified',
    ],
    [
      'that is not signed',
      () =>
        new UnsecuredJWT({ role: 'admin' })
          .setIssuer(issuer)
          .setAudience(audience)
          .setSubject('a')
          .setExpirationTime('5m')
          .encode(),
      'its algorithm is not accepted here',
    ],
    [
      'signed with the public key as if it were a password',
      async () => {
        const secret = new TextEncoder().encode(JSON.stringify(await exportJWK(ours.publicKey)));
        return new SignJWT({ role: 'admin', sub: 'a' })
          .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
          .setIssuer(issuer)
          .setAudience(audience)
          .setExpirationTime('5m')
          .sign(secret);
      },
      'its algorithm is not accepted here',
    ],
    ['that is garbage', () => 'eyJ9.e30.x', 'its signature cannot be verified'],
    ['that is too long', () => `a.b.${'c'.repeat(9_000)}`, 'the token is too long'],
  ])('%s is refused, and nothing of it is repeated', async (_what, make, why) => {
    const token = await make();
    expect(await verifier().verify(token)).toEqual({ kind: 'bad', why });
  });

  it('forgives 30 seconds between the clocks', async () => {
    expect((await verifier().verify(await sign({}, { lifeSeconds: -29 }))).kind).toBe('good');
  });

  it.each<[string, Partial<JwtOptions>, Claims, string | undefined]>([
    ['the role itself', {}, { role: 'admin' }, 'admin'],
    ['the highest of several', {}, { role: ['viewer', 'operator', 'staff'] }, 'operator'],
    [
      'a claim inside another',
      { roleClaim: 'realm_access.roles' },
      { realm_access: { roles: ['viewer'] } },
      'viewer',
    ],
    [
      'a claim with dots in its name',
      { roleClaim: 'https://x.example/roles' },
      { 'https://x.example/roles': 'viewer' },
      'viewer',
    ],
    [
      'a mapped one',
      { roleClaim: 'groups', roleMap: new Map([['kvm-oncall', 'operator']]) },
      { groups: ['all', 'kvm-oncall'] },
      'operator',
    ],
    [
      'nothing that is not mapped',
      { roleMap: new Map([['kvm-oncall', 'operator']]) },
      { role: 'admin' },
      undefined,
    ],
    ['nothing of a prototype', { roleClaim: 'constructor.name' }, {}, undefined],
    ['nothing of another form', {}, { role: { admin: true } }, undefined],
    ['nothing of nothing', {}, { role: undefined }, undefined],
  ])('gives %s', async (_what, options, payload, role) => {
    const verdict = await verifier(options).verify(await sign({ role: undefined, ...payload }));
    if (role) expect(verdict).toMatchObject({ kind: 'good', principal: { role } });
    else expect(verdict).toMatchObject({ kind: 'no-role', name: 'alice' });
  });

  it('is confined by its claim of hosts, and to none where the claim is missing', async () => {
    const sees = async (payload: Claims) => {
      const verdict = await verifier({ hostsClaim: 'kvm_hosts' }).verify(await sign(payload));
      if (verdict.kind !== 'good') return expect.fail(verdict.kind);
      return ['kvm-01', 'web-01'].filter((name) => verdict.principal.mayHost({ name, labels: {} }));
    };
    expect(await sees({ kvm_hosts: ['kvm-*'] })).toEqual(['kvm-01']);
    expect(await sees({ kvm_hosts: 'web-01' })).toEqual(['web-01']);
    expect(await sees({ kvm_hosts: '*' })).toEqual(['kvm-01', 'web-01']);
    expect(await sees({})).toEqual([]);
    expect(await sees({ kvm_hosts: 7 })).toEqual([]);
  });
});

describe('the key server', () => {
  it.each<[string, { status: number; body: string }]>([
    ['answers with an error', { status: 500, body: '' }],
    ['leads elsewhere', { status: 302, body: '' }],
    ['answers with no JSON', { status: 200, body: '<html>' }],
    ['answers with no keys', { status: 200, body: '{"keys":1}' }],
    ['answers with too much', { status: 200, body: `{"keys":[],"x":"${'a'.repeat(300_000)}"}` }],
  ])('%s: that says nothing about the token', async (_what, answer) => {
    keys.answer = answer;
    const own = verifier();
    expect(await own.verify(await sign())).toEqual({ kind: 'away' });
    // It is not asked again for each request.
    const { asked } = keys;
    for (let n = 0; n < 20; n++) expect(await own.verify(await sign())).toEqual({ kind: 'away' });
    expect(keys.asked).toBe(asked);
    await keys.publish([ours, 'k1', 'ES256']);
    await clock.advance(5_001);
    expect((await own.verify(await sign())).kind).toBe('good');
  });

  it('is away: its last keys are good for a day, others cannot be judged, and the log says so once', async () => {
    const { log, said } = keptLog();
    const own = verifier({ log });
    expect((await own.verify(await sign())).kind).toBe('good');
    keys.close();
    // What jose keeps is measured by the real clock: a key that it does not have makes it ask.
    const realNow = Date.now;
    try {
      Date.now = () => realNow() + 11 * 60_000;
      expect((await own.verify(await sign())).kind).toBe('good');
      expect(await own.verify(await sign({}, { pair: others, kid: 'new' }))).toEqual({ kind: 'away' });
      await clock.advance(23 * 3_600_000);
      expect((await own.verify(await sign())).kind).toBe('good');
      await clock.advance(2 * 3_600_000);
      expect(await own.verify(await sign())).toEqual({ kind: 'away' });
    } finally {
      Date.now = realNow;
    }
    expect(said('the key server for JWTs is away')).toHaveLength(1);
  });
});

it('over HTTP: 503 while it cannot be asked, 401 for a bad one, 403 without a role, a session that ends with the token', async () => {
  const settings = { jwksUrl, jwtIssuer: issuer, jwtAudience: audience };
  await using door = await openDoor({ settings, tokens: false, groups: [probes] });
  const read = (token: string) => door.app.inject({ url: '/probe/read', ...bearer(token) });
  const body = keys.answer;
  keys.answer = { status: 500, body: '' };
  const away = await read(await sign());
  expect([away.statusCode, away.headers['retry-after'], away.json().type]).toEqual([
    503,
    '10',
    'urn:outrigger:problem:identity-provider-away',
  ]);
  keys.answer = body;
  await using fresh = await openDoor({ settings, tokens: false, groups: [probes] });
  const status = async (token: string) =>
    (await fresh.app.inject({ url: '/probe/read', ...bearer(token) })).statusCode;
  expect(await status(await sign())).toBe(200);
  expect(await status(await sign({}, { pair: others }))).toBe(401);
  expect(await status(await sign({ role: 'nobody' }))).toBe(403);
  // Nothing is open to this machine once a key server is configured.
  expect((await fresh.app.inject({ url: '/probe/read', remoteAddress: '127.0.0.1' })).statusCode).toBe(401);

  const login = await fresh.app.inject({
    method: 'POST',
    url: '/login',
    headers: formType,
    payload: form({ token: await sign({}, { lifeSeconds: -28 }) }),
  });
  expect(login.statusCode).toBe(303);
  const cookie = String(login.headers['set-cookie']).split(';')[0] ?? '';
  const page = async () => (await fresh.app.inject({ url: '/probe/read', headers: { cookie } })).statusCode;
  expect(await page()).toBe(200);
  await expect.poll(page, { timeout: 5_000 }).toBe(401);
});
