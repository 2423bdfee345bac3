// The way to libvirt's socket through a real sshd: every refusal that can be told from another, the helper, and lab hosts
// with a real libvirtd.
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, raiseLab } from '../../lab/lab.js';
import { labPossible } from '../../lab/possible.js';
import type { HostError } from '../../src/core/errors.js';
import { LibvirtClient } from '../../src/libvirt/client.js';
import type { SshConnection } from '../../src/ssh/connection.js';
import { openLibvirtChannel } from '../../src/ssh/libvirt-channel.js';
import {
  cleanups,
  confined,
  confinedJobs,
  connect,
  connector,
  dir,
  echoes,
  failure,
  guardedPath,
  key,
  socketPath,
  sshd,
} from '../support/ssh-fixture.js';
import { until } from '../support/until.js';

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
