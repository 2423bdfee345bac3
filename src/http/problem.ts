// Every error that leaves over HTTP: RFC 9457 problem details with types that stay (docs/api.md lists them). One function
// makes them all; a browser that asked for a page gets the same as a page. It refuses to tell what went wrong inside: a caller of
// a 5xx learns that it happened, the log says why.
import type { FastifyReply, FastifyRequest } from 'fastify';

/** slug → [status, title]. The slug is a promise: clients switch on it. */
export const problemTypes = {
  'bad-request': [400, 'The request cannot be understood'],
  validation: [400, 'The request has wrong values'],
  'idempotency-key-missing': [400, 'An Idempotency-Key header is wanted'],
  unauthenticated: [401, 'Who you are is not known'],
  forbidden: [403, 'Your role does not allow this'],
  'writes-disabled': [403, 'Nobody may write yet'],
  'cross-site': [403, 'The request did not come from our own pages'],
  'not-found': [404, 'Nothing is here'],
  'host-unknown': [404, 'No such host'],
  'vm-unknown': [404, 'No such VM'],
  'job-unknown': [404, 'No such job'],
  'method-not-allowed': [405, 'This path does not take this method'],
  timeout: [408, 'The request did not come in time'],
  'too-late': [409, 'Too late for that'],
  refused: [409, 'It cannot be done now'],
  'too-large': [413, 'The body is too large'],
  'url-too-long': [414, 'The URL is too long'],
  'unsupported-media-type': [415, 'This content type is not understood'],
  'expectation-failed': [417, 'This expectation cannot be met'],
  'idempotency-key-reused': [422, 'The Idempotency-Key was used with another body'],
  'rate-limited': [429, 'Too many requests'],
  'headers-too-large': [431, 'The headers are too large'],
  internal: [500, 'Something broke inside'],
  'store-away': [503, 'The store is away'],
  'identity-provider-away': [503, 'The identity provider cannot be asked'],
  busy: [503, 'Too much at once'],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemType = keyof typeof problemTypes;

export type ProblemError = {
  /** Where: `query.limit`, `body.vm`. */
  field: string;
  message: string;
};

export type ProblemDetails = {
  /** One sentence for people. */
  detail: string;
  /** What to do about it. */
  hint?: string | undefined;
  errors?: readonly ProblemError[] | undefined;
  retryAfterSeconds?: number | undefined;
};

export const problemMediaType = 'application/problem+json; charset=utf-8';
const typePrefix = 'urn:outrigger:problem:';
/** A detail may quote what the caller sent: it is cut, never long. UTF-16 units. */
const detailLengthMax = 1_000;

export function problemUri(type: ProblemType): string {
  return `${typePrefix}${type}`;
}

/** Thrown anywhere below a route; the error handler of the server answers with it. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  readonly type: ProblemType;
  readonly details: ProblemDetails;

  constructor(type: ProblemType, details: ProblemDetails | string) {
    const given = typeof details === 'string' ? { detail: details } : details;
    super(given.detail);
    this.type = type;
    this.details = given;
  }

  get statusCode(): number {
    return problemTypes[this.type][0];
  }
}

export type ProblemBody = {
  type: string;
  title: string;
  status: number;
  detail: string;
  hint?: string;
  errors?: readonly ProblemError[];
};

export function problemBody(type: ProblemType, { detail, hint, errors }: ProblemDetails): ProblemBody {
  const [status, title] = problemTypes[type];
  const cut = detail.length > detailLengthMax ? `${detail.slice(0, detailLengthMax)}…` : detail;
  return {
    type: problemUri(type),
    title,
    status,
    detail: cut,
    ...(hint && { hint }),
    ...(errors && errors.length > 0 && { errors }),
  };
}

export type ProblemPage = (request: FastifyRequest, type: ProblemType, details: ProblemDetails) => string;

declare module 'fastify' {
  interface FastifyInstance {
    /** Set by the pages. */
    problemPage?: ProblemPage;
  }
}

/** Where machines ask: a browser that comes by gets what they get. */
const machines = /^\/(api|metrics|sd|livez|readyz)([/?]|$)/;

function wantsPage({ headers, is404, routeOptions, url }: FastifyRequest): boolean {
  if (!headers.accept?.includes('text/html')) return false;
  return routeOptions?.config?.page === true || (is404 && !machines.test(url));
}

export function sendProblem(
  reply: FastifyReply,
  type: ProblemType,
  details: ProblemDetails | string,
): FastifyReply {
  const given = typeof details === 'string' ? { detail: details } : details;
  const body = problemBody(type, given);
  const { request, server } = reply;
  if (given.retryAfterSeconds !== undefined) reply.header('retry-after', given.retryAfterSeconds);
  reply.code(body.status).header('cache-control', 'no-store');
  if (server.problemPage && wantsPage(request)) {
    return reply.type('text/html; charset=utf-8').send(server.problemPage(request, type, given));
  }
  return reply
    .header('content-type', problemMediaType)
    .serializer((value: unknown) => JSON.stringify(value))
    .send(body);
}
