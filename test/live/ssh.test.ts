// ssh/ against real OpenSSH servers on this machine: what connects, what is refused and in which words, and that nothing
// stays open afterwards.
import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SshConnector, type SshTarget } from '../../src/ssh/connect.js';
import { readPublicKey } from '../../src/ssh/keys.js';
import {
  cleanups,
  connect,
  connector,
  dir,
  failure,
  key,
  otherKey,
  socketPath,
  sshd,
  targetOf,
} from '../support/ssh-fixture.js';
import { freePort, makeKey } from '../support/sshd.js';
import { until } from '../support/until.js';

describe('connecting', () => {
  it('says which host key it verified and what the server is', async () => {
    const server = await sshd();
    const connection = await connect(server);
    expect(connection.hostKey.type).toBe('ssh-ed25519');
    expect(connection.hostKey.fingerprint).toMatch(/^SHA256:[\w+/]{43}$/);
    expect(connection.serverVersion).toMatch(/^OpenSSH_/);
    await connection.end();
    expect(await connection.closed).toMatchObject({ code: 'CLOSED', message: 'closed by us' });
    await until('sshd to see it end', () => server.sessions().length === 0);
  });

  it.each([
    ['an RSA key', { type: 'rsa' }, undefined],
    ['an ECDSA key', { type: 'ecdsa' }, undefined],
    ['a PEM key', { type: 'rsa', pem: true }, undefined],
    ['an encrypted key and its passphrase', { passphrase: 'correct horse' }, 'correct horse\n'],
    ['an encrypted PEM key', { type: 'rsa', pem: true, passphrase: 'correct horse' }, 'correct horse'],
  ] as const)('takes %s', async (name, options, passphrase) => {
    const pair = makeKey(join(dir, name.replaceAll(' ', '-')), options);
    const server = await sshd({ authorizedKeys: [pair.publicKey] });
    const keyPassphraseFile = `${pair.file}.pass`;
    if (passphrase) writeFileSync(keyPassphraseFile, passphrase, { mode: 0o600 });
    await connect(server, { keyFile: pair.file, ...(passphrase && { keyPassphraseFile }) });
    expect((await readPublicKey('kvm-01', pair.file)).split(' ').slice(0, 2)).toEqual(
      pair.publicKey.split(' ').slice(0, 2),
    );
  });

  it('asks for the key type on file, though the server would rather show another', async () => {
    const server = await sshd({ hostKeys: ['ed25519', 'ecdsa', 'rsa'] });
    for (const [type, shown] of [
      ['rsa', 'ssh-rsa'],
      ['ecdsa', 'ecdsa-sha2-nistp256'],
      ['ed25519', 'ssh-ed25519'],
    ] as const) {
      const file = server.knownHosts({ types: [type], name: `known_${type}` });
      const connection = await connect(server, { knownHostsFiles: [file] });
      expect(connection.hostKey.type).toBe(shown);
    }
  });

  it('takes keys from an agent', async () => {
    const server = await sshd();
    const agentSocket = join(dir, 'agent.sock');
    const agent = spawn('ssh-agent', ['-D', '-a', agentSocket], { stdio: 'ignore' });
    cleanups.push(() => agent.kill('SIGKILL'));
    await until('the agent', () => existsSync(agentSocket));
    const { keyFile: _, ...target } = targetOf(server, { agent: agentSocket });
    expect(await failure(connector.connect(target))).toMatchObject({
      code: 'KEY_FILE',
      message: expect.stringContaining('holds no keys'),
    });
    const add = spawn('ssh-add', ['-q', key.file], {
      env: { ...process.env, SSH_AUTH_SOCK: agentSocket },
      stdio: 'ignore',
    });
    await until('ssh-add', () => add.exitCode !== null);
    const connection = await connector.connect(target);
    await connection.end();
    const throughEnvironment = new SshConnector({ agentSocket });
    await (await throughEnvironment.connect({ ...target, agent: true })).end();
    agent.kill('SIGKILL');
    await until('the agent to end', () => agent.signalCode !== null);
    expect(await failure(connector.connect(target))).toMatchObject({
      code: 'KEY_FILE',
      message: expect.stringContaining('does not answer'),
    });
  });

  it('tells why it ended when sshd goes', async () => {
    const server = await sshd();
    const connection = await connect(server);
    const stream = await connection.openUnixSocket(socketPath);
    const streamError = new Promise<Error>((resolve) => stream.once('error', resolve));
    await server.stop();
    expect(await connection.closed).toMatchObject({ code: 'CLOSED', host: 'kvm-01' });
    expect(await streamError).toMatchObject({ code: 'CLOSED' });
    expect(await failure(connection.openUnixSocket(socketPath))).toMatchObject({ code: 'CLOSED' });
    expect(await failure(connection.files())).toMatchObject({ code: 'CLOSED' });
  });
});

describe('refusals, each with its mend', () => {
  it('names the key and the user when the key is not accepted', async () => {
    const server = await sshd();
    const connection = await connect(server);
    await connection.end();
    server.setAuthorizedKeys([otherKey.publicKey]);
    const error = await failure(connector.connect(targetOf(server)));
    expect(error).toMatchObject({ code: 'AUTH_FAILED', host: 'kvm-01', outcome: 'not-sent' });
    expect(error.message).toContain('root@127.0.0.1');
    expect(error.message).toMatch(/ssh-ed25519 SHA256:\S+ \(.*poll_key\)/);
    expect(error.hint).toContain('outrigger enroll kvm-01');
  });

  it('speaks of a locked account, which sshd does not tell apart', async () => {
    const locked = readFileSync('/etc/shadow', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .find(([, password]) => password === '!')?.[0];
    const server = await sshd();
    const error = await failure(connector.connect(targetOf(server, { user: locked ?? 'no-such-user' })));
    expect(error).toMatchObject({ code: 'AUTH_FAILED' });
    expect(error.hint).toMatch(/locked.*usermod/);
    if (locked) await until('the log', () => server.log().includes('account is locked'));
  });

  it('says when the host wants more than a key, or no key at all', async () => {
    const twoFactor = await sshd({
      config: ['AuthenticationMethods publickey,password', 'PasswordAuthentication yes'],
    });
    expect(await failure(connector.connect(targetOf(twoFactor)))).toMatchObject({
      code: 'AUTH_FAILED',
      message: expect.stringContaining('wants more (password'),
    });
    const passwords = await sshd({ config: ['PubkeyAuthentication no', 'PasswordAuthentication yes'] });
    expect(await failure(connector.connect(targetOf(passwords)))).toMatchObject({
      code: 'AUTH_FAILED',
      message: expect.stringContaining('takes no keys'),
    });
  });

  it('never connects to an unknown host, and shows what to compare', async () => {
    const server = await sshd();
    const missing = join(dir, 'no_known_hosts');
    const error = await failure(connector.connect(targetOf(server, { knownHostsFiles: [missing] })));
    expect(error).toMatchObject({
      code: 'HOST_KEY_UNKNOWN',
      hint: expect.stringContaining('outrigger enroll kvm-01'),
    });
    expect(error.message).toMatch(/ED25519 SHA256:/);
    expect(error.message).toContain('no such file');
    expect(server.log()).not.toContain('Accepted');
  });

  it('warns of a changed host key, with both fingerprints and the line', async () => {
    const server = await sshd();
    const before = makeKey(join(dir, 'former_host_key'));
    const file = join(dir, 'changed_known_hosts');
    writeFileSync(file, `# former\n[127.0.0.1]:${server.port} ${before.publicKey}\n`);
    const error = await failure(connector.connect(targetOf(server, { knownHostsFiles: [file] })));
    expect(error).toMatchObject({ code: 'HOST_KEY_MISMATCH', outcome: 'not-sent' });
    expect(error.message).toContain(`${file}:2`);
    expect(error.message).toContain('WARNING');
    expect(error.message.match(/SHA256:/g)).toHaveLength(2);
    expect(error.hint).toContain(`delete line 2 of ${file}`);
  });

  it('takes a host that no longer has the type on file for a changed one', async () => {
    const server = await sshd({ hostKeys: ['ecdsa'] });
    const file = join(dir, 'other_type');
    writeFileSync(file, `[127.0.0.1]:${server.port} ${otherKey.publicKey}\n`);
    expect(await failure(connector.connect(targetOf(server, { knownHostsFiles: [file] })))).toMatchObject({
      code: 'HOST_KEY_MISMATCH',
    });
  });

  it('refuses a revoked key', async () => {
    const server = await sshd();
    const file = server.knownHosts({ name: 'revoked' });
    writeFileSync(file, `${readFileSync(file, 'utf8')}@revoked * ${server.hostKey().publicKey}\n`);
    expect(await failure(connector.connect(targetOf(server, { knownHostsFiles: [file] })))).toMatchObject({
      code: 'HOST_KEY_REVOKED',
    });
  });

  it('tells DNS, a closed port and silence apart', async () => {
    const server = await sshd();
    const port = await freePort();
    expect(await failure(connector.connect(targetOf(server, { port })))).toMatchObject({ code: 'REFUSED' });
    expect(
      await failure(connector.connect(targetOf(server, { address: 'no-such-host.invalid' }))),
    ).toMatchObject({ code: 'DNS' });
    process.kill(server.pid, 'SIGSTOP');
    const error = await failure(connector.connect(targetOf(server), { timeoutMs: 300 }));
    process.kill(server.pid, 'SIGCONT');
    expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'not-sent' });
  });
});

describe('nothing leaks', () => {
  const resources = () =>
    process.getActiveResourcesInfo().filter((name) => /TCP|Pipe|Timeout/.test(name)).length;

  it('over hundreds of connects and failures', async () => {
    const server = await sshd({ hostKeys: ['ed25519'] });
    const jumpServer = await sshd();
    const bad = join(dir, 'leak_bad_known_hosts');
    writeFileSync(bad, `[127.0.0.1]:${server.port} ${otherKey.publicKey}\n`);
    const unreadable = join(dir, 'open_key');
    copyFileSync(key.file, unreadable);
    chmodSync(unreadable, 0o644);
    const port = await freePort();
    const own = new SshConnector({ agentSocket: undefined });
    const ways: Partial<SshTarget>[] = [
      {},
      { keyFile: otherKey.file },
      { knownHostsFiles: [bad] },
      { port },
      { keyFile: unreadable },
      { jump: [targetOf(jumpServer)] },
      { jump: [targetOf(jumpServer)], knownHostsFiles: [bad] },
      { jump: [targetOf(jumpServer, { keyFile: otherKey.file })] },
    ];
    const round = async () => {
      const outcomes = await Promise.allSettled(
        ways.map(async (way) => {
          const connection = await own.connect(targetOf(server, way));
          const files = await connection.files();
          await files.read('/proc/loadavg');
          await connection.openUnixSocket(socketPath);
          await connection.end();
        }),
      );
      return outcomes.map(({ status }) => status);
    };
    expect(await round()).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
      'rejected',
      'rejected',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    await until('the first round to close', () => own.jumpsOpen === 0 && server.sessions().length === 0);
    const before = resources();
    for (let i = 0; i < 40; i++) await round();
    await until(
      'all to close',
      () => own.jumpsOpen === 0 && server.sessions().length === 0 && jumpServer.sessions().length === 0,
    );
    await until('the descriptors to come back', () => resources() <= before + 2);
  });
});
