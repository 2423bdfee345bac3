// How much one caller, and all together, may ask: requests a minute by principal (by address where nobody is known), and open
// connections. Who is over a limit is told so. It refuses to limit Prometheus and health checks: they are what one looks at when
// everything else is too much.
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import { HttpProblem, sendProblem } from '../problem.js';
import type {} from './request.js';

export const requestsPerMinuteMax = 1_200;
export const connectionsMax = 1_000;
/** Beyond `connectionsMax` a connection gets an answer that says so; beyond this it gets none. */
const connectionsDroppedMax = 1_200;
const callersMax = 10_000;
const retryAfterSeconds = 5;

const unlimited = /^\/(metrics|sd|livez|readyz)(\/|$)/;

export async function addRateLimit(app: FastifyInstance, max = requestsPerMinuteMax): Promise<void> {
  await app.register(rateLimit, {
    max,
    timeWindow: 60_000,
    cache: callersMax,
    keyGenerator: ({ principal, ip }) =>
      principal && principal.via !== 'loopback' ? `${principal.via} ${principal.name}` : ip,
    allowList: ({ routeOptions }) => unlimited.test(routeOptions.url ?? ''),
    errorResponseBuilder: (_request, { max, ttl }) =>
      new HttpProblem('rate-limited', {
        detail: `more than ${max} requests in a minute`,
        retryAfterSeconds: Math.ceil(ttl / 1_000),
      }),
  });
}

export function addConnectionLimit(app: FastifyInstance, max = connectionsMax): void {
  let open = 0;
  app.server.maxConnections = Math.max(max, Math.ceil(max * (connectionsDroppedMax / connectionsMax)));
  app.server.on('connection', (socket) => {
    open++;
    socket.once('close', () => {
      open--;
    });
  });
  app.addHook('onRequest', async (request, reply) => {
    if (open <= max || unlimited.test(request.routeOptions.url ?? '')) return undefined;
    reply.header('connection', 'close');
    return sendProblem(reply, 'busy', { detail: `more than ${max} connections are open`, retryAfterSeconds });
  });
}
