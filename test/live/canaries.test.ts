// A secret of every kind is given to the service, used rightly and wrongly, and then looked for in all that leaves it: the log at its
// most talkative, every page and answer with its headers, the metrics, the queue page, the audit log, and the whole store.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { mintToken } from '../../src/http/auth/tokens.js';
import { Service } from '../support/outrigger.js';
import { OutsideRedis } from '../support/queue.js';
import { makeKey, type Sshd, startSshd } from '../support/sshd.js';
import { until } from '../support/until.js';

const passphrase = 'canary-passphrase-4711';
const bootstrapToken = 'canary-bootstrap-4712';
const metricsToken = 'canary-metrics-4713';
const wrongToken = 'canary-wrong-4714';

let dir: string;
let redis: OutsideRedis;
let provider: Server;
let sshd: Sshd;
let service: Service;
let admin: string;
let jwt: string;
let badJwt: string;
let keyText: string;
/** Name of the secret → a part of it that is in no other text. */
let secrets: Map<string, string>;
/** Where → text. */
const left = new Map<string, string>();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'canaries-'));
  redis = await OutsideRedis.start();
  const key = makeKey(join(dir, 'poll_key'), { passphrase });
  keyText = await readFile(key.file, 'utf8');
  sshd = await startSshd({ authorizedKeys: [key.publicKey] });
  await writeFile(join(dir, 'passphrase'), passphrase, { mode: 0o600 });
  await writeFile(join(dir, 'metrics-token'), metricsToken, { mode: 0o600 });
  await writeFile(
    join(dir, 'inventory.yaml'),
    `version: 1
defaults:
  ssh:
    user: ${sshd.user}
    keyFile: ${key.file}
    keyPassphraseFile: ${join(dir, 'passphrase')}
    opsKeyFile: ${key.file}
    knownHostsFile: ${sshd.knownHosts()}
hosts:
  - { name: kvm-01, address: 127.0.0.1, ssh: { port: ${sshd.port} }, libvirt: { socket: ${join(dir, 'none')} } }
  - { name: kvm-02, address: 127.0.0.1, ssh: { port: 1 } }
`,
  );
  const made = mintToken();
  admin = made.token.expose();
  await writeFile(
    join(dir, 'tokens.yaml'),
    `version: 1\ntokens:\n  - { name: root, role: admin, sha256: ${made.sha256} }\n`,
  );
  const [keys, others] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')]);
  const sign = (key: typeof keys.privateKey) =>
    new SignJWT({ role: 'viewer' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .setIssuer('idp')
      .setAudience('outrigger')
      .setSubject('carol')
      .setExpirationTime('5m')
      .sign(key);
  [jwt, badJwt] = await Promise.all([sign(keys.privateKey), sign(others.privateKey)]);
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'k', alg: 'ES256' }] });
  provider = createServer((_request, response) => response.end(jwks));
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  service = await Service.start(join(dir, 'inventory.yaml'), {
    AGENT_REDIS_URL: redis.url,
    AGENT_BACKEND_URL: 'http://127.0.0.1:9',
    AGENT_TOKEN: bootstrapToken,
    AGENT_METRICS_TOKEN_FILE: join(dir, 'metrics-token'),
    AGENT_API_TOKENS_FILE: join(dir, 'tokens.yaml'),
    AGENT_JWKS_URL: `http://127.0.0.1:${(provider.address() as AddressInfo).port}/jwks`,
    AGENT_JWT_ISSUER: 'idp',
    AGENT_JWT_AUDIENCE: 'outrigger',
    AGENT_LOG_LEVEL: 'DEBUG',
  });
  secrets = new Map([
    ['the SSH key', keyText.split('\n')[3] ?? ''],
    ['its passphrase', passphrase],
    ["the store's password", redis.password],
    ['the bootstrap token', bootstrapToken],
    ["the metrics' token", metricsToken],
    ['an API token', admin.slice(-30)],
    ['a wrong token', wrongToken],
    ['a JWT', jwt.slice(-40)],
    ['a wrong JWT', badJwt.slice(-40)],
  ]);
});

afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  provider?.close();
  await sshd?.stop();
  await redis?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

async function ask(path: string, init: RequestInit & { token?: string } = {}): Promise<Response> {
  const { token, headers, ...more } = init;
  const answer = await fetch(service.url + path, {
    redirect: 'manual',
    signal: AbortSignal.timeout(10_000),
    headers: { ...(token && { authorization: `Bearer ${token}` }), ...(headers as Record<string, string>) },
    ...more,
  });
  const text = await answer.clone().text();
  // Being sent to the login page repeats the address that was asked for, to who asked.
  const shown = [...answer.headers].filter(([name]) => name !== 'location' || !path.includes('?token='));
  left.set(`${left.size}: ${init.method ?? 'GET'} ${path}`, JSON.stringify(shown) + text);
  return answer;
}

/** What the stream of changes tells. */
async function listen(): Promise<{ text(): string; close(): void }> {
  const leave = new AbortController();
  const answer = await fetch(`${service.url}/api/v1/stream`, {
    headers: { authorization: `Bearer ${admin}` },
    signal: leave.signal,
  });
  let told = JSON.stringify([...answer.headers]);
  const read = async () => {
    for await (const chunk of answer.body ?? []) told += Buffer.from(chunk).toString();
  };
  read().catch(() => undefined);
  return { text: () => told, close: () => leave.abort() };
}

const form = (fields: Record<string, string>) => ({
  method: 'POST',
  body: new URLSearchParams(fields),
});

it('nothing that is secret leaves the service', async () => {
  await until('the store', async () => (await ask('/queues/api/queues', { token: admin })).status === 200);
  await until('the key to be used', () => sshd.log().includes('Accepted publickey'));

  // The stream of changes, from before what follows.
  const stream = await listen();

  // Every page and route that reads, as docs/roles.md lists them.
  const table = await readFile('docs/roles.md', 'utf8');
  const paths = [...table.matchAll(/^\| GET \| `([^`]+)` \|/gm)].map(([, path = '']) =>
    path.replace(/ ?…$/, ''),
  );
  expect(paths.length).toBeGreaterThan(25);
  for (const path of paths.filter((path) => !path.endsWith('/stream') && path !== '/assets/')) {
    const real = path.replace(/\{(name|host)\}/, 'kvm-01').replace(/\{\w+\}/g, 'web-1');
    await ask(real, { token: real.startsWith('/metrics') ? metricsToken : admin });
    for (const token of [jwt, badJwt, wrongToken]) await ask(real, { token });
    await ask(`${real}?token=${wrongToken}`);
  }
  // Signing in rightly and wrongly, jobs with a key of the caller's, a job that ends, bodies that are refused.
  const login = await ask('/login', form({ token: admin }));
  expect(login.status).toBe(303);
  const session =
    /outrigger_session=([\w-]+)/.exec(login.headers.get('set-cookie') ?? '')?.[1] ?? expect.fail('no cookie');
  // The cookie is the one place where a secret must leave.
  left.delete([...left.keys()].at(-1) ?? '');
  secrets.set('a session', session);
  await ask('/', { headers: { cookie: `outrigger_session=${session}` } });
  await ask('/login', form({ token: jwt.slice(0, -2), next: '/hosts/kvm-01' }));
  await ask('/login', form({ token: wrongToken }));
  const post = (body: string, key: string) =>
    ask('/api/v1/jobs', {
      method: 'POST',
      token: admin,
      body,
      headers: { 'content-type': 'application/json', 'idempotency-key': key },
    });
  const added = await post(JSON.stringify({ op: 'stop', host: 'kvm-02', vm: 'web-1' }), 'canaries-1');
  expect(added.status).toBeLessThan(300);
  await post(
    JSON.stringify({ op: 'stop', host: 'kvm-01', vm: 'web-1', params: { token: wrongToken } }),
    'canaries-2',
  );
  await post(`{"token": "${wrongToken}"`, 'canaries-3');
  const { id } = (await added.json()) as { id: string };
  await until('the job to end', async () => {
    const { state } = (await (await ask(`/api/v1/jobs/${id}`, { token: admin })).json()) as { state: string };
    return state === 'failed';
  });
  await ask(`/jobs/${id}`, { token: admin });
  await ask('/queues/api/queues?activeQueue=outrigger-vm-jobs&status=latest&page=1&jobsPerPage=50', {
    token: admin,
  });
  await ask('/queues/api/queues?activeQueue=outrigger-polls&status=latest&page=1&jobsPerPage=50', {
    token: admin,
  });
  await ask('/api/v1/audit', { token: admin });
  await ask('/readyz');

  await until('a host and the job in the stream', () =>
    /event: host\b[\s\S]*HOST_UNREACHABLE/.test(stream.text()),
  );
  stream.close();
  left.set('stream', stream.text());

  const client = new Redis(redis.url);
  for (const key of await client.keys('*')) {
    const type = await client.type(key);
    const read: Record<string, () => Promise<unknown>> = {
      hash: () => client.hgetall(key),
      string: () => client.get(key),
      list: () => client.lrange(key, 0, -1),
      zset: () => client.zrange(key, '0', '-1'),
      set: () => client.smembers(key),
      stream: () => client.xrange(key, '-', '+'),
    };
    left.set(`store ${key}`, JSON.stringify(await read[type]?.()));
  }
  client.disconnect();
  for (const name of await readdir(join(service.dataDir, 'audit')))
    left.set(`audit ${name}`, await readFile(join(service.dataDir, 'audit', name), 'utf8'));
  left.set('log', JSON.stringify(service.lines) + service.stderr);

  // What was looked through is what there is.
  expect(
    [...left.keys()].filter((where) => where.startsWith('store bull:outrigger-vm-jobs')).length,
  ).toBeGreaterThan(2);
  expect(left.get('log')).toContain('kvm-01');
  expect([...left.values()].join('')).toContain('HOST_UNREACHABLE');
  expect([...left.values()].join('')).toContain('"requestedBy":"carol"');
  for (const [name, secret] of secrets) {
    expect(secret.length).toBeGreaterThan(8);
    const found = [...left].filter(([, text]) => text.includes(secret)).map(([where]) => where);
    expect([name, found]).toEqual([name, []]);
  }
}, 60_000);
