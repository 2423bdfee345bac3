// Settings: every variable, every kind of fault, and that secrets stay unseen.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { loadSettings } from '../../../src/core/settings.js';

const folder = mkdtempSync(join(tmpdir(), 'settings-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fileOf(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function settingsOf(env: Record<string, string>) {
  const { settings, problems } = loadSettings(env);
  expect(problems).toEqual([]);
  if (!settings) throw new Error('no settings');
  return settings;
}

function problemsOf(env: Record<string, string>): string[] {
  const { settings, problems } = loadSettings(env);
  expect(settings === undefined).toBe(problems.length > 0);
  for (const problem of problems) expect(problem).not.toContain('\n');
  return problems;
}

test('nothing set: the defaults', () => {
  const { settings, problems, warnings } = loadSettings({ PATH: '/bin', SSH_AUTH_SOCK: '/s' });
  expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
  expect(settings).toEqual({
    inventoryFile: './inventory.yaml',
    jwtRoleClaim: 'role',
    listen: { host: '127.0.0.1', port: 9177 },
    dataDir: './data',
    backendInsecure: false,
    agentName: 'outrigger',
    libvirtUri: 'qemu:///system',
    sslVerify: true,
    pollIntervalMs: 15_000,
    metricsIntervalMs: 60_000,
    heartbeatIntervalMs: 30_000,
    apiTimeoutMs: 30_000,
    retryAttempts: 3,
    retryBackoff: 2,
    logLevel: 'INFO',
    autoRegister: true,
    updateCheckIntervalMs: 3_600_000,
    metricsCompat: 'inovex',
    apiUrl: 'http://127.0.0.1:9177',
  });
});

test('everything set', () => {
  const pem = fileOf('pem', 'x');
  const settings = settingsOf({
    AGENT_INVENTORY: '/i.yaml',
    AGENT_LISTEN: '[::1]:0',
    AGENT_DATA_DIR: '/d',
    AGENT_REDIS_URL: 'rediss://u:p@redis:6380/1',
    AGENT_SHARD: '2/4',
    AGENT_BACKEND_URL: 'https://backend.example.net/base/',
    AGENT_BACKEND_INSECURE: 'no',
    AGENT_TOKEN: ' t0ken ',
    AGENT_ID: '6f1c2f0e-6f0c-4f5e-9f57-0a3c8e7d1b21',
    AGENT_NAME: 'north',
    AGENT_LIBVIRT_URI: 'test:///default',
    AGENT_SSL_VERIFY: 'FALSE',
    AGENT_SSL_CA_PATH: pem,
    AGENT_SSL_CERT_PATH: pem,
    AGENT_SSL_KEY_PATH: pem,
    AGENT_POLL_INTERVAL: '0.5',
    AGENT_METRICS_INTERVAL: '10',
    AGENT_HEARTBEAT_INTERVAL: '5',
    AGENT_API_TIMEOUT: '2.5',
    AGENT_RETRY_ATTEMPTS: '0',
    AGENT_RETRY_BACKOFF: '1.5',
    AGENT_LOG_LEVEL: 'warning',
    AGENT_LOG_FILE: join(folder, 'log'),
    AGENT_AUTO_REGISTER: '0',
    AGENT_UPDATE_CHECK_INTERVAL: '0',
    AGENT_API_TOKENS_FILE: pem,
    AGENT_JWKS_URL: 'https://id.example.net/jwks',
    AGENT_JWT_AUDIENCE: 'outrigger',
    AGENT_JWT_ISSUER: 'https://id.example.net',
    AGENT_JWT_ROLE_CLAIM: 'realm_access.roles',
    AGENT_JWT_ROLE_MAP: 'oncall=operator, platform = admin',
    AGENT_JWT_HOSTS_CLAIM: 'kvm_hosts',
    AGENT_TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8,fd00::/8',
    AGENT_METRICS_TOKEN_FILE: pem,
    AGENT_METRICS_COMPAT: 'Tinkoff',
    AGENT_API_URL: 'http://outrigger:9177',
    AGENT_API_TOKEN: 'api',
  });
  expect({ ...settings, redisUrl: undefined, token: undefined, apiToken: undefined }).toEqual({
    inventoryFile: '/i.yaml',
    listen: { host: '::1', port: 0 },
    dataDir: '/d',
    shard: { index: 2, count: 4 },
    backendUrl: 'https://backend.example.net/base',
    backendInsecure: false,
    agentId: '6f1c2f0e-6f0c-4f5e-9f57-0a3c8e7d1b21',
    agentName: 'north',
    libvirtUri: 'test:///default',
    sslVerify: false,
    sslCaPath: pem,
    sslCertPath: pem,
    sslKeyPath: pem,
    pollIntervalMs: 500,
    metricsIntervalMs: 10_000,
    heartbeatIntervalMs: 5000,
    apiTimeoutMs: 2500,
    retryAttempts: 0,
    retryBackoff: 1.5,
    logLevel: 'WARNING',
    logFile: join(folder, 'log'),
    autoRegister: false,
    updateCheckIntervalMs: 0,
    metricsCompat: 'tinkoff',
    apiTokensFile: pem,
    jwksUrl: 'https://id.example.net/jwks',
    jwtAudience: 'outrigger',
    jwtIssuer: 'https://id.example.net',
    jwtRoleClaim: 'realm_access.roles',
    jwtRoleMap: new Map([
      ['oncall', 'operator'],
      ['platform', 'admin'],
    ]),
    jwtHostsClaim: 'kvm_hosts',
    trustedProxies: ['127.0.0.1', '10.0.0.0/8', 'fd00::/8'],
    metricsTokenFile: pem,
    apiUrl: 'http://outrigger:9177',
  });
  expect(settings.token?.expose()).toBe('t0ken');
  expect(settings.redisUrl?.expose()).toBe('rediss://u:p@redis:6380/1');
  expect(inspect(settings) + JSON.stringify(settings)).not.toMatch(/t0ken|u:p@/);
});

test.each([
  ['127.0.0.1:9177', '127.0.0.1', 9177],
  ['localhost:80', 'localhost', 80],
  ['[::]:9177', '::', 9177],
  [':9177', '0.0.0.0', 9177],
  ['9177', '0.0.0.0', 9177],
])('listen on %s', (given, host, port) => {
  expect(settingsOf({ AGENT_LISTEN: given }).listen).toEqual({ host, port });
});

test.each(['stdout', '-'])('log file %s is standard output', (given) => {
  expect(settingsOf({ AGENT_LOG_FILE: given }).logFile).toBeUndefined();
});

describe('faults name the variable and the mend', () => {
  test.each([
    [
      'AGENT_LISTEN',
      '::1:9177',
      /^AGENT_LISTEN must be address:port, such as .*\[::1\]:9177, not "::1:9177"$/,
    ],
    ['AGENT_LISTEN', '127.0.0.1', /must be address:port/],
    ['AGENT_LISTEN', '127.0.0.1:65536', /must be address:port/],
    ['AGENT_LISTEN', '127.0.0.300:1', /must be address:port/],
    ['AGENT_LISTEN', '[localhost]:1', /must be address:port/],
    [
      'AGENT_REDIS_URL',
      'http://u:hunter2@h',
      /^AGENT_REDIS_URL must be a URL that begins with redis:\/\/ or rediss:\/\//,
    ],
    ['AGENT_REDIS_URL', 'localhost:6379', /such as redis:\/\/127/],
    [
      'AGENT_SHARD',
      '0/4',
      /^AGENT_SHARD must be the number of this part and of all, from 1\/4 to 4\/4 for 4 parts, not "0\/4"$/,
    ],
    ['AGENT_SHARD', '5/4', /from 1\/4 to 4\/4 for 4 parts, not "5\/4"$/],
    ['AGENT_SHARD', '1/0', /from 1\/4 to 4\/4 for 4 parts, not "1\/0"$/],
    ['AGENT_SHARD', '1/1001', /for 4 parts, not "1\/1001"$/],
    ['AGENT_SHARD', 'x', /not "x"$/],
    ['AGENT_SHARD', '1/2/3', /not "1\/2\/3"$/],
    ['AGENT_SHARD', '-1/2', /not "-1\/2"$/],
    ['AGENT_BACKEND_URL', 'backend.example.net', /^AGENT_BACKEND_URL must be a URL/],
    ['AGENT_BACKEND_URL', 'http://backend.example.net', /must be https, .*AGENT_BACKEND_INSECURE=true/],
    ['AGENT_BACKEND_URL', 'https://u:hunter2@b', /holds a user or password: take them out/],
    ['AGENT_BACKEND_URL', 'https://b/?x=1', /holds a \? or #/],
    ['AGENT_BACKEND_INSECURE', 'maybe', /^AGENT_BACKEND_INSECURE must be true or false, not "maybe"$/],
    ['AGENT_ID', 'a b', /must be a UUID, or/],
    ['AGENT_LIBVIRT_URI', 'qemu+ssh://h/system', /such as qemu:\/\/\/system, .*belongs in the inventory$/],
    ['AGENT_SSL_CA_PATH', '/none', /^AGENT_SSL_CA_PATH names a file that does not exist: \/none: create it/],
    ['AGENT_SSL_CA_PATH', '/', /names a folder: \/: name the file in it/],
    [
      'AGENT_POLL_INTERVAL',
      '15s',
      /^AGENT_POLL_INTERVAL must be a number of seconds from 0\.1 to 3600, not "15s"$/,
    ],
    ['AGENT_POLL_INTERVAL', '0', /from 0\.1 to 3600/],
    ['AGENT_METRICS_INTERVAL', '-1', /number of seconds/],
    ['AGENT_RETRY_ATTEMPTS', '1.5', /must be a whole number from 0 to 100/],
    ['AGENT_RETRY_BACKOFF', '0.5', /must be a number from 1 to 60/],
    ['AGENT_API_TIMEOUT', '1e3', /number of seconds/],
    ['AGENT_LOG_LEVEL', 'WARN', /must be one of DEBUG, .*, not "WARN"\. Did you mean WARNING\?$/],
    [
      'AGENT_METRICS_COMPAT',
      'tinkof',
      /must be one of inovex, tinkoff, not "tinkof"\. Did you mean tinkoff\?$/,
    ],
    ['AGENT_LOG_LEVEL', 'verbose', /must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not "verbose"$/],
    [
      'AGENT_LOG_FILE',
      '/none/log',
      /^AGENT_LOG_FILE names a file that cannot be written: \/none\/log: its folder/,
    ],
    ['AGENT_LOG_FILE', '/', /it is a folder; mend that, or unset/],
    ['AGENT_JWKS_URL', 'http://id.example.net', /AGENT_JWKS_URL must be https/],
    ['AGENT_JWT_ROLE_MAP', 'oncall', /must be pairs such as oncall=operator/],
    ['AGENT_JWT_ROLE_MAP', 'a=viewer,a=admin', /each once/],
    ['AGENT_JWT_ROLE_MAP', 'a=root', /must give roles of viewer, operator, admin, not "root"/],
    ['AGENT_TRUSTED_PROXIES', 'proxy.example.net', /must be IP addresses or networks/],
    ['AGENT_TRUSTED_PROXIES', '10.0.0.0/33', /must be IP addresses or networks/],
    ['AGENT_TRUSTED_PROXIES', 'true', /must be IP addresses or networks/],
    ['AGENT_API_URL', 'ftp://x', /must be a URL that begins with https:\/\/ or http:\/\//],
  ])('%s=%s', (name, value, expected) => {
    const problems = problemsOf({ AGENT_JWT_AUDIENCE: 'a', AGENT_JWT_ISSUER: 'i', [name]: value });
    expect(problems).toEqual([expect.stringMatching(expected)]);
    expect(problems.join()).not.toContain('hunter2');
  });

  test('all at once', () => {
    const problems = problemsOf({
      AGENT_LISTEN: 'x',
      AGENT_POLL_INTERVAL: 'x',
      AGENT_BACKEND_URL: 'http://b',
      AGENT_TOKEN_FILE: '/none',
      AGENT_SSL_CERT_PATH: '/none',
    });
    expect(problems.map((problem) => problem.split(' ')[0]).sort()).toEqual([
      'AGENT_BACKEND_URL',
      'AGENT_LISTEN',
      'AGENT_POLL_INTERVAL',
      'AGENT_SSL_CERT_PATH',
      'AGENT_SSL_KEY_PATH',
      'AGENT_TOKEN_FILE',
    ]);
  });

  test('mutual TLS wants both files, token checks want audience and issuer', () => {
    const pem = fileOf('pem', 'x');
    expect(problemsOf({ AGENT_SSL_KEY_PATH: pem })).toEqual([
      expect.stringMatching(/^AGENT_SSL_CERT_PATH is missing, because AGENT_SSL_KEY_PATH is set/),
    ]);
    expect(problemsOf({ AGENT_JWKS_URL: 'https://id/jwks' })).toEqual([
      expect.stringMatching(/^AGENT_JWT_AUDIENCE is missing/),
      expect.stringMatching(/^AGENT_JWT_ISSUER is missing/),
    ]);
  });

  test.each(['http://localhost:8080', 'http://127.0.0.1', 'http://[::1]:1'])('%s needs no TLS', (url) => {
    expect(settingsOf({ AGENT_BACKEND_URL: url }).backendUrl).toBe(url);
  });

  test('plain http elsewhere when the operator insists', () => {
    const env = { AGENT_BACKEND_URL: 'http://b.example', AGENT_BACKEND_INSECURE: 'true' };
    expect(settingsOf(env).backendUrl).toBe('http://b.example');
  });
});

describe('NAME_FILE', () => {
  test('gives the value of any variable, without the line break at its end', () => {
    const settings = settingsOf({
      AGENT_TOKEN_FILE: fileOf('token', 'from file\n'),
      AGENT_POLL_INTERVAL_FILE: fileOf('interval', '30\n'),
      AGENT_LOG_FILE_FILE: fileOf('name', `${join(folder, 'log')}\n`),
    });
    expect(settings.token?.expose()).toBe('from file');
    expect([settings.pollIntervalMs, settings.logFile]).toEqual([30_000, join(folder, 'log')]);
  });

  test('a fault in the text names the file', () => {
    const file = fileOf('interval', 'soon');
    expect(problemsOf({ AGENT_POLL_INTERVAL_FILE: file })).toEqual([
      `AGENT_POLL_INTERVAL_FILE (the text of ${file}) must be a number of seconds from 0.1 to 3600, not "soon"`,
    ]);
  });

  test.each([
    ['missing', '/none/x', /names a file that does not exist: \/none\/x: create it, or unset/],
    ['a folder', folder, /names a file that is a folder/],
    ['empty', fileOf('empty', '\n'), /names an empty file/],
    ['large', fileOf('large', 'x'.repeat(70_000)), /larger than 64 KiB/],
  ])('%s', (_, file, expected) => {
    expect(problemsOf({ AGENT_TOKEN_FILE: file })).toEqual([expect.stringMatching(expected)]);
  });

  test('beside the variable itself is a fault; beside an empty one it is not', () => {
    const file = fileOf('token', 'f');
    expect(problemsOf({ AGENT_TOKEN: 't', AGENT_TOKEN_FILE: file })).toEqual([
      'AGENT_TOKEN and AGENT_TOKEN_FILE are both set: keep one',
    ]);
    expect(settingsOf({ AGENT_TOKEN: '', AGENT_TOKEN_FILE: file }).token?.expose()).toBe('f');
  });
});

describe('warnings', () => {
  test('unknown variables, with the nearest known one', () => {
    const { settings, warnings } = loadSettings({
      AGENT_POLL_INTERVALL: '1',
      AGENT_TOKN_FILE: '/x',
      AGENT_WHATEVER_ELSE: '1',
    });
    expect(settings).toBeDefined();
    expect(warnings).toEqual([
      'AGENT_POLL_INTERVALL is not a setting and is ignored. Did you mean AGENT_POLL_INTERVAL?',
      'AGENT_TOKN_FILE is not a setting and is ignored. Did you mean AGENT_TOKEN_FILE?',
      'AGENT_WHATEVER_ELSE is not a setting and is ignored. Take it out.',
    ]);
  });

  test('a backend without a token, or without checked TLS', () => {
    const { warnings } = loadSettings({ AGENT_BACKEND_URL: 'https://b', AGENT_SSL_VERIFY: 'false' });
    expect(warnings).toEqual([
      expect.stringMatching(/^AGENT_TOKEN is not set/),
      expect.stringMatching(/^AGENT_SSL_VERIFY is false/),
    ]);
  });

  test('shards that would each be another collector to the backend', () => {
    const warned = { AGENT_BACKEND_URL: 'https://b', AGENT_TOKEN: 't', AGENT_SHARD: '1/2' };
    expect(loadSettings(warned).warnings).toEqual([expect.stringMatching(/^AGENT_ID is not set: .*shard/)]);
    expect(loadSettings({ ...warned, AGENT_ID: 'north' }).warnings).toEqual([]);
  });
});

test('docs/settings.md has a row for every variable, and no other', () => {
  const at = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
  const declared = at('src/core/settings.ts').matchAll(/^ {2}(AGENT_[A-Z_]+):/gm);
  const rows = at('docs/settings.md').matchAll(/^\| (`AGENT_[^|]+)\|/gm);
  const documented = [...rows].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name),
  );
  expect(documented.sort()).toEqual([...declared].map(([, name]) => name).sort());
  expect(documented.length).toBeGreaterThan(25);
});
