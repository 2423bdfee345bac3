// Puts the pages together for the service: what remembers the last hour, and the routes that show it.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Clock } from '../../core/clock.js';
import type { ApiDeps } from '../api/context.js';
import type { LoginView } from '../auth/login.js';
import { Chronicle } from '../chronicle.js';
import { pageJobs } from './job-source.js';
import { loginPage } from './login-page.js';
import type { CollectorState } from './model.js';
import { addPages, viewerOf } from './routes.js';

export type PagesOptions = { api: ApiDeps; collector: () => CollectorState; clock: Clock };

export type Pages = {
  chronicle: Chronicle;
  addRoutes(app: FastifyInstance): void;
  login(view: LoginView, request: FastifyRequest): string;
};

export function makePages({ api, collector, clock }: PagesOptions): Pages {
  const chronicle = new Chronicle(clock);
  const nowMs = () => clock.wallMs();
  const sources = { view: api.view, shard: api.shard, chronicle, jobs: pageJobs(api), collector, nowMs };
  return {
    chronicle,
    addRoutes: (app) => addPages(app, sources),
    login: (view, request) => loginPage({ viewer: viewerOf(request, { nowMs }), view }),
  };
}
