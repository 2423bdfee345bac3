// Writing: one chain, on the disk before append resolves, in bounded lines and files, whatever happens to the disk.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { AuditLog, headDelayMs } from '../../../src/audit/log.js';
import { verifyAudit } from '../../../src/audit/verify.js';
import { systemClock } from '../../../src/core/clock.js';
import { Secret } from '../../../src/core/secret.js';
import { FakeClock, settle } from '../../support/fake-clock.js';
import { until } from '../../support/until.js';
import { allLines, auditDir, entry, filesOf, linesOf, openLog, writtenLog } from './audit-fixture.js';

describe('AuditLog', () => {
  it('writes a line before it resolves, chained to the one before, for our eyes only', async () => {
    const dir = auditDir();
    const log = await openLog(dir, { clock: new FakeClock(Date.UTC(2026, 10, 21)) });
    await log.append(entry(1, { reason: 'decommissioned', before: { state: 'running' } }));
    const [first] = linesOf(dir);
    expect(JSON.parse(first ?? '')).toEqual({
      seq: 1,
      at: '2026-11-21T00:00:00.000Z',
      prev: '0'.repeat(64),
      ...entry(1),
      reason: 'decommissioned',
      before: { state: 'running' },
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    await log.append(entry(2, { kind: 'end', outcome: 'changed', after: { state: 'shutoff' } }));
    const [one, two] = allLines(dir);
    expect(two).toMatchObject({ seq: 2, prev: one?.hash });
    expect(log.end).toEqual({ seq: 2, hash: two?.hash });
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    expect(statSync(join(dir, 'audit-000001.jsonl')).mode & 0o777).toBe(0o600);
  });

  it('keeps the order of appends that come together', async () => {
    const dir = auditDir();
    const log = await openLog(dir);
    await Promise.all(Array.from({ length: 500 }, (_, n) => log.append(entry(n))));
    expect(allLines(dir).map(({ requestId }) => requestId)).toEqual(
      Array.from({ length: 500 }, (_, n) => `request-${n}`),
    );
    expect(await verifyAudit(dir)).toMatchObject({ lines: 500, problems: [], torn: [] });
  });

  it('refuses more than it can hold, and says so', async () => {
    const log = await openLog(auditDir());
    const results = await Promise.allSettled(Array.from({ length: 6_000 }, (_, n) => log.append(entry(n))));
    const refused = results.filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(6_000 - 4_096);
    expect(refused[0]).toMatchObject({ reason: { code: 'AUDIT', message: /lines wait/ } });
    await log.append(entry(1));
  });

  it('goes on with the chain after it is opened again', async () => {
    const dir = await writtenLog(3);
    const log = await openLog(dir);
    await log.append(entry(4));
    expect(await verifyAudit(dir)).toMatchObject({ lines: 4, problems: [], end: log.end });
  });

  it('begins the next file when one is full, with the hash of the last line', async () => {
    const dir = await writtenLog(20, 2_000);
    const files = filesOf(dir);
    expect(files.length).toBeGreaterThan(2);
    expect(files[1]).toBe('audit-000002.jsonl');
    const last = JSON.parse(linesOf(dir, files[0]).at(-1) ?? '');
    expect(JSON.parse(linesOf(dir, files[1])[0] ?? '')).toMatchObject({ seq: last.seq + 1, prev: last.hash });
    const log = await openLog(dir, { rotateBytes: 2_000 });
    await log.append(entry(21));
    await log.close();
    expect(await verifyAudit(dir)).toMatchObject({ lines: 21, problems: [] });
  });

  it('keeps a torn last line as evidence, and goes on', async () => {
    const dir = await writtenLog(3);
    const file = join(dir, 'audit-000001.jsonl');
    const torn = '{"seq":4,"at":"2026-11-21T00:00';
    appendFileSync(file, torn);
    expect(await verifyAudit(dir)).toMatchObject({ lines: 3, problems: [], torn: [{ line: 4 }] });
    const log = await openLog(dir);
    await log.append(entry(5));
    expect(linesOf(dir)[3]).toBe(torn);
    expect(allLinesAfter(dir, 4)).toMatchObject([
      { seq: 4, kind: 'torn', bytes: torn.length },
      { seq: 5, requestId: 'request-5' },
    ]);
    expect(await verifyAudit(dir)).toMatchObject({
      lines: 5,
      problems: [],
      torn: [{ file: 'audit-000001.jsonl', line: 4, bytes: torn.length }],
    });
  });

  it.each([
    ['zeros', '\0'.repeat(100_000)],
    ['zeros and a line break', `${'\0'.repeat(5_000)}\n`],
    ['several lines', 'a\nb\n\nc'],
  ])('takes %s at the end for torn, also when the mark itself is torn', async (_, tail) => {
    const dir = await writtenLog(2);
    const file = join(dir, 'audit-000001.jsonl');
    appendFileSync(file, tail);
    let log = await openLog(dir);
    await log.append(entry(3));
    await log.close();
    const whole = await verifyAudit(dir);
    expect(whole).toMatchObject({ lines: 4, problems: [] });
    expect(whole.torn).toHaveLength(1);

    const mark = linesOf(dir).findIndex((line) => line.includes('"kind":"torn"'));
    const before = Buffer.from(`${linesOf(dir).slice(0, mark).join('\n')}\n`).length;
    truncateSync(file, before + 40);
    rmSync(join(dir, 'head.json'));
    log = await openLog(dir);
    await log.append(entry(3));
    await log.close();
    const again = await verifyAudit(dir);
    expect(again).toMatchObject({ lines: 4, problems: [] });
    expect(again.torn).toHaveLength(1);
  });

  it('does not take a changed last line for a torn one', async () => {
    const dir = await writtenLog(3);
    const file = join(dir, 'audit-000001.jsonl');
    writeFileSync(file, readFileSync(file, 'utf8').replace('request-3', 'request-4'));
    const log = await openLog(dir);
    await log.append(entry(5));
    await log.close();
    expect(await verifyAudit(dir)).toMatchObject({
      torn: [],
      problems: [{ kind: 'changed', file: 'audit-000001.jsonl', line: 3 }],
    });
  });

  it('does not hide lines that were cut off: it goes on from where the head file knows it was', async () => {
    const dir = await writtenLog(5);
    writeFileSync(join(dir, 'audit-000001.jsonl'), `${linesOf(dir).slice(0, 3).join('\n')}\n`);
    const told: string[] = [];
    const log = await openLog(dir, {
      log: pino({ level: 'error' }, { write: (line) => void told.push(line) }),
    });
    expect(told.join()).toContain('lines 4 to 5 are missing or changed');
    await log.append(entry(6));
    await log.close();
    expect(await verifyAudit(dir)).toMatchObject({
      problems: [{ kind: 'missing', line: 4, message: 'lines 4 to 5 are missing before this line' }],
    });
  });

  it.each([
    ['removed', (file: string) => rmSync(file)],
    ['moved away', (file: string) => renameSync(file, `${file}.1`)],
    ['cut', (file: string) => truncateSync(file, 10)],
    ['written to', (file: string) => appendFileSync(file, 'hello\n')],
    ['replaced', (file: string) => renameSync(copyOf(file), file)],
  ])('writes to a new file when the present one was %s by somebody', async (_, harm) => {
    const dir = auditDir();
    const log = await openLog(dir);
    await log.append(entry(1));
    harm(join(dir, 'audit-000001.jsonl'));
    await log.append(entry(2));
    expect(linesOf(dir, 'audit-000002.jsonl')).toHaveLength(1);
    await log.append(entry(3));
    expect(linesOf(dir, 'audit-000002.jsonl')).toHaveLength(2);
  });

  it('rejects while it cannot write, and writes again when it can', async () => {
    const dir = auditDir();
    const log = await openLog(dir, { rotateBytes: 1 });
    await log.append(entry(1));
    renameSync(dir, `${dir}.away`);
    await expect(log.append(entry(2))).rejects.toMatchObject({
      code: 'AUDIT',
      outcome: 'not-sent',
      message: 'the audit log cannot be written',
    });
    renameSync(`${dir}.away`, dir);
    await log.append(entry(3));
    await log.close();
    expect(await verifyAudit(dir)).toMatchObject({ lines: 2, problems: [] });
  });

  it('says what is wrong with a directory that cannot be used', async () => {
    const dir = auditDir();
    writeFileSync(dir, 'a file');
    await expect(AuditLog.open({ dir, clock: systemClock })).rejects.toMatchObject({
      code: 'AUDIT',
      message: expect.stringContaining(dir),
    });
  });

  it('rejects when the disk does not answer in time, and does not write the line after all', async () => {
    const dir = await writtenLog(1);
    const clock = new FakeClock();
    const log = await openLog(dir, { clock });
    // A FIFO that nobody reads keeps whoever opens it waiting, like a dead disk.
    const file = join(dir, 'audit-000001.jsonl');
    renameSync(file, `${file}.kept`);
    execFileSync('mkfifo', [file]);
    const stuck = log.append(entry(2)).catch((error: unknown) => error);
    await settle();
    const behind = log.append(entry(3)).catch((error: unknown) => error);
    await clock.advance(10_000);
    expect(await stuck).toMatchObject({ code: 'AUDIT', message: expect.stringContaining('did not answer') });
    expect(await behind).toMatchObject({ code: 'AUDIT' });
    closeSync(openSync(file, constants.O_RDONLY | constants.O_NONBLOCK));
    rmSync(file);
    renameSync(`${file}.kept`, file);
    await log.append(entry(4));
    expect(allLines(dir).map(({ requestId }) => requestId)).not.toContain('request-3');
    await log.close();
    expect(await verifyAudit(dir)).toMatchObject({ problems: [] });
  });

  it('bounds every field, and writes nothing that looks like a secret', async () => {
    const dir = auditDir();
    const log = await openLog(dir);
    const hostile = `\u0000\u001b[31m"}\n{"seq":1}\u202e${'x'.repeat(1_000_000)}`;
    await log.append(
      entry(1, {
        vm: { name: hostile, uuid: hostile },
        op: hostile,
        host: hostile,
        requestedBy: hostile,
        reason: hostile,
        error: `cannot reach https://user:hunter2@backend.example.net: ${hostile}`,
        outcome: hostile,
        before: { name: hostile, list: Array.from({ length: 10_000 }, () => hostile.slice(0, 20)) },
        after: {
          password: 'hunter2',
          nested: [{ tokenFile: 'hunter2', key: new Secret('hunter2') }],
          big: 10n,
        },
      }),
    );
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    await log.append(entry(2, { before: circular, after: () => 1 }));
    const lines = linesOf(dir);
    expect(lines).toHaveLength(2);
    expect(lines[0]?.length).toBeLessThan(768 * 1024);
    expect(lines[0]).not.toMatch(/hunter2|[\p{Cc}\u202e]/u);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      after: { password: '[secret]', nested: [{ tokenFile: '[secret]', key: '[secret]' }], big: '10' },
      error: expect.stringContaining('https://user:[secret]@backend.example.net'),
      before: { cut: expect.any(String), sha256: expect.any(String) },
    });
    expect(JSON.parse(lines[1] ?? '')).toMatchObject({ before: '[cannot be written as JSON]' });
    expect(await verifyAudit(dir)).toMatchObject({ lines: 2, problems: [] });
  });

  it('refuses to shorten what an act is known by', async () => {
    const log = await openLog(auditDir());
    const path = `volDelete /${'p'.repeat(4_095)}`;
    await log.append(entry(1, { act: path }));
    expect(log.begun('request-1')).toMatchObject([{ act: path }]);
    await expect(log.append(entry(1, { act: 'x'.repeat(5_001) }))).rejects.toMatchObject({ code: 'AUDIT' });
    await expect(log.append(entry(1, { requestId: 'x'.repeat(513) }))).rejects.toMatchObject({
      code: 'AUDIT',
    });
  });

  it('keeps a head file a little behind', async () => {
    const clock = new FakeClock();
    const dir = auditDir();
    const log = await openLog(dir, { clock });
    const head = () => JSON.parse(readFileSync(join(dir, 'head.json'), 'utf8'));
    expect(head()).toMatchObject({ seq: 0 });
    await log.append(entry(1));
    await log.append(entry(2));
    expect(head()).toMatchObject({ seq: 0 });
    await clock.advance(headDelayMs);
    await until('the head', () => head().seq === 2);
    expect(head()).toEqual({ ...log.end, file: 1 });
    await log.append(entry(3));
    await log.close();
    expect(head().seq).toBe(3);
    expect(clock.pending).toBe(0);
    await expect(log.append(entry(4))).rejects.toMatchObject({ code: 'AUDIT' });
  });
});

function allLinesAfter(dir: string, n: number): unknown[] {
  return linesOf(dir)
    .slice(n)
    .map((line) => JSON.parse(line));
}

function copyOf(file: string): string {
  writeFileSync(`${file}.copy`, readFileSync(file));
  return `${file}.copy`;
}
