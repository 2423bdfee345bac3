// `outrigger audit verify`, as it prints and as it exits.
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type AuditVerifyOptions, auditVerify } from '../../../src/cli/audit.js';
import { runCommandLine } from '../../../src/cli/program.js';
import { allLines, rewrite, writtenLog } from './audit-fixture.js';

afterEach(() => vi.restoreAllMocks());

async function verify(dir: string | undefined, options: AuditVerifyOptions = {}, env = {}) {
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      printed[stream] += text;
      return true;
    });
  }
  const code = await auditVerify(env, dir, options);
  vi.restoreAllMocks();
  return { code, ...printed };
}

describe('outrigger audit verify', () => {
  it('says that the chain is whole, and the hash to keep', async () => {
    const dir = await writtenLog(3);
    const { code, stdout } = await verify(undefined, {}, { AGENT_DATA_DIR: dirname(dir) });
    expect(code).toBe(0);
    const [verdict, newest] = stdout.split('\n');
    expect(verdict).toBe('3 lines in 1 file: the chain is whole');
    expect(newest).toMatch(new RegExp(`^newest line: 3, .*Z, hash ${allLines(dir)[2]?.hash}$`));
  });

  it('names the file and the line of what is wrong', async () => {
    const dir = await writtenLog(3);
    rewrite(dir, (lines) => lines.with(1, lines[1]?.replace('kvm-01', 'kvm-02') ?? ''));
    const { code, stdout } = await verify(dir);
    expect(code).toBe(1);
    expect(stdout).toContain(`${dir}/audit-000001.jsonl:2: changed: this line is not what was written\n`);
    expect(stdout).toContain('2 lines in 1 file: the log is not what was written');
  });

  it('prints JSON for scripts', async () => {
    const dir = await writtenLog(2);
    const good = await verify(dir, { json: true });
    expect(good.code).toBe(0);
    expect(JSON.parse(good.stdout)).toMatchObject({ ok: true, lines: 2, problems: [] });
    const bad = await verify(dir, { json: true, expect: 'f'.repeat(64) });
    expect(bad.code).toBe(1);
    expect(JSON.parse(bad.stdout)).toMatchObject({ ok: false, problems: [{ kind: 'missing' }] });
  });

  it('does not take a log that is not there for a good one', async () => {
    const dir = await writtenLog(1);
    rmSync(dir, { recursive: true });
    const { code, stderr } = await verify(dir);
    expect(code).toBe(1);
    expect(stderr).toBe(`outrigger: there is no audit log in ${dir}\n`);
  });

  it('is a command of its own', async () => {
    const dir = await writtenLog(1);
    vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
    const before = process.exitCode;
    await runCommandLine(['node', 'outrigger', 'audit', 'verify', dir, '--json', '--archived']);
    expect(process.exitCode).toBe(0);
    process.exitCode = before;
  });
});
