import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type TokenCreateOptions, tokenCreate } from '../../../src/cli/token.js';
import { TokenStore } from '../../../src/http/auth/token-store.js';
import { parseTokens } from '../../../src/http/auth/tokens.js';

let dir: string;
let file: string;
let printed: { out: string; err: string };
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'token-'));
  file = join(dir, 'tokens.yaml');
  printed = { out: '', err: '' };
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed.out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    printed.err += String(text);
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(dir, { recursive: true, force: true });
});

const create = (options: Partial<TokenCreateOptions> = {}, env = {}) =>
  tokenCreate(env, { name: 'alice', role: 'operator', ...options });

it('shows a token once, and the file that it makes knows it by its hash alone', async () => {
  expect(
    await create({
      file,
      hosts: ['kvm-01', 'ams-*'],
      labels: ['dc=ams1', 'note=a=b'],
      expires: '2099-01-31',
    }),
  ).toBe(0);
  const [token = ''] = /outrigger_[\w-]{43}/.exec(printed.out) ?? [];
  const text = await readFile(file, 'utf8');
  expect(text).not.toContain(token);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const store = await TokenStore.open({ file });
  store.close();
  expect(store.find(token)).toEqual({
    name: 'alice',
    role: 'operator',
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    confinement: { hosts: ['kvm-01', 'ams-*'], labels: { dc: 'ams1', note: 'a=b' } },
    expiresMs: Date.parse('2099-01-31T23:59:59.999Z'),
  });
});

it('adds to a file that is there, and leaves its comments, its mode and what it stands for as they are', async () => {
  const real = join(dir, 'real.yaml');
  await writeFile(
    real,
    `# ours\nversion: 1\ntokens:\n  # the pager\n  - { name: pager, role: viewer, sha256: ${'a'.repeat(64)} }\n`,
  );
  await chmod(real, 0o640);
  await symlink(real, file);
  expect(await create({}, { AGENT_API_TOKENS_FILE: file })).toBe(0);
  const text = await readFile(real, 'utf8');
  expect(text).toMatch(/^# ours\n[\s\S]*# the pager\n/);
  expect(parseTokens(text, file).tokens?.map(({ name }) => name)).toEqual(['pager', 'alice']);
  expect((await stat(real)).mode & 0o777).toBe(0o640);
});

it('prints the entry where there is no file, and JSON that scripts can read', async () => {
  expect(await create()).toBe(0);
  const entry = printed.out.slice(printed.out.indexOf('- name: alice'));
  expect(parseTokens(`version: 1\ntokens:\n${entry}`, 'x').problems).toEqual([]);
  printed.out = '';
  expect(await create({ json: true, file })).toBe(0);
  expect(JSON.parse(printed.out)).toEqual({
    name: 'alice',
    role: 'operator',
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    token: expect.stringMatching(/^outrigger_/),
    file,
  });
});

it.each<[Partial<TokenCreateOptions>, RegExp]>([
  [{ role: 'root' }, /--role must be one of viewer, operator, admin/],
  [{ name: 'a b' }, /--name must be 1 to 64 letters/],
  [{ hosts: ['KVM 1'] }, /--hosts must be a host/],
  [{ labels: ['dc'] }, /--labels must be pairs/],
  [{ labels: ['9=x'] }, /--labels must have names of labels/],
  [{ expires: 'soon' }, /--expires must be a day/],
  [{ expires: '2020-01-01' }, /--expires has passed already/],
])('refuses %j as misuse, and makes nothing', async (options, expected) => {
  expect(await create({ ...options, file })).toBe(2);
  expect(printed.err).toMatch(expected);
  await expect(stat(file)).rejects.toThrow();
});

it('leaves a file alone that has a mistake, the name already, or another writer', async () => {
  const good = `version: 1\ntokens:\n  - { name: alice, role: viewer, sha256: ${'a'.repeat(64)} }\n`;
  for (const [text, name, expected] of [
    ['version: 2\n', 'bob', /nothing was added:\n.*tokens\.yaml:1:1/],
    [good, 'alice', /has a token alice already/],
  ] as const) {
    await writeFile(file, text);
    await expect(create({ file, name })).rejects.toThrow(expected);
    expect(await readFile(file, 'utf8')).toBe(text);
  }
  await writeFile(`${file}.new`, '');
  await expect(create({ file, name: 'bob' })).rejects.toThrow(/another `token create` is at it/);
  expect(await readFile(file, 'utf8')).toBe(good);
  expect(printed.out).toBe('');
});

it('is a command, and says what it needs', async () => {
  const run = (...argv: string[]) =>
    new Promise<{ code: number | null; text: string }>((resolve) => {
      const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...argv], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let text = '';
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
      child.once('close', (code) => resolve({ code, text }));
    });
  const [missing, good] = await Promise.all([
    run('token', 'create', '--name', 'x'),
    run('token', 'create', '--name', 'x', '--role', 'viewer', '--hosts', 'a', 'b', '--file', file, '--json'),
  ]);
  expect([missing.code, missing.text]).toEqual([2, expect.stringContaining('--role')]);
  expect([good.code, JSON.parse(good.text).hosts]).toEqual([0, ['a', 'b']]);
}, 30_000);
