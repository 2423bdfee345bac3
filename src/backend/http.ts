// One HTTP request to the backend, over connections that stay open. Every failure is a BackendError that says what went
// wrong, how to mend it, and whether trying again makes sense. It follows no redirect, reads no more than it needs, and
// takes nothing but JSON for an answer: a login page that says 200 has not taken a report.
import { type Dispatcher, Pool } from 'undici';
import { type Clock, systemClock } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import type { Secret } from '../core/secret.js';
import { version } from '../core/version.js';
import { Problem } from './api.js';
import { BackendError, quoted } from './backend-error.js';
import { connectBackend } from './connect.js';
import { TlsFiles, type TlsPaths } from './tls-files.js';
import { handshakeError } from './tls-problem.js';

export const answerBytesMax = 1024 * 1024;
/** Of the body of a refusal, which is only quoted. */
const problemBytesMax = 64 * 1024;
const headersBytesMax = 16 * 1024;
export const connectionsMax = 16;
const connectTimeoutMsMax = 10_000;
const keepAliveMs = 60_000;
const keepAliveMsMax = 600_000;
/** What a Retry-After may ask for at most. */
export const retryAfterMsMax = 3_600_000;

export type HttpOptions = {
  /** AGENT_BACKEND_URL. */
  url: string;
  /** Of one request, connecting included. */
  timeoutMs: number;
  verify: boolean;
  tls?: TlsPaths;
  proxy?: URL | undefined;
  clock?: Clock;
  log?: Log;
};

export type HttpRequest = {
  /** Below the URL of the backend. */
  path: string;
  body: unknown;
  token?: Secret | undefined;
  headers?: Readonly<Record<string, string>>;
  /** What may be shorter than the default. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
};

export type Certificates = {
  /** Wall milliseconds; absent when there is none, or none was seen yet. */
  ourExpiryMs?: number | undefined;
  backendExpiryMs?: number | undefined;
};

export class BackendHttp implements AsyncDisposable {
  readonly #options: HttpOptions;
  readonly #base: URL;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #files: TlsFiles;
  #pool: Pool;
  #backendExpiryMs: number | undefined;
  #answered = false;
  #closed = false;

  private constructor(options: HttpOptions, files: TlsFiles, clock: Clock, log: Log) {
    this.#options = options;
    this.#base = new URL(options.url);
    this.#clock = clock;
    this.#log = log;
    this.#files = files;
    this.#pool = this.#newPool();
  }

  /** Throws HostError SETTINGS when a TLS file is wrong. Does not connect. */
  static async open(options: HttpOptions): Promise<BackendHttp> {
    const { tls = {}, clock = systemClock, log = silentLog } = options;
    return new BackendHttp(options, await TlsFiles.open(tls, clock, log), clock, log);
  }

  get certificates(): Certificates {
    return { ourExpiryMs: this.#files.material.certExpiresAtMs, backendExpiryMs: this.#backendExpiryMs };
  }

  /** Connections that are open or opening. */
  get connections(): number {
    return this.#pool.stats.connected;
  }

  /** Requests that wait for a connection or for their answer. */
  get requests(): number {
    return this.#pool.stats.size;
  }

  /**
   * The answer's JSON; undefined when it is empty. Rejects with BackendError, or with ABORTED when `signal` aborts.
   */
  async post(request: HttpRequest): Promise<unknown> {
    if (await this.#files.look()) this.#renewPool();
    const timeoutMs = Math.min(this.#options.timeoutMs, request.timeoutMs ?? Number.POSITIVE_INFINITY);
    const progress: Progress = {};
    return withDeadline((signal) => this.#post(request, progress, signal), {
      timeoutMs,
      clock: this.#clock,
      signal: request.signal,
      onTimeout: () => this.#timeoutError(timeoutMs, progress),
    });
  }

  /** Ends what is under way with ABORTED. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#pool.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #newPool(): Pool {
    const { material } = this.#files;
    return new Pool(this.#base.origin, {
      connections: connectionsMax,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: headersBytesMax,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMsMax,
      connect: (_options, callback) => {
        connectBackend({
          url: this.#base,
          timeoutMs: Math.min(connectTimeoutMsMax, this.#options.timeoutMs),
          verify: this.#options.verify,
          material,
          proxy: this.#options.proxy,
          clock: this.#clock,
          onCertificate: (expiresAtMs) => {
            this.#backendExpiryMs = expiresAtMs;
          },
        }).then(
          (socket) => callback(null, socket),
          (error: Error) => callback(error, null),
        );
      },
    });
  }

  /** New connections present the new certificate; calls under way end on the old ones. */
  #renewPool(): void {
    const old = this.#pool;
    this.#pool = this.#newPool();
    old.close().catch((error) => this.#log.debug({ error }, 'old connections to the backend did not close'));
  }

  async #post(request: HttpRequest, progress: Progress, signal: AbortSignal): Promise<unknown> {
    const { path, body, token, headers } = request;
    let answer: Dispatcher.ResponseData;
    try {
      answer = await this.#pool.request({
        method: 'POST',
        path: `${this.#base.pathname.replace(/\/+$/, '')}${path}`,
        headers: {
          ...headers,
          accept: 'application/json',
          'content-type': 'application/json',
          'user-agent': `outrigger/${version}`,
          ...(token && { authorization: `Bearer ${token.expose()}` }),
        },
        body: JSON.stringify(body),
        signal,
      });
      this.#answered = true;
      progress.status = answer.statusCode;
      return await this.#judge(answer);
    } catch (error) {
      throw this.#asBackendError(error, progress);
    }
  }

  async #judge({ statusCode: status, headers, body }: Dispatcher.ResponseData): Promise<unknown> {
    const ok = status >= 200 && status < 300;
    const type = String(headers['content-type'] ?? '');
    const text = await readBody(body, ok ? answerBytesMax : problemBytesMax, ok);
    if (!ok) throw refusal(status, headers, text, this.#clock.wallMs());
    if (text === '') return undefined;
    if (!/^application\/([a-z0-9.+-]+\+)?json\b/i.test(type)) {
      throw wrongAnswer(
        status,
        `the backend answers ${quoted(type) || 'something without a type'}, not JSON`,
      );
    }
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw wrongAnswer(status, 'the backend’s answer is broken JSON', cause);
    }
  }

  #timeoutError(timeoutMs: number, { status }: Progress): BackendError {
    const what = status === undefined ? 'does not answer' : 'does not end its answer';
    return new BackendError('BACKEND_UNREACHABLE', {
      message: `the backend ${what} within ${timeoutMs / 1000} s`,
      hint: 'Look at the load of the backend; AGENT_API_TIMEOUT is how long it is waited for.',
      outcome: 'unknown',
    });
  }

  #asBackendError(error: unknown, { status }: Progress): HostError {
    if (error instanceof HostError) return error;
    const { code = '', name = '' } = (error ?? {}) as NodeJS.ErrnoException;
    const tls = this.#base.protocol === 'https:';
    const ours = this.#files.material.cert !== undefined;
    const alert = tls ? handshakeError(error, ours) : undefined;
    if (alert) return alert;
    if (this.#closed || name === 'AbortError')
      return new HostError('ABORTED', { message: 'the call was ended', cause: error });
    if (name === 'HTTPParserError' || /^(HPE_|UND_ERR_HEADERS_OVERFLOW|UND_ERR_RES)/.test(code)) {
      return wrongAnswer(status, 'what answers at the backend’s address does not speak HTTP', error);
    }
    const maybeMutual = tls && !ours && !this.#answered;
    return new BackendError('BACKEND_UNREACHABLE', {
      message: 'the connection to the backend broke',
      hint: maybeMutual
        ? 'It was closed right after the TLS handshake: if the backend wants a client certificate, set AGENT_SSL_CERT_PATH and AGENT_SSL_KEY_PATH.'
        : 'Look at the backend, and at what stands between.',
      outcome: 'unknown',
      cause: error,
    });
  }
}

/** How far a request has come, for the words of its failure. */
type Progress = { status?: number };

/** `strict`: too large is an error; otherwise the rest is not read. */
async function readBody(
  body: Dispatcher.ResponseData['body'],
  bytesMax: number,
  strict: boolean,
): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      if (strict) throw wrongAnswer(undefined, `the backend’s answer is larger than ${bytesMax / 1024} KiB`);
      break;
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function wrongAnswer(status: number | undefined, message: string, cause?: unknown): BackendError {
  return new BackendError('BACKEND_ANSWER', {
    message,
    hint: 'Look whether AGENT_BACKEND_URL leads to the backend, and not to a proxy’s or a login page.',
    outcome: 'unknown',
    retrySoon: false,
    ...(status !== undefined && { status }),
    ...(cause !== undefined && { cause }),
  });
}

/** Who we are was not taken, or not here: that can be mended while a report waits. Other 4xx are about the report. */
const mendable = new Set([401, 403, 404, 407, 408, 423, 425, 429]);
const soon = new Set([408, 425, 429]);

function refusal(
  status: number,
  headers: Dispatcher.ResponseData['headers'],
  text: string,
  nowMs: number,
): BackendError {
  if (status >= 300 && status < 400) {
    const where = quoted(String(headers.location ?? 'nowhere'));
    return new BackendError('BACKEND_ANSWER', {
      status,
      message: `the backend redirects to ${where} (HTTP ${status}), and redirects are not followed`,
      hint: 'Set AGENT_BACKEND_URL to the address where the backend itself answers.',
      retrySoon: false,
    });
  }
  const said = saidIn(text);
  return new BackendError('BACKEND_REFUSED', {
    status,
    message: `the backend answers HTTP ${status}${said ? `: ${said}` : ''}`,
    retryable: status >= 500 || mendable.has(status),
    retrySoon: status >= 500 || soon.has(status),
    retryAfterMs: retryAfterMs(headers['retry-after'], nowMs),
    ...hintFor(status),
  });
}

function hintFor(status: number): { hint?: string } {
  if (status === 401) return { hint: 'Look whether AGENT_TOKEN is right and still good.' };
  if (status === 403) return { hint: 'Look what the backend allows this agent or AGENT_TOKEN.' };
  if (status === 404) return { hint: 'Look whether AGENT_BACKEND_URL leads to the backend’s API.' };
  return {};
}

function saidIn(text: string): string {
  try {
    const problem = Problem.safeParse(JSON.parse(text));
    const { detail, message, error, title } = problem.success ? problem.data : {};
    return quoted(detail ?? message ?? error ?? title ?? '');
  } catch {
    return '';
  }
}

/** Seconds or a date; undefined when it is neither. */
export function retryAfterMs(given: unknown, nowMs: number): number | undefined {
  const text = String(Array.isArray(given) ? given[0] : (given ?? '')).trim();
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return text === '' || Number.isNaN(ms) ? undefined : Math.min(retryAfterMsMax, Math.max(0, ms));
}
