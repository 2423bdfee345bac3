// Every route that there is, with everybody who may come, held against the table in docs/roles.md: what a role may is written there
// once, and a route that nobody thought about fails here.
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Need, needs, type Role, roleMay, roleMayOp, roles } from '../../../../src/http/auth/roles.js';
import { operationNames } from '../../../../src/ops/job.js';
import { type Door, openDoor } from '../../../support/callers.js';
import { wholeGroups } from '../../../support/whole.js';

type Route = { method: string; url: string; need: Need };

let door: Door;
let open: Door;
let routes: Route[];
let document: string;
let keys: Server;
let signed: (role: Role, confined: boolean) => Promise<string>;

beforeAll(async () => {
  document = await readFile('docs/roles.md', 'utf8');
  const pair = await generateKeyPair('ES256');
  const jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k', alg: 'ES256' }] };
  keys = createServer((_request, response) => response.end(JSON.stringify(jwks)));
  await new Promise<void>((resolve) => keys.listen(0, '127.0.0.1', resolve));
  const jwksUrl = `http://127.0.0.1:${(keys.address() as AddressInfo).port}/`;
  signed = (role, confined) =>
    new SignJWT({ role, hosts: [confined ? 'kvm-01' : '*'] })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .setIssuer('idp')
      .setAudience('outrigger')
      .setSubject(`${role} ${confined}`)
      .setExpirationTime('5m')
      .sign(pair.privateKey);
  door = await openDoor({
    groups: wholeGroups(),
    settings: { jwksUrl, jwtIssuer: 'idp', jwtAudience: 'outrigger', jwtHostsClaim: 'hosts' },
  });
  open = await openDoor({ groups: wholeGroups(), tokens: false });
  routes = door.access.routes
    .flatMap(({ method, url, config }) =>
      [method].flat().map((one) => ({ method: one, url, need: config?.need ?? ('none' as const) })),
    )
    .filter(({ method, url }) => method !== 'HEAD' && url !== '/-/csrf');
});
afterAll(async () => {
  await door?.[Symbol.asyncDispose]();
  await open?.[Symbol.asyncDispose]();
  keys?.close();
});

/** The route's group as the document names it: one line for what shares a folder and a need. */
function lineOf({ method, url, need }: Route): string {
  const shown = url.startsWith('/queues')
    ? '/queues …'
    : url.startsWith('/assets/')
      ? '/assets/…'
      : url.startsWith('/api/docs')
        ? '/api/docs …'
        : url.replace(/:(\w+)/g, '{$1}').replace(/(.)\/$/, '$1');
  return `| ${method === 'GET' ? 'GET' : url.startsWith('/queues') ? 'PUT, POST, PATCH' : method} | \`${shown}\` | ${need} |`;
}

describe('docs/roles.md', () => {
  it('has a line for every route, and none for another', () => {
    const made = [...new Set(routes.map(lineOf))].sort();
    const told = document.split('\n').filter((line) => /^\| (GET|PUT|POST|DELETE|PATCH)/.test(line));
    expect([...told].sort()).toEqual(made);
  });

  it('says which role has which need and which operation', () => {
    const mark = (may: boolean) => (may ? 'yes' : '–');
    const table = [
      ...needs.map(
        (need) => `| needs \`${need}\` | ${roles.map((role) => mark(roleMay(role, need))).join(' | ')} |`,
      ),
      ...operationNames.map(
        (op) => `| \`${op}\` | ${roles.map((role) => mark(roleMayOp(role, op))).join(' | ')} |`,
      ),
    ];
    for (const line of table) expect(document).toContain(`${line}\n`);
  });
});

describe('role × route', () => {
  type Came = { headers?: Record<string, string>; remoteAddress?: string };
  const parameters = (url: string) => url.replace(/:\w+/g, 'kvm-99').replace('*', 'x');
  const ask = async (at: Door, { method, url }: Route, came: Came) => {
    const answer = await at.app.inject({
      ...{ method: method as 'GET', url: parameters(url), payloadAsStream: true, ...came },
    });
    const { statusCode, headers } = answer;
    // A stream of events has no end: its beginning is enough.
    const isEndless = String(headers['content-type']).startsWith('text/event-stream');
    const body = isEndless ? '' : Buffer.concat(await answer.stream().toArray()).toString();
    answer.stream().destroy();
    return { statusCode, headers, body, type: problemOf(body) };
  };
  const problemOf = (body: string): string => /"type":"urn:outrigger:problem:([\w-]+)"/.exec(body)?.[1] ?? '';
  /** The guard let it through: what came then is the route's own. */
  const guards = new Set(['unauthenticated', 'cross-site', 'writes-disabled']);
  const isRedirect = ({ headers }: { headers: Record<string, unknown> }) =>
    String(headers.location ?? '').startsWith('/login?next=');

  it('there are routes of each need, and what is asked of HEAD is asked of GET', () => {
    expect(routes.length).toBeGreaterThan(60);
    const needsOf = (wanted: string) =>
      door.access.routes
        .filter(({ method }) => [method].flat().includes(wanted))
        .map(({ url, config }) => `${url.replace(/(.)\/$/, '$1')} ${config?.need}`);
    const gets = new Set(needsOf('GET'));
    expect(needsOf('HEAD').filter((line) => !gets.has(line))).toEqual([]);
    for (const need of needs) expect(routes.filter((route) => route.need === need).length).toBeGreaterThan(0);
  });

  const callers = (['token', 'jwt', 'session'] as const).flatMap((via) =>
    roles.flatMap((role) => [false, true].map((confined) => ({ via, role, confined }))),
  );
  /** What a browser adds to a write of our own page is there too: without it, below. */
  const credentials = async ({ via, role, confined }: (typeof callers)[number]) => {
    if (via === 'jwt') return { authorization: `Bearer ${await signed(role, confined)}` };
    const token = door.token(role, confined);
    if (via === 'token') return { authorization: `Bearer ${token}` };
    const { cookie, csrf } = await door.signIn(token);
    return { cookie, 'x-csrf-token': csrf, 'sec-fetch-site': 'same-origin' };
  };
  /** Signing out ends the session that the others need; signing in with nothing keeps the address off. */
  const walked = (via: string) =>
    routes.filter(({ url }) => url !== '/login' && (via !== 'session' || url !== '/logout'));

  it.each(callers)('$role, confined: $confined, by $via', async (caller) => {
    const { via, role, confined } = caller;
    const headers = await credentials(caller);
    for (const route of walked(via)) {
      const { type, statusCode } = await ask(door, route, { headers });
      const may = roleMay(role, route.need) && !(confined && route.url.startsWith('/queues'));
      expect([route.method, route.url, type === 'forbidden']).toEqual([route.method, route.url, !may]);
      expect([route.url, guards.has(type) || statusCode === 500]).toEqual([route.url, false]);
    }
  });

  it.each(callers.filter(({ via }) => via === 'session'))(
    '$role, confined: $confined, by a cookie alone: no write',
    async (caller) => {
      const { role, confined } = caller;
      const { cookie = '' } = await credentials(caller);
      for (const route of walked('session')) {
        const { type } = await ask(door, route, { headers: { cookie } });
        const queues = route.url.startsWith('/queues');
        const may = roleMay(role, route.need) && !(confined && queues);
        // The queue page says first that it has no store here.
        const write =
          route.method === 'GET' || route.need === 'none' ? undefined : queues ? 'store-away' : 'cross-site';
        const wanted = may ? write : 'forbidden';
        if (wanted) expect([route.method, route.url, type]).toEqual([route.method, route.url, wanted]);
        else expect([route.url, guards.has(type) || type === 'forbidden']).toEqual([route.url, false]);
      }
    },
  );

  it.each(['192.0.2.1', '127.0.0.1'])(
    'nobody, from %s, where tokens are configured',
    async (remoteAddress) => {
      for (const route of routes) {
        const answer = await ask(door, route, { remoteAddress });
        const refused = answer.statusCode === 401 || isRedirect(answer);
        // A login without a token is no way in either, and says so.
        const wanted = route.need !== 'none' || (route.url === '/login' && route.method === 'POST');
        expect([route.method, route.url, refused]).toEqual([route.method, route.url, wanted]);
      }
    },
  );

  it('this machine, where nothing is configured: reads, and every write says what to set', async () => {
    for (const route of routes.filter(({ need }) => need !== 'none')) {
      const { type, body } = await ask(open, route, { remoteAddress: '127.0.0.1' });
      const may = route.need === 'read' && route.method === 'GET';
      expect([route.method, route.url, type === 'writes-disabled']).toEqual([route.method, route.url, !may]);
      if (!may) expect(body).toContain('AGENT_API_TOKENS_FILE');
    }
  });

  it('another machine, where nothing is configured: nothing', async () => {
    for (const route of routes.filter(({ need }) => need !== 'none')) {
      const answer = await ask(open, route, { remoteAddress: '192.0.2.1' });
      expect([route.url, answer.statusCode === 401 || isRedirect(answer)]).toEqual([route.url, true]);
    }
  });

  it('every answer has the headers that keep a browser from harm', async () => {
    const headers = { authorization: `Bearer ${door.token('admin')}` };
    for (const route of routes) {
      const answer = await ask(door, route, { headers });
      expect([route.url, answer.headers['content-security-policy']]).toEqual([
        route.url,
        expect.stringMatching(/default-src 'none'; script-src 'self'; .*frame-ancestors 'none'/),
      ]);
      expect(answer.headers['x-content-type-options']).toBe('nosniff');
      expect(answer.headers['x-frame-options']).toBe('DENY');
      expect(answer.headers['cache-control'], route.url).toBeDefined();
    }
  });
});
