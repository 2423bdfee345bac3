// The page an operator lives in on day one: `outrigger check` and `outrigger enroll` against real hosts that are set up right
// and wrong, each wrong in one way.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { outrigger } from '../support/outrigger.js';

type Finding = {
  part: string;
  severity: string;
  short: string;
  message?: string;
  hint?: string;
  code?: string;
};
type Report = {
  host: string;
  hostKey?: string;
  via?: string;
  vms?: object;
  libvirtVersion?: string;
  findings: Finding[];
};

let lab: Lab;
let env: Record<string, string>;

beforeAll(async () => {
  lab = await raiseLab({
    name: 'check',
    hosts: 6,
    guests: 0,
    sshd: (host) =>
      host === 2
        ? { allowStreamLocalForwarding: false }
        : host === 3
          ? { allowStreamLocalForwarding: false, keys: 'socket' }
          : {},
  });
  env = { AGENT_INVENTORY: lab.inventoryFile, AGENT_DATA_DIR: join(lab.dir, 'data') };
});

afterAll(() => lab?.down());

function host(n: number): LabHost {
  const found = lab.hosts[n - 1];
  if (!found) throw new Error(`the lab has no host ${n}`);
  return found;
}

/** Rewrites a file that is mounted over, which cannot be replaced. */
async function rewrite(on: LabHost, path: string, sed: string): Promise<void> {
  const { code, stderr } = await on.exec([
    'sh',
    '-c',
    `text=$(sed '${sed}' ${path}) && printf '%s\\n' "$text" > ${path}`,
  ]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
}

async function check(
  on: LabHost,
  inventory = lab.inventoryFile,
): Promise<{ report: Report; code: number | null }> {
  const printed = await outrigger(['check', on.name, '--json'], { ...env, AGENT_INVENTORY: inventory });
  const [report] = JSON.parse(printed.stdout) as Report[];
  if (!report) throw new Error(`no report: ${printed.stderr}`);
  return { report, code: printed.code };
}

function finding({ findings }: Report, part: string): Finding | undefined {
  return findings.find((finding) => finding.part === part);
}

describe('check', () => {
  it('a host in order: everything ok, and what it is', async () => {
    const { report, code } = await check(host(1));
    expect(code).toBe(0);
    expect(report.findings.map(({ severity }) => severity)).toEqual(['ok', 'ok', 'ok', 'ok']);
    expect(report).toMatchObject({ via: '/run/libvirt/libvirt-sock-ro', vms: { running: 0, defined: 0 } });
    expect(report.hostKey).toMatch(/^ssh-ed25519 SHA256:/);
    expect(report.libvirtVersion).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('the table lines up, and the summary counts', async () => {
    const { stdout, code } = await outrigger(['check', host(1).name, host(2).name], env);
    expect(code).toBe(0);
    const [head = '', first = '', second = ''] = stdout.split('\n');
    expect(first.slice(head.indexOf('LIBVIRT'))).toMatch(/^\d+\.\d+\.\d+ RO /);
    expect(first).toMatch(/^ok /);
    expect(second).toMatch(/^warning /);
    expect(stdout.trim().split('\n').at(-1)).toBe('1 of 2 hosts in order, 1 with a warning.');
  });

  it('stream-local forwarding forbidden, helper allowed: a warning, and it works', async () => {
    const { report, code } = await check(host(2));
    expect(code).toBe(0);
    expect(report.via).toBe('virt-ssh-helper');
    expect(finding(report, 'libvirt')).toMatchObject({
      severity: 'warning',
      short: expect.stringMatching(/ RO$/),
    });
    expect(finding(report, 'libvirt')?.hint).toContain('AllowStreamLocalForwarding');
    expect(finding(report, 'jobs')).toMatchObject({ severity: 'ok', short: 'RW' });
  });

  it('forwarding forbidden and no helper: forbidden, with both mends', async () => {
    const { report, code } = await check(host(3));
    expect(code).toBe(1);
    expect(finding(report, 'libvirt')).toMatchObject({ severity: 'error', code: 'FORWARD_DENIED' });
    expect(finding(report, 'libvirt')?.hint).toMatch(/AllowStreamLocalForwarding yes.*permitopen/);
    expect(finding(report, 'files')).toMatchObject({ severity: 'ok' });
  });

  it('the jobs user is not in group libvirt: says so', async () => {
    await rewrite(host(4), '/etc/group', 's/^\\(libvirt:.*\\)outrigger-ops/\\1/');
    await host(4).killSshd();
    await host(4).startSshd();
    const { report } = await check(host(4));
    expect(finding(report, 'libvirt')).toMatchObject({ severity: 'ok' });
    expect(finding(report, 'jobs')).toMatchObject({ severity: 'error' });
    expect(`${finding(report, 'jobs')?.message} ${finding(report, 'jobs')?.hint}`).toMatch(
      /lets outrigger-ops in|group libvirt/,
    );
  });

  it('a socket open to all, and polkit in front of it: the refusal is polkit’s', async () => {
    await host(4).exec(['chmod', '0777', '/run/libvirt/libvirt-sock']);
    const { report } = await check(host(4));
    expect(finding(report, 'jobs')).toMatchObject({
      severity: 'error',
      short: 'polkit',
      code: 'POLKIT_DENIED',
    });
    expect(finding(report, 'jobs')?.hint).toContain('libvirt');
  });

  it('a locked account: refused, and the hint names that', async () => {
    await rewrite(host(5), '/etc/shadow', 's/^outrigger:\\*/outrigger:!/');
    const { report, code } = await check(host(5));
    expect(code).toBe(1);
    expect(finding(report, 'ssh')).toMatchObject({ severity: 'error', code: 'AUTH_FAILED' });
    expect(finding(report, 'ssh')?.hint).toMatch(/authorized_keys.*locked.*usermod -p '\*' outrigger/);
  });

  it('libvirtd stopped: no socket, and what to start', async () => {
    await host(1).stopLibvirtd();
    await host(1).exec(['sh', '-c', 'rm -f /run/libvirt/libvirt-sock*']);
    try {
      const { report } = await check(host(1));
      expect(finding(report, 'libvirt')).toMatchObject({
        severity: 'error',
        code: 'SOCKET_MISSING',
        short: 'no socket',
      });
      expect(finding(report, 'libvirt')?.hint).toContain('systemctl enable --now libvirtd');
    } finally {
      await host(1).startLibvirtd();
    }
  });

  it('the other ways in: libvirt’s test driver over SSH, and the local socket of a sidecar', async () => {
    const [libvirtd] = host(1).pids('libvirtd');
    const file = join(lab.dir, 'ways.yaml');
    const query = `keyfile=${lab.pollKeyFile}&known_hosts=${lab.knownHostsFile}`;
    await writeFile(
      file,
      `version: 1
hosts:
  - { name: trial, uri: "test+ssh://outrigger@${host(1).address}/default?${query}" }
  - { name: sidecar, uri: "qemu:///system?socket=/proc/${libvirtd}/root/run/libvirt/libvirt-sock-ro" }
`,
    );
    const trial = await check({ ...host(1), name: 'trial' }, file);
    expect(trial.report).toMatchObject({
      vms: { running: 1, defined: 1 },
      via: '/run/libvirt/libvirt-sock-ro',
    });
    expect(finding(trial.report, 'libvirt')).toMatchObject({ severity: 'ok' });
    const sidecar = await check({ ...host(1), name: 'sidecar' }, file);
    expect(sidecar.report.findings.map(({ severity, short }) => `${severity} ${short}`)).toEqual([
      'ok local',
      expect.stringMatching(/^ok \d.* RO$/),
      'ok ok',
      'ok RW',
    ]);
  });

  it('a polling key that can write: a warning', async () => {
    const file = join(lab.dir, 'rw.yaml');
    const text = await readFile(lab.inventoryFile, 'utf8');
    const swapped = text
      .replace('user: outrigger\n', 'user: outrigger-ops\n')
      .replace(/ keyFile: .*/, ` keyFile: ${lab.opsKeyFile}`);
    await writeFile(
      file,
      swapped.replace('hosts:', '  libvirt: { socket: /run/libvirt/libvirt-sock }\nhosts:'),
    );
    const { report } = await check(host(1), file);
    expect(finding(report, 'libvirt')).toMatchObject({
      severity: 'warning',
      short: expect.stringContaining('RW!'),
    });
    expect(finding(report, 'libvirt')?.hint).toContain(`outrigger enroll ${host(1).name}`);
  });
});

describe('enroll', () => {
  it('shows, stores on --yes, and then the host checks out', async () => {
    const learned = join(lab.dir, 'data', 'known_hosts');
    await rm(learned, { force: true });
    const file = join(lab.dir, 'unknown.yaml');
    await writeFile(file, (await readFile(lab.inventoryFile, 'utf8')).replace(/ +knownHostsFile: .*\n/, ''));
    const fresh = { ...env, AGENT_INVENTORY: file };
    const before = await check(host(1), file);
    expect(finding(before.report, 'ssh')).toMatchObject({ code: 'HOST_KEY_UNKNOWN', short: 'key unknown' });
    expect(finding(before.report, 'ssh')?.hint).toContain(`outrigger enroll ${host(1).name}`);

    const { stdout: keys } = await host(1).exec([
      'sh',
      '-c',
      'for f in /run/lab/ssh/*.pub; do ssh-keygen -lf $f; done',
    ]);
    const prints = [...keys.matchAll(/SHA256:\S+/g)].map(([print]) => print);
    const shown = await outrigger(['enroll', host(1).name], fresh);
    expect(shown.code).toBe(1);
    for (const print of prints) expect(shown.stdout).toContain(print);
    expect(shown.stdout).toContain(`outrigger enroll ${host(1).name} --yes`);
    await expect(readFile(learned)).rejects.toThrow();

    const stored = await outrigger(['enroll', host(1).name, '--yes'], fresh);
    expect(stored.code).toBe(0);
    const pub = (await readFile(`${lab.pollKeyFile}.pub`, 'utf8')).split(' ')[1];
    expect(stored.stdout).toMatch(
      /^restrict,port-forwarding,permitopen="\[\/run\/libvirt\/libvirt-sock-ro\]:\*",.*command="internal-sftp -R" ssh-ed25519 /m,
    );
    expect(stored.stdout).toContain(pub);
    expect((await check(host(1), file)).code).toBe(0);
    expect((await outrigger(['enroll', host(1).name], fresh)).stdout).toContain(`known, ${learned}:`);
  });

  it('the line that it prints is enough for polling, and for no more', async () => {
    const { stdout } = await outrigger(['enroll', host(1).name, '--json'], env);
    const { authorizedKeys } = JSON.parse(stdout) as {
      authorizedKeys: { purpose: string; user: string; line: string }[];
    };
    for (const { user, line } of authorizedKeys) {
      await host(1).exec(['sh', '-c', `printf '%s\\n' '${line}' > /home/${user}/.ssh/authorized_keys`]);
    }
    const { report, code } = await check(host(1));
    expect(code).toBe(0);
    expect(report.findings.map(({ severity }) => severity)).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  it('a changed key: nothing is stored, exit code 1, and how to go on', async () => {
    await host(6).rotateHostKeys();
    const before = await readFile(lab.knownHostsFile, 'utf8');
    const { stdout, code } = await outrigger(['enroll', host(6).name, '--yes'], env);
    expect(code).toBe(1);
    expect(stdout).toContain('CHANGED');
    expect(stdout).toContain(`ssh-keygen -R '${host(6).address}' -f ${lab.knownHostsFile}`);
    expect(await readFile(lab.knownHostsFile, 'utf8')).toBe(before);
    const { report } = await check(host(6));
    expect(finding(report, 'ssh')).toMatchObject({ code: 'HOST_KEY_MISMATCH', short: 'KEY CHANGED' });
    expect(finding(report, 'ssh')?.message).toContain(lab.knownHostsFile);
  });
});
