// An audit log in a directory of its own, and what a person with a text editor could do to it.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type AuditEntry, AuditLog, type AuditLogOptions } from '../../../src/audit/log.js';
import { systemClock } from '../../../src/core/clock.js';

/** Where a log may be made; it goes when the test ends. */
export function auditDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'outrigger-audit-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'audit');
}

export async function openLog(dir: string, options: Partial<AuditLogOptions> = {}): Promise<AuditLog> {
  const log = await AuditLog.open({ dir, clock: systemClock, ...options });
  onTestFinished(() => log.close().catch(() => undefined));
  return log;
}

export function entry(n: number, more: Partial<AuditEntry> = {}): AuditEntry {
  return {
    kind: 'begin',
    requestId: `request-${n}`,
    op: 'stop',
    act: 'destroy',
    host: 'kvm-01',
    vm: { name: 'web-1', uuid: 'c0ffee00-0000-4000-8000-000000000001' },
    requestedBy: 'billing',
    ...more,
  };
}

/** A log of `lines` lines, closed again; small files when `rotateBytes` is. */
export async function writtenLog(lines: number, rotateBytes?: number): Promise<string> {
  const dir = auditDir();
  const log = await openLog(dir, rotateBytes === undefined ? {} : { rotateBytes });
  for (let n = 1; n <= lines; n++) await log.append(entry(n));
  await log.close();
  return dir;
}

export function filesOf(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => name.endsWith('.jsonl'))
    .sort();
}

export function linesOf(dir: string, name = 'audit-000001.jsonl'): string[] {
  return readFileSync(join(dir, name), 'utf8').split('\n').slice(0, -1);
}

export function allLines(dir: string): Record<string, unknown>[] {
  return filesOf(dir).flatMap((name) => linesOf(dir, name).map((line) => JSON.parse(line)));
}

export function rewrite(
  dir: string,
  change: (lines: string[]) => string[],
  name = 'audit-000001.jsonl',
): void {
  writeFileSync(join(dir, name), `${change(linesOf(dir, name)).join('\n')}\n`);
}
