// The backend's faults over real TCP: away, slow, lying, forgetful. Each must
// be named in words, cost nothing but itself, and be over when the backend is well again.

import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { BackendError } from '../../src/backend/backend-error.js';
import type { BackendHttp } from '../../src/backend/http.js';
import { Secret } from '../../src/core/secret.js';
import {
  beat,
  clientOf,
  closeAll,
  failure,
  folder,
  lifecycle,
  listening,
  one,
  portOf,
  started,
  two,
} from '../support/backend-client.js';
import { FakeClock } from '../support/fake-clock.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

afterEach(closeAll);

describe('answers', () => {
  test('500 and 503 are tried again until it is well', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.fault({ kind: 'status', status: 500 }, { call: 'heartbeat', times: 1 });
    backend.fault({ kind: 'status', status: 503 }, { call: 'heartbeat', times: 1 });
    await client.heartbeat(one, beat);
    expect(backend.asked.filter(({ call }) => call === 'heartbeat').map(({ status }) => status)).toEqual([
      500, 503, 200,
    ]);
  });

  test('after the last try the error says what was answered, and that a report may wait', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    backend.fault(
      { kind: 'status', status: 500, body: '{"detail":"the disk is\\nfull"}' },
      { call: 'events' },
    );
    const error = await failure(client.call(one, 'events', () => lifecycle(1)));
    expect(error).toMatchObject({ code: 'BACKEND_REFUSED', status: 500, retryable: true });
    expect(error.message).toBe('the backend answers HTTP 500: the disk is full');
    expect(backend.count('events')).toBe(3);
  });

  test.each([429, 503])(
    'Retry-After of a %d is honoured by all calls of the agent, and by no other',
    async (status) => {
      const backend = await started();
      const client = await clientOf(backend.url);
      await client.register(one);
      await client.register(two);
      backend.fault(
        { kind: 'status', status, retryAfter: '1' },
        { call: 'heartbeat', agentId: one.id, times: 1 },
      );
      const from = performance.now();
      const watch = new Stopwatch();
      const first = client.heartbeat(one, beat);
      await until('the refusal', () => backend.asked.some((asked) => asked.status === status));
      const second = client.call(one, 'events', () => lifecycle(1));
      await client.heartbeat(two, beat);
      expect(watch.ms).toBeLessThan(900);
      await Promise.all([first, second]);
      expect(performance.now() - from).toBeGreaterThanOrEqual(990);
    },
  );

  test('a long Retry-After ends the call at once, and the next ones are not sent', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.fault({ kind: 'status', status: 429, retryAfter: '600' }, { call: 'heartbeat', times: 1 });
    expect(await failure(client.heartbeat(one, beat))).toMatchObject({ status: 429, retryable: true });
    const next = await failure(client.heartbeat(one, beat));
    expect(next).toMatchObject({ outcome: 'not-sent', retryable: true });
    expect(next.retryAfterMs).toBeGreaterThan(590_000);
    expect(backend.count('heartbeat')).toBe(1);
  });

  test.each([400, 413, 422])('a %d is not tried again, now or later', async (status) => {
    const backend = await started();
    const client = await clientOf(backend.url);
    backend.fault({ kind: 'status', status }, { call: 'events' });
    expect(await failure(client.call(one, 'events', () => lifecycle(1)))).toMatchObject({
      status,
      retryable: false,
    });
    expect(backend.count('events')).toBe(1);
  });

  test('a 403 is not tried again now; a report may wait until it is mended', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    backend.fault({ kind: 'status', status: 403 }, { call: 'events' });
    expect(await failure(client.call(one, 'events', () => lifecycle(1)))).toMatchObject({ retryable: true });
    expect(backend.count('events')).toBe(1);
  });

  test('one that hangs ends at AGENT_API_TIMEOUT', async () => {
    const backend = await started();
    const client = await clientOf(backend.url, { timeoutMs: 300, tries: 1 });
    await client.register(one);
    backend.fault({ kind: 'hang' }, { call: 'heartbeat' });
    const error = await failure(client.heartbeat(one, beat));
    expect(error).toMatchObject({ code: 'BACKEND_UNREACHABLE', outcome: 'unknown', retryable: true });
    expect(error.message).toMatch(/does not answer within 0\.3 s/);
    await until('the connection to be cut', () => backend.openConnections < backend.connections);
  });

  test('HTML with 200, broken JSON and a wrong shape have taken nothing', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.fault({ kind: 'html' }, { call: 'events', times: 1 });
    const html = await failure(client.call(one, 'events', () => lifecycle(1)));
    expect(html).toMatchObject({ code: 'BACKEND_ANSWER', retryable: true, outcome: 'unknown' });
    expect(html.message).toMatch(/answers text\/html, not JSON/);
    backend.fault({ kind: 'broken json' }, { call: 'heartbeat', times: 1 });
    expect((await failure(client.heartbeat(one, beat))).message).toMatch(/broken JSON/);
    const body = '{"access_token": 3}';
    backend.fault(
      { kind: 'status', status: 200, type: 'application/json', body },
      { call: 'register', times: 1 },
    );
    expect((await failure(client.register(two))).message).toMatch(
      /answer to register is not what it should be/,
    );
  });

  test('100 MB are cut off after the first', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.fault({ kind: 'huge', bytes: 100 * 1024 * 1024 }, { call: 'heartbeat', times: 1 });
    const before = process.memoryUsage().rss;
    const error = await failure(client.heartbeat(one, beat));
    expect(error.message).toMatch(/larger than 1024 KiB/);
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 1024 * 1024);
    await client.heartbeat(one, beat);
  });

  test('an answer that is cut in the middle, or never begins, is tried again', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.fault({ kind: 'cut' }, { call: 'heartbeat', times: 1 });
    backend.fault({ kind: 'reset' }, { call: 'heartbeat', times: 1 });
    await client.heartbeat(one, beat);
    expect(backend.count('heartbeat')).toBe(3);
  });

  test('a report whose answer is lost comes again with the same Idempotency-Key', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.fault({ kind: 'lost answer' }, { call: 'events', times: 1 });
    await client.call(one, 'events', () => lifecycle(1), { idempotencyKey: 'key-1' });
    const keys = backend.asked
      .filter(({ call }) => call === 'events')
      .map(({ headers }) => headers['idempotency-key']);
    expect(keys).toEqual(['key-1', 'key-1']);
    expect(backend.events).toHaveLength(1);
  });

  test('redirects are refused, and the token does not go there', async () => {
    const elsewhere = await started();
    const backend = await started();
    const client = await clientOf(backend.url);
    backend.fault({ kind: 'redirect', to: `${elsewhere.url}/api/agent/register` });
    const error = await failure(client.register(one));
    expect(error).toMatchObject({
      code: 'BACKEND_ANSWER',
      hint: expect.stringContaining('AGENT_BACKEND_URL'),
    });
    expect(error.message).toMatch(/redirects to http:\/\/127.*not followed/);
    expect(elsewhere.asked).toEqual([]);
  });

  test('something that speaks no HTTP is called so', async () => {
    const server = await listening(
      createServer((socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n'))),
    );
    const client = await clientOf(`http://127.0.0.1:${portOf(server)}`);
    expect((await failure(client.register(one))).message).toMatch(/does not speak HTTP/);
  });
});

describe('tokens', () => {
  test('a 401 in mid-flight: one refresh for everybody who waits', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.revokeAccessTokens();
    await Promise.all(Array.from({ length: 20 }, () => client.heartbeat(one, beat)));
    expect(backend.count('token_refresh')).toBe(1);
    expect(backend.count('register')).toBe(1);
    expect(backend.asked.filter(({ status }) => status === 200 || status === 401).length).toBeGreaterThan(20);
  });

  test('agents that share a refresh token: one refresh for all hosts', async () => {
    let refreshes = 0;
    let good = 'first';
    const http = {
      post: async ({ path, token }: { path: string; token?: Secret }) => {
        if (path.endsWith('/register'))
          return { access_token: good, expires_in: 900, refresh_token: 'shared' };
        if (path.endsWith('/refresh')) {
          refreshes++;
          return { access_token: good, expires_in: 900, refresh_token: 'shared-2' };
        }
        if (token?.expose() === good) return {};
        throw new BackendError('BACKEND_REFUSED', { status: 401, retrySoon: false });
      },
    } as unknown as BackendHttp;
    const client = await clientOf('http://127.0.0.1:1', { http });
    const agents = Array.from({ length: 50 }, (_, index) => ({ id: `agent-${index}`, name: `kvm-${index}` }));
    for (const agent of agents) await client.register(agent);
    good = 'second';
    await Promise.all(agents.map((agent) => client.heartbeat(agent, beat)));
    expect(refreshes).toBe(1);
  });

  test('a refresh token that was revoked: the host is registered again, once', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.revokeAccessTokens();
    backend.revokeRefreshTokens();
    await Promise.all(Array.from({ length: 10 }, () => client.heartbeat(one, beat)));
    expect(backend.count('token_refresh')).toBe(1);
    expect(backend.count('register')).toBe(2);
  });

  test('a forgotten agent (404) is registered again, and the report arrives', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.forgetAgents();
    await Promise.all([client.heartbeat(one, beat), client.call(one, 'events', () => lifecycle(1))]);
    expect(backend.count('register')).toBe(2);
    expect(backend.events).toHaveLength(1);
  });

  test('a backend that refuses every token is asked a bounded number of times', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await client.register(one);
    backend.fault({ kind: 'status', status: 401 }, { call: 'heartbeat' });
    expect(await failure(client.heartbeat(one, beat))).toMatchObject({ status: 401, retryable: true });
    expect(backend.count('heartbeat')).toBe(3);
    expect(backend.count('register')).toBe(2);
  });

  test('a wrong bootstrap token is told with its name', async () => {
    const backend = await started();
    const client = await clientOf(backend.url, { token: new Secret('wrong') });
    const error = await failure(client.register(one));
    expect(error).toMatchObject({ status: 401, hint: expect.stringContaining('AGENT_TOKEN') });
    expect(backend.count('register')).toBe(1);
  });

  test('they are refreshed at 70 % of their life, while calls go on with the old one', async () => {
    const clock = new FakeClock();
    const backend = await started({ tokenSeconds: 1_000 });
    const client = await clientOf(backend.url, { clock });
    await client.register(one);
    await clock.advance(690_000);
    await client.heartbeat(one, beat);
    expect(backend.count('token_refresh')).toBe(0);
    await clock.advance(20_000);
    backend.fault({ kind: 'status', status: 503 }, { call: 'token_refresh', times: 1 });
    await client.heartbeat(one, beat);
    await until('the refresh that fails', () => backend.asked.some(({ status }) => status === 503));
    await clock.advance(11_000);
    await client.heartbeat(one, beat);
    await until('the refresh', () => (client.tokens.expiresInMs(one.id) ?? 0) > 900_000);
    expect(backend.count('token_refresh')).toBe(2);
    expect(backend.count('register')).toBe(1);
  });

  test('they are kept over a restart, for the service alone, and for this backend alone', async () => {
    const backend = await started();
    const kept = folder();
    const before = await clientOf(backend.url, { folder: kept });
    await before.register(one);
    await before.close();
    const file = join(kept, 'tokens.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const after = await clientOf(backend.url, { folder: kept });
    expect(after.tokens.idOf('kvm-01')).toBe(one.id);
    await after.heartbeat(one, beat);
    expect(backend.count('register')).toBe(1);
    const other = await started();
    const elsewhere = await clientOf(other.url, { folder: kept });
    await elsewhere.heartbeat(one, beat);
    expect(other.asked.map(({ call }) => call)).toEqual(['register', 'heartbeat']);
  });
});
