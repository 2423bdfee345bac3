// Every route of the OpenAPI document, asked wrongly: wrong types, sizes, encodings, methods, tokens, and bytes that are not HTTP.
// Whatever comes in, an answer comes out, in time: no 5xx (but a documented 503), no stack, and a problem for all that is not good.
// Seeded: a failure prints its seed and the smallest request that shows it.

import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Problem } from '../../src/http/api/schemas.js';
import { type ApiRig, apiRig, bearer } from '../support/api.js';
import { settle } from '../support/fake-clock.js';
import { aHost } from '../support/host.js';
import { running, systemSample } from '../unit/metrics/fixtures.js';

const seed = 20_261_121;
const runsPerRoute = 400;
const answerWithinMs = 5_000;

type Parameter = { name: string; in: string; schema: { enum?: string[] } };
type Operation = { parameters?: Parameter[]; requestBody?: unknown; responses: Record<string, unknown> };
type Route = { path: string; method: string; operation: Operation };

let rig: ApiRig;
let port: number;
let routes: Route[];

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

type Answer = { status: number; headers: Map<string, string>; body: string };

/**
 * Writes the bytes and reads what comes back: to the end of the connection, or of the first event of a stream. Undefined when the
 * connection was closed without a word. Rejects when neither comes in time. `half`: nothing more will be sent, and we say so.
 */
function exchange(bytes: string | Buffer, { half = false } = {}): Promise<Answer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const chunks: Buffer[] = [];
    const late = setTimeout(() => {
      socket.destroy();
      reject(
        new Error(`no end in ${answerWithinMs} ms after ${JSON.stringify(String(bytes).slice(0, 500))}`),
      );
    }, answerWithinMs);
    const end = () => {
      clearTimeout(late);
      socket.destroy();
      resolve(answerOf(Buffer.concat(chunks).toString('utf8')));
    };
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (isWhole(Buffer.concat(chunks).toString('latin1'))) end();
    });
    socket.on('close', end);
    socket.on('error', () => undefined);
    socket.write(bytes);
    if (half) socket.end();
  });
}

/** The first event of a stream, or as much as was announced. */
function isWhole(text: string): boolean {
  if (text.includes('event: hello')) return true;
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const announced = /^content-length: (\d+)$/im.exec(head)?.[1];
  return announced !== undefined && rest.join('\r\n\r\n').length >= Number(announced);
}

function answerOf(text: string): Answer | undefined {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [first = '', ...lines] = head.split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1]);
  if (!status) return undefined;
  const headers = lines.map((line) => /^([^:]*): ?(.*)$/.exec(line)?.slice(1) ?? ['', '']);
  return {
    status,
    headers: new Map(headers.map(([name = '', value = '']) => [name.toLowerCase(), value])),
    body: rest.join('\r\n\r\n'),
  };
}

const stackLike = /\n? +at .*(\.[jt]s|node:)|node_modules|\/src\/|\/dist\//;

/** What holds of every answer, whatever was asked. */
function isGood(
  answer: Answer,
  { method, responses }: { method: string; responses?: Record<string, unknown> },
): void {
  const { status, headers, body } = answer;
  expect(body).not.toMatch(stackLike);
  if (status >= 500) expect([503, Boolean(responses?.['503'])]).toEqual([status, true]);
  if (status < 400) return;
  expect(headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
  if (status === 405) expect(headers.get('allow')).toMatch(/^[A-Z, ]+$/);
  if (status === 503 || status === 429) expect(headers.get('retry-after')).toMatch(/^\d+$/);
  if (method === 'HEAD') return;
  const problem = Problem.strict().parse(JSON.parse(body));
  expect(problem.status).toBe(status);
  expect(problem.type).toMatch(/^urn:outrigger:problem:[a-z-]+$/);
}

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  {
    weight: 3,
    arbitrary: fc.constantFrom('kvm-01', 'web-1', 'odd', 'stop', '0', '-1', '1e9', '__proto__', 'null'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '../../etc/passwd',
      '..%2f',
      '<script>',
      "' OR 1=1",
      '\r\nX-Evil: 1',
      '\u202e',
      '\ud800',
    ),
  },
  { weight: 1, arbitrary: fc.integer({ min: 200, max: 9_000 }).map((length) => 'x'.repeat(length)) },
);

function wellFormed(value: string): string {
  return value.replaceAll(/[\ud800-\udfff]/gu, '?');
}

/** As it stands in a URL: mostly encoded as it must be, now and then not. */
const inUrl = fc.tuple(text, fc.integer({ min: 0, max: 9 })).map(([value, how]) => {
  const encoded = encodeURIComponent(wellFormed(value));
  if (how === 0) return `${encoded}%`;
  if (how === 1) return `${encoded}%c3%28`;
  return how === 2 ? encoded.replaceAll('%', '%25') : encoded;
});

const authorization = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom('Bearer admin-token', 'Bearer operator-token', 'Bearer confined-token'),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'Bearer viewer-token',
      'Bearer viewer-token',
      'Bearer ',
      'bearer admin-token',
      'Basic YTpi',
      '',
    ),
  },
  { weight: 1, arbitrary: fc.base64String({ maxLength: 2_000 }).map((token) => `Bearer ${token}`) },
  { weight: 1, arbitrary: fc.constant('Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.') },
);

const jobLike = fc.record(
  {
    op: fc.oneof(fc.constantFrom('stop', 'start', 'delete', 'reset', 'list'), text),
    host: fc.oneof(fc.constant('kvm-01'), text, fc.integer()),
    vm: fc.oneof(fc.constant('web-1'), text, fc.constant(null)),
    params: fc.oneof(fc.dictionary(text, fc.jsonValue(), { maxKeys: 4 }), fc.jsonValue()),
    expectedUuid: fc.oneof(fc.uuid(), text),
    deadline: fc.oneof(fc.constant('2020-01-01T00:00:00Z'), text),
    dryRun: fc.oneof(fc.boolean(), text),
    reason: text,
  },
  { requiredKeys: [] },
);

const body = fc.oneof(
  { weight: 6, arbitrary: jobLike.map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 2, arbitrary: fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('{"__proto__":{"x":1}}', '{"a":', '[['.repeat(5_000), '')
      .map((t) => Buffer.from(t)),
  },
  { weight: 1, arbitrary: fc.constant(Buffer.alloc(70_000, 'x')) },
);

const headers = fc.record(
  {
    'content-type': fc.constantFrom(
      'application/json',
      'application/json; charset=utf-16',
      'text/plain',
      'multipart/form-data',
      'x',
      'application/x-www-form-urlencoded',
    ),
    'content-encoding': fc.constantFrom('gzip', 'identity', 'br, gzip'),
    'idempotency-key': fc.oneof(fc.uuid(), fc.string({ maxLength: 300 })),
    'if-none-match': fc.oneof(fc.constantFrom('*', 'W/"x"', '"'), fc.string({ maxLength: 60 })),
    'last-event-id': fc.string({ maxLength: 300 }),
    accept: fc.constantFrom('text/html', 'nonsense', '*/*;q=0'),
    cookie: fc.constantFrom('a=b', 'outrigger_session=x', ';;;='),
    host: fc.constantFrom('evil.example', 'localhost', 'a b'),
    'x-forwarded-for': fc.constantFrom('127.0.0.1', 'x'),
  },
  { requiredKeys: [] },
);

/** What node's parser lets through: what it does not is a case of its own below. */
function headerText(value: string): string {
  return value.replaceAll(/[^\x20-\x7e]/g, '?');
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'];

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
          const given = Object.entries({
            host: 'x',
            authorization,
            ...headers,
            'content-length': String(body.length),
          });
          const lines = given.map(([name, value]) => `${name}: ${headerText(value)}`);
          const head = `${method} ${url} HTTP/1.1\r\n${lines.join('\r\n')}\r\nconnection: close\r\n\r\n`;
          const answer = await exchange(Buffer.concat([Buffer.from(head), body]));
          if (!answer) throw new Error('closed without an answer');
          seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
          isGood(answer, { method, responses });
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
    const answer = await exchange(bytes);
    if (!answer) throw new Error('closed without an answer');
    expect(answer.status).toBe(status);
    isGood(answer, { method: 'GET' });
  });

  it('cut off anywhere, it is answered or closed, and the next caller is served', async () => {
    const whole = Buffer.from(
      `POST /api/v1/jobs HTTP/1.1\r\n${auth}Content-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: 14\r\n\r\n{"op":"stop",}`,
    );
    const cuts = Array.from({ length: whole.length }, (_, at) => at);
    const answers = await Promise.all(cuts.map((at) => exchange(whole.subarray(0, at), { half: true })));
    for (const answer of answers) if (answer) isGood(answer, { method: 'POST' });
    expect((await rig.app.inject({ url: '/api/v1/hosts', headers: bearer('viewer') })).statusCode).toBe(200);
  });
});
