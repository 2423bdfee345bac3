import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { expect, it } from 'vitest';
import { makeKey } from '../../../src/sim/keys.js';

it('makes keys that ssh2 and ssh-keygen read', () => {
  for (let round = 0; round < 300; round++) {
    const key = ssh2.utils.parseKey(makeKey().private);
    expect(key).not.toBeInstanceOf(Error);
  }
  const dir = mkdtempSync(join(tmpdir(), 'outrigger-keys-'));
  try {
    const key = makeKey();
    writeFileSync(join(dir, 'key'), key.private, { mode: 0o600 });
    const read = execFileSync('ssh-keygen', ['-y', '-f', join(dir, 'key')], { encoding: 'utf8' });
    expect(read.trim()).toBe(`${key.public} simulated`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
