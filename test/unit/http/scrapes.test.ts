// How pages are sent: compressed or not, slowly read, too late, given up, too many at a time.
import { connect, type Socket } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../../src/core/log.js';
import type { PageOptions } from '../../../src/http/metrics-routes.js';
import { type HttpServer, type HttpSources, serveHttp } from '../../../src/http/server.js';
import { openAccess } from '../../support/access.js';
import { until } from '../../support/until.js';

let server: HttpServer | undefined;
let scrapes: [page: string, outcome: string, bytes: number][] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.close();
  server = undefined;
  scrapes = [];
});

async function serve(over: Partial<HttpSources> = {}): Promise<string> {
  server = await serveHttp({
    host: '127.0.0.1',
    port: 0,
    metricsToken: () => undefined,
    access: await openAccess(),
    log: silentLog,
    sources: {
      async *fleetPage() {
        yield Buffer.from('a 1\n');
      },
      hostPage: () => ({ bytes: Buffer.from('b 1\n'), release: () => {} }),
      collectorPage: async (format) => `c 1\n${format === 'openmetrics' ? '# EOF\n' : ''}`,
      sdHosts: () => [],
      scraped: (page, outcome, _durationMs, bytes) => scrapes.push([page, outcome, bytes]),
      readiness: () => ({ ready: true, checks: {} }),
      ...over,
    },
  });
  return server.url;
}

/** A request as it goes over the wire, its answer unread. */
async function ask(url: string, request: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  socket.on('error', () => {});
  socket.pause();
  socket.write(`${request}\r\nHost: x\r\n\r\n`);
  return socket;
}

/** Yields until the page is ended; `started` counts chunks. */
function endless(started: { chunks: number; ended: boolean }) {
  return async function* ({ signal }: PageOptions): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
        started.chunks++;
        yield Buffer.alloc(64 * 1024, 'x');
      }
    } finally {
      started.ended = true;
    }
  };
}

describe('a page', () => {
  it('is compressed and in OpenMetrics for those who ask', async () => {
    const url = await serve();
    const plain = await fetch(`${url}/metrics/collector`, { headers: { 'accept-encoding': 'identity' } });
    expect(plain.headers.get('content-encoding')).toBeNull();
    expect(plain.headers.get('vary')).toBe('accept, accept-encoding');
    const asked = {
      accept: 'application/openmetrics-text;version=1.0.0,*/*;q=0.1',
      'accept-encoding': 'gzip',
    };
    const answer = await fetch(`${url}/metrics/collector`, { headers: asked });
    expect(answer.headers.get('content-encoding')).toBe('gzip');
    expect(answer.headers.get('content-type')).toBe(
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    );
    expect(await answer.text()).toBe('c 1\n# EOF\n');
    expect(scrapes).toEqual([
      ['collector', 'ok', 4],
      ['collector', 'ok', 10],
    ]);
  });

  it('is gzip on the wire', async () => {
    const socket = await ask(await serve(), 'GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip');
    const parts: Buffer[] = [];
    for await (const part of socket) parts.push(part);
    const answer = Buffer.concat(parts);
    expect(gunzipSync(answer.subarray(answer.indexOf('\r\n\r\n') + 4)).toString()).toBe('a 1\n');
  });

  it.each(['gzip', 'identity'])(
    'of a host in %s is given back when it is not read any more',
    async (coding) => {
      const bytes = Buffer.from('b 1\n'.repeat(100_000));
      const text = bytes.toString();
      let released = 0;
      const release = () => {
        released++;
        bytes.fill('x');
      };
      const url = await serve({ hostPage: () => ({ bytes, release }) });
      const answer = await fetch(`${url}/metrics/hosts/kvm-1`, { headers: { 'accept-encoding': coding } });
      expect((await answer.text()) === text).toBe(true);
      expect(released).toBe(1);
    },
  );

  it('answers HEAD without a text', async () => {
    const answer = await fetch(`${await serve()}/metrics`, { method: 'HEAD' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await answer.text()).toBe('');
  });

  it('is made no faster than it is read, and ends when its reader goes away', async () => {
    const made = { chunks: 0, ended: false };
    const socket = await ask(await serve({ fleetPage: endless(made) }), 'GET /metrics HTTP/1.1');
    let last = -1;
    await until(
      'the page to wait for its reader',
      () => {
        const isStill = made.chunks > 0 && made.chunks === last;
        last = made.chunks;
        return isStill;
      },
      { everyMs: 100 },
    );
    expect(made.chunks).toBeLessThan(500); // what the kernel buffers
    socket.destroy();
    await until('the page to end', () => made.ended && scrapes.length > 0);
    expect(scrapes[0]?.slice(0, 2)).toEqual(['fleet', 'gone']);
  });

  it('that is late before its first byte is a 503', async () => {
    const fleetPage = async function* ({ signal }: PageOptions): AsyncGenerator<Buffer> {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      signal.throwIfAborted();
    };
    const answer = await fetch(`${await serve({ fleetPage })}/metrics`, {
      headers: { 'x-prometheus-scrape-timeout-seconds': '0.1' },
    });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ hint: expect.stringContaining('/sd/prometheus') });
    expect(scrapes).toEqual([['fleet', 'late', 0]]);
  });

  it.each(['gzip', 'identity'])('that is late after it (%s) is a reset, never an end', async (encoding) => {
    const url = await serve({ fleetPage: endless({ chunks: 0, ended: false }) });
    const headers = { 'x-prometheus-scrape-timeout-seconds': '0.2', 'accept-encoding': encoding };
    const answer = await fetch(`${url}/metrics`, { headers });
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
    await until('the outcome', () => scrapes.length > 0);
    expect(scrapes[0]?.[1]).toBe('late');
  });

  it('that is late looks cut to a client of HTTP/1.0 too', async () => {
    const url = await serve({ fleetPage: endless({ chunks: 0, ended: false }) });
    const socket = await ask(url, 'GET /metrics HTTP/1.0\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.2');
    const read = async () => {
      for await (const _ of socket);
    };
    await expect(read()).rejects.toMatchObject({ code: 'ECONNRESET' });
    await until('the outcome', () => scrapes.length > 0);
    expect(scrapes[0]?.[1]).toBe('late');
  });

  it('that breaks off half way is a reset', async () => {
    const fleetPage = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.from('a 1\n');
      throw new Error('password=hunter2');
    };
    const url = await serve({ fleetPage });
    const whole = fetch(`${url}/metrics`).then((answer) => answer.text());
    await expect(whole).rejects.toThrow();
    await until('the outcome', () => scrapes.length > 0);
    expect(scrapes[0]).toEqual(['fleet', 'failed', 4]);
  });

  it('is refused while as many as may be are sent, and given again afterwards', async () => {
    const url = await serve({ fleetPage: endless({ chunks: 0, ended: false }) });
    const readers = await Promise.all(Array.from({ length: 4 }, () => ask(url, 'GET /metrics HTTP/1.1')));
    const refused = await until('a refusal', async () => {
      const answer = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(200) }).catch(
        () => undefined,
      );
      if (answer?.status === 503) return answer;
      await answer?.body?.cancel().catch(() => {});
      return undefined;
    });
    expect(refused.headers.get('retry-after')).toBe('5');
    expect((await fetch(`${url}/metrics/hosts/kvm-1`)).status).toBe(200);
    for (const reader of readers) reader.destroy();
    await until('a place', async () => {
      const abort = new AbortController();
      const { status } = await fetch(`${url}/metrics`, { signal: abort.signal });
      abort.abort();
      return status === 200;
    });
  });
});
