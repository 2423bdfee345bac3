// The pages of metrics as Prometheus asks for them: format, compression, deadline, and a bound on how many are made at a
// time. A page is sent as fast as its reader takes it and is held nowhere. It refuses to let a page that was cut off look
// complete: before the first byte it is a 503, after it the connection is reset.
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip, gzip, type ZlibOptions } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestAsyncHookHandler } from 'fastify';
import { type Clock, systemClock } from '../core/clock.js';
import type { Log } from '../core/log.js';
import type { Format } from '../metrics/exposition.js';
import type { ScrapeOutcome } from '../metrics/own.js';
import type { Page } from '../metrics/page.js';
import { acceptsGzip, contentTypes, formatFor } from './encodings.js';
import { sendProblem } from './problem.js';
import { type SdHost, sdTargets } from './sd.js';

export type PageOptions = {
  /** Ends the making of the page. */
  signal: AbortSignal;
  format: Format;
};

export type MetricsSources = {
  fleetPage(options: PageOptions): AsyncIterable<Buffer>;
  /** Undefined for a host that the inventory does not have. */
  hostPage(name: string, format: Format): Page | undefined;
  /** What helps whoever asks for such a host. */
  hostHint?(name: string): string | undefined;
  collectorPage(format: Format): Promise<string>;
  sdHosts(): readonly SdHost[];
  /** Told of each request for a page; `bytes` are those before compression. */
  scraped(page: string, outcome: ScrapeOutcome, durationMs: number, bytes: number): void;
};

export type MetricsRoutesOptions = {
  sources: MetricsSources;
  guard: onRequestAsyncHookHandler;
  log: Log;
  clock?: Clock;
};

/** Pages of the fleet, and of single hosts and the collector, that are sent at a time. */
const fleetScrapesMax = 4;
const smallScrapesMax = 128;
const retryAfterS = 5;
/** No page takes longer, whoever reads it. */
const pageTimeoutMsMax = 120_000;
/** Part of the scraper's timeout kept for the way of the last bytes. */
const timeoutOffsetMs = 500;
/** The fastest: text of metrics is a ninth even so. */
const gzipLevel = 1;
/** A page that compresses to less than this part goes to the thread that compresses and back once. */
const gzipChunkPart = 1 / 8;
const gzipChunkBytesMin = 1024;

const gzipWhole = promisify<Buffer, ZlibOptions, Buffer>(gzip);

export function addMetrics(app: FastifyInstance, options: MetricsRoutesOptions): void {
  const { sources, guard } = options;
  const fleet = new Scrapes({ page: 'fleet', max: fleetScrapesMax, whole: false }, options);
  const host = new Scrapes({ page: 'host', max: smallScrapesMax, whole: true }, options);
  const collector = new Scrapes({ page: 'collector', max: smallScrapesMax, whole: true }, options);
  const guarded = { onRequest: guard, config: { need: 'none' as const } };
  app.get('/metrics', guarded, (request, reply) =>
    fleet.serve(request, reply, (page) => sources.fleetPage(page)),
  );
  app.get('/metrics/collector', guarded, (request, reply) =>
    collector.serve(request, reply, ({ format }) => text(sources.collectorPage(format))),
  );
  app.get<{ Params: { name: string } }>('/metrics/hosts/:name', guarded, async (request, reply) => {
    const { name } = request.params;
    const make = ({ format }: PageOptions) => {
      const page = sources.hostPage(name, format);
      return page && one(page);
    };
    return host.serve(request, reply, make, () => sources.hostHint?.(name));
  });
  app.get('/sd/prometheus', guarded, async (request, reply) => {
    const targets = sdTargets(request.headers.host, sources.sdHosts());
    return targets ?? sendProblem(reply, 'bad-request', 'the Host header is not an address');
  });
}

/** The page in one chunk, which is good until the next is asked for. */
async function* one(page: Page): AsyncGenerator<Buffer> {
  try {
    yield page.bytes;
  } finally {
    page.release();
  }
}

async function* text(page: Promise<string>): AsyncGenerator<Buffer> {
  yield Buffer.from(await page);
}

/** For pages that are whole: what a slow reader has not read yet is no other page's. */
async function* copied(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) yield Buffer.from(chunk);
}

/** For pages that are whole: compressed in one go, where a stream crosses to its thread and back for every 16 KiB. */
async function* zipped(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    const chunkSize = Math.max(gzipChunkBytesMin, Math.ceil(chunk.length * gzipChunkPart));
    yield await gzipWhole(chunk, { level: gzipLevel, chunkSize });
  }
}

/** Why a page ended before its end. */
class PageEnded extends Error {
  constructor(readonly outcome: 'gone' | 'late') {
    super(outcome);
  }
}

/** Pages of one kind, so many at a time. */
class Scrapes {
  #running = 0;

  constructor(
    /** `whole` pages come in one piece. */
    private readonly kind: { page: string; max: number; whole: boolean },
    private readonly options: MetricsRoutesOptions,
  ) {}

  async serve(
    request: FastifyRequest,
    reply: FastifyReply,
    make: (options: PageOptions) => AsyncIterable<Buffer> | undefined,
    hint?: () => string | undefined,
  ): Promise<FastifyReply> {
    const { clock = systemClock, sources } = this.options;
    const startedMs = clock.monotonicMs();
    const count = { bytes: 0 };
    const done = (outcome: ScrapeOutcome) =>
      sources.scraped(this.kind.page, outcome, clock.monotonicMs() - startedMs, count.bytes);
    if (this.#running >= this.kind.max) {
      done('refused');
      const detail = `${this.kind.max} pages of this kind are being sent already`;
      return sendProblem(reply, 'busy', { detail, retryAfterSeconds: retryAfterS });
    }
    this.#running++;
    const ending = new AbortController();
    const timeoutMs = timeoutOf(request.headers['x-prometheus-scrape-timeout-seconds']);
    const late = clock.after(timeoutMs, () => ending.abort(new PageEnded('late')));
    const onClose = () => {
      if (!reply.raw.writableEnded) ending.abort(new PageEnded('gone'));
    };
    reply.raw.once('close', onClose);
    try {
      const outcome = await this.#send(request, reply, make, ending.signal, count);
      if (outcome) done(outcome);
      else sendProblem(reply, 'host-unknown', { detail: 'no such host in the inventory', hint: hint?.() });
      return reply;
    } catch (error) {
      done('failed');
      throw error;
    } finally {
      this.#running--;
      late.cancel();
      reply.raw.off('close', onClose);
    }
  }

  /** Undefined, and nothing sent, when there is no such page. Throws only before the first byte. */
  async #send(
    request: FastifyRequest,
    reply: FastifyReply,
    make: (options: PageOptions) => AsyncIterable<Buffer> | undefined,
    signal: AbortSignal,
    count: { bytes: number },
  ): Promise<ScrapeOutcome | undefined> {
    const format = formatFor(request.headers.accept);
    const chunks = make({ signal, format })?.[Symbol.asyncIterator]();
    if (!chunks) return undefined;
    let first: IteratorResult<Buffer>;
    try {
      first = await chunks.next();
      signal.throwIfAborted();
    } catch (error) {
      if (!(error instanceof PageEnded)) throw error;
      if (error.outcome === 'late') {
        const hint = 'Scrape each host by itself (/sd/prometheus), or raise scrape_timeout.';
        sendProblem(reply, 'busy', { detail: 'the page is not complete within the timeout', hint });
      } else reply.hijack();
      return error.outcome;
    }
    const gzip = acceptsGzip(request.headers['accept-encoding']);
    begin(reply, format, gzip);
    if (request.method === 'HEAD') {
      reply.raw.end();
      await chunks.return?.();
      return 'ok';
    }
    return this.#stream(reply, counted(first, chunks, count), gzip, signal);
  }

  async #stream(
    reply: FastifyReply,
    chunks: AsyncIterable<Buffer>,
    gzip: boolean,
    signal: AbortSignal,
  ): Promise<ScrapeOutcome> {
    // A reset, since a mere end would look like the end of the page to a client of HTTP/1.0.
    const cut = () => reply.raw.socket?.resetAndDestroy();
    signal.addEventListener('abort', cut, { once: true });
    try {
      if (this.kind.whole) await pipeline(gzip ? zipped(chunks) : copied(chunks), reply.raw);
      else if (gzip) await pipeline(chunks, createGzip({ level: gzipLevel }), reply.raw);
      else await pipeline(chunks, reply.raw);
      return 'ok';
    } catch (error) {
      cut();
      if (signal.reason instanceof PageEnded) return signal.reason.outcome;
      this.options.log.error({ error, page: this.kind.page }, 'a page of metrics broke off');
      return 'failed';
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }
}

/** From here on the response is ours: fastify would end a broken stream without a trace in HTTP/1.0. */
function begin(reply: FastifyReply, format: Format, gzip: boolean): void {
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value);
  }
  reply.raw.writeHead(200, {
    'content-type': contentTypes[format],
    vary: 'accept, accept-encoding',
    'cache-control': 'no-store',
    ...(gzip && { 'content-encoding': 'gzip' }),
  });
}

async function* counted(
  first: IteratorResult<Buffer>,
  rest: AsyncIterator<Buffer>,
  count: { bytes: number },
): AsyncGenerator<Buffer> {
  try {
    for (let next = first; !next.done; next = await rest.next()) {
      count.bytes += next.value.length;
      yield next.value;
    }
  } finally {
    await rest.return?.();
  }
}

/** Milliseconds that a page may take. */
function timeoutOf(header: string | string[] | undefined): number {
  if (typeof header !== 'string' || !/^\d{1,6}(\.\d{1,9})?$/.test(header)) return pageTimeoutMsMax;
  const scraperMs = Number(header) * 1000;
  return Math.min(pageTimeoutMsMax, Math.max(scraperMs - timeoutOffsetMs, scraperMs / 2));
}
