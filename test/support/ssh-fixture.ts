// What the live tests of ssh/ share: keys, sockets to forward to, and sshd's that end with the test. Importing it sets all
// of it up and takes it down again; refuses to outlive the test file.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { HostError } from '../../src/core/errors.js';
import { SshConnector, type SshTarget } from '../../src/ssh/connect.js';
import type { SshConnection } from '../../src/ssh/connection.js';
import { type KeyPair, makeKey, makeTempDir, type Sshd, type SshdOptions, startSshd } from './sshd.js';
import { until } from './until.js';

export let dir: string;
export let key: KeyPair;
export let otherKey: KeyPair;
let echo: Server;
export let socketPath: string;
export let guardedPath: string;
let guarded: Server;
export const connector = new SshConnector({ agentSocket: undefined });
export const cleanups: (() => Promise<unknown> | unknown)[] = [];

/** The polling key as the inventory's enrolment prints it, with the test's socket in place of libvirt's. */
export const confined = (path: string, { publicKey } = key) =>
  `restrict,port-forwarding,permitopen="[${path}]:*",command="internal-sftp -R" ${publicKey}`;
export const confinedJobs = (path: string, { publicKey } = key) =>
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

export async function sshd(o: SshdOptions = {}): Promise<Sshd> {
  const server = await startSshd({ authorizedKeys: [key.publicKey], ...o });
  cleanups.push(() => server.stop());
  return server;
}

export function targetOf(server: Sshd, o: Partial<SshTarget> = {}): SshTarget {
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

export async function connect(server: Sshd, o: Partial<SshTarget> = {}): Promise<SshConnection> {
  const connection = await connector.connect(targetOf(server, o), { timeoutMs: 10_000 });
  cleanups.push(() => connection.end());
  return connection;
}

export async function failure(work: Promise<unknown>): Promise<HostError> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(HostError);
  return error as HostError;
}

export async function echoes(stream: NodeJS.ReadWriteStream): Promise<string> {
  let got = '';
  stream.on('data', (chunk: Buffer) => {
    got += chunk.toString();
  });
  stream.write('ahoy');
  await until('the echo', () => got === 'ahoy');
  return got;
}
