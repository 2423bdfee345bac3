// Every route that there is, with everybody who may come, held against the table in docs/roles.md: what a role may is written there
// once, and a route that nobody thought about fails here.
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Need, needs, roleMay, roleMayOp, roles } from '../../../../src/http/auth/roles.js';
import { operationNames } from '../../../../src/ops/job.js';
import { type Door, openDoor } from '../../../support/callers.js';
import { wholeGroups } from '../../../support/whole.js';

type Route = { method: string; url: string; need: Need };

let door: Door;
let open: Door;
let routes: Route[];
let document: string;
beforeAll(async () => {
  document = await readFile('docs/roles.md', 'utf8');
  door = await openDoor({ groups: wholeGroups() });
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
    const answer = await at.app.inject({ method: method as 'GET', url: parameters(url), ...came });
    return { ...answer, type: String(answer.json === undefined ? '' : problemOf(answer.body)) };
  };
  const problemOf = (body: string): string => /"type":"urn:outrigger:problem:([\w-]+)"/.exec(body)?.[1] ?? '';
  /** The guard let it through: what came then is the route's own. */
  const guards = new Set(['unauthenticated', 'cross-site', 'writes-disabled']);
  const isRedirect = ({ headers }: { headers: Record<string, unknown> }) =>
    String(headers.location ?? '').startsWith('/login?next=');

  it('there are routes of each need', () => {
    expect(routes.length).toBeGreaterThan(60);
    for (const need of needs) expect(routes.filter((route) => route.need === need).length).toBeGreaterThan(0);
  });

  it.each(roles.flatMap((role) => [false, true].map((confined) => ({ role, confined }))))(
    '$role, confined: $confined, by bearer',
    async ({ role, confined }) => {
      const headers = { authorization: `Bearer ${door.token(role, confined)}` };
      for (const route of routes.filter(({ url }) => !url.endsWith('/stream'))) {
        const { type, statusCode } = await ask(door, route, { headers });
        const may = roleMay(role, route.need) && !(confined && route.url.startsWith('/queues'));
        expect([route.method, route.url, type === 'forbidden']).toEqual([route.method, route.url, !may]);
        expect([route.url, guards.has(type) || statusCode === 500]).toEqual([route.url, false]);
      }
    },
  );

  it.each(roles)('%s, by cookie: what the role may, and no write without the form’s token', async (role) => {
    const { cookie } = await door.signIn(door.token(role));
    for (const route of routes.filter(({ url }) => !url.endsWith('/stream') && url !== '/login')) {
      const { type } = await ask(door, route, { headers: { cookie } });
      const may = roleMay(role, route.need);
      const wanted = !may
        ? 'forbidden'
        : route.method === 'GET' || route.need === 'none'
          ? undefined
          : 'cross-site';
      // The queue page says first that it has no store here.
      if (wanted === 'cross-site' && route.url.startsWith('/queues')) expect(type).toBe('store-away');
      else if (wanted) expect([route.method, route.url, type]).toEqual([route.method, route.url, wanted]);
      else expect([route.url, guards.has(type) || type === 'forbidden']).toEqual([route.url, false]);
    }
  });

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
    for (const route of routes.filter(({ url, need }) => !url.endsWith('/stream') && need !== 'none')) {
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
    for (const route of routes.filter(({ url }) => !url.endsWith('/stream'))) {
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
