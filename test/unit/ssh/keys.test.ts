// Every way in which a key file can be wrong has words of its own.
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { loadPrivateKey, readPublicKey } from '../../../src/ssh/keys.js';
import { type KeyPair, makeKey, makeTempDir } from '../../support/sshd.js';

let dir: string;
let plain: KeyPair;
let locked: KeyPair;
const passphrase = 'correct horse';

beforeAll(() => {
  dir = makeTempDir('outrigger-keys-');
  plain = makeKey(join(dir, 'plain'));
  locked = makeKey(join(dir, 'locked'), { passphrase });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

async function fault(path: string, passphraseFile?: string): Promise<HostError> {
  const error = await loadPrivateKey('kvm-01', path, passphraseFile).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(HostError);
  expect(error).toMatchObject({ code: 'KEY_FILE', host: 'kvm-01', outcome: 'not-sent' });
  expect((error as HostError).hint).toBeTruthy();
  expect((error as HostError).message).toContain(path);
  return error as HostError;
}

describe('a key file', () => {
  it('is read once and again when it changes', async () => {
    const path = join(dir, 'changing');
    copyFileSync(plain.file, path);
    const first = await loadPrivateKey('kvm-01', path);
    expect(await loadPrivateKey('kvm-01', path)).toBe(first);
    expect(execFileSync('ssh-keygen', ['-lf', plain.publicFile], { encoding: 'utf8' })).toContain(
      first.fingerprint,
    );
    copyFileSync(locked.file, path);
    expect((await fault(path)).message).toContain('encrypted');
  });

  it('may come with a passphrase, the line end of its file left out', async () => {
    const key = await loadPrivateKey('kvm-01', locked.file, file('pass', `${passphrase}\n`));
    expect(key.type).toBe('ssh-ed25519');
  });

  it('may have lost its last line end, as in a secret mounted by hand', async () => {
    const text = execFileSync('cat', [plain.file], { encoding: 'utf8' }).trimEnd();
    expect((await loadPrivateKey('kvm-01', file('trimmed', text))).type).toBe('ssh-ed25519');
    expect((await loadPrivateKey('kvm-01', file('crlf', text.replaceAll('\n', '\r\n')))).type).toBe(
      'ssh-ed25519',
    );
  });

  it('is wrong in ways that are told apart', async () => {
    expect((await fault(join(dir, 'absent'))).message).toContain('no such file');
    mkdirSync(join(dir, 'directory'));
    expect((await fault(join(dir, 'directory'))).message).toContain('not a file');
    expect((await fault(locked.file)).hint).toContain('keyPassphraseFile');
    expect((await fault(locked.file, file('wrong', 'battery staple'))).message).toContain(
      'passphrase is wrong',
    );
    chmodSync(plain.publicFile, 0o600);
    expect(await fault(plain.publicFile)).toMatchObject({
      message: expect.stringContaining('a public key'),
      hint: expect.stringContaining(plain.file),
    });
    expect((await fault(file('empty', ''))).message).toContain('not a private key');
    expect((await fault(file('text', 'hello'))).message).toContain('not a private key');
    const pkcs8 = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHKj\n-----END PRIVATE KEY-----\n';
    expect((await fault(file('pkcs8', pkcs8))).hint).toContain('ssh-keygen -p');
    const truncated = execFileSync('head', ['-3', plain.file], { encoding: 'utf8' });
    expect((await fault(file('truncated', truncated))).message).toContain('not a private key');
  });

  it('that others can read is refused, as ssh refuses it', async () => {
    const path = join(dir, 'open');
    copyFileSync(plain.file, path);
    for (const mode of [0o644, 0o640, 0o604, 0o660]) {
      chmodSync(path, mode);
      expect(await fault(path)).toMatchObject({
        message: expect.stringContaining('too open'),
        hint: `Run: chmod 600 ${path}`,
      });
    }
    for (const mode of [0o600, 0o400]) {
      chmodSync(path, mode);
      expect((await loadPrivateKey('kvm-01', path)).type).toBe('ssh-ed25519');
    }
  });

  it('gives its public half, also when it is encrypted and FILE.pub lies beside it', async () => {
    expect(await readPublicKey('kvm-01', plain.file)).toBe(plain.publicKey);
    expect(await readPublicKey('kvm-01', locked.file)).toBe(locked.publicKey);
    await expect(readPublicKey('kvm-01', join(dir, 'absent'))).rejects.toMatchObject({ code: 'KEY_FILE' });
  });
});
