// What the routes of the API are handed, and what each asks first: who is asking, and which hosts it may see. It refuses to tell
// a host that may not be seen from one that is not there.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { AuditQuery, AuditSlice } from '../../audit/read.js';
import type { Clock } from '../../core/clock.js';
import { HostError } from '../../core/errors.js';
import { otherShardHint, type Shard } from '../../core/shard.js';
import { didYouMean } from '../../core/suggest.js';
import type { JobQueue } from '../../queue/jobs.js';
import type { Principal } from '../auth/principal.js';
import type {} from '../auth/request.js';
import type { ChangeFeed } from '../changes.js';
import { HttpProblem } from '../problem.js';
import type { FleetView, HostGate } from './views.js';

export type ApiDeps = {
  view: FleetView;
  /** Undefined until the service has begun to take jobs. */
  jobs: () => Pick<JobQueue, 'name' | 'add' | 'cancel' | 'get' | 'list' | 'stats' | 'workers'> | undefined;
  audit: (query: AuditQuery) => Promise<AuditSlice>;
  changes: ChangeFeed;
  clock: Clock;
  /** Which part of a divided fleet is here. */
  shard?: Shard | undefined;
};

export function typed(app: FastifyInstance) {
  return app.withTypeProvider<ZodTypeProvider>();
}
export type ApiApp = ReturnType<typeof typed>;

/** The guard has let nobody through without one. */
export function principalOf({ principal }: FastifyRequest): Principal {
  if (principal) return principal;
  throw new HttpProblem('unauthenticated', 'who you are is not known');
}

export function gateOf(request: FastifyRequest): HostGate {
  const principal = principalOf(request);
  return (host) => principal.mayHost(host);
}

/** The queue. Throws HostError STORE while there is none. */
export function queueOf({ jobs }: Pick<ApiDeps, 'jobs'>): NonNullable<ReturnType<ApiDeps['jobs']>> {
  const queue = jobs();
  if (queue) return queue;
  throw new HostError('STORE', { message: 'the service has just started' });
}

/** The problem for a host that is not there, or may not be seen: both say the same. The hint on shards goes by the name alone. */
export function hostUnknown({ view, shard }: ApiDeps, name: string, may: HostGate): HttpProblem {
  const known = view.sessions(may).map(({ host }) => host.name);
  const hint = [didYouMean(name, known), otherShardHint(shard, name)].filter(Boolean).join(' ');
  return new HttpProblem('host-unknown', {
    detail: `no host ${JSON.stringify(name)} in the inventory`,
    ...(hint && { hint }),
  });
}

/** Whether something that is about this host may be shown; about none, or nobody knows which: only to who may see all. */
export function maySee({ view }: ApiDeps, principal: Principal, host: string | undefined): boolean {
  if (!principal.confined) return true;
  if (host === undefined) return false;
  return principal.mayHost(view.find(host)?.host ?? { name: host, labels: {} });
}
