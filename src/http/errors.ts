// Whatever goes wrong on the way in or below a route, said as a problem: an error thrown, no route, a wrong method, and bytes
// that are not HTTP at all. It refuses to send a stack, a library's words of a 5xx, or nothing.
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { JobError } from '../ops/job.js';
import { RequestReused } from '../queue/jobs.js';
import { bareHeaders } from './auth/headers.js';
import {
  HttpProblem,
  type ProblemDetails,
  type ProblemError,
  type ProblemType,
  problemBody,
  problemMediaType,
  problemTypes,
  sendProblem,
} from './problem.js';

/** The store reconnects within seconds. */
const storeRetrySeconds = 5;
const errorsShownMax = 20;
const pathShownMax = 200;

/** What is left of fastify's and its plugins' own errors: by their status. */
const byStatus: Readonly<Record<number, ProblemType>> = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not-found',
  408: 'timeout',
  413: 'too-large',
  414: 'url-too-long',
  415: 'unsupported-media-type',
  429: 'rate-limited',
  431: 'headers-too-large',
};

/** Where a job cannot be made of what was asked. */
const byJobCode: Partial<Record<JobError['code'], ProblemType>> = {
  BAD_REQUEST: 'validation',
  HOST_UNKNOWN: 'host-unknown',
  VM_NOT_FOUND: 'vm-unknown',
};

export function addErrorAnswers(app: FastifyInstance, log: Log): void {
  const methodsOf = rememberMethods(app);
  app.setErrorHandler((error: FastifyError, request, reply) => answer(error, request, reply, log));
  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request);
    const methods = methodsOf(path);
    if (methods.length === 0)
      return sendProblem(reply, 'not-found', `nothing is at ${path.slice(0, pathShownMax)}`);
    reply.header('allow', methods.join(', '));
    return sendProblem(reply, 'method-not-allowed', `${request.method} is not among ${methods.join(', ')}`);
  });
}

/** Bytes that are no request, a method that opens a tunnel, an expectation: node's own answers have no body. */
export function addRawErrorAnswers(app: FastifyInstance): void {
  // Instead of node's own check, whose answer has no body.
  app.addHook('onRequest', async ({ raw: { httpVersion, headers } }) => {
    if (httpVersion === '1.1' && headers.host === undefined) {
      throw new HttpProblem('bad-request', 'a request of HTTP/1.1 wants a Host header');
    }
  });
  app.server.on('connect', (_request: IncomingMessage, socket: Duplex) =>
    endRaw(socket, 'method-not-allowed', 'CONNECT is not taken', ['Allow: GET, HEAD, POST']),
  );
  app.server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const body = problemBody('expectation-failed', { detail: 'only Expect: 100-continue is understood' });
    const text = JSON.stringify(body);
    response
      .writeHead(body.status, {
        ...bareHeaders,
        'content-type': problemMediaType,
        'content-length': Buffer.byteLength(text),
        connection: 'close',
      })
      .end(text);
  });
}

/** For fastify's `clientErrorHandler`. */
export function onClientError(error: Error & { code?: string }, socket: Duplex): void {
  const type: ProblemType =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 'headers-too-large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 'timeout'
        : 'bad-request';
  if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
  else endRaw(socket, type, problemTypes[type][1]);
}

/** For fastify's `frameworkErrors`: a URL that cannot be decoded. */
export function onFrameworkError(
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const type = byStatus[error.statusCode ?? 400] ?? 'bad-request';
  return sendProblem(
    reply.headers(bareHeaders),
    type,
    `${pathOf(request).slice(0, pathShownMax)} is not a URL of ours`,
  );
}

function answer(error: FastifyError, request: FastifyRequest, reply: FastifyReply, log: Log): FastifyReply {
  if (error instanceof HttpProblem) return sendProblem(reply, error.type, error.details);
  if (error.validation) return sendProblem(reply, 'validation', validationOf(error));
  if (error instanceof RequestReused) {
    return sendProblem(reply, 'idempotency-key-reused', 'this Idempotency-Key was used with another body');
  }
  if (error instanceof JobError) return sendProblem(reply, byJobCode[error.code] ?? 'refused', error.message);
  if (error instanceof HostError && error.code === 'STORE') {
    const detail = 'the store is away: nothing was changed';
    return sendProblem(reply, 'store-away', { detail, retryAfterSeconds: storeRetrySeconds });
  }
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) {
    return sendProblem(reply, byStatus[status] ?? 'bad-request', error.message);
  }
  log.error({ error, path: request.routeOptions.url }, 'request failed');
  return sendProblem(reply, 'internal', 'this is a fault of ours; the log says more');
}

function validationOf({ validation = [], validationContext }: FastifyError): ProblemDetails {
  const where = validationContext === 'querystring' ? 'query' : (validationContext ?? 'request');
  const errors = validation.slice(0, errorsShownMax).map(({ instancePath, message }): ProblemError => {
    const path = instancePath.split('/').filter(Boolean);
    return { field: [where, ...path].join('.'), message: message ?? 'is wrong' };
  });
  return { detail: errors.map(({ field, message }) => `${field}: ${message}`).join('; '), errors };
}

/** Tells which methods a path takes: the router only tells that there is no route for this one. */
function rememberMethods(app: FastifyInstance): (path: string) => string[] {
  const routes: { parts: readonly string[]; methods: readonly string[] }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    routes.push({ parts: url.split('/'), methods: [method].flat() });
  });
  return (path) => {
    const parts = path.split('/');
    const found = routes.filter((route) => isAt(route.parts, parts)).flatMap(({ methods }) => methods);
    return [...new Set(found)].sort();
  };
}

function isAt(route: readonly string[], path: readonly string[]): boolean {
  const rest = route.at(-1) === '*' ? route.length - 1 : undefined;
  if (rest === undefined ? route.length !== path.length : path.length <= rest) return false;
  return route.slice(0, rest).every((part, at) => part === path[at] || (part.startsWith(':') && path[at]));
}

function pathOf({ url }: FastifyRequest): string {
  return url.split('?', 1)[0] ?? '';
}

function endRaw(socket: Duplex, type: ProblemType, detail: string, more: readonly string[] = []): void {
  const body = JSON.stringify(problemBody(type, { detail }));
  const [status] = problemTypes[type];
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${problemMediaType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    ...Object.entries(bareHeaders).map(([name, value]) => `${name}: ${value}`),
    'Connection: close',
    ...more,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
