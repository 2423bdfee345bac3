// The log: one JSON object a line, errors with code and hint, no secrets, levels by their names.
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { createLog, silentLog } from '../../../src/core/log.js';
import { Secret } from '../../../src/core/secret.js';
import { until } from '../../support/until.js';

const folder = mkdtempSync(join(tmpdir(), 'log-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function linesOf(file: string, count: number): Promise<Record<string, unknown>[]> {
  const read = () => {
    try {
      return readFileSync(file, 'utf8').split('\n').filter(Boolean);
    } catch {
      return [];
    }
  };
  const lines = await until(`${count} lines`, () => read().length >= count && read());
  return (lines as string[]).map((line) => JSON.parse(line));
}

test('writes JSON lines with level, time and fields, and hides secrets', async () => {
  const file = join(folder, 'a.log');
  const log = createLog({ level: 'INFO', file });
  log.debug('not this');
  log.info({ host: 'kvm-01', token: new Secret('hunter2') }, 'session is up');
  log.warn(
    { error: new HostError('DNS', { hint: 'mend', cause: new Error('no such name') }) },
    'cannot connect',
  );
  log.error({ error: new TypeError('oops') }, 'unexpected');
  const lines = await linesOf(file, 3);
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatchObject({ level: 'info', host: 'kvm-01', token: '[secret]', msg: 'session is up' });
  expect(Number.isNaN(Date.parse(String(lines[0]?.time)))).toBe(false);
  expect(lines[1]?.error).toEqual({
    text: 'dns: no such name',
    code: 'DNS',
    outcome: 'failed',
    hint: 'mend',
  });
  expect(lines[2]?.error).toMatchObject({ text: 'oops', stack: expect.stringContaining('TypeError') });
  expect(readFileSync(file, 'utf8')).not.toContain('hunter2');
  expect(statSync(file).mode & 0o007).toBe(0);
});

test.each([
  ['DEBUG', 'debug'],
  ['WARNING', 'warn'],
  ['ERROR', 'error'],
  ['CRITICAL', 'fatal'],
] as const)('level %s', async (level, expected) => {
  const file = join(folder, level);
  const log = createLog({ level, file });
  expect(log.level).toBe(expected);
  log.fatal('end');
  expect(await linesOf(file, 1)).toEqual([expect.objectContaining({ level: 'fatal', msg: 'end' })]);
});

test('a log file that takes nothing ends neither the log nor the process', async () => {
  const written: string[] = [];
  const write = vi
    .spyOn(process.stderr, 'write')
    .mockImplementation((text) => written.push(String(text)) > 0);
  try {
    const log = createLog({ level: 'INFO', file: '/dev/full' });
    log.info('lost');
    await until('the complaint', () => written.length);
    log.info('lost too');
  } finally {
    write.mockRestore();
  }
  expect(written[0]).toMatch(/^the log file \/dev\/full cannot be written: ENOSPC/);
});

test('the silent log says nothing', () => {
  expect(silentLog.isLevelEnabled('fatal')).toBe(false);
});
