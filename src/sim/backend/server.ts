// The sample backend: every call of docs/backend-openapi.yaml, and a page for people. Read it as the shortest answer to
// "what must my backend do?". It checks every body strictly, so that a wrong client is seen; yours should let keys pass
// that it does not know. The page has no login: it refuses to be more than an example on a loopback address.
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  EventsRequest,
  HeartbeatRequest,
  idempotencyHeader,
  JobResultRequest,
  MetricsRequest,
  RefreshRequest,
  RegisterRequest,
} from '../../backend/api.js';
import { page, tables } from './page.js';
import { type Agent, BackendState } from './state.js';
import { TokenDesk } from './tokens.js';

const bodyBytesMax = 8 * 1024 * 1024;

export type BackendOptions = {
  /** What a collector must show to register hosts: its AGENT_TOKEN. */
  bootstrapToken: string;
  /** Life of an access token, seconds. */
  tokenSeconds?: number;
  /** Told in every heartbeat's answer. */
  latestVersion?: string;
  /** PEM; with `ca`, clients must show a certificate that it signed. */
  tls?: { cert: string; key: string; ca?: string };
};

export type Backend = { app: FastifyInstance; state: BackendState; tokens: TokenDesk };

type WithId = { Params: { id: string } };

export function createBackend(
  options: BackendOptions,
  state = new BackendState(),
  tokens = new TokenDesk(options.bootstrapToken, options.tokenSeconds),
): Backend {
  const { tls } = options;
  const https = tls && {
    ...tls,
    requestCert: tls.ca !== undefined,
    rejectUnauthorized: tls.ca !== undefined,
  };
  const app = fastify({ bodyLimit: bodyBytesMax, forceCloseConnections: true, https: https ?? null });
  const backend: Backend = { app: app as unknown as FastifyInstance, state, tokens };
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    if (error instanceof z.ZodError) return problem(reply, 400, z.prettifyError(error));
    return problem(reply, error.statusCode ?? 500, error.message);
  });
  addRegistration(backend);
  addReports(backend, options);
  addPeople(backend);
  return backend;
}

function addRegistration({ app, state, tokens }: Backend): void {
  app.post('/api/agent/register', async (request, reply) => {
    if (!tokens.mayRegister(bearer(request))) return problem(reply, 401, 'not the bootstrap token');
    const agent = state.register(RegisterRequest.parse(request.body));
    return reply.code(201).send(await tokens.issue(agent.id));
  });

  app.post('/api/agent/token/refresh', async (request, reply) => {
    const agentId = tokens.redeem(RefreshRequest.parse(request.body).refresh_token);
    if (agentId === undefined) return problem(reply, 401, 'no such refresh token: register again');
    return tokens.issue(agentId);
  });
}

function addReports(backend: Backend, { latestVersion }: BackendOptions): void {
  const { app, state } = backend;

  app.post<WithId>('/api/agent/:id/heartbeat', async (request, reply) => {
    const agent = await callerOf(backend, request, reply);
    if (!agent) return reply;
    const jobs = state.heartbeat(agent, HeartbeatRequest.parse(request.body));
    return { ...(latestVersion && { latest_version: latestVersion }), ...(jobs.length > 0 && { jobs }) };
  });

  app.post<WithId>('/api/agent/:id/metrics', async (request, reply) => {
    const agent = await callerOf(backend, request, reply);
    if (!agent) return reply;
    agent.metrics = MetricsRequest.parse(request.body);
    return reply.code(202).send({});
  });

  app.post<WithId>('/api/agent/:id/events', async (request, reply) => {
    const agent = await callerOf(backend, request, reply);
    if (!agent) return reply;
    const { events } = EventsRequest.parse(request.body);
    once(backend, agent, request, () => state.addEvents(agent, events));
    return reply.code(202).send({});
  });

  app.post<{ Params: { id: string; job: string } }>(
    '/api/agent/:id/jobs/:job/result',
    async (request, reply) => {
      const agent = await callerOf(backend, request, reply);
      if (!agent) return reply;
      const result = JobResultRequest.parse(request.body);
      if (result.job_id !== request.params.job)
        return problem(reply, 400, 'job_id is not the one of the path');
      once(backend, agent, request, () => state.addResult(agent, result));
      return reply.code(202).send({});
    },
  );
}

/** The agent that calls; or undefined, and the refusal has been sent: 401 refresh, 403 not yours, 404 register again. */
async function callerOf(
  { state, tokens }: Backend,
  request: FastifyRequest<WithId>,
  reply: FastifyReply,
): Promise<Agent | undefined> {
  const { id } = request.params;
  const holder = await tokens.agentOf(bearer(request));
  if (holder === undefined) problem(reply, 401, 'no access token, or an expired one');
  else if (holder !== id) problem(reply, 403, 'the token is of another agent');
  else if (!state.agents.has(id)) problem(reply, 404, 'no such agent: register again');
  else return state.agents.get(id);
  return undefined;
}

/** Reports come at least once, and repeats carry the same key: `keep` runs for the first of them. */
function once({ state }: Backend, agent: Agent, request: FastifyRequest, keep: () => void): void {
  const key = String(request.headers[idempotencyHeader] ?? '');
  if (key && state.isRepeat(agent, key)) return;
  keep();
  if (key) state.markSeen(agent, key);
}

/** A form's fields: empty ones count as absent. */
const JobForm = z.object({
  agent: z.string(),
  op: z.string().min(1),
  vm: z.string().optional(),
  expected_uuid: z.string().optional(),
  params: z
    .string()
    .default('{}')
    .transform((text, context) => {
      try {
        return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
      } catch {
        context.addIssue('must be a JSON object');
        return z.NEVER;
      }
    }),
});

function addPeople({ app, state }: Backend): void {
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    (_request, body, done) =>
      done(null, Object.fromEntries([...new URLSearchParams(String(body))].filter(([, value]) => value))),
  );

  app.get('/api/agent/status', async () => ({
    agents: [...state.agents.values()].map((agent) => ({
      agent_id: agent.id,
      name: agent.facts.name,
      status: agent.heartbeat?.status,
      registered_at: agent.registeredAt,
      last_heartbeat_at: agent.lastHeartbeatAt,
    })),
  }));

  app.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').send(page(state)));
  app.get('/tables', async (_request, reply) => reply.type('text/html; charset=utf-8').send(tables(state)));

  app.post('/jobs', async (request, reply) => {
    if (isFromElsewhere(request)) return problem(reply, 403, 'this form is for its own page');
    const { agent, ...asked } = JobForm.parse(request.body);
    if (!state.agents.has(agent)) return problem(reply, 404, 'no such agent');
    state.enqueue(agent, { ...asked, requested_by: 'sample backend' });
    return reply.redirect('/', 303);
  });
}

/** Another site's page in the same browser must not stop VMs. */
function isFromElsewhere({ headers: { origin, host } }: FastifyRequest): boolean {
  return origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host);
}

function bearer({ headers: { authorization } }: FastifyRequest): string | undefined {
  return /^Bearer (\S+)$/.exec(authorization ?? '')?.[1];
}

function problem(reply: FastifyReply, status: number, detail: string): FastifyReply {
  return reply.code(status).type('application/problem+json').send({ type: 'about:blank', status, detail });
}
