import { mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TokenStore } from '../../../../src/http/auth/token-store.js';
import { hashToken, mintToken, parseExpiry, parseTokens } from '../../../../src/http/auth/tokens.js';
import { formatProblem } from '../../../../src/inventory/problem.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { keptLog } from '../../../support/queue.js';
import { until } from '../../../support/until.js';

const hash = (name: string) => hashToken(name);
const entry = (name: string, more = '') =>
  `  - { name: ${name}, role: viewer, sha256: ${hash(name)}${more} }\n`;
const file = (...entries: string[]) => `version: 1\ntokens:\n${entries.join('')}`;
const problemsOf = (text: string) => parseTokens(text, 't.yaml').problems.map(formatProblem);

describe('a new token', () => {
  it('is 256 random bits under a prefix, and its hash is that of its whole text', () => {
    const { token, sha256 } = mintToken();
    expect(token.expose()).toMatch(/^outrigger_[\w-]{43}$/);
    expect(hashToken(token.expose())).toBe(sha256);
    expect(mintToken().sha256).not.toBe(sha256);
    expect(`${token} ${JSON.stringify(token)}`).not.toContain('outrigger_');
  });
});

describe('the tokens file', () => {
  it('gives name, role, hash, confinement and the end', () => {
    const text = file(
      entry('alice', ', hosts: [kvm-01, "ams-*"], labels: { dc: ams1 }, expires: 2027-01-31'),
    );
    expect(parseTokens(text, 't.yaml')).toEqual({
      tokens: [
        {
          name: 'alice',
          role: 'viewer',
          sha256: hash('alice'),
          confinement: { hosts: ['kvm-01', 'ams-*'], labels: { dc: 'ams1' } },
          expiresMs: Date.parse('2027-01-31T23:59:59.999Z'),
        },
      ],
      problems: [],
    });
    expect(parseTokens('version: 1\ntokens: []\n', 't.yaml').tokens).toEqual([]);
  });

  it.each<[string, string, RegExp]>([
    [
      'an unknown key',
      file(entry('a', ', rol: x')),
      /^t\.yaml:3:\d+: token "a": unknown key "rol". Did you mean role\?/,
    ],
    [
      'an unknown key at the top',
      `${file(entry('a'))}token: x\n`,
      /^t\.yaml:4:1: the tokens file: unknown key "token". Did you mean tokens/,
    ],
    [
      'a role that there is not',
      file(entry('a').replace('viewer', 'root')),
      /^t\.yaml:3:\d+: token "a": role must be one of viewer, operator, admin/,
    ],
    [
      'a missing role',
      file(entry('a').replace('role: viewer, ', '')),
      /^t\.yaml:3:\d+: token "a": role must be one of/,
    ],
    [
      'a missing hash',
      'version: 1\ntokens:\n  - { name: a, role: viewer }\n',
      /^t\.yaml:3:\d+: token "a": sha256 is missing/,
    ],
    [
      'the token instead of its hash',
      file(entry('a').replace(hash('a'), 'outrigger_abc')),
      /sha256 must be 64 hexadecimal digits/,
    ],
    ['a bad name', file(entry('"a b"')), /^t\.yaml:3:\d+: token "a b": name must be 1 to 64 letters/],
    [
      'a second of the same name',
      file(entry('a'), entry('a').replace(hash('a'), hash('b'))),
      /^t\.yaml:4:\d+: token a: another token has the same name. Keep one/,
    ],
    [
      'the same hash twice',
      file(entry('a'), entry('b').replace(hash('b'), hash('a'))),
      /^t\.yaml:4:\d+: token b: another token has the same sha256/,
    ],
    ['an empty list of hosts', file(entry('a', ', hosts: []')), /hosts must name a host, or be taken out/],
    ['a host that cannot be', file(entry('a', ', hosts: ["KVM 1"]')), /hosts\.0 must be a host/],
    ['labels that are none', file(entry('a', ', labels: {}')), /labels must name a label/],
    ['an end that is no time', file(entry('a', ', expires: 2027-02-31')), /expires must be a day/],
    ['no version', 'tokens: []\n', /^t\.yaml:1:\d+: the tokens file: version must be 1/],
    ['a list at the top', '- a\n', /the tokens file must be a mapping of keys/],
    ['nothing', '', /^t\.yaml:1:1: the tokens file is empty/],
    ['broken YAML', 'version: 1\ntokens: [\n', /^t\.yaml:\d+:\d+: YAML/],
    ['a duplicate key', 'version: 1\nversion: 1\ntokens: []\n', /^t\.yaml:2:1: duplicate key version/],
  ])('refuses %s, with its line', (_what, text, expected) => {
    const { tokens } = parseTokens(text, 't.yaml');
    expect(tokens).toBeUndefined();
    expect(problemsOf(text)[0]).toMatch(expected);
  });

  it('does not tell a token that stands where something else belongs', () => {
    const { token } = mintToken();
    for (const text of [
      file(entry('a').replace(hash('a'), token.expose())),
      file(entry(token.expose())),
      file(entry('a', `, ${token.expose()}: x`)),
      file(entry('a', `, role2: ${token.expose()}`)),
    ]) {
      expect(problemsOf(text).join('\n')).not.toContain(token.expose().slice(14));
    }
  });
});

it.each([
  ['2027-01-31', '2027-01-31T23:59:59.999Z'],
  ['2027-01-31T12:00:00Z', '2027-01-31T12:00:00.000Z'],
  ['2027-01-31T12:00+01:00', '2027-01-31T11:00:00.000Z'],
  ['2027-13-01', undefined],
  ['2027-01-31T12:00:00', undefined],
  ['tomorrow', undefined],
  ['', undefined],
])('the end %j is %s', (text, expected) => {
  const ms = parseExpiry(text);
  expect(ms === undefined ? undefined : new Date(ms).toISOString()).toBe(expected);
});

describe('the tokens in force', () => {
  let dir: string;
  let path: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tokens-'));
    path = join(dir, 'tokens.yaml');
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('follows the file, however it is changed, and keeps the old ones over a bad edit, saying so', async () => {
    await writeFile(path, file(entry('alice')));
    const { log, said } = keptLog();
    const store = await TokenStore.open({ file: path, log, compareEveryMs: 10 });
    try {
      expect(store.find('alice')?.name).toBe('alice');
      await writeFile(`${path}.new`, file(entry('bob')));
      await rename(`${path}.new`, path);
      await until('the new file', () => store.find('bob') !== undefined);
      expect(store.find('alice')).toBeUndefined();

      await writeFile(path, 'version: 2\n');
      await until('the problem', () => store.problems.length > 0);
      const since = store.problemsSinceMs;
      expect(since).toBeGreaterThan(0);
      expect(store.find('bob')?.name).toBe('bob');
      expect(said('the API tokens file is not taken: the tokens before stay in force')).toHaveLength(1);

      await rm(path);
      await until('the missing file', () => store.problems.some(({ message }) => message.includes('ENOENT')));
      expect(store.problemsSinceMs).toBe(since);
      expect(store.find('bob')?.name).toBe('bob');

      await writeFile(path, file(entry('carol')));
      await until('the file that is there again', () => store.find('carol') !== undefined);
      expect([store.problems, store.problemsSinceMs]).toEqual([[], undefined]);
      expect(store.current(hash('bob'))).toBeUndefined();
    } finally {
      store.close();
    }
  });

  it('does not read a file that is still being written', async () => {
    await writeFile(path, file(entry('alice')));
    const clock = new FakeClock();
    const { log, said } = keptLog();
    const store = await TokenStore.open({ file: path, clock, log });
    const look = async () => {
      await clock.advance(1_000);
      await until('the look to end', () => clock.pending === 1);
    };
    await writeFile(path, file(entry('bob')));
    await look();
    await utimes(path, 1, 1);
    await look();
    expect(said('API tokens read')).toHaveLength(0);
    expect(store.find('alice')).toBeDefined();
    await look();
    expect(said('API tokens read')).toHaveLength(1);
    expect(store.find('alice')).toBeUndefined();
    expect(store.find('bob')).toBeDefined();
    store.close();
  });

  it('ends a token at its time, without the file being touched', async () => {
    const clock = new FakeClock(Date.parse('2026-06-01T00:00:00Z'));
    await writeFile(path, file(entry('alice', ', expires: 2026-06-01T00:01:00Z')));
    const store = await TokenStore.open({ file: path, clock });
    expect(store.current(hash('alice'))?.name).toBe('alice');
    await clock.advance(61_000);
    expect(store.current(hash('alice'))).toBeUndefined();
    expect(store.isExpired(store.find('alice') ?? expect.fail('gone'))).toBe(true);
    store.close();
  });

  it.each([
    [
      'a bad file',
      'version: 1\ntokens: [{ name: a }]\n',
      /AGENT_API_TOKENS_FILE: .*tokens\.yaml:2:\d+: token "a"/,
    ],
    ['no file', undefined, /AGENT_API_TOKENS_FILE: .*tokens\.yaml: cannot be read \(ENOENT\)/],
    ['a giant', 'x'.repeat(1024 * 1024 + 1), /is larger than 1024 KiB/],
  ])('does not start with %s', async (_what, text, expected) => {
    if (text !== undefined) await writeFile(path, text);
    await expect(TokenStore.open({ file: path })).rejects.toMatchObject({
      code: 'SETTINGS',
      message: expect.stringMatching(expected),
    });
  });
});
