// The OpenAPI document: whole, true to the routes that there are, and told in docs/api.md. The library makes it; here it is held
// against the rules of OpenAPI 3.1 that a reader relies on.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import type { RouteOptions } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { examples } from '../../../../src/http/api/examples.js';
import * as shapes from '../../../../src/http/api/schemas.js';
import { problemTypes, problemUri } from '../../../../src/http/problem.js';
import { type ApiRig, apiRig, bearer } from '../../../support/api.js';
import type { OpenApi } from '../../../support/openapi.js';

type Json = { [key: string]: unknown };
type Document = OpenApi & {
  openapi: string;
  info: Json;
  components: { schemas: Record<string, Json> };
};

let rig: ApiRig;
let document: Document;
const routes: RouteOptions[] = [];

beforeAll(async () => {
  rig = await apiRig([], { onRoute: (route) => void routes.push(route) });
  const answer = await rig.app.inject({ url: '/api/openapi.json', headers: bearer('viewer') });
  expect(answer.statusCode).toBe(200);
  document = answer.json();
});

afterAll(() => rig[Symbol.asyncDispose]());

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

const ours = () =>
  routes
    .filter(({ url, method }) => url.startsWith('/api/v1') && method !== 'HEAD')
    .map(({ url, method, config }) => ({
      route: `${method} ${url.replaceAll(/:(\w+)/g, '{$1}')}`,
      need: config?.need,
    }));

function table(name: string): string[][] {
  const text = readFileSync(resolve(import.meta.dirname, '../../../../docs/api.md'), 'utf8');
  const [, part = ''] = new RegExp(`<!-- ${name}:.*?-->\n(.*?)<!-- /${name} -->`, 's').exec(text) ?? [];
  const rows = part.trim().split('\n').slice(2);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

describe('the OpenAPI document', () => {
  it('is 3.1 and has every route of the API, and no other', () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(document.info).toMatchObject({ title: 'Outrigger', version: expect.any(String) });
    const written = operations().map(({ path, method }) => `${method.toUpperCase()} ${path}`);
    expect(written.length).toBeGreaterThanOrEqual(12);
    expect(written.sort()).toEqual(
      ours()
        .map(({ route }) => route)
        .sort(),
    );
  });

  it('is what the specification calls a document, as its own schema judges it', async () => {
    const judge = new Validator();
    expect(await judge.validate(structuredClone(document))).toEqual({ valid: true });
    expect(judge.version).toBe('3.1');
    const broken = structuredClone(document);
    Object.assign(broken.paths['/api/v1/hosts']?.get ?? {}, { responses: { 200: {} } });
    expect((await new Validator().validate(broken)).valid).toBe(false);
  });

  it('gives each a summary, a tag, every path parameter, a good answer and its problems', () => {
    for (const { path, method, operation } of operations()) {
      const what = `${method} ${path}`;
      expect(operation.summary, what).toMatch(/^[A-Z]/);
      expect(operation.tags?.length, what).toBeGreaterThan(0);
      const inPath = (operation.parameters ?? []).filter((one) => one.in === 'path');
      expect(
        inPath.every(({ required }) => required),
        what,
      ).toBe(true);
      expect(inPath.map(({ name }) => `{${name}}`).sort(), what).toEqual(
        (path.match(/\{\w+\}/g) ?? []).sort(),
      );
      expect(
        Object.keys(operation.responses).some((status) => status.startsWith('2')),
        what,
      ).toBe(true);
      for (const [status, { description, content = {} }] of Object.entries(operation.responses)) {
        expect(description, `${what} ${status}`).not.toBe('');
        if (Number(status) < 400) continue;
        expect(Object.keys(content), `${what} ${status}`).toEqual(['application/problem+json']);
        for (const [, uri] of description.matchAll(/`(urn:[^`]*)`/g)) {
          expect(
            Object.keys(problemTypes).map((type) => problemUri(type as keyof typeof problemTypes)),
          ).toContain(uri);
        }
      }
      for (const status of ['400', '401', '403', '429'])
        expect(operation.responses, what).toHaveProperty(status);
    }
  });

  it('refers to shapes that are there, and shows an example of each that is answered', () => {
    const named = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)].map(([, ref]) => ref ?? '');
    expect(named.length).toBeGreaterThan(20);
    for (const ref of new Set(named)) {
      const [, name = ''] = /^#\/components\/schemas\/(\w+)$/.exec(ref) ?? [];
      expect(document.components.schemas, ref).toHaveProperty(name);
    }
    for (const { operation } of operations()) {
      for (const { content = {} } of Object.values(operation.responses)) {
        for (const { schema } of Object.values(content)) {
          const name = String(schema.$ref ?? '').replace('#/components/schemas/', '');
          const shape = name ? document.components.schemas[name] : schema;
          expect(shape?.examples, name).toHaveLength(1);
        }
      }
    }
  });

  it('has examples that are true to their shapes', () => {
    const { Host, Vm, NewJob, Job, QueueState, AuditEntry, Problem } = shapes;
    const pages = { HostPage: Host, VmPage: Vm, JobPage: Job, AuditPage: AuditEntry };
    const schemas: Record<string, z.ZodType> = { Host, Vm, NewJob, Job, QueueState, AuditEntry, Problem };
    for (const [name, item] of Object.entries(pages)) schemas[name] = shapes.pageOf(item, `${name}Checked`);
    expect(Object.keys(examples).sort()).toEqual(Object.keys(schemas).sort());
    for (const [name, example] of Object.entries(examples)) {
      const schema = schemas[name];
      if (!schema) throw new Error(`no shape ${name}`);
      expect(schema.parse(example), name).toEqual(example);
    }
  });

  it('says that the Idempotency-Key is wanted', () => {
    const { parameters } = document.paths['/api/v1/jobs']?.post ?? {};
    expect(parameters).toMatchObject([{ name: 'Idempotency-Key', in: 'header', required: true }]);
  });

  it('can be browsed without anything from elsewhere', async () => {
    const page = await rig.app.inject({ url: '/api/docs/', headers: bearer('viewer') });
    expect(page.statusCode).toBe(200);
    expect(page.headers['content-security-policy']).toContain("script-src 'self'");
    const sources = [...page.body.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, source]) => source ?? '');
    expect(sources.length).toBeGreaterThan(3);
    for (const source of sources) {
      expect(source).not.toMatch(/^(https?:)?\/\//);
      const url = new URL(source, 'http://x/api/docs/').pathname;
      expect((await rig.app.inject({ url, headers: bearer('viewer') })).statusCode, source).toBe(200);
    }
    expect(page.body).not.toMatch(/<script(?![^>]*src=)[^>]*>[^<]/);
    expect((await rig.app.inject('/api/openapi.json')).statusCode).toBe(401);
  });
});

describe('docs/api.md', () => {
  it('tells of the routes that there are, and what each needs', () => {
    const summaries = new Map(
      operations().map(({ path, method, operation }) => [
        `${method.toUpperCase()} ${path}`,
        operation.summary,
      ]),
    );
    const expected = ours().map(({ route, need }) => [route, need, summaries.get(route)]);
    expect(table('routes').sort()).toEqual(expected.sort());
  });

  it('tells of the problems that there are', () => {
    const expected = Object.entries(problemTypes).map(([type, [status, title]]) => [
      type,
      String(status),
      title,
    ]);
    expect(table('problems')).toEqual(expected);
  });
});
