// ssh/ against real OpenSSH servers on this machine: what connects, what is refused and in which words, files over SFTP,
// sockets, the helper, jump hosts; and that nothing stays open afterwards.
import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, raiseLab } from '../../lab/lab.js';
import { labPossible } from '../../lab/possible.js';
import { describe as chain, HostError, hintOf } from '../../src/core/errors.js';
import { LibvirtClient } from '../../src/libvirt/client.js';
import { SshConnector, type SshTarget } from '../../src/ssh/connect.js';
import type { SshConnection } from '../../src/ssh/connection.js';
import { readPublicKey } from '../../src/ssh/keys.js';
import { KnownHosts } from '../../src/ssh/known-hosts.js';
import { openLibvirtChannel } from '../../src/ssh/libvirt-channel.js';
import { fetchHostKeys } from '../../src/ssh/scan.js';
import {
  freePort,
  type KeyPair,
  makeKey,
  makeTempDir,
  type Sshd,
  type SshdOptions,
  startSshd,
} from '../support/sshd.js';
import { until } from '../support/until.js';

let dir: string;
let key: KeyPair;
let otherKey: KeyPair;
let echo: Server;
let socketPath: string;
let guardedPath: string;
let guarded: Server;
const connector = new SshConnector({ agentSocket: undefined });
const cleanups: (() => Promise<unknown> | unknown)[] = [];

/** The polling key as the inventory's enrolment prints it, with the test's socket in place of libvirt's. */
const confined = (path: string, { publicKey } = key) =>
  `restrict,port-forwarding,permitopen="[${path}]:*",command="internal-sftp -R" ${publicKey}`;
const confinedJobs = (path: string, { publicKey } = key) =>
  `restrict,port-forwarding,permitopen="[${path}]:*",command="/bin/false" ${publicKey}`;

function listen(path: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  return new Promise((resolve) => server.listen(path, () => resolve(server)));
}

beforeAll(async () => {
  dir = makeTempDir('outrigger-live-ssh-');
  chmodSync(dir, 0o755);
  key = makeKey(join(dir, 'poll_key'));
  otherKey = makeKey(join(dir, 'other_key'));
  socketPath = join(dir, 'libvirt-sock-ro');
  guardedPath = join(dir, 'libvirt-sock');
  echo = await listen(socketPath);
  chmodSync(socketPath, 0o777);
  guarded = await listen(guardedPath);
  chmodSync(guardedPath, 0o770);
});
afterAll(() => {
  echo.close();
  guarded.close();
  rmSync(dir, { recursive: true, force: true });
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function sshd(o: SshdOptions = {}): Promise<Sshd> {
  const server = await startSshd({ authorizedKeys: [key.publicKey], ...o });
  cleanups.push(() => server.stop());
  return server;
}

function targetOf(server: Sshd, o: Partial<SshTarget> = {}): SshTarget {
  return {
    host: 'kvm-01',
    address: '127.0.0.1',
    port: server.port,
    user: 'root',
    keyFile: key.file,
    knownHostsFiles: [server.knownHosts()],
    ...o,
  };
}

async function connect(server: Sshd, o: Partial<SshTarget> = {}): Promise<SshConnection> {
  const connection = await connector.connect(targetOf(server, o), { timeoutMs: 10_000 });
  cleanups.push(() => connection.end());
  return connection;
}

async function failure(work: Promise<unknown>): Promise<HostError> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(HostError);
  return error as HostError;
}

async function echoes(stream: NodeJS.ReadWriteStream): Promise<string> {
  let got = '';
  stream.on('data', (chunk: Buffer) => {
    got += chunk.toString();
  });
  stream.write('ahoy');
  await until('the echo', () => got === 'ahoy');
  return got;
}

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

describe('files over SFTP', () => {
  it('reads /proc again and again with handles that stay open, and nothing is executed or written', async () => {
    const server = await sshd({ authorizedKeys: [confined(socketPath)] });
    const files = await (await connect(server)).files();
    const paths = [
      '/proc/stat',
      '/proc/meminfo',
      '/proc/loadavg',
      '/proc/uptime',
      '/proc/net/dev',
      '/proc/diskstats',
      '/sys/class/net/lo/mtu',
    ];
    for (let poll = 0; poll < 3; poll++) {
      const texts = await Promise.all(paths.map((path) => files.read(path)));
      for (const [i, path] of paths.entries()) {
        const here = readFileSync(path, 'utf8');
        expect(texts[i]?.split('\n').length, path).toBe(here.split('\n').length);
      }
    }
    expect(await files.handlesOpen()).toBe(paths.length);
    const uptime = async () => Number((await files.read('/proc/uptime')).split(' ')[0]);
    const before = await uptime();
    await until('uptime to move', async () => (await uptime()) > before);
    expect(await files.read('/etc/os-release')).toBe(readFileSync('/etc/os-release', 'utf8'));
    expect(await files.handlesOpen()).toBe(paths.length);
    const vast = await files.read('/proc/kallsyms', { bytesMax: 64 * 1024 * 1024, timeoutMs: 60_000 });
    expect(vast.split('\n').length).toBe(readFileSync('/proc/kallsyms', 'utf8').split('\n').length);
    expect(server.log().match(/Starting session: .*/g)).toEqual([
      expect.stringContaining("forced-command (key-option) 'internal-sftp -R' for root"),
    ]);
  });

  it('reads a file in one piece or many, also when it changes its length', async () => {
    const server = await sshd();
    const files = await (await connect(server)).files();
    for (const size of [0, 1, 511, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 300_000]) {
      const path = join(dir, 'sized');
      const text = 'x'.repeat(size);
      writeFileSync(path, text);
      expect((await files.read(path)).length).toBe(size);
    }
    const path = join(dir, 'large');
    writeFileSync(path, 'x'.repeat(20_000));
    expect(await failure(files.read(path, { bytesMax: 10_000 }))).toMatchObject({
      code: 'FILE_ERROR',
      message: expect.stringContaining('larger than 10000'),
    });
  });

  it('lists, reads links and measures filesystems', async () => {
    const server = await sshd({ authorizedKeys: [confined(socketPath)] });
    const files = await (await connect(server)).files();
    expect(await files.list('/sys/class/net')).toContain('lo');
    expect(await files.readlink('/proc/self/exe')).toMatch(/sshd|sftp-server/);
    const there = await files.statvfs('/');
    const here = statfsSync('/');
    expect(there).toMatchObject({
      blocks: here.blocks,
      files: here.files,
      fragmentSize: here.bsize,
      readOnly: false,
      nameMax: 255,
    });
  });

  it('remembers for a while what does not exist, and tells it from what is forbidden', async () => {
    const server = await sshd();
    const files = await (await connect(server, { user: 'nobody' })).files();
    const path = join(dir, 'comes-later');
    expect(await failure(files.read(path))).toMatchObject({ code: 'FILE_MISSING', host: 'kvm-01' });
    writeFileSync(path, 'now');
    expect(await failure(files.read(path))).toMatchObject({ code: 'FILE_MISSING' });
    expect(await failure(files.read('/etc/shadow'))).toMatchObject({
      code: 'FILE_ERROR',
      message: '/etc/shadow: permission denied',
    });
    expect(await failure(files.list('/proc/nothing'))).toMatchObject({ code: 'FILE_MISSING' });
  });

  it('gives up a session that hangs, and works again with the next', async () => {
    const server = await sshd();
    const connection = await connect(server);
    const files = await connection.files();
    const pipe = join(dir, 'endless');
    const made = spawn('mkfifo', [pipe], { stdio: 'ignore' });
    await until('the pipe', () => made.exitCode === 0);
    // sftp-server waits for a writer of the pipe and answers nothing else.
    for (let i = 0; i < 2; i++) {
      expect(await failure(files.read(pipe, { timeoutMs: 300 }))).toMatchObject({ code: 'TIMEOUT' });
      expect(await files.read('/proc/loadavg')).toMatch(/\d/);
    }
    expect((await failure(files.read(pipe))).message).toContain('not tried');
    expect(connection.closedWith).toBeUndefined();
  });

  it('says so when there is no SFTP', async () => {
    const server = await sshd({ authorizedKeys: [confinedJobs(socketPath)] });
    const connection = await connect(server);
    expect(await failure(connection.files())).toMatchObject({ code: 'SFTP_DENIED' });
  });
});

describe('the way to libvirt', () => {
  const o = { transport: 'auto', readOnly: true, daemonUri: 'qemu:///system', timeoutMs: 5_000 } as const;

  it('is the socket, with the polling key and with the jobs key', async () => {
    for (const line of [confined(socketPath), confinedJobs(socketPath)]) {
      const server = await sshd({ authorizedKeys: [line] });
      const { stream, via } = await openLibvirtChannel(await connect(server), { ...o, socket: socketPath });
      expect(via).toBe(socketPath);
      expect(await echoes(stream)).toBe('ahoy');
      const closed = new Promise((resolve) => stream.once('close', resolve));
      stream.destroy();
      await closed;
      expect(server.log()).not.toMatch(/Starting session/);
    }
  });

  it('is missing when no socket is there: the usual places are named, and nothing is executed', async () => {
    const server = await sshd();
    const connection = await connect(server);
    if (!existsSync('/run/libvirt')) {
      const error = await failure(openLibvirtChannel(connection, { ...o, socket: 'auto' }));
      expect(error).toMatchObject({ code: 'SOCKET_MISSING' });
      expect(error.message).toContain('/run/libvirt/libvirt-sock-ro, /run/libvirt/virtqemud-sock-ro');
    }
    expect(await failure(openLibvirtChannel(connection, { ...o, socket: '/nowhere/sock' }))).toMatchObject({
      code: 'SOCKET_MISSING',
    });
    expect(server.log()).not.toMatch(/Starting session: command/);
  });

  it('is missing when the socket is a leftover that nobody listens on', async () => {
    const path = join(dir, 'leftover-sock');
    const script = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
    const child = spawn(process.execPath, ['-e', script, path], { stdio: 'ignore' });
    await until('the listener to die', () => child.signalCode !== null);
    chmodSync(path, 0o777);
    const server = await sshd();
    const error = await failure(openLibvirtChannel(await connect(server), { ...o, socket: path }));
    expect(error).toMatchObject({ code: 'SOCKET_MISSING', message: `nobody listens on ${path}` });
    expect(server.log()).not.toMatch(/Starting session: command/);
  });

  it('is denied by the socket itself: the group is named', async () => {
    const server = await sshd();
    const connection = await connect(server, { user: 'nobody' });
    const error = await failure(
      openLibvirtChannel(connection, { ...o, socket: guardedPath, transport: 'socket' }),
    );
    expect(error).toMatchObject({
      code: 'SOCKET_DENIED',
      hint: expect.stringContaining('usermod -aG libvirt nobody'),
    });
  });

  it.each([
    ['forwarding is off', ['AllowStreamLocalForwarding no'], false],
    ['the key permits another path', [], true],
  ])('is forbidden when %s', async (_, config, otherPath) => {
    const authorizedKeys = [otherPath ? confined('/elsewhere') : key.publicKey];
    const server = await sshd({ config, authorizedKeys });
    const error = await failure(
      openLibvirtChannel(await connect(server), { ...o, socket: socketPath, transport: 'socket' }),
    );
    expect(error).toMatchObject({ code: 'FORWARD_DENIED', host: 'kvm-01', outcome: 'not-sent' });
    expect(error.hint).toContain('AllowStreamLocalForwarding yes');
  });

  it('falls back to virt-ssh-helper, and nothing else is run', async () => {
    const bin = join(dir, 'bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'virt-ssh-helper'), `#!/bin/sh\necho "$@" > ${dir}/helper-args\nexec cat\n`, {
      mode: 0o755,
    });
    const server = await sshd({
      config: ['AllowStreamLocalForwarding no', `SetEnv PATH=${bin}:/usr/bin:/bin`],
    });
    const { stream, via } = await openLibvirtChannel(await connect(server), { ...o, socket: socketPath });
    expect(via).toBe('virt-ssh-helper');
    stream.on('error', () => {});
    const got: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => got.push(chunk));
    stream.write(Buffer.from([0, 0, 0, 28]));
    await until('the echo', () => Buffer.concat(got).length === 4);
    expect(readFileSync(join(dir, 'helper-args'), 'utf8')).toBe('-r qemu:///system\n');
    const ended = new Promise((resolve) => stream.once('close', resolve));
    stream.end();
    await ended;
  });

  it.each([
    ['is not installed', 'SOCKET_MISSING', 'not installed', undefined],
    [
      'finds no daemon',
      'SOCKET_MISSING',
      'No such file',
      `echo "cannot connect to '/run/x': No such file or directory" >&2; exit 1`,
    ],
    [
      'may not',
      'SOCKET_DENIED',
      'Permission denied',
      `echo "Failed to connect socket to '/run/x': Permission denied" >&2; exit 1`,
    ],
  ])('tells what was tried when the helper %s', async (name, code, words, script) => {
    const bin = join(dir, `bin-${name.replaceAll(' ', '-')}`);
    mkdirSync(bin, { recursive: true });
    if (script) writeFileSync(join(bin, 'virt-ssh-helper'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    // With an empty PATH only the shell's own words are known.
    const server = await sshd({ config: ['AllowStreamLocalForwarding no', `SetEnv PATH=${bin}`] });
    const { stream } = await openLibvirtChannel(await connect(server), { ...o, socket: socketPath });
    const error = await new Promise<HostError>((resolve) =>
      stream.once('error', resolve as (error: Error) => void),
    );
    expect(error).toMatchObject({ code, host: 'kvm-01', message: expect.stringContaining(words) });
    expect(error.message).toContain(socketPath);
  });

  it('sees that a key confined to SFTP runs no helper', async () => {
    const server = await sshd({ authorizedKeys: [confined('/elsewhere')] });
    const { stream } = await openLibvirtChannel(await connect(server), { ...o, socket: socketPath });
    const error = await new Promise<HostError>((resolve) =>
      stream.once('error', resolve as (error: Error) => void),
    );
    expect(error).toMatchObject({
      code: 'FORWARD_DENIED',
      message: expect.stringContaining('sftp connections only'),
    });
  });

  it('gives the helper no URI that a shell could misread', async () => {
    const server = await sshd();
    const error = await failure(
      openLibvirtChannel(await connect(server), {
        ...o,
        socket: 'auto',
        transport: 'helper',
        daemonUri: "qemu:///system'; reboot '",
      }),
    );
    expect(error).toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('jump hosts', () => {
  it('are passed in a chain, each with its own key check, and shared', async () => {
    const [first, second, last] = [await sshd(), await sshd(), await sshd()];
    const jump = [targetOf(first, { host: 'first' }), targetOf(second, { host: 'second' })];
    const own = new SshConnector({ agentSocket: undefined });
    const connections = await Promise.all([1, 2, 3].map(() => own.connect(targetOf(last, { jump }))));
    expect(own.jumpsOpen).toBe(2);
    expect(first.log().match(/Accepted publickey/g)).toHaveLength(1);
    expect(second.log().match(/Accepted publickey/g)).toHaveLength(1);
    expect(last.log().match(/Accepted publickey/g)).toHaveLength(3);
    const [one] = connections;
    if (!one) throw new Error('no connection');
    expect(await echoes(await one.openUnixSocket(socketPath))).toBe('ahoy');
    for (const connection of connections) await connection.end();
    await until('the jumps to close', () => own.jumpsOpen === 0);
    for (const server of [first, second, last]) {
      await until('sshd to see it end', () => server.sessions().length === 0);
    }
  });

  it('name themselves in the error, and nothing stays open behind it', async () => {
    const [outer, last] = [await sshd(), await sshd()];
    const own = new SshConnector({ agentSocket: undefined });
    const unknown = targetOf(outer, { knownHostsFiles: [] });
    const error = await failure(own.connect(targetOf(last, { jump: [unknown] })));
    expect(error).toMatchObject({ code: 'HOST_KEY_UNKNOWN', host: 'kvm-01' });
    expect(chain(error)).toMatch(/jump host root@127.0.0.1:\d+: the host key/);
    expect(hintOf(error)).toContain('outrigger enroll');

    const changed = join(dir, 'changed-behind-jump');
    writeFileSync(changed, `[127.0.0.1]:${last.port} ${otherKey.publicKey}\n`);
    const behind = await failure(
      own.connect(targetOf(last, { jump: [targetOf(outer)], knownHostsFiles: [changed] })),
    );
    expect(behind).toMatchObject({ code: 'HOST_KEY_MISMATCH' });
    const port = await freePort();
    const refused = await failure(own.connect(targetOf(last, { jump: [targetOf(outer)], port })));
    expect(refused).toMatchObject({ code: 'REFUSED', host: 'kvm-01' });
    await until('the jump to close', () => own.jumpsOpen === 0 && outer.sessions().length === 0);
  });

  it('say when they forbid forwarding', async () => {
    const [outer, last] = [await sshd({ config: ['AllowTcpForwarding no'] }), await sshd()];
    const error = await failure(connector.connect(targetOf(last, { jump: [targetOf(outer)] })));
    expect(error).toMatchObject({
      code: 'FORWARD_DENIED',
      hint: expect.stringContaining('AllowTcpForwarding yes'),
    });
  });

  it('take their passengers along when they die, and each is told', async () => {
    const [outer, last] = [await sshd(), await sshd()];
    const own = new SshConnector({ agentSocket: undefined });
    const connection = await own.connect(targetOf(last, { jump: [targetOf(outer)] }));
    await outer.stop();
    expect(await connection.closed).toMatchObject({ code: 'CLOSED' });
    await until('the jump to be forgotten', () => own.jumpsOpen === 0);
  });
});

describe('fetching host keys', () => {
  it('returns all three types without logging in, and storing them is enough to connect', async () => {
    const server = await sshd({ hostKeys: ['rsa', 'ecdsa', 'ed25519'] });
    const file = join(dir, 'learned_known_hosts');
    const target = targetOf(server, { knownHostsFiles: [file] });
    const keys = await fetchHostKeys(target);
    expect(keys.map(({ type }) => type)).toEqual(['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ssh-rsa']);
    expect(server.log()).not.toMatch(/Failed publickey|Invalid user|Accepted/);
    for (const { blob } of keys) await KnownHosts.append(file, target.address, target.port, blob);
    await (await connector.connect(target)).end();
  });

  it('returns what there is, through a jump host too, and fails as connecting does', async () => {
    const [outer, server] = [await sshd(), await sshd({ hostKeys: ['ecdsa'] })];
    const keys = await fetchHostKeys(targetOf(server, { jump: [targetOf(outer)] }), { connector });
    expect(keys.map(({ type }) => type)).toEqual(['ecdsa-sha2-nistp256']);
    const port = await freePort();
    expect(await failure(fetchHostKeys(targetOf(server, { port })))).toMatchObject({ code: 'REFUSED' });
    await until('the jump to close', () => connector.jumpsOpen === 0);
  });
});

const possible = labPossible();
if (!possible.ok) process.stderr.write(`ssh to lab hosts is not tested: ${possible.why}\n`);

describe.runIf(possible.ok)('hosts with a real libvirtd', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await raiseLab({
      name: `ssh-${process.pid}`,
      hosts: 2,
      guests: 0,
      sshd: (host) => ({ allowStreamLocalForwarding: host !== 2, sftpLog: host === 1 }),
    });
  });
  afterAll(() => lab?.down());

  async function reach(number: 1 | 2, way: 'poll' | 'ops') {
    const host = lab.hosts[number - 1];
    if (!host) throw new Error('no such host');
    const connection = await connector.connect({
      host: host.name,
      address: host.address,
      port: 22,
      user: way === 'poll' ? 'outrigger' : 'outrigger-ops',
      keyFile: way === 'poll' ? host.pollKeyFile : host.opsKeyFile,
      knownHostsFiles: [host.knownHostsFile],
    });
    cleanups.push(() => connection.end());
    return { host, connection };
  }

  const open = async (connection: SshConnection, readOnly: boolean) => {
    const daemonUri = 'qemu:///system';
    const { stream, via } = await openLibvirtChannel(connection, {
      socket: 'auto',
      transport: 'auto',
      readOnly,
      daemonUri,
    });
    const client = await LibvirtClient.open(stream, {
      host: 'lab',
      uri: daemonUri,
      readOnly,
      timeoutMs: 20_000,
    });
    cleanups.push(() => client.close());
    return { client, via };
  };

  it('are reached through the read-only socket with the polling key, and nothing is executed or written', async () => {
    const { host, connection } = await reach(1, 'poll');
    const { client, via } = await open(connection, true);
    expect(via).toBe('/run/libvirt/libvirt-sock-ro');
    expect(await client.domainStats()).toEqual([]);
    const files = await connection.files();
    expect(await files.read('/proc/sys/kernel/hostname')).toMatch(/\S/);
    expect((await files.statvfs('/')).blocks).toBeGreaterThan(0);
    const log = readFileSync(host.sshdLogFile, 'utf8');
    expect(log).not.toMatch(/Starting session: command/);
    expect(readFileSync(host.syslogFile, 'utf8')).not.toMatch(/flags \S*(WRITE|CREATE|APPEND)/);
  });

  it('keep the read-write socket from the polling key, and open it to the jobs key', async () => {
    const poll = await reach(1, 'poll');
    expect(await failure(open(poll.connection, false))).toMatchObject({
      code: expect.stringMatching(/FORWARD_DENIED|SOCKET_DENIED/),
    });
    const ops = await reach(1, 'ops');
    const { client, via } = await open(ops.connection, false);
    expect(via).toBe('/run/libvirt/libvirt-sock');
    expect(await client.domainStats()).toEqual([]);
    expect(await failure(ops.connection.files())).toMatchObject({ code: 'SFTP_DENIED' });
  });

  it.each(['poll', 'ops'] as const)(
    'are reached through virt-ssh-helper where sockets are not forwarded (%s)',
    async (way) => {
      const { connection } = await reach(2, way);
      const { client, via } = await open(connection, way === 'poll');
      expect(via).toBe('virt-ssh-helper');
      expect(await client.domainStats()).toEqual([]);
      await client.close();
      expect(connection.closedWith).toBeUndefined();
    },
  );

  it('are told apart when their libvirtd is gone', async () => {
    const { host, connection } = await reach(1, 'poll');
    await host.stopLibvirtd();
    const error = await failure(open(connection, true));
    await host.startLibvirtd();
    // Lab hosts share their table of unix sockets, so another's libvirtd can hide that this one is gone.
    expect(error.code).toMatch(/SOCKET_MISSING|FORWARD_DENIED/);
    expect(error.message).toContain('/run/libvirt/libvirt-sock-ro');
    const { client } = await open(connection, true);
    expect(await client.domainStats()).toEqual([]);
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
