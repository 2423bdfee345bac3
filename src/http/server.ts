// The HTTP face: metrics and health. It is handed plain sources and refuses to know where their answers come from.
// Errors are problem+json (RFC 9457); what went wrong inside never reaches the caller.
import { createHash, timingSafeEqual } from 'node:crypto';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { Secret } from '../core/secret.js';
import type { AccessControl, AccessLimits } from './auth/access.js';
import { addErrorAnswers, addRawErrorAnswers, onClientError, onFrameworkError } from './errors.js';
import { addMetrics, type MetricsSources } from './metrics-routes.js';
import { sendProblem } from './problem.js';

export type Check = { ok: boolean; detail: string };
export type Readiness = { ready: boolean; checks: Record<string, Check> };

export type HttpSources = MetricsSources & {
  readiness(): Readiness;
};

/** Routes that belong together; each says in its `config` what it needs. */
export type RouteGroup = (app: FastifyInstance) => void | Promise<void>;

export type HttpOptions = {
  host: string;
  port: number;
  /** What /metrics asks for now; undefined: nothing. */
  metricsToken: () => Secret | undefined;
  sources: HttpSources;
  /** The guard of every route. */
  access: AccessControl;
  /** Proxies whose X-Forwarded-* headers are believed. */
  trustedProxies?: readonly string[] | undefined;
  groups?: readonly RouteGroup[];
  limits?: AccessLimits;
  log: Log;
};

export type HttpServer = { url: string; close(): Promise<void> };

const open = { config: { need: 'none' as const } };

/** A client must send its request within this time, and may keep an idle connection this long. */
const requestTimeoutMsMax = 10_000;
const keepAliveTimeoutMs = 72_000;
/** How often it is looked for slow ones; node's own 30 s would make 10 s up to 40. */
const slowCheckMs = 1_000;
const bodyBytesMax = 64 * 1024;
/** As it stands in the URL: a name of 255 characters, each of them encoded. */
const paramLengthMax = 3_100;

export async function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const { host, port } = options;
  const app = await buildHttp(options);
  await listen(app, host, port);
  const [bound] = app.addresses();
  const taken = typeof bound === 'object' ? bound.port : port;
  return { url: `http://${urlHost(host)}:${taken}`, close: () => app.close() };
}

/** Everything but the listening. */
export async function buildHttp({
  metricsToken,
  sources,
  access,
  trustedProxies,
  groups = [],
  limits,
  log,
}: Omit<HttpOptions, 'host' | 'port'>): Promise<FastifyInstance> {
  const { requestTimeoutMs = requestTimeoutMsMax } = limits ?? {};
  const app = fastify({
    logger: false,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    forceCloseConnections: true,
    bodyLimit: bodyBytesMax,
    exposeHeadRoutes: true,
    trustProxy: trustedProxies ? [...trustedProxies] : false,
    routerOptions: { maxParamLength: paramLengthMax },
    http: {
      requireHostHeader: false,
      headersTimeout: requestTimeoutMs,
      connectionsCheckingInterval: Math.min(slowCheckMs, requestTimeoutMs),
    },
    clientErrorHandler: onClientError,
    frameworkErrors: onFrameworkError,
  });
  addErrorAnswers(app, log);
  addRawErrorAnswers(app);
  await access.protect(app, limits);
  addMetrics(app, { sources, guard: requireBearer(metricsToken), log });
  addHealth(app, sources);
  for (const group of groups) await group(app);
  return app;
}

function addHealth(app: FastifyInstance, sources: HttpSources): void {
  app.get('/livez', open, async () => ({ status: 'live' }));
  app.get('/readyz', open, async (_request, reply) => {
    const { ready, checks } = sources.readiness();
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', checks });
  });
}

function requireBearer(token: HttpOptions['metricsToken']) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const wanted = token();
    if (!wanted || equal(request.headers.authorization ?? '', `Bearer ${wanted.expose()}`)) return undefined;
    reply.header('www-authenticate', 'Bearer');
    return sendProblem(reply, 'unauthenticated', 'metrics want the bearer token of AGENT_METRICS_TOKEN_FILE');
  };
}

/** Takes the same time for every wrong token. */
function equal(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

async function listen(app: FastifyInstance, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await app.close();
    throw listenError(cause as NodeJS.ErrnoException, host, port);
  }
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): HostError {
  const at = `${urlHost(host)}:${port}`;
  const reasons: Record<string, string> = {
    EADDRINUSE: `cannot listen on ${at}: another process has this port`,
    EACCES: `cannot listen on ${at}: ports below 1024 need a privilege`,
    EADDRNOTAVAIL: `cannot listen on ${at}: no interface of this machine has that address`,
  };
  const reason = reasons[cause.code ?? ''];
  return new HostError('SETTINGS', {
    message: reason ?? `cannot listen on ${at}`,
    hint: 'choose another address with AGENT_LISTEN=host:port',
    ...(!reason && { cause }),
  });
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
