// Every route beside the API's, asked wrongly: signing in and out, the pages and their forms, the queue page over a real store,
// the API's own pages, metrics, service discovery and health. The routes are fastify's own list, so that a new one is asked too.
// Whatever comes in, an answer comes out, in time: no 5xx while the store is there, no stack, and a page or a problem for all
// that is not good. Seeded: a failure prints its seed and the smallest request that shows it.
import type { AddressInfo } from 'node:net';
import { Queue } from 'bullmq';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { silentLog } from '../../src/core/log.js';
import { Problem } from '../../src/http/api/schemas.js';
import { makePages } from '../../src/http/pages/make.js';
import { QueueBoard } from '../../src/http/queues.js';
import { urlAddress } from '../../src/queue/connection.js';
import { type ApiRig, apiRig, apiTokens, bearer } from '../support/api.js';
import { form, formType } from '../support/callers.js';
import { settle } from '../support/fake-clock.js';
import {
  type Answer,
  type Asked,
  authorization,
  body,
  headers,
  inUrl,
  methods,
  send,
  stackLike,
  text,
  wellFormed,
} from '../support/fuzz.js';
import { aHost } from '../support/host.js';
import { OutsideRedis } from '../support/queue.js';
import { until } from '../support/until.js';
import { running, systemSample } from '../unit/metrics/fixtures.js';

const seed = 20_261_121;
const runsPerRoute = 60;

type Route = { method: string; url: string };

let redis: OutsideRedis;
let board: QueueBoard;
let rig: ApiRig;
let port: number;
let routes: Route[];
let session: { cookie: string; csrf: string };

beforeAll(async () => {
  redis = await OutsideRedis.start();
  const connection = new Redis(redis.url, { maxRetriesPerRequest: null });
  const queue = new Queue('outrigger-polls', { connection });
  await queue.add('poll', { host: 'kvm-01' }, { jobId: 'odd', delay: 3_600_000 });
  connection.disconnect();
  board = new QueueBoard({ log: silentLog });
  board.connect(urlAddress(redis.url));
  const found: Route[] = [];
  rig = await apiRig([aHost({ name: 'kvm-01', labels: { dc: 'ams1' } }), aHost({ name: 'kvm-02' })], {
    requestsPerMinute: 1_000_000,
    onRoute: ({ method, url }) => found.push(...[method].flat().map((one) => ({ method: one, url }))),
    more: ({ access, deps, clock }) => {
      const collector = () => ({ store: { up: true, detail: '' }, inventory: { problems: [] } });
      const pages = makePages({ api: deps, collector, clock });
      return [
        (app) => access.addLogin(app, pages.login),
        (app) => pages.addRoutes(app),
        (app) => board.addRoutes(app),
      ];
    },
  });
  await settle();
  rig.samples.put('kvm-01', 'vms', { takenAtMs: 1, vms: [running('web-1'), running('web "2"\n')] });
  rig.samples.put('kvm-01', 'system', systemSample());
  rig.jobs.put({ id: 'odd', name: '\u0000', data: { host: 7, vm: {}, params: [1], requestId: null } });
  await rig.app.listen({ port: 0, host: '127.0.0.1' });
  port = (rig.app.server.address() as AddressInfo).port;
  await until('the queue page', async () => (await get('/queues/api/queues')).statusCode === 200);
  const login = await rig.app.inject({
    ...{ method: 'POST', url: '/login', payload: form({ token: apiTokens.admin }), headers: formType },
  });
  const cookie = String(login.headers['set-cookie']).split(';')[0] ?? '';
  const page = await rig.app.inject({ url: '/', headers: { cookie } });
  session = { cookie, csrf: /name="_csrf" value="([^"]+)"/.exec(page.body)?.[1] ?? expect.fail('no form') };
  // Metrics and health are registered before anything that could listen for routes.
  const early = [
    '/metrics',
    '/metrics/collector',
    '/metrics/hosts/:name',
    '/sd/prometheus',
    '/livez',
    '/readyz',
  ];
  routes = [...found, ...early.map((url) => ({ method: 'GET', url }))].filter(
    ({ method, url }) => method !== 'HEAD' && !url.startsWith('/api/v1'),
  );
});

afterAll(async () => {
  board?.close();
  await rig?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
});

const get = (url: string) => rig.app.inject({ url, headers: bearer('viewer') });

function isGood({ status, headers, body }: Answer, { method }: Asked, away: boolean): void {
  expect(body).not.toMatch(stackLike);
  if (status >= 500) expect([status, away]).toEqual([503, true]);
  if (status === 405) expect(headers.get('allow')).toMatch(/^[A-Z, ]+$/);
  expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  expect(headers.has('x-evil')).toBe(false);
  const location = headers.get('location');
  if (location !== undefined) expect(location).toMatch(/^\.?\/(?!\/)[\x21-\x7e]*$/);
  if (status < 400 || method === 'HEAD') return;
  const type = headers.get('content-type') ?? '';
  if (type.startsWith('text/html')) {
    expect(body).toContain('</html>');
    return;
  }
  expect(type).toBe('application/problem+json; charset=utf-8');
  if (status === 503 || status === 429) expect(headers.get('retry-after')).toMatch(/^\d+$/);
  // bull-board's page wants the reason in a field of its own, too.
  const { error: _, ...problem } = JSON.parse(body);
  expect(Problem.strict().parse(problem).status).toBe(status);
}

const field = fc.tuple(
  fc.oneof(fc.constantFrom('token', 'next', 'confirm', 'name', 'host', 'vm', 'key', '__proto__'), text),
  text,
);

function wrongly({ method, url }: Route): fc.Arbitrary<Asked> {
  const part = fc.oneof(
    fc.constantFrom('kvm-01', 'web-1', 'odd', 'stop', 'outrigger-polls', 'failed'),
    inUrl,
  );
  const name = fc.oneof(
    fc.constantFrom('activeQueue', 'status', 'page', 'jobsPerPage', 'next', 'q', 'sort'),
    text,
  );
  const urls = fc
    .tuple(fc.array(part, { minLength: 4, maxLength: 4 }), fc.array(fc.tuple(name, inUrl), { maxLength: 4 }))
    .map(([parts, pairs]) => {
      let at = 0;
      const path = url.replaceAll(/:\w+|\*/g, () => parts[at++] ?? '');
      const asked = pairs.map(([key, value]) => `${encodeURIComponent(wellFormed(key))}=${value}`);
      return asked.length > 0 ? `${path}?${asked.join('&')}` : path;
    });
  const filled = fc.array(field, { maxLength: 5 }).map((fields) => {
    const values = fields.map(([key, value]): [string, string] => [wellFormed(key), wellFormed(value)]);
    return Buffer.from(new URLSearchParams([...values, ['_csrf', session.csrf]]).toString());
  });
  const byPage = fc.record({
    authorization: fc.constant(undefined),
    headers: fc.constant({ ...formType, cookie: session.cookie }),
    body: filled,
  });
  const byScript = fc.record({ authorization, headers, body });
  return fc
    .record({
      method: fc.oneof(
        { weight: 7, arbitrary: fc.constant(method) },
        { weight: 2, arbitrary: fc.constantFrom(...methods) },
      ),
      url: urls,
      // Signing out would end the session of all that follows.
      how: url === '/logout' ? byScript : fc.oneof(byPage, byScript),
      bare: fc.boolean(),
    })
    .map(({ method, url, how, bare }) => ({
      ...{ method, url, authorization: how.authorization, headers: how.headers },
      body: bare ? Buffer.alloc(0) : how.body,
    }));
}

it('every other route answers whatever it is asked, in time and in form', async () => {
  expect(routes.length).toBeGreaterThan(50);
  for (const start of [
    '/login',
    '/logout',
    '/queues/',
    '/vms',
    '/jobs',
    '/metrics',
    '/sd/',
    '/livez',
    '/api/docs',
  ])
    expect(
      routes.filter(({ url }) => url.startsWith(start)),
      start,
    ).not.toEqual([]);
  const seen = new Map<number, number>();
  for (const route of routes) {
    const away = fc.integer({ min: 0, max: 9 }).map((n) => n === 0);
    const property = fc.asyncProperty(wrongly(route), away, async (asked, away) => {
      rig.jobs.away = away;
      const answer = await send(port, asked);
      seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
      isGood(answer, asked, away);
    });
    await fc.assert(property, { seed, numRuns: runsPerRoute });
  }
  rig.jobs.away = false;
  expect((await get('/')).statusCode).toBe(200);
  for (const status of [200, 303, 400, 401, 403, 404, 405])
    expect(seen.get(status) ?? 0, `${status}`).toBeGreaterThan(0);
});

it.each(['__proto__', '-constructor', 'toString'])(
  '%s, which every object has, is no way to sort',
  async (sort) => {
    for (const path of ['/', '/vms']) expect((await get(`${path}?sort=${sort}`)).statusCode).toBe(200);
  },
);
