// What the routes say of themselves, and how that becomes the OpenAPI document and its page. Each route names its problems here;
// the document is made from the same schemas that judge the requests.
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { version } from '../../core/version.js';
import { type ProblemType, problemTypes, problemUri } from '../problem.js';
import { examples } from './examples.js';
import { Problem } from './schemas.js';

const documentPath = '/api/openapi.json';
const docsPath = '/api/docs';

/** Every route may answer these. */
const common = ['validation', 'unauthenticated', 'forbidden', 'rate-limited', 'internal'] as const;
/** And these, where it takes a body. */
export const bodyProblems = ['bad-request', 'too-large', 'unsupported-media-type'] as const;

type Answers = Record<number, { description: string; content: Record<string, { schema: z.ZodType }> }>;

/** The answer of a good request. */
export function ok(schema: z.ZodType, description: string) {
  return { description, content: { 'application/json': { schema } } };
}

export const notModified = z.undefined().describe('Nothing changed since the ETag of If-None-Match');

/** The problems that a route may answer, by status. */
export function problems(...types: ProblemType[]): Answers {
  const all = [...new Set<ProblemType>([...common, ...types])];
  const answers: Answers = {};
  for (const type of all) {
    const [status] = problemTypes[type];
    const same = all.filter((other) => problemTypes[other][0] === status);
    answers[status] = {
      description: same.map((other) => `\`${problemUri(other)}\`: ${problemTypes[other][1]}`).join('; '),
      content: { 'application/problem+json': { schema: Problem } },
    };
  }
  return answers;
}

/** Before the routes: they are written down as they are added. */
export async function addDocument(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Outrigger',
        version,
        description:
          'Hosts, VMs, jobs and the audit log of a fleet of KVM hosts. Errors are problem details (RFC 9457) with stable types.',
        license: { name: 'ISC', identifier: 'ISC' },
      },
      servers: [{ url: '/' }],
      security: [{ bearer: [] }],
      tags: [
        { name: 'fleet', description: 'Hosts and their VMs' },
        { name: 'jobs', description: 'VM jobs: asked for once, done once' },
        { name: 'record', description: 'Who did what' },
      ],
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description:
              'A token of `outrigger token create`, or a JWT of the identity provider that is configured.',
          },
        },
      },
    },
    transform: jsonSchemaTransform,
    transformObject: tidied,
  });
}

type Json = { [key: string]: unknown };

/**
 * The library writes each shape twice, as it is sent and as it is answered; ours are the same both ways. Patterns that repeat a
 * format are left out, and the header that a route judges itself is said to be wanted.
 */
const tidied: typeof jsonSchemaTransformObject = (document) => {
  const made = jsonSchemaTransformObject(document) as Json & { components: { schemas: Json } };
  const { schemas } = made.components;
  for (const name of Object.keys(schemas)) if (name.endsWith('Input')) delete schemas[name];
  for (const [name, example] of Object.entries(examples))
    Object.assign(schemas[name] ?? {}, { examples: [example] });
  const text = JSON.stringify(made, (key, value) => {
    if (key === '$ref' && typeof value === 'string') return value.replace(/Input$/, '');
    if (key === 'propertyNames') return undefined;
    if (typeof value !== 'object' || value === null) return value;
    if (value.name === 'idempotency-key' && value.in === 'header') {
      return { ...value, name: 'Idempotency-Key', required: true };
    }
    const { pattern, ...rest } = value;
    return rest.format !== undefined && typeof pattern === 'string' ? rest : value;
  });
  return JSON.parse(text);
};

/** After the routes. */
export async function addDocumentPages(app: FastifyInstance): Promise<void> {
  // Made once, at the start: a route that cannot be written down stops it.
  app.addHook('onReady', async () => void app.swagger());
  app.get(documentPath, { config: { need: 'read' }, schema: { hide: true } }, async () => app.swagger());
  await app.register(async (scope) => {
    // The plugin's routes cannot say themselves what they need.
    scope.addHook('onRoute', (route) => {
      route.config = { need: 'read', page: true, csp: 'docs', ...route.config };
    });
    await scope.register(swaggerUi, { routePrefix: docsPath, uiConfig: { deepLinking: false } });
  });
}
