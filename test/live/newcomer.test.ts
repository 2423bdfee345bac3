// A newcomer's wrong turns, each as it is met on the terminal: one clear line that names the place and the mend, exit code 1,
// nothing left running. Runs what ships.
import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bin, outrigger, type Printed, Service } from '../support/outrigger.js';

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'outrigger-newcomer-'));
});

afterAll(() => rm(dir, { recursive: true, force: true }));

async function file(name: string, text: string, mode = 0o600): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, text);
  await chmod(path, mode);
  return path;
}

const inventory = (lines: string) => `version: 1\nhosts:\n${lines}`;
const run = (env: Record<string, string | undefined>) =>
  outrigger(['run'], { AGENT_DATA_DIR: join(dir, 'data'), AGENT_LISTEN: '127.0.0.1:0', ...env });

function lines({ stderr }: Printed): string[] {
  return stderr.trim().split('\n');
}

describe('run', () => {
  it('no inventory: says where it looked and what to do', async () => {
    const printed = await run({ AGENT_INVENTORY: join(dir, 'nowhere.yaml') });
    expect(printed.code).toBe(1);
    expect(lines(printed)).toHaveLength(1);
    expect(printed.stderr).toContain(join(dir, 'nowhere.yaml'));
    expect(printed.stderr).toMatch(/inventory\.example\.yaml|AGENT_INVENTORY/);
  });

  it('bad YAML: file, line and column', async () => {
    const path = await file('bad.yaml', 'version: 1\nhosts:\n  - name: "kvm-01\n');
    const printed = await run({ AGENT_INVENTORY: path });
    expect(printed.code).toBe(1);
    expect(printed.stderr).toMatch(new RegExp(`^${path}:\\d+:\\d+: `));
  });

  it('an unknown key: its line, and what was meant', async () => {
    const path = await file(
      'key.yaml',
      inventory('  - name: kvm-01\n    adress: 192.0.2.1\n    ssh: { user: o, keyFile: k }\n'),
    );
    const printed = await run({ AGENT_INVENTORY: path });
    expect(printed.code).toBe(1);
    expect(printed.stderr).toMatch(new RegExp(`^${path}:4:5: .*adress.*address`, 'm'));
  });

  it('every problem of settings and inventory at once', async () => {
    const path = await file(
      'two.yaml',
      inventory('  - name: KVM\n    address: 192.0.2.1\n    port: 99999\n'),
    );
    const printed = await run({
      AGENT_INVENTORY: path,
      AGENT_POLL_INTERVAL: 'often',
      AGENT_LOG_LEVEL: 'LOUD',
    });
    expect(printed.code).toBe(1);
    expect(printed.stderr).toMatch(/^AGENT_POLL_INTERVAL .*often/m);
    expect(printed.stderr).toMatch(/^AGENT_LOG_LEVEL .*LOUD/m);
    expect(printed.stderr).toContain(`${path}:3:`);
  });

  it('a port that is taken: names the address and the setting', async () => {
    const path = await file('empty.yaml', 'version: 1\nhosts: []\n');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
    const { port } = server.address() as { port: number };
    const printed = await run({ AGENT_INVENTORY: path, AGENT_LISTEN: `127.0.0.1:${port}` });
    await new Promise((resolve) => server.close(resolve));
    expect(printed.code).toBe(1);
    expect(lines(printed)[0]).toBe(
      `outrigger: cannot listen on 127.0.0.1:${port}: another process has this port`,
    );
    expect(printed.stderr).toContain('AGENT_LISTEN');
  });

  it('no store binary: names the packages and AGENT_REDIS_URL', async () => {
    const path = await file('empty2.yaml', 'version: 1\nhosts: []\n');
    const printed = await run({ AGENT_INVENTORY: path, PATH: '/nonexistent' });
    expect(printed.code).toBe(1);
    expect(printed.stderr).toMatch(/valkey-server.*redis-server/);
    expect(printed.stderr).toContain('AGENT_REDIS_URL');
  });

  it('a data directory that another service has: names its process', async () => {
    const path = await file('empty3.yaml', 'version: 1\nhosts: []\n');
    await using first = await Service.start(path);
    const printed = await run({ AGENT_INVENTORY: path, AGENT_DATA_DIR: first.dataDir });
    expect(printed.code).toBe(1);
    expect(printed.stderr).toContain(String(first.child.pid));
  });

  it('a Node that is too old: says which one it needs', async () => {
    const old =
      "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.0' } })";
    const child = spawn(process.execPath, [
      '--import',
      `data:text/javascript,${encodeURIComponent(old)}`,
      bin,
      'run',
    ]);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^outrigger needs Node 20\.19 or newer/);
  });
});

describe('check', () => {
  const host = (keyFile: string) =>
    inventory(
      `  - name: kvm-01\n    address: 127.0.0.1\n    ssh: { user: o, port: 1, keyFile: ${keyFile}, knownHostsFile: kh }\n`,
    );
  const check = (path: string, env: Record<string, string> = {}) =>
    outrigger(['check'], { AGENT_INVENTORY: path, AGENT_DATA_DIR: join(dir, 'data'), ...env });

  it('a missing key file: its path, and how to make one', async () => {
    const printed = await check(await file('missing.yaml', host(join(dir, 'no-key'))));
    expect(printed.code).toBe(1);
    expect(printed.stdout).toContain(`${join(dir, 'no-key')}: no such file`);
    expect(printed.stdout).toContain('ssh-keygen');
  });

  it('a key that others can read: the chmod', async () => {
    const key = await file('open-key', 'x', 0o644);
    const printed = await check(await file('open.yaml', host(key)));
    expect(printed.stdout).toContain(`chmod 600 ${key}`);
  });

  it('a key that this user may not read: whose it is to be', async () => {
    const key = await file('root-key', 'x', 0o600);
    const path = await file('unreadable.yaml', host(key), 0o644);
    await chmod(dir, 0o755);
    await mkdir(join(dir, 'nobody'), { recursive: true });
    const child = spawn(
      'setpriv',
      ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, bin, 'check'],
      {
        env: { PATH: process.env.PATH, AGENT_INVENTORY: path, AGENT_DATA_DIR: join(dir, 'nobody') },
      },
    );
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    await new Promise((resolve) => child.once('close', resolve));
    expect(stdout).toContain(`${key}: nobody may not read it`);
    expect(stdout).toContain(`chown nobody ${key}`);
  });

  it('nobody listens: refused, and what to start', async () => {
    const key = join(dir, 'key');
    await new Promise((resolve) =>
      spawn('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]).once('close', resolve),
    );
    const printed = await check(await file('refused.yaml', host(key)));
    expect(printed.code).toBe(1);
    expect(printed.stdout).toMatch(/ERROR\s+kvm-01\s+127\.0\.0\.1:1\s+refused/);
    expect(printed.stdout).toMatch(/mend: .*sshd/);
  });

  it('an unknown host, an unknown command, an unknown option', async () => {
    const path = await file('one.yaml', host('k'));
    const unknown = await outrigger(['check', 'kvm-99'], { AGENT_INVENTORY: path });
    expect(unknown).toMatchObject({ code: 1, stderr: `outrigger: no host kvm-99 in ${path}\n` });
    expect((await outrigger(['chek'])).code).toBe(2);
    expect((await outrigger(['chek'])).stderr).toContain('check');
    expect((await outrigger(['check', '--jsn'])).code).toBe(2);
    expect((await outrigger([])).code).toBe(2);
    expect((await outrigger(['--version'])).code).toBe(0);
    expect((await outrigger(['--help'])).code).toBe(0);
  });
});
