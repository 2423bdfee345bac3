// Talks to the running service through its API, with a deadline on every call. What the API refuses becomes an error with
// the mend. It refuses to retry: whoever types a command decides that.
import { fetch, type Response } from 'undici';
import { HostError } from '../core/errors.js';
import type { Secret } from '../core/secret.js';
import type { Page, Problem } from '../http/api/schemas.js';
import { type Environment, readSettings } from './configuration.js';

const callTimeoutMs = 15_000;
/** Rows asked for at a time, and the most that a command takes. */
const pageRows = 200;
const rowsMax = 100_000;

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

/** What the API answered instead: a problem of RFC 9457. */
export class ApiProblem extends HostError {
  /** Without its prefix: `host-unknown`. */
  readonly type: string;
  readonly status: number;

  constructor({ type, status, detail, hint, errors }: Problem, mend: string | undefined) {
    const fields = errors?.map(({ field, message }) => `${field}: ${message}`) ?? [];
    const more = fields.filter((field) => !detail.includes(field));
    const advice = hint ?? mend;
    super('BAD_REQUEST', { message: [detail, ...more].join('; '), ...(advice && { hint: advice }) });
    this.type = type.replace(/^urn:outrigger:problem:/, '');
    this.status = status;
  }
}

export class ApiClient {
  readonly url: string;
  readonly #token: Secret | undefined;

  constructor(url: string, token?: Secret) {
    this.url = url;
    this.#token = token;
  }

  /** Undefined when a setting is wrong: each problem has been printed. */
  static from(env: Environment): ApiClient | undefined {
    const settings = readSettings(env);
    return settings && new ApiClient(settings.apiUrl, settings.apiToken);
  }

  /** @throws ApiProblem for what the API refuses, HostError when it cannot be asked. */
  get<T>(path: string, query: Query = {}, timeoutMs = callTimeoutMs): Promise<T> {
    return this.#call<T>('GET', path + queryText(query), {}, undefined, timeoutMs);
  }

  post<T>(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    return this.#call<T>('POST', path, headers, body, callTimeoutMs);
  }

  /** All rows of a list, page after page; `rows` at the most. */
  async list<T>(path: string, query: Query = {}, rows = rowsMax): Promise<T[]> {
    const items: T[] = [];
    let cursor: string | undefined;
    do {
      const limit = Math.min(pageRows, rows - items.length);
      const page: Page<T> = await this.get(path, { ...query, limit, cursor });
      items.push(...page.items);
      cursor = page.items.length > 0 ? page.next : undefined;
    } while (cursor && items.length < rows);
    return items;
  }

  async #call<T>(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: unknown,
    timeoutMs: number,
  ): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.url}/api/v1${path}`, {
        method,
        headers: {
          accept: 'application/json',
          ...(this.#token && { authorization: `Bearer ${this.#token.expose()}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      });
      text = await response.text();
    } catch (cause) {
      throw unreachable(this.url, cause, timeoutMs);
    }
    const answer = parsed(text);
    if (response.ok && answer !== undefined) return answer as T;
    throw problemOf(this.url, response.status, answer);
  }
}

function queryText(query: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) params.append(name, String(one));
  }
  const text = params.toString();
  return text ? `?${text}` : '';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreachable(url: string, cause: unknown, timeoutMs: number): HostError {
  const { name, cause: below } = cause as Error;
  const code = (below as NodeJS.ErrnoException | undefined)?.code;
  if (name === 'TimeoutError')
    return new HostError('TIMEOUT', {
      message: `the service at ${url} did not answer within ${timeoutMs / 1000} s`,
      hint: `Look at ${url}/livez, and at the log of the service.`,
    });
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'EPROTO')
    return new HostError('REFUSED', {
      message: `the service at ${url} does not speak TLS`,
      hint: 'Let AGENT_API_URL begin with http://, or name the proxy that has the certificate.',
    });
  return new HostError('REFUSED', {
    message: `cannot reach the service at ${url}${code ? ` (${code})` : ''}`,
    hint: 'Is it running (outrigger run)? Set AGENT_API_URL to where it listens.',
    ...(!code && { cause: below ?? cause }),
  });
}

function problemOf(url: string, status: number, answer: unknown): HostError {
  const problem = answer as Partial<Problem> | undefined;
  if (typeof problem?.type === 'string' && typeof problem.detail === 'string') {
    const mend = problem.type.endsWith(':not-found') ? wrongUrl : mends[status];
    return new ApiProblem(problem as Problem, mend);
  }
  return new HostError('BAD_REQUEST', {
    message: `${url} answers ${status}, and not as the API of Outrigger does`,
    hint: wrongUrl,
  });
}

const wrongUrl =
  'Check AGENT_API_URL: it must be the address of the service itself, or of a proxy in front of it, without the path of the API.';

const mends: Record<number, string> = {
  401: 'Is the token that of this service, and whole? Set AGENT_API_TOKEN or AGENT_API_TOKEN_FILE; an admin makes a token with: outrigger token create',
  403: 'Ask an admin for a token with the role that this needs: docs/roles.md says which.',
};
