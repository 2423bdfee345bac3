// docs/backend-openapi.yaml against the schemas and calls that the collector uses, and against the sample backend: the
// same paths, the same shapes, examples that are taken. Prose is its own, and so is leniency: the reference does not
// forbid keys that it does not know.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import * as api from '../../../src/backend/api.js';
import { createBackend } from '../../../src/sim/backend/server.js';

type Json = { [key: string]: unknown };
type Operation = {
  operationId: string;
  security?: Json[];
  parameters?: Json[];
  requestBody: { content: { 'application/json': { schema: Json; example?: unknown; examples?: Json } } };
  responses: Record<
    string,
    Json & { content?: { 'application/json'?: { schema: Json; example?: unknown } } }
  >;
};

const docs = resolve(import.meta.dirname, '../../../docs');
const document = parse(readFileSync(resolve(docs, 'backend-openapi.yaml'), 'utf8')) as {
  openapi: string;
  paths: Record<string, { post?: Operation; get?: Operation }>;
  security: Json[];
  components: { schemas: Record<string, Json> } & Json;
};

function at(pointer: string): Json {
  let found: unknown = document;
  for (const part of pointer.replace('#/', '').split('/')) found = (found as Json | undefined)?.[part];
  if (typeof found !== 'object' || found === null) throw new Error(`nothing is at ${pointer}`);
  return found as Json;
}

const proseKeys = new Set(['description', '$schema', 'example', 'examples']);

/** What a schema says, without prose: references followed, implied limits and open ends left out. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shape);
  if (typeof value !== 'object' || value === null) return value;
  const { $ref, ...rest } = value as Json;
  if (typeof $ref === 'string') return shape({ ...at($ref), ...rest });
  const entries = Object.entries(rest).filter(([key, inner]) => {
    if (proseKeys.has(key) && typeof inner !== 'object') return false;
    if (key === 'pattern' && 'format' in rest) return false;
    if (key === 'maximum') return inner !== Number.MAX_SAFE_INTEGER;
    if (key === 'minimum') return inner !== Number.MIN_SAFE_INTEGER;
    if (key === 'propertyNames') return false;
    return key !== 'additionalProperties' || (inner !== false && JSON.stringify(inner) !== '{}');
  });
  return Object.fromEntries(entries.map(([key, inner]) => [key, shape(inner)]));
}

function ofZod(schema: z.ZodType): unknown {
  return shape(z.toJSONSchema(schema, { io: 'input' }));
}

const operations = api.callNames.map((name) => {
  const operation = document.paths[api.calls[name].path]?.post;
  if (!operation) throw new Error(`no ${name} in the document`);
  return { name, call: api.calls[name] as api.Call, operation };
});

/** The answer's jobs are not read by the schema of the answer, but one by one. */
function withJobs(schema: unknown): unknown {
  const answer = structuredClone(schema) as { properties: { jobs: { anyOf: { items?: unknown }[] } } };
  const [list] = answer.properties.jobs.anyOf;
  if (list) list.items = ofZod(api.HeartbeatJob);
  return answer;
}

describe('docs/backend-openapi.yaml', () => {
  it('has every call under its path, and besides them the one for people', () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    const posts = Object.entries(document.paths).flatMap(([path, { post }]) => (post ? [path] : []));
    expect(posts.sort()).toEqual(api.callNames.map((name) => api.calls[name].path).sort());
    const gets = Object.entries(document.paths).flatMap(([path, { get }]) => (get ? [path] : []));
    expect(gets).toEqual(['/api/agent/status']);
    for (const { name, operation } of operations) expect(operation.operationId).toBe(name);
  });

  it.each(operations)(
    '$name: the body and the answer are those of the schemas',
    ({ name, call, operation }) => {
      expect(shape(operation.requestBody.content['application/json'].schema)).toEqual(ofZod(call.body));
      const answer = operation.responses[call.status];
      if (!answer) throw new Error(`${name} has no ${call.status}`);
      const schema = answer.content?.['application/json']?.schema;
      if (call.answer === api.Accepted) expect(answer.$ref).toBe('#/components/responses/Accepted');
      else
        expect(shape(schema)).toEqual(
          name === 'heartbeat' ? withJobs(ofZod(call.answer)) : ofZod(call.answer),
        );
    },
  );

  it.each(operations)(
    '$name: who may call it, which errors mean what, and how repeats are known',
    ({ name, call, operation }) => {
      const security = operation.security ?? document.security;
      expect(security).toEqual(call.auth === 'none' ? [] : [{ [call.auth]: [] }]);
      const needed = ['401', '429', '503', ...(call.auth === 'agent' ? ['404'] : [])];
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(needed));
      const parameters = (operation.parameters ?? []).map((given) =>
        given.$ref ? at(String(given.$ref)) : given,
      );
      const inPath = parameters.filter((given) => given.in === 'path').map((given) => `{${given.name}}`);
      expect(inPath).toEqual(call.path.match(/\{[a-z_]+\}/g) ?? []);
      const repeated = parameters.some((given) => String(given.name).toLowerCase() === api.idempotencyHeader);
      expect(repeated).toBe(name === 'events' || name === 'job_result');
    },
  );

  it.each(operations)('$name: the examples are taken', ({ name, call, operation }) => {
    const { example, examples = {} } = operation.requestBody.content['application/json'];
    const bodies = [example, ...Object.values(examples).map((given) => (given as Json).value)].filter(
      Boolean,
    );
    expect(bodies.length).toBeGreaterThan(0);
    for (const body of bodies) call.body.parse(body);
    const answer = operation.responses[call.status]?.content?.['application/json']?.example;
    if (answer !== undefined) call.answer.parse(answer);
    if (name !== 'heartbeat') return;
    const [job] = api.HeartbeatAnswer.parse(answer).jobs ?? [];
    expect(api.backendJob(job, 'kvm-01')).toMatchObject({
      op: 'stop',
      requestId: '8f7a3a0e-42',
      data: { vm: 'web-1' },
    });
  });

  it('has every schema of the collector that has a name there', () => {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      const own = (api as unknown as Record<string, z.ZodType | undefined>)[name];
      if (!own) continue;
      expect(shape(schema), name).toEqual(name === 'HeartbeatAnswer' ? withJobs(ofZod(own)) : ofZod(own));
    }
    expect(Object.keys(document.components.schemas).length).toBeGreaterThan(15);
  });

  it('refers to nothing that is not there, and holds nothing that nobody refers to', () => {
    const text = readFileSync(resolve(docs, 'backend-openapi.yaml'), 'utf8');
    const used = new Set([...text.matchAll(/\$ref: '([^']+)'/g)].map(([, pointer]) => pointer ?? ''));
    for (const pointer of used) at(pointer);
    const all = Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`);
    expect(all.filter((pointer) => !used.has(pointer))).toEqual([]);
  });

  it('is what the sample backend offers', async () => {
    const { app } = createBackend({ bootstrapToken: 'b' });
    await app.ready();
    for (const [path, methods] of Object.entries(document.paths)) {
      const url = path.replace('{id}', ':id').replace('{job_id}', ':job');
      for (const method of Object.keys(methods))
        expect(app.hasRoute({ url, method: method.toUpperCase() }), `${method} ${path}`).toBe(true);
    }
    await app.close();
  });
});

describe('docs/backend.md', () => {
  const text = readFileSync(resolve(docs, 'backend.md'), 'utf8');

  it('names every call and leads to the reference and the sample', () => {
    for (const name of api.callNames) expect(text).toContain(api.calls[name].path.replace('/api/agent', ''));
    expect(text).toContain('(backend-openapi.yaml)');
    expect(text).toContain('../examples/backend');
  });
});
