// The backend's faults over real TCP and TLS: away, slow, lying, forgetful, with wrong certificates, behind a proxy. Each must
// be named in words, cost nothing but itself, and be over when the backend is well again.
import { copyFileSync, mkdtempSync, rmSync, statSync, utimesSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { HostSamples, HostStatus } from '../../src/backend/agent-reports.js';
import { Backend } from '../../src/backend/backend.js';
import type { BackendError } from '../../src/backend/backend-error.js';
import { BackendClient, type ClientOptions } from '../../src/backend/client.js';
import { BackendHttp, type HttpOptions } from '../../src/backend/http.js';
import { lookEveryMs } from '../../src/backend/tls-files.js';
import { type Clock, systemClock } from '../../src/core/clock.js';
import { HostError } from '../../src/core/errors.js';
import { createLog, silentLog } from '../../src/core/log.js';
import { Secret } from '../../src/core/secret.js';
import { loadSettings } from '../../src/core/settings.js';
import { TestBackend } from '../support/backend.js';
import { TestCa } from '../support/certificates.js';
import { FakeClock } from '../support/fake-clock.js';
import { until } from '../support/until.js';

const opened: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (let close = opened.pop(); close; close = opened.pop()) await close();
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'outrigger-backend-'));
  opened.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function started(options: Parameters<typeof TestBackend.start>[0] = {}): Promise<TestBackend> {
  const backend = await TestBackend.start(options);
  opened.push(() => backend[Symbol.asyncDispose]());
  return backend;
}

type Agents = Partial<HttpOptions & ClientOptions>;

async function clientOf(url: string, options: Agents = {}): Promise<BackendClient> {
  const common = { clock: systemClock, log: silentLog };
  const http = await BackendHttp.open({ url, timeoutMs: 2_000, verify: true, ...common, ...options });
  opened.push(() => http.close());
  const client = await BackendClient.open({
    ...common,
    ...{ http, folder: folder(), backend: url, token: new Secret('bootstrap-token') },
    ...{ tries: 3, factor: 2, random: () => 0.01 },
    registration: async ({ id, name }) => ({
      ...{ agent_id: id, name, hostname: name, libvirt_uri: 'qemu:///system', version: '1.0.0' },
      ...{
        operations: ['list'],
        hypervisor: {},
        labels: {},
        collector: { id: 'c', name: 'c', version: '1.0.0' },
      },
    }),
    ...options,
  });
  opened.push(() => client.close());
  return client;
}

const one = { id: 'a0000000-0000-4000-8000-000000000001', name: 'kvm-01' };
const two = { id: 'a0000000-0000-4000-8000-000000000002', name: 'kvm-02' };
const beat = () => ({ status: 'online', at: new Date().toISOString() });
const lifecycle = (sequence: number) => ({
  events: [{ sequence, at: new Date().toISOString(), event: 'started', vm: { name: 'web', uuid: one.id } }],
});

async function failure(work: Promise<unknown>): Promise<BackendError> {
  const error = await work.then(
    () => new Error('it succeeded'),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(HostError);
  return error;
}

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
      const first = client.heartbeat(one, beat);
      await until('the refusal', () => backend.asked.some((asked) => asked.status === status));
      const second = client.call(one, 'events', () => lifecycle(1));
      await client.heartbeat(two, beat);
      expect(performance.now() - from).toBeLessThan(900);
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
        const { BackendError } = await import('../../src/backend/backend-error.js');
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

describe('TLS', () => {
  let ca: TestCa;
  beforeAll(() => {
    ca = new TestCa();
  });
  afterAll(() => ca[Symbol.dispose]());

  const trusting = () => ({ tls: { ca: ca.file } });

  async function refusalOf(
    pair: { cert: string; key: string },
    options: Agents = trusting(),
  ): Promise<BackendError> {
    const backend = await started({ tls: { cert: pair.cert, key: pair.key } });
    const client = await clientOf(backend.url, options);
    const error = await failure(client.register(one));
    expect(backend.asked).toEqual([]);
    expect(error).toMatchObject({ code: 'BACKEND_TLS', outcome: 'not-sent', retryable: true });
    return error;
  }

  test('a good certificate is taken, and its expiry known', async () => {
    const backend = await started({ tls: ca.issue() });
    const http = await BackendHttp.open({ url: backend.url, timeoutMs: 2_000, verify: true, ...trusting() });
    opened.push(() => http.close());
    const client = await clientOf(backend.url, { http });
    await client.heartbeat(one, beat);
    const inDays = ((http.certificates.backendExpiryMs ?? 0) - Date.now()) / 86_400_000;
    expect(inDays).toBeGreaterThan(1.9);
    expect(inDays).toBeLessThan(2.1);
    expect(http.connections).toBeGreaterThan(0);
  });

  test('an expired one is named, with its date', async () => {
    const { message, hint } = await refusalOf(ca.issue({ days: -1 }));
    expect(message).toMatch(/certificate expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC, 1 days ago/);
    expect(hint).toMatch(/Renew it/);
  });

  test('one for another name is named, with both names', async () => {
    const { message, hint } = await refusalOf(ca.issue({ altName: 'DNS:elsewhere.example.net' }));
    expect(message).toMatch(/another name than 127\.0\.0\.1: it is for DNS:elsewhere\.example\.net/);
    expect(hint).toMatch(/AGENT_BACKEND_URL/);
  });

  test('a self-signed one, and one of an unknown CA', async () => {
    expect((await refusalOf(ca.selfSigned())).message).toMatch(/is self-signed/);
    const unknown = await refusalOf(ca.issue(), {});
    expect(unknown.message).toMatch(/signed by a CA that is not trusted here: Test CA/);
    expect(unknown.hint).toMatch(/AGENT_SSL_CA_PATH/);
  });

  test('AGENT_SSL_VERIFY=false takes any', async () => {
    const backend = await started({ tls: ca.issue({ days: -1 }) });
    await (await clientOf(backend.url, { verify: false })).register(one);
  });

  test('plain HTTP behind https:// is called so', async () => {
    const backend = await started();
    const client = await clientOf(backend.url.replace('http:', 'https:'));
    expect((await failure(client.register(one))).message).toMatch(/does not speak TLS/);
  });

  test('mutual TLS: without a certificate, with one, with one of another CA', async () => {
    const backend = await started({ tls: { ...ca.issue(), ca: ca.pem } });
    const without = await failure((await clientOf(backend.url, { ...trusting(), tries: 1 })).register(one));
    expect(`${without.message} ${without.hint}`).toMatch(/client certificate/);
    expect(without.hint).toMatch(/AGENT_SSL_CERT_PATH/);
    const ours = ca.issue({ subject: '/CN=collector' });
    const paths = { ca: ca.file, cert: ours.certFile, key: ours.keyFile };
    await (await clientOf(backend.url, { tls: paths })).register(one);
    using others = new TestCa();
    const foreign = others.issue();
    const wrong = { ca: ca.file, cert: foreign.certFile, key: foreign.keyFile };
    await failure((await clientOf(backend.url, { tls: wrong, tries: 1 })).register(two));
    expect(backend.asked.map(({ call }) => call)).toEqual(['register']);
  });

  test('a renewed certificate of ours is taken without a restart; a broken one is not', async () => {
    const clock = new FakeClock(Date.now());
    const backend = await started({ tls: { ...ca.issue(), ca: ca.pem } });
    const files = { cert: join(folder(), 'cert.pem'), key: join(folder(), 'key.pem') };
    const put = (pair: { certFile: string; keyFile: string }, days: number) => {
      copyFileSync(pair.certFile, files.cert);
      copyFileSync(pair.keyFile, files.key);
      for (const file of Object.values(files)) utimesSync(file, days, days);
    };
    put(ca.issue({ days: 1 }), 1);
    const http = await BackendHttp.open({
      ...{ url: backend.url, timeoutMs: 2_000, verify: true, clock },
      tls: { ca: ca.file, ...files },
    });
    opened.push(() => http.close());
    const client = await clientOf(backend.url, { http });
    await client.heartbeat(one, beat);
    const before = http.certificates.ourExpiryMs ?? 0;
    const connections = backend.connections;
    put(ca.issue({ days: 3 }), 2);
    await clock.advance(lookEveryMs);
    await client.heartbeat(one, beat);
    const renewed = http.certificates.ourExpiryMs ?? 0;
    expect(renewed - before).toBeGreaterThan(86_400_000);
    expect(backend.connections).toBeGreaterThan(connections);
    copyFileSync(ca.issue().keyFile, files.key);
    await clock.advance(lookEveryMs);
    await client.heartbeat(one, beat);
    expect(http.certificates.ourExpiryMs).toBe(renewed);
  });

  test('a key that does not belong to the certificate stops the start, naming both', async () => {
    const tls = { cert: ca.issue().certFile, key: ca.issue().keyFile };
    const opening = BackendHttp.open({ url: 'https://127.0.0.1:1', timeoutMs: 1_000, verify: true, tls });
    expect((await failure(opening)).message).toMatch(
      /AGENT_SSL_CERT_PATH and AGENT_SSL_KEY_PATH do not make a pair/,
    );
  });

  test('through a proxy: TLS with the backend itself, inside its CONNECT', async () => {
    const asked: string[] = [];
    const proxy = await listening(connectProxy(asked, 'Basic dXNlcjpwYXNz'));
    const backend = await started({ tls: ca.issue() });
    const at = (login: string) => new URL(`http://${login}127.0.0.1:${portOf(proxy)}`);
    await (await clientOf(backend.url, { ...trusting(), proxy: at('user:pass@') })).register(one);
    expect(asked).toEqual([`CONNECT 127.0.0.1:${backend.port} HTTP/1.1`]);
    const refused = await failure(
      (await clientOf(backend.url, { ...trusting(), proxy: at('') })).register(two),
    );
    expect(refused.message).toMatch(/wants a user and a password/);
    await backend.down();
    const away = await failure((await clientOf(backend.url, { proxy: at('user:pass@') })).register(two));
    expect(away.message).toMatch(/does not connect to 127\.0\.0\.1:\d+: 502/);
  });
});

describe('away', () => {
  test('nothing listens, and no such name', async () => {
    const backend = await started();
    const client = await clientOf(backend.url);
    await backend.down();
    const refused = await failure(client.register(one));
    expect(refused).toMatchObject({ code: 'BACKEND_UNREACHABLE', outcome: 'not-sent', retryable: true });
    expect(refused.message).toMatch(/nothing listens at the backend: 127\.0\.0\.1:/);
    const lost = await failure((await clientOf('http://nowhere.invalid', { tries: 1 })).register(one));
    expect(lost.message).toMatch(/nowhere\.invalid/);
    expect(client.reachability).toMatchObject({ reachable: false });
    await backend.up();
    await client.register(one);
    expect(client.reachability).toMatchObject({ reachable: true, cause: undefined });
  });

  test('a host that swallows packets ends the call in time', async () => {
    const full = await listening(createServer((socket) => socket.pause()));
    const client = await clientOf(`https://127.0.0.1:${portOf(full)}`, { timeoutMs: 400, tries: 1 });
    const from = performance.now();
    expect(await failure(client.register(one))).toMatchObject({ code: 'BACKEND_UNREACHABLE' });
    expect(performance.now() - from).toBeLessThan(1_500);
  });

  test('down at the start and for 30 minutes: no flood, and every host is there one heartbeat after it is back', async () => {
    const clock = new FakeClock();
    const hosts = Array.from({ length: 20 }, (_, index) => hostNamed(`kvm-${index}`));
    const backend = await started();
    await backend.down();
    const calls: string[] = [];
    const reporting = await reportingTo(backend.url, clock, {
      onCall: (call, result) => calls.push(`${call} ${result}`),
    });
    reporting.reporter.apply(hosts);
    await minutes(clock, 30);
    expect(new Set(calls)).toEqual(new Set(['register unreachable']));
    expect(calls.length).toBeLessThan(20 * 31 * 3);
    expect(reporting.state()).toMatchObject({
      ok: false,
      detail: expect.stringContaining('nothing listens'),
    });
    await backend.up();
    await minutes(clock, 0.5);
    await until('all agents', () => backend.state.agents.size === hosts.length);
    await minutes(clock, 0.5);
    await until('all heartbeats', () => [...backend.state.agents.values()].every((agent) => agent.heartbeat));
    expect(reporting.state()).toMatchObject({ ok: true, detail: 'answers; 20 hosts registered' });
  });
});

describe('agents', () => {
  test('each host registers when it comes up, and heartbeats with its true status, spread over the interval', async () => {
    const clock = new FakeClock();
    const backend = await started({ latestVersion: '99.0.0' });
    const status = new Map<string, HostStatus>();
    const jobs: unknown[] = [];
    const reporting = await reportingTo(backend.url, clock, {
      status,
      onJobs: (host, given) => jobs.push([host, given]),
    });
    const hosts = ['kvm-01', 'kvm-02', 'kvm-03'].map(hostNamed);
    const down = { code: 'TIMEOUT', message: 'no answer' };
    status.set('kvm-03', { status: 'unreachable', lastError: down });
    reporting.reporter.apply(hosts);
    await minutes(clock, 0.5);
    const names = () => [...backend.state.agents.values()].map(({ facts }) => facts.name).sort();
    expect(names()).toEqual(['kvm-01', 'kvm-02']);
    status.set('kvm-03', { status: 'degraded' });
    await minutes(clock, 0.5);
    expect(names()).toEqual(['kvm-01', 'kvm-02', 'kvm-03']);
    status.set('kvm-03', { status: 'unreachable', lastError: down });
    await minutes(clock, 0.5);
    const third = [...backend.state.agents.values()].find(({ facts }) => facts.name === 'kvm-03');
    expect(third?.heartbeat).toMatchObject({ status: 'unreachable', last_error: down });
    expect(reporting.reporter.updateAvailable).toBe(true);
    expect(reporting.reporter.heartbeatAgeMs('kvm-03')).toBeLessThanOrEqual(30_000);
    expect(reporting.reporter.registered()).toBe(3);
    expect(jobs).toEqual([]);
    reporting.reporter.apply([]);
    const before = backend.asked.length;
    await minutes(clock, 1);
    expect(backend.asked.length).toBe(before);
  });

  test('the log holds no token', async () => {
    const file = join(folder(), 'log');
    const backend = await started();
    const log = createLog({ level: 'DEBUG', file });
    const client = await clientOf(backend.url, { log });
    await client.register(one);
    backend.revokeAccessTokens();
    backend.revokeRefreshTokens();
    await client.heartbeat(one, beat);
    backend.fault({ kind: 'status', status: 500 });
    await failure(client.heartbeat(one, beat));
    await client.close();
    await until('the log', async () => (await readFile(file, 'utf8')).includes('registered'));
    const written = await readFile(file, 'utf8');
    const headers = backend.asked.map(({ headers }) => String(headers.authorization).replace('Bearer ', ''));
    for (const token of headers) expect(written).not.toContain(token);
  });
});

function hostNamed(name: string) {
  return { name, address: '192.0.2.1', labels: { rack: 'r1' }, libvirt: { uri: 'qemu:///system' } };
}

type Told = {
  status?: Map<string, HostStatus>;
  onJobs?: (host: string, jobs: readonly unknown[]) => void;
  onCall?: (call: string, result: string) => void;
};

async function reportingTo(url: string, clock: Clock, { status, onJobs, onCall }: Told): Promise<Backend> {
  const env = { AGENT_BACKEND_URL: url, AGENT_TOKEN: 'bootstrap-token', AGENT_DATA_DIR: folder() };
  const { settings } = loadSettings(env);
  if (!settings?.backendUrl) throw new Error('settings');
  const none: HostSamples = { vms: undefined, system: undefined };
  const reporting = await Backend.open({
    settings: { ...settings, backendUrl: settings.backendUrl },
    ...{ env: {}, collectorId: 'test', clock, log: silentLog },
    sources: {
      status: (host) => status?.get(host) ?? { status: 'online' },
      samples: () => none,
      facts: async () => ({ hostname: undefined, hypervisor: {} }),
      operations: () => ['list'],
    },
    ...(onJobs && { onJobs }),
    ...(onCall && { onCall }),
  });
  opened.push(() => reporting.close());
  return reporting;
}

/** Fake time in steps small enough for real sockets to keep up with. */
async function minutes(clock: FakeClock, count: number): Promise<void> {
  for (let step = 0; step < count * 60; step++) {
    await clock.advance(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
}

async function listening(server: Server): Promise<Server> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  opened.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return server;
}

function portOf(server: Server): number {
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('it does not listen');
  return address.port;
}

function connectProxy(asked: string[], authorization: string): Server {
  return createServer((socket) => {
    socket.once('data', (chunk) => {
      const head = chunk.toString('latin1');
      if (!head.includes(`Proxy-Authorization: ${authorization}\r\n`)) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        return;
      }
      const [, host, port] = /^CONNECT ([\d.]+):(\d+) /.exec(head) ?? [];
      const way = connectTcp(Number(port), host);
      way.once('connect', () => {
        asked.push(head.split('\r\n')[0] ?? '');
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        socket.pipe(way).pipe(socket);
      });
      way.once('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
      socket.once('close', () => way.destroy());
    });
  });
}
