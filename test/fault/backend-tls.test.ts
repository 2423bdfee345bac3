// The backend's certificates, good and bad, over real TLS: each refusal names what is wrong, and nothing is sent before the
// backend is proven. And the way through a proxy.
import { copyFileSync, utimesSync } from 'node:fs';
import { connect as connectTcp, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { BackendError } from '../../src/backend/backend-error.js';
import { BackendHttp } from '../../src/backend/http.js';
import { lookEveryMs } from '../../src/backend/tls-files.js';
import {
  type Agents,
  beat,
  clientOf,
  closeAll,
  failure,
  folder,
  listening,
  one,
  opened,
  portOf,
  started,
  two,
} from '../support/backend-client.js';
import { TestCa } from '../support/certificates.js';
import { FakeClock } from '../support/fake-clock.js';

afterEach(closeAll);

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
