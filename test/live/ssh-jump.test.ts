// Jump hosts and the fetching of host keys, with real sshd's.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describe as chain, hintOf } from '../../src/core/errors.js';
import { SshConnector } from '../../src/ssh/connect.js';
import { KnownHosts } from '../../src/ssh/known-hosts.js';
import { fetchHostKeys } from '../../src/ssh/scan.js';
import {
  connector,
  dir,
  echoes,
  failure,
  otherKey,
  socketPath,
  sshd,
  targetOf,
} from '../support/ssh-fixture.js';
import { freePort } from '../support/sshd.js';
import { until } from '../support/until.js';

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
