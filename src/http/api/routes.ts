// The API as one group of routes under /api/v1, with its document. It sets how requests are judged and answers are written here
// and refuses any content but JSON.
import type { FastifyInstance } from 'fastify';
import { validatorCompiler } from 'fastify-type-provider-zod';
import { HttpProblem } from '../problem.js';
import { addAudit } from './audit.js';
import { type ApiDeps, typed } from './context.js';
import { addDocument, addDocumentPages } from './docs.js';
import { addHosts } from './hosts.js';
import { addJobs } from './jobs.js';
import { addStream } from './stream.js';
import { addVms } from './vms.js';

export const apiPrefix = '/api/v1';

export function apiRoutes(deps: ApiDeps) {
  return async (root: FastifyInstance): Promise<void> => {
    await root.register(async (scope) => {
      await addDocument(scope);
      await scope.register(async (app) => addRoutes(app, deps), { prefix: apiPrefix });
      await addDocumentPages(scope);
    });
  };
}

function addRoutes(app: FastifyInstance, deps: ApiDeps): void {
  app.setValidatorCompiler(validatorCompiler);
  // Our own views are written as they are: tests hold them against the schemas.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    app.getDefaultJsonParser('error', 'error'),
  );
  app.addHook('onRequest', async ({ headers: { 'content-encoding': encoding } }) => {
    if (encoding === undefined || encoding === 'identity') return;
    throw new HttpProblem('unsupported-media-type', 'a body must not be compressed');
  });
  const api = typed(app);
  addHosts(api, deps);
  addVms(api, deps);
  addJobs(api, deps);
  addAudit(api, deps);
  addStream(api, deps);
}
