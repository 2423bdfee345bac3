// How our key is shown to an SSH server: at once where it can be, and once only.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import ssh2, { type AuthContext } from 'ssh2';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { SshConnector, type SshTarget } from '../../../src/ssh/connect.js';
import { type KeyPair, makeKey, makeTempDir } from '../../support/sshd.js';

type Shown = { algorithm: string; signed: boolean };

let dir: string;
let keys: { ed25519: KeyPair; rsa: KeyPair };
let hostKey: KeyPair;
const cleanups: (() => unknown)[] = [];

beforeAll(() => {
  dir = makeTempDir('outrigger-handshake-');
  keys = { ed25519: makeKey(join(dir, 'key')), rsa: makeKey(join(dir, 'rsa'), { type: 'rsa' }) };
  hostKey = makeKey(join(dir, 'host_key'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server that takes `taken` and nothing else, and notes what it was shown. */
async function server(taken: KeyPair): Promise<{ port: number; shown: Shown[] }> {
  const shown: Shown[] = [];
  const parsed = ssh2.utils.parseKey(taken.publicKey);
  if (parsed instanceof Error) throw parsed;
  const judge = (context: AuthContext) => {
    if (context.method !== 'publickey') return context.reject(['publickey']);
    const { key, blob, signature, hashAlgo } = context;
    shown.push({ algorithm: key.algo, signed: signature !== undefined });
    const known = key.data.equals(parsed.getPublicSSH());
    const proved = !blob || !signature || parsed.verify(blob, signature, hashAlgo) === true;
    if (known && proved) context.accept();
    else context.reject(['publickey']);
  };
  const ssh = new ssh2.Server({ hostKeys: [readFileSync(hostKey.file)] }, (client) => {
    client.on('error', () => {});
    client.on('authentication', judge);
  });
  const sockets = new Set<Socket>();
  const tcp = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    ssh.injectSocket(socket);
  });
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => tcp.close(resolve));
  });
  return { port: (tcp.address() as AddressInfo).port, shown };
}

async function connect(port: number, key: KeyPair): Promise<void> {
  const knownHosts = join(dir, `known_hosts_${port}`);
  writeFileSync(knownHosts, `[127.0.0.1]:${port} ${hostKey.publicKey}\n`);
  const target: SshTarget = {
    host: 'kvm-01',
    address: '127.0.0.1',
    port,
    user: 'outrigger',
    keyFile: key.file,
    knownHostsFiles: [knownHosts],
  };
  const connection = await new SshConnector({ agentSocket: undefined }).connect(target);
  await connection.end();
}

it('an ed25519 key is shown signed at once', async () => {
  const { port, shown } = await server(keys.ed25519);
  await connect(port, keys.ed25519);
  expect(shown).toEqual([{ algorithm: 'ssh-ed25519', signed: true }]);
});

it('a key that the server does not take is shown once', async () => {
  const { port, shown } = await server(keys.rsa);
  await expect(connect(port, keys.ed25519)).rejects.toMatchObject({ code: 'AUTH_FAILED' });
  expect(shown).toEqual([{ algorithm: 'ssh-ed25519', signed: true }]);
});

it('an RSA key, which has a choice of algorithms, is asked for first', async () => {
  const { port, shown } = await server(keys.rsa);
  await connect(port, keys.rsa);
  expect(shown.map(({ signed }) => signed)).toEqual([false, true]);
});
