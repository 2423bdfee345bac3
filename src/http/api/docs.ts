// What the routes say of themselves, and how that becomes the OpenAPI document and its page. Each route names its problems here;
// the document is made from the same schemas that judge the requests.
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { version } from '../../core/version.js';
import { type ProblemType, problemBody, problemTypes, problemUri } from '../problem.js';
import { Problem } from './schemas.js';

const documentPath = '/api/openapi.json';
const docsPath = '/api/docs';

/** Every route may answer these. */
const common = ['validation', 'unauthenticated', 'forbidden', 'rate-limited', 'internal'] as const;
/** And these, where it takes a body. */
export const bodyProblems = ['bad-request', 'too-large', 'unsupported-media-type'] as const;

type Answers = Record<number, { description: string; content: Record<string, { schema: z.ZodType }> }>;

/** The answer of a good request, with an example. */
export function ok(schema: z.ZodType, description: string, example: unknown) {
  return { description, content: { 'application/json': { schema: schema.meta({ examples: [example] }) } } };
}

/** The problems that a route may answer, by status. */
export function problems(...types: ProblemType[]): Answers {
  const all = [...new Set<ProblemType>([...common, ...types])];
  const answers: Answers = {};
  for (const type of all) {
    const [status, title] = problemTypes[type];
    const same = all.filter((other) => problemTypes[other][0] === status);
    answers[status] = {
      description: same.map((other) => `\`${problemUri(other)}\`: ${problemTypes[other][1]}`).join('; '),
      content: {
        'application/problem+json': {
          schema: Problem.meta({ examples: [problemBody(type, { detail: title })] }),
        },
      },
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
    transformObject: jsonSchemaTransformObject,
  });
}

/** After the routes. */
export async function addDocumentPages(app: FastifyInstance): Promise<void> {
  app.get(documentPath, { config: { need: 'read' }, schema: { hide: true } }, async () => app.swagger());
  await app.register(async (scope) => {
    // The plugin's routes cannot say themselves what they need.
    scope.addHook('onRoute', (route) => {
      route.config = { need: 'read', page: true, csp: 'docs', ...route.config };
    });
    await scope.register(swaggerUi, { routePrefix: docsPath, uiConfig: { deepLinking: false } });
  });
}
