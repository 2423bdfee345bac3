// The operations that there are: every file in operations/ is one. It refuses to start with a name that has no handler, or
// two, or that the job's form does not know.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type OperationName, operationNames } from './job.js';
import type { Operation, Operations } from './operation.js';

type Found = { file: string; operation: unknown };

export async function loadOperations(
  directory = join(import.meta.dirname, 'operations'),
  names: readonly OperationName[] = operationNames,
): Promise<Operations> {
  const files = (await readdir(directory)).filter(
    (file) => /^[^.].*\.(js|ts)$/.test(file) && !file.endsWith('.d.ts'),
  );
  const found = await Promise.all(
    files.sort().map(async (file): Promise<Found> => {
      const module: { operation?: unknown } = await import(pathToFileURL(join(directory, file)).href);
      return { file, operation: module.operation };
    }),
  );
  return registry(found, names);
}

/** Throws an Error that names every fault. */
export function registry(
  found: readonly Found[],
  names: readonly OperationName[] = operationNames,
): Operations {
  const faults: string[] = [];
  const operations = new Map<OperationName, Operation>();
  const fileOf = new Map<string, string>();
  for (const { file, operation } of found) {
    if (!isOperation(operation)) {
      faults.push(`${file} exports no operation`);
    } else if (!names.includes(operation.name)) {
      faults.push(`${file} handles ${operation.name}, which is no operation of a job`);
    } else if (operations.has(operation.name)) {
      faults.push(`${file} and ${fileOf.get(operation.name)} both handle ${operation.name}`);
    } else {
      operations.set(operation.name, operation);
      fileOf.set(operation.name, file);
    }
  }
  for (const name of names) if (!operations.has(name)) faults.push(`nothing handles ${name}`);
  if (faults.length > 0) throw new Error(`the VM operations are not complete: ${faults.join('; ')}`);
  return operations;
}

function isOperation(value: unknown): value is Operation {
  if (typeof value !== 'object' || value === null) return false;
  const methods = ['read', 'decide', 'act', 'verify', 'settle'] as const;
  return (
    'name' in value &&
    methods.every((method) => method in value && typeof (value as Operation)[method] === 'function')
  );
}
