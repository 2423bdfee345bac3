// Reading: each way to change a log on the quiet is found and named by file and line, or known not to be findable.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formLine } from '../../../src/audit/line.js';
import { verifyAudit } from '../../../src/audit/verify.js';
import { allLines, filesOf, linesOf, rewrite, writtenLog } from './audit-fixture.js';

const file = 'audit-000001.jsonl';
/** Two or three lines a file. */
const smallFiles = 1_000;

async function problemsOf(dir: string) {
  const { problems } = await verifyAudit(dir);
  return problems.map(({ kind, file, line }) => (file ? `${kind} ${file}:${line}` : kind));
}

function swap(lines: string[], a: number, b: number): string[] {
  const swapped = [...lines];
  [swapped[a], swapped[b]] = [lines[b] ?? '', lines[a] ?? ''];
  return swapped;
}

describe('verify', () => {
  it('finds nothing in what was written', async () => {
    const dir = await writtenLog(12, smallFiles);
    expect(await verifyAudit(dir)).toEqual({
      dir,
      files: filesOf(dir).length,
      lines: 12,
      end: { seq: 12, hash: allLines(dir)[11]?.hash, at: expect.any(String) },
      problems: [],
      problemsOmitted: 0,
      torn: [],
    });
  });

  it('finds nothing in a log without a line', async () => {
    expect(await verifyAudit(await writtenLog(0))).toMatchObject({ lines: 0, files: 0, problems: [] });
  });

  it('finds every single byte that is another', async () => {
    const dir = await writtenLog(3);
    const bytes = readFileSync(join(dir, file));
    const lineOf = (at: number) => bytes.subarray(0, at).filter((byte) => byte === 10).length + 1;
    for (let at = 0; at < bytes.length; at += 7) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      writeFileSync(join(dir, file), changed);
      const { problems } = await verifyAudit(dir);
      expect(problems.map(({ file, line }) => `${file}:${line}`)).toContain(`${file}:${lineOf(at)}`);
    }
  });

  it('finds a line that was changed and given a fitting hash', async () => {
    const dir = await writtenLog(5);
    rewrite(dir, (lines) => {
      const { hash, seq, at, prev, ...fields } = JSON.parse(lines[2] ?? '');
      const forged = formLine({ seq: seq - 1, hash: prev }, Date.parse(at), { ...fields, host: 'kvm-02' });
      return lines.with(2, forged.text.trimEnd());
    });
    expect(await verifyAudit(dir)).toMatchObject({
      problems: [
        {
          kind: 'changed',
          file,
          line: 4,
          message: `this line was not written after ${file}:3: one of the two was changed`,
        },
      ],
    });
  });

  it('finds that by the head file when it is the last line, or when all later lines were written anew', async () => {
    const dir = await writtenLog(5);
    rewrite(dir, (lines) => {
      const kept = lines.slice(0, 2);
      let { seq, hash } = JSON.parse(kept.at(-1) ?? '') as { seq: number; hash: string };
      for (const line of lines.slice(2)) {
        const { hash: _, seq: __, at, prev, ...fields } = JSON.parse(line);
        const forged = formLine({ seq, hash }, Date.parse(at), { ...fields, host: 'kvm-02' });
        ({ seq, hash } = forged);
        kept.push(forged.text.trimEnd());
      }
      return kept;
    });
    expect(await problemsOf(dir)).toEqual([`changed ${file}:5`]);
  });

  it.each([
    ['the first line', 0, 1, [`missing ${file}:1`], 'line 1 is missing before this line'],
    ['one line', 4, 1, [`missing ${file}:5`], 'line 5 is missing before this line'],
    ['several lines', 2, 4, [`missing ${file}:3`], 'lines 3 to 6 are missing before this line'],
    ['the last line', 9, 1, ['missing'], 'line 10 is missing at the end: head.json knows of more'],
    ['all lines', 0, 10, ['missing'], 'lines 1 to 10 are missing at the end: head.json knows of more'],
  ])('finds that %s is missing', async (_, from, count, expected, message) => {
    const dir = await writtenLog(10);
    rewrite(dir, (lines) => lines.toSpliced(from, count));
    if (count === 10) writeFileSync(join(dir, file), '');
    expect(await problemsOf(dir)).toEqual(expected);
    expect((await verifyAudit(dir)).problems[0]?.message).toBe(message);
  });

  it('finds that a line was cut in two, at the end too', async () => {
    const dir = await writtenLog(4);
    rewrite(dir, (lines) => lines.with(1, lines[1]?.slice(0, 40) ?? ''));
    expect(await problemsOf(dir)).toEqual([`changed ${file}:2`]);
    const other = await writtenLog(4);
    const whole = readFileSync(join(other, file), 'utf8');
    writeFileSync(join(other, file), whole.slice(0, -50));
    expect(await problemsOf(other)).toEqual([`changed ${file}:4`]);
  });

  it('finds lines that changed places', async () => {
    const dir = await writtenLog(8);
    rewrite(dir, (lines) => swap(lines, 3, 4));
    expect(await problemsOf(dir)).toEqual([`misplaced ${file}:5`]);
    rewrite(dir, (lines) => swap(swap(lines, 3, 4), 1, 6));
    const { problems } = await verifyAudit(dir);
    expect(problems).toContainEqual(
      expect.objectContaining({
        kind: 'misplaced',
        line: 7,
        message: `line 2 was moved here: it belongs before ${file}:2`,
      }),
    );
  });

  it('finds a line that was put in, also a copy', async () => {
    const dir = await writtenLog(5);
    rewrite(dir, (lines) => lines.toSpliced(2, 0, '{"seq":3,"kind":"begin"}'));
    expect(await problemsOf(dir)).toEqual([`changed ${file}:3`]);
    const other = await writtenLog(5);
    rewrite(other, (lines) => lines.toSpliced(4, 0, lines[1] ?? ''));
    expect(await verifyAudit(other)).toMatchObject({
      problems: [{ kind: 'misplaced', file, line: 5, message: expect.stringContaining('line 2') }],
    });
  });

  it('finds that a file is missing: the first, one between, the last', async () => {
    for (const which of [0, 1, -1]) {
      const dir = await writtenLog(12, smallFiles);
      const name = filesOf(dir).at(which) ?? '';
      const gone = linesOf(dir, name).map((line) => JSON.parse(line).seq as number);
      rmSync(join(dir, name));
      const { problems } = await verifyAudit(dir);
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatchObject({ kind: 'missing' });
      expect(problems[0]?.message).toContain(
        gone.length === 1 ? `line ${gone[0]} is` : `lines ${gone[0]} to ${gone.at(-1)} are`,
      );
    }
  });

  it('finds that two files changed names', async () => {
    const dir = await writtenLog(12, smallFiles);
    const [, b = '', c = ''] = filesOf(dir);
    renameSync(join(dir, b), join(dir, 'aside'));
    renameSync(join(dir, c), join(dir, b));
    renameSync(join(dir, 'aside'), join(dir, c));
    expect((await problemsOf(dir)).every((problem) => problem === `misplaced ${c}:${problem.at(-1)}`)).toBe(
      true,
    );
    expect((await problemsOf(dir)).length).toBeGreaterThan(0);
  });

  it('says what it cannot tell without the head file', async () => {
    const dir = await writtenLog(4);
    rmSync(join(dir, 'head.json'));
    expect(await problemsOf(dir)).toEqual(['head']);
    writeFileSync(join(dir, 'head.json'), '{"seq":"4"}');
    expect(await problemsOf(dir)).toEqual(['head']);
  });

  it('takes an archived beginning when it is told to', async () => {
    const dir = await writtenLog(12, smallFiles);
    const [oldest = ''] = filesOf(dir);
    rmSync(join(dir, oldest));
    expect((await verifyAudit(dir, { archived: true })).problems).toEqual([]);
    rewrite(dir, (lines) => lines.toSpliced(0, 1), filesOf(dir)[1]);
    expect((await verifyAudit(dir, { archived: true })).problems).toHaveLength(1);
  });

  it('looks for a hash that was noted elsewhere', async () => {
    const dir = await writtenLog(4);
    const noted = String(allLines(dir)[1]?.hash);
    expect((await verifyAudit(dir, { expect: noted })).problems).toEqual([]);
    expect((await verifyAudit(dir, { expect: 'f'.repeat(64) })).problems).toMatchObject([
      { kind: 'missing' },
    ]);
  });

  it('lists a bounded number of problems, and reads what is no log at all', async () => {
    const dir = await writtenLog(1);
    writeFileSync(join(dir, file), 'x\n'.repeat(1_000));
    const { problems, problemsOmitted } = await verifyAudit(dir);
    expect(problems).toHaveLength(200);
    expect(problems.length + problemsOmitted).toBe(1_000);
    writeFileSync(join(dir, file), Buffer.alloc(3_000_000, 1));
    expect(await problemsOf(dir)).toEqual([`changed ${file}:1`]);
  });
});
