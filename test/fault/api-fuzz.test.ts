// Every route of the OpenAPI document, asked wrongly: wrong types, sizes, encodings, methods, tokens, and bytes that are not HTTP.
// Whatever comes in, an answer comes out, in time: no 5xx (but a documented 503), no stack, and a problem for all that is not good.
// Seeded: a failure prints its seed and the smallest request that shows it.

import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Problem } from '../../src/http/api/schemas.js';
import { type ApiRig, apiRig, bearer } from '../support/api.js';
import { settle } from '../support/fake-clock.js';
import {
  type Answer,
  authorization,
  body,
  exchange,
  headers,
  inUrl,
  methods,
  send,
  stackLike,
  text,
  wellFormed,
} from '../support/fuzz.js';
import { aHost } from '../support/host.js';
import { type Judge, judgeOf } from '../support/openapi.js';
import { running, systemSample } from '../unit/metrics/fixtures.js';

const seed = 20_261_121;
const runsPerRoute = 400;

type Parameter = { name: string; in: string; schema: { enum?: string[] } };
type Operation = { parameters?: Parameter[]; requestBody?: unknown; responses: Record<string, unknown> };
type Route = { path: string; method: string; operation: Operation };

let rig: ApiRig;
let port: number;
let routes: Route[];
let judge: Judge;

beforeAll(async () => {
  rig = await apiRig([aHost({ name: 'kvm-01', labels: { dc: 'ams1' } }), aHost({ name: 'kvm-02' })], {
    requestsPerMinute: 1_000_000,
  });
  await settle();
  rig.samples.put('kvm-01', 'vms', { takenAtMs: 1, vms: [running('web-1'), running('web "2"\n')] });
  rig.samples.put('kvm-01', 'system', systemSample());
  rig.jobs.put({
    id: 'odd',
    name: '\u0000',
    data: { host: 7, vm: {}, params: [1], requestId: null },
    progress: 'x',
  });
  await rig.app.listen({ port: 0, host: '127.0.0.1' });
  port = (rig.app.server.address() as AddressInfo).port;
  const document = (await rig.app.inject({ url: '/api/openapi.json', headers: bearer('viewer') })).json();
  judge = judgeOf(document);
  routes = Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        path,
        method: method.toUpperCase(),
        operation,
      })),
  );
});

afterAll(() => rig[Symbol.asyncDispose]());

type Expected = { method: string; responses?: Record<string, unknown>; away?: boolean };

/** What holds of every answer, whatever was asked. `away`: the store was. */
function isGood(answer: Answer, { method, responses, away = false }: Expected): void {
  const { status, headers, body } = answer;
  expect(body).not.toMatch(stackLike);
  if (status >= 500) expect([status, away, Boolean(responses?.['503'])]).toEqual([503, true, true]);
  if (status < 400) return;
  expect(headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
  if (status === 405) expect(headers.get('allow')).toMatch(/^[A-Z, ]+$/);
  if (status === 503 || status === 429) expect(headers.get('retry-after')).toMatch(/^\d+$/);
  if (method === 'HEAD') return;
  const problem = Problem.strict().parse(JSON.parse(body));
  expect(problem.status).toBe(status);
  expect(problem.type).toMatch(/^urn:outrigger:problem:[a-z-]+$/);
}

function wrongly({ path, method, operation }: Route) {
  const named = (operation.parameters ?? [])
    .filter(({ in: where }) => where === 'query')
    .map(({ name }) => name);
  const query = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...named, 'limit'), text), inUrl), {
    maxLength: 4,
  });
  return fc.record({
    method: fc.oneof(
      { weight: 7, arbitrary: fc.constant(method) },
      { weight: 2, arbitrary: fc.constantFrom(...methods) },
    ),
    url: fc
      .tuple(
        fc.array(fc.oneof(fc.constantFrom('kvm-01', 'web-1', 'odd'), inUrl), { minLength: 2, maxLength: 2 }),
        query,
      )
      .map(([parts, pairs]) => {
        let at = 0;
        const where = path.replaceAll(/\{\w+\}/g, () => parts[at++] ?? '');
        const asked = pairs
          .map(([name, value]) => `${encodeURIComponent(wellFormed(name))}=${value}`)
          .join('&');
        return asked ? `${where}?${asked}` : where;
      }),
    authorization,
    headers,
    body:
      method === 'POST'
        ? body
        : fc.oneof({ weight: 9, arbitrary: fc.constant(Buffer.alloc(0)) }, { weight: 1, arbitrary: body }),
    away: fc.integer({ min: 0, max: 19 }).map((n) => n === 0),
  });
}

describe('every route of the document', () => {
  it('answers whatever it is asked, in time and in form', async () => {
    expect(routes.length).toBeGreaterThanOrEqual(12);
    const seen = new Map<number, number>();
    for (const route of routes) {
      const { responses } = route.operation;
      const property = fc.asyncProperty(
        wrongly(route),
        async ({ method, url, authorization, headers, body, away }) => {
          rig.jobs.away = away;
          const answer = await send(port, { method, url, authorization, headers, body });
          seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
          isGood(answer, { method, responses, away });
          const { status, headers: given, body: text } = answer;
          expect(judge({ method, url, status, mediaType: given.get('content-type'), body: text })).toEqual(
            [],
          );
        },
      );
      await fc.assert(property, {
        seed,
        numRuns: runsPerRoute,
        interruptAfterTimeLimit: 3_000,
        markInterruptAsFailure: false,
      });
    }
    rig.jobs.away = false;
    // The requests were not all refused at the door, nor all for one reason.
    for (const status of [200, 400, 401, 403, 404, 405])
      expect(seen.get(status) ?? 0, `${status}`).toBeGreaterThan(0);
  });
});

describe('bytes that are not quite HTTP', () => {
  const auth = 'Authorization: Bearer admin-token\r\nHost: x\r\n';

  it.each<[string, string | Buffer, number]>([
    ['nothing but noise', '\x16\x03\x01\x02\x00\x01\x00', 400],
    ['no version', 'GET /api/v1/hosts\r\n\r\n', 401],
    ['no host', 'GET /api/v1/hosts HTTP/1.1\r\n\r\n', 400],
    ['a header without a name', `GET /api/v1/hosts HTTP/1.1\r\n${auth}: x\r\n\r\n`, 400],
    ['a line break in a header', `GET /api/v1/hosts HTTP/1.1\r\n${auth}X: a\nY\r\n\r\n`, 400],
    ['headers without end', `GET /api/v1/hosts HTTP/1.1\r\n${auth}X: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['a URL without end', `GET /api/v1/hosts?q=${'x'.repeat(20_000)} HTTP/1.1\r\n${auth}\r\n`, 431],
    [
      'two lengths',
      `POST /api/v1/jobs HTTP/1.1\r\n${auth}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
      400,
    ],
    [
      'a length and chunks',
      `POST /api/v1/jobs HTTP/1.1\r\n${auth}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    [
      'chunks that are none',
      `POST /api/v1/jobs HTTP/1.1\r\n${auth}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
      400,
    ],
    ['a tunnel', `CONNECT evil.example:443 HTTP/1.1\r\n${auth}\r\n`, 405],
    [
      'an expectation',
      `POST /api/v1/jobs HTTP/1.1\r\n${auth}Expect: miracles\r\nContent-Length: 0\r\n\r\n`,
      417,
    ],
    [
      'an upgrade',
      `GET /api/v1/nothing HTTP/1.1\r\n${auth}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
      404,
    ],
    ['a path that climbs', `GET /api/v1/../../etc/passwd HTTP/1.1\r\n${auth}Connection: close\r\n\r\n`, 404],
    ['a method of its own', `FROB /api/v1/hosts HTTP/1.1\r\n${auth}\r\n`, 400],
    ['an absolute URL', `GET http://evil.example/x HTTP/1.1\r\n${auth}Connection: close\r\n\r\n`, 404],
  ])('%s', async (_what, bytes, status) => {
    const answer = await exchange(port, bytes);
    if (!answer) throw new Error('closed without an answer');
    expect(answer.status).toBe(status);
    isGood(answer, { method: 'GET' });
  });

  it('cut off anywhere, it is answered or closed, and the next caller is served', async () => {
    const whole = Buffer.from(
      `POST /api/v1/jobs HTTP/1.1\r\n${auth}Content-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: 14\r\n\r\n{"op":"stop",}`,
    );
    const cuts = Array.from({ length: whole.length }, (_, at) => at);
    const answers = await Promise.all(
      cuts.map((at) => exchange(port, whole.subarray(0, at), { half: true })),
    );
    for (const answer of answers) if (answer) isGood(answer, { method: 'POST' });
    expect((await rig.app.inject({ url: '/api/v1/hosts', headers: bearer('viewer') })).statusCode).toBe(200);
  });
});
