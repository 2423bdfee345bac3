// The door of every route: who asks, whether the role is enough, whether a write with a cookie is our own page's, and the audit
// line of each write and refusal. Each route says what it needs; one that does not say so stops the start. It refuses to decide
// about hosts and operations: the routes ask the principal.
//
//   need none ─► through            not known ─► 401, or the login page for people     role too low ─► 403
//   cookie and a write ─► our page's token, else 403                                  write ─► audit line, else 503
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import type { Clock } from '../../core/clock.js';
import type { Log } from '../../core/log.js';
import { HttpProblem, problemTypes, sendProblem } from '../problem.js';
import type { Access, AccessAudit } from './access-audit.js';
import { type Authenticator, noTokens, type Refusal, setTokens } from './authenticate.js';
import { carriesToken, isCrossSite, isSameOrigin, isWrite } from './csrf.js';
import { FailureWindow } from './failure-window.js';
import type {} from './request.js';
import { leastRole, type Need, needs, roleMay } from './roles.js';

/** Refused credentials of an address in a minute; more are answered without a reason. Good ones always pass. */
const refusalsMax = 120;
const refusalWindowMs = 60_000;
const factLengthMax = 255;

export type GuardOptions = { authenticator: Authenticator; audit: AccessAudit; clock: Clock; log: Log };

/** Adds the guard to every route that is registered after it, and returns them as they come. */
export function addGuard(
  app: FastifyInstance,
  { authenticator, audit, clock, log }: GuardOptions,
): readonly RouteOptions[] {
  const failures = new FailureWindow(clock, refusalsMax, refusalWindowMs);
  const routes: RouteOptions[] = [];
  app.decorateRequest('principal', undefined);
  app.decorateRequest('session', undefined);
  app.decorateRequest('refusal', undefined);
  app.addHook('onRoute', (route) => void routes.push(route));
  app.addHook('onReady', async () => everyRouteSaysItsNeed(routes));
  app.addHook('onRequest', async (request, reply) => {
    const { need = 'admin' } = request.routeOptions.config;
    if (request.is404 || need === 'none') return undefined;
    const verdict = await authenticator.identify(request);
    if ('refusal' in verdict) {
      const { refusal } = verdict;
      const waitMs = failures.waitMs(request.ip);
      const counts = request.headers.authorization !== undefined && refusal.type === 'unauthenticated';
      if (counts) failures.count(request.ip);
      return answer(request, reply, counts && waitMs > 0 ? tooMany(waitMs) : refusal);
    }
    request.principal = verdict.principal;
    request.session = verdict.session;
    const refusal = whyNot(request, need, authenticator.isOpen);
    return refusal && answer(request, reply, refusal);
  });
  app.addHook('preValidation', async (request, reply) => {
    const { principal, session } = request;
    if (!principal || !session || !isWrite(request)) return undefined;
    if (
      request.routeOptions.config.csrf === 'origin'
        ? isSameOrigin(request)
        : carriesToken(request, session.csrf)
    )
      return undefined;
    return answer(request, reply, {
      type: 'cross-site',
      detail: 'a write with the cookie of the pages wants the token of its form',
      hint: 'Load the page again. Scripts send a bearer token instead of the cookie.',
    });
  });
  app.addHook('preHandler', async (request) => {
    if (!request.principal || !isWrite(request)) return;
    try {
      await audit.written(accessOf(request));
    } catch (error) {
      log.error({ error }, 'a write was refused: it cannot be written to the audit log');
      throw new HttpProblem('busy', {
        detail: 'nothing was done: the audit log cannot be written',
        retryAfterSeconds: 10,
      });
    }
  });
  app.addHook('onResponse', async (request, reply) => {
    const { statusCode } = reply;
    if (statusCode !== 401 && statusCode !== 403 && statusCode !== 429 && !request.refusal) return;
    audit.refused(accessOf(request), statusCode, request.refusal ?? 'refused by the route');
  });
  return routes;
}

function everyRouteSaysItsNeed(routes: readonly RouteOptions[]): void {
  const silent = routes.filter(({ config }) => !needs.some((need) => need === config?.need));
  if (silent.length === 0) return;
  const named = silent.map(({ method, url }) => `${method} ${url}`).join(', ');
  throw new Error(`routes that do not say what they need: ${named}`);
}

function whyNot(request: FastifyRequest, need: Need, open: boolean): Refusal | undefined {
  const { principal, session } = request;
  if (!principal?.may(need)) {
    if (open) return { type: 'writes-disabled', detail: `this is refused: ${noTokens}`, hint: setTokens };
    const role = leastRole((role) => roleMay(role, need));
    return {
      type: 'forbidden',
      detail: `this needs the role ${role}; ${principal?.name} is ${principal?.role}`,
    };
  }
  if (open && isWrite(request)) {
    return { type: 'writes-disabled', detail: `every write is refused: ${noTokens}`, hint: setTokens };
  }
  if (session && isWrite(request) && isCrossSite(request)) {
    return { type: 'cross-site', detail: 'another site sent this in your name' };
  }
  return undefined;
}

function answer(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): FastifyReply {
  const { type, detail } = refusal;
  request.refusal = detail;
  const status = problemTypes[type][0];
  if (status === 401 && request.routeOptions.config.page && !isWrite(request)) {
    return reply.redirect(`/login?${new URLSearchParams({ next: request.url })}`, 303);
  }
  if (status === 401) reply.header('www-authenticate', 'Bearer realm="outrigger"');
  return sendProblem(reply, type, refusal);
}

function tooMany(waitMs: number): Refusal {
  return {
    type: 'rate-limited',
    detail: 'too many requests with a wrong token came from this address',
    retryAfterSeconds: Math.ceil(waitMs / 1_000),
  };
}

/** The route's pattern, not the URL: no caller writes what it likes into the log's operation. */
function accessOf(request: FastifyRequest): Access {
  const { principal, session, routeOptions } = request;
  const facts = factsOf(request);
  return {
    actor: principal?.name,
    via: principal && (session ? `session, ${principal.via}` : principal.via),
    address: request.ip,
    action: `${request.method} ${routeOptions.url ?? '(no route)'}`,
    host: facts.host,
    ...(Object.keys(facts).length > 0 && { facts }),
  };
}

const factNames = [
  'host',
  'name',
  'vm',
  'op',
  'id',
  'jobId',
  'queueName',
  'queueStatus',
  'dryRun',
  'requestId',
];

/** What a write is about, from the path and the body; nothing else of the body, which may hold anything. */
function factsOf({ params, body }: FastifyRequest): { host?: string; [name: string]: unknown } {
  const facts: Record<string, unknown> = {};
  for (const source of [body, params]) {
    if (typeof source !== 'object' || source === null) continue;
    for (const name of factNames) {
      const value = Object.hasOwn(source, name) ? (source as Record<string, unknown>)[name] : undefined;
      if (typeof value === 'string') facts[name] = value.slice(0, factLengthMax);
      else if (typeof value === 'boolean') facts[name] = value;
    }
  }
  return facts;
}
