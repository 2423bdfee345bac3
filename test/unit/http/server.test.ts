import { afterEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../../src/core/log.js';
import { Secret } from '../../../src/core/secret.js';
import { type HttpServer, type HttpSources, type Readiness, serveHttp } from '../../../src/http/server.js';
import { openAccess } from '../../support/access.js';

let server: HttpServer | undefined;

afterEach(async () => {
  await server?.close();
  server = undefined;
});

const sources: HttpSources = {
  async *fleetPage() {
    yield Buffer.from('node_load1{instance="kvm-1"} 1\n');
    yield Buffer.from('outrigger_store_up 1\n');
  },
  hostPage: (name) =>
    name === 'kvm-1' ? { bytes: Buffer.from('node_load1 1\n'), release: () => {} } : undefined,
  collectorPage: async () => 'outrigger_store_up 1\n',
  sdHosts: () => [{ name: 'kvm-1', labels: { rack: 'r1' } }],
  scraped: () => {},
  readiness: () => ({ ready: true, checks: { store: { ok: true, detail: 'up' } } }),
};

async function serve(with_: Partial<HttpSources> = {}, token?: Secret): Promise<string> {
  server = await serveHttp({
    host: '127.0.0.1',
    port: 0,
    metricsToken: () => token,
    sources: { ...sources, ...with_ },
    access: await openAccess(),
    log: silentLog,
  });
  return server.url;
}

describe('metrics', () => {
  it('serves the fleet, one host and the collector as exposition text', async () => {
    const url = await serve();
    for (const [path, text] of [
      ['/metrics', 'node_load1{instance="kvm-1"} 1\noutrigger_store_up 1\n'],
      ['/metrics/hosts/kvm-1', 'node_load1 1\n'],
      ['/metrics/collector', 'outrigger_store_up 1\n'],
    ] as const) {
      const answer = await fetch(url + path);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
      expect(await answer.text()).toBe(text);
    }
  });

  it('answers 404 as a problem for a host that is not in the inventory, and for any other path', async () => {
    const url = await serve();
    for (const [path, type, detail] of [
      ['/metrics/hosts/kvm-9', 'host-unknown', 'no such host in the inventory'],
      ['/nothing?a=b', 'not-found', 'nothing is at /nothing'],
    ] as const) {
      const answer = await fetch(url + path);
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      expect(await answer.json()).toMatchObject({
        type: `urn:outrigger:problem:${type}`,
        status: 404,
        detail,
      });
    }
  });

  it('adds what helps whoever asks for a host that is elsewhere', async () => {
    const url = await serve({ hostHint: (name) => `look for ${name} elsewhere` });
    const answer = await fetch(`${url}/metrics/hosts/kvm-9`);
    expect([answer.status, await answer.json()]).toEqual([
      404,
      expect.objectContaining({ hint: 'look for kvm-9 elsewhere' }),
    ]);
  });

  it('wants the bearer token where one is set, and for metrics only', async () => {
    const url = await serve({}, new Secret('s3cret'));
    const status = async (path: string, authorization?: string) =>
      (await fetch(url + path, authorization ? { headers: { authorization } } : {})).status;
    for (const path of ['/metrics', '/metrics/collector', '/metrics/hosts/kvm-1', '/sd/prometheus']) {
      expect(await status(path)).toBe(401);
      expect(await status(path, 'Bearer wrong')).toBe(401);
      expect(await status(path, 'Basic s3cret')).toBe(401);
      expect(await status(path, 'Bearer s3cret')).toBe(200);
    }
    expect(await status('/readyz')).toBe(200);
    expect((await (await fetch(`${url}/metrics`)).text()).includes('s3cret')).toBe(false);
  });

  it('says nothing of what went wrong inside', async () => {
    const url = await serve({ collectorPage: () => Promise.reject(new Error('password=hunter2')) });
    const answer = await fetch(`${url}/metrics/collector`);
    expect(answer.status).toBe(500);
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ type: 'urn:outrigger:problem:internal', status: 500 });
    expect(text).not.toContain('hunter2');
  });
});

describe('health', () => {
  it('is live always, and ready with reasons', async () => {
    let readiness: Readiness = { ready: false, checks: { store: { ok: false, detail: 'starting' } } };
    const url = await serve({ readiness: () => readiness });
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    const before = await fetch(`${url}/readyz`);
    expect(before.status).toBe(503);
    expect(await before.json()).toEqual({
      status: 'not ready',
      checks: { store: { ok: false, detail: 'starting' } },
    });
    readiness = { ready: true, checks: {} };
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });
});

describe('listening', () => {
  it('says which address is taken and which setting to change', async () => {
    const url = await serve();
    const port = Number(new URL(url).port);
    const again = serveHttp({
      host: '127.0.0.1',
      port,
      metricsToken: () => undefined,
      sources,
      access: await openAccess(),
      log: silentLog,
    });
    await expect(again).rejects.toMatchObject({
      code: 'SETTINGS',
      message: `cannot listen on 127.0.0.1:${port}: another process has this port`,
      hint: expect.stringContaining('AGENT_LISTEN'),
    });
  });
});
