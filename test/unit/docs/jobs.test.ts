// docs/jobs.md against the code: every operation, parameter and error is in it, and every example is one that would be taken.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { jobCodes, operationNames, parseRequest } from '../../../src/ops/job.js';
import type { Operations } from '../../../src/ops/operation.js';
import { loadOperations } from '../../../src/ops/registry.js';

const text = readFileSync(resolve(import.meta.dirname, '../../../docs/jobs.md'), 'utf8');

let operations: Operations;
beforeAll(async () => {
  operations = await loadOperations();
});

const sections = new Map(
  text
    .split(/^### /m)
    .slice(1)
    .flatMap((section) => {
      const names = section.slice(0, section.indexOf('\n')).split(', ');
      return names.map((name) => [name, section.split(/^## /m)[0] ?? ''] as const);
    }),
);

describe('docs/jobs.md', () => {
  it.each(operationNames)('has an example of %s from Node and from a shell, and each is taken', (name) => {
    const section = sections.get(name) ?? '';
    expect(section).toContain(`run('${name}', `);
    const examples = [...section.matchAll(/^job (\S+) '(.*)'$/gm)].filter(([, op]) => op === name);
    expect(examples.length).toBeGreaterThan(0);
    for (const [, op = '', data = ''] of examples) {
      const job = parseRequest(op, { requestId: 'r', ...JSON.parse(data) }, operations);
      expect(job).toMatchObject({ op: name, host: 'kvm-01' });
    }
  });

  it.each(operationNames)('names each parameter of %s', (name) => {
    const section = sections.get(name) ?? '';
    const { params } = operations.get(name) ?? {};
    const shape = (params as { shape?: object } | undefined)?.shape;
    expect(shape).toBeDefined();
    expect(Object.keys(shape ?? {}).filter((key) => !section.includes(key))).toEqual([]);
  });

  it('says of each error what it means', () => {
    const rows = [...text.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
    expect(rows.toSorted()).toEqual([...jobCodes].toSorted());
  });
});
