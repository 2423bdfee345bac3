// `outrigger audit verify`: whether the audit log is what was written. It reads the files themselves, so that it works on
// a copy, beside a running service, and without one. It refuses to mend anything.
import { join } from 'node:path';
import { type Problem, type Verification, verifyAudit } from '../audit/verify.js';
import { describe } from '../core/errors.js';
import { type Environment, readSettings } from './configuration.js';
import { count, painter, printable } from './output.js';

export type AuditVerifyOptions = { json?: boolean; archived?: boolean; expect?: string };

/** `dir`: the log to read; without it the one in AGENT_DATA_DIR. */
export async function auditVerify(
  env: Environment,
  dir: string | undefined,
  { json, archived, expect }: AuditVerifyOptions,
): Promise<number> {
  const where = dir ?? auditDir(env);
  if (!where) return 1;
  let found: Verification;
  try {
    found = await verifyAudit(where, { archived: archived ?? false, ...(expect && { expect }) });
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing
      ? `there is no audit log in ${where}`
      : `cannot read the audit log: ${describe(error)}`;
    process.stderr.write(`outrigger: ${why}\n`);
    return 1;
  }
  const good = found.problems.length === 0;
  if (json) process.stdout.write(`${JSON.stringify({ ok: good, ...found }, null, 2)}\n`);
  else print(found);
  return good ? 0 : 1;
}

function auditDir(env: Environment): string | undefined {
  const settings = readSettings(env);
  return settings && join(settings.dataDir, 'audit');
}

function print({ dir, files, lines, end, problems, problemsOmitted, torn }: Verification): void {
  const paint = painter(process.stdout);
  for (const { file, line, bytes } of torn) {
    process.stdout.write(
      `${dir}/${file}:${line}: torn by a crash, ${count(bytes, 'byte')}: never acted upon\n`,
    );
  }
  for (const problem of problems) {
    process.stdout.write(
      `${paint('red', `${placeOf(dir, problem)}: ${problem.kind}`)}: ${problem.message}\n`,
    );
  }
  if (problemsOmitted > 0) process.stdout.write(`… and ${problemsOmitted} more\n`);
  const size = `${count(lines, 'line')} in ${count(files, 'file')}`;
  const verdict =
    problems.length === 0
      ? paint('green', `${size}: the chain is whole`)
      : paint('red', `${size}: the log is not what was written`);
  process.stdout.write(`${verdict}\n`);
  if (end.at) process.stdout.write(`newest line: ${end.seq}, ${printable(end.at)}, hash ${end.hash}\n`);
}

function placeOf(dir: string, { file, line }: Problem): string {
  return file ? `${dir}/${file}:${line}` : dir;
}
