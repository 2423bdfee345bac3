// Connections for jobs, to real hosts: real sshd and libvirtd, the confined jobs key, and what breaks on the way.
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { type Clock, systemClock } from '../../src/core/clock.js';
import { HostError } from '../../src/core/errors.js';
import { silentLog } from '../../src/core/log.js';
import { OpsSessions, opsIdleMs } from '../../src/fleet/ops-session.js';
import type { Host } from '../../src/inventory/host.js';
import { loadInventory } from '../../src/inventory/load.js';
import type { LibvirtClient } from '../../src/libvirt/client.js';
import { procedures } from '../../src/libvirt/procedures.js';
import { SshConnector } from '../../src/ssh/connect.js';
import { until } from '../support/until.js';

let lab: Lab;
let hosts: readonly Host[];
let one: Host;
let labHost: LabHost;
const opened: OpsSessions[] = [];

beforeAll(async () => {
  lab = await raiseLab({ name: 'ops', hosts: 3, guests: 0 });
  const { inventory } = await loadInventory(lab.inventoryFile, {
    libvirtUri: 'qemu:///system',
    pollIntervalMs: 15_000,
  });
  hosts = inventory?.hosts ?? [];
  const [first] = hosts;
  const [firstOfLab] = lab.hosts;
  if (!first || !firstOfLab) throw new Error('the lab has no host');
  one = first;
  labHost = firstOfLab;
});

afterEach(async () => {
  for (const sessions of opened.splice(0)) await sessions.close();
});

afterAll(() => lab?.down());

function open(clock: Clock = systemClock): OpsSessions {
  const sessions = new OpsSessions({
    connector: new SshConnector({ log: silentLog, agentSocket: undefined }),
    knownHostsFile: lab.knownHostsFile,
    clock,
    log: silentLog,
  });
  sessions.apply(hosts);
  opened.push(sessions);
  return sessions;
}

const works = (client: LibvirtClient) => client.call(procedures.connectGetLibVersion, undefined);

const logins = (host: LabHost) =>
  readFileSync(host.sshdLogFile, 'utf8').match(/Accepted publickey for outrigger-ops/g)?.length ?? 0;

describe('a connection for jobs', () => {
  it('can write, with the key that the host confines to that, and is one however many jobs ask', async () => {
    const sessions = open();
    const before = logins(labHost);
    const holds = Array.from({ length: 8 }, () => sessions.hold(one));
    const clients = await Promise.all(holds.map((hold) => hold.libvirt()));
    expect(new Set(clients).size).toBe(1);
    const [client] = clients;
    if (!client) throw new Error('no client');
    expect(client.readOnly).toBe(false);
    await works(client);
    expect(logins(labHost)).toBe(before + 1);
    for (const hold of holds) hold.release();
  });

  it('goes to each host at the same time', async () => {
    const sessions = open();
    const clients = await Promise.all(hosts.map((host) => sessions.get(host)));
    expect(new Set(clients.map((client) => client.host))).toEqual(new Set(lab.hosts.map(({ name }) => name)));
    await Promise.all(clients.map(works));
    expect(sessions.size).toBe(3);
  });

  it('is gone from the host when it has been idle', async () => {
    const due: { delayMs: number; run: () => void; cancelled: boolean }[] = [];
    const clock: Clock = {
      ...systemClock,
      after(delayMs, run) {
        if (delayMs !== opsIdleMs) return systemClock.after(delayMs, run);
        const timer = { delayMs, run, cancelled: false };
        due.push(timer);
        return {
          cancel: () => {
            timer.cancelled = true;
          },
        };
      },
    };
    const sessions = open(clock);
    const client = await sessions.get(one);
    const idle = due.find(({ cancelled }) => !cancelled);
    expect(due.filter(({ cancelled }) => !cancelled)).toHaveLength(1);
    idle?.run();
    expect(await client.closed).toBeInstanceOf(HostError);
    await until('the connection to be closed', () => sessions.size === 0);
    await until('sshd to have seen it', () => sessionsOf('outrigger-ops').length === 0);
    await works(await sessions.get(one));
  });

  it('comes back for the same job after libvirtd was restarted and after sshd was killed', async () => {
    const sessions = open();
    const hold = sessions.hold(one);
    const first = await hold.libvirt();
    await labHost.restartLibvirtd();
    await first.closed;
    const second = await hold.libvirt();
    await works(second);
    await labHost.killSshd();
    await second.closed;
    await until('it to be forgotten', () => sessions.size === 0);
    await expect(hold.libvirt()).rejects.toMatchObject({ code: 'REFUSED', outcome: 'not-sent' });
    await labHost.startSshd();
    await works(await hold.libvirt());
    hold.release();
  });

  it('says at once what is known of a libvirtd that is stopped: the jobs key cannot look for the socket', async () => {
    const sessions = open();
    await labHost.stopLibvirtd();
    try {
      await expect(sessions.get(one)).rejects.toMatchObject({
        code: 'FORWARD_DENIED',
        outcome: 'not-sent',
        hint: expect.stringContaining('check that libvirtd runs'),
      });
      await until('nothing to be left', () => sessions.size === 0);
    } finally {
      await labHost.startLibvirtd();
    }
    await works(await sessions.get(one));
  });

  it('is not asked for again where the key was refused, until it is mended', async () => {
    const sessions = open();
    await labHost.removeKeys();
    try {
      await expect(sessions.get(one)).rejects.toMatchObject({ code: 'AUTH_FAILED', outcome: 'not-sent' });
    } finally {
      await labHost.restoreKeys();
    }
    const knocks = () => readFileSync(labHost.sshdLogFile, 'utf8').match(/Connection from/g)?.length ?? 0;
    const before = knocks();
    await expect(sessions.get(one)).rejects.toMatchObject({
      code: 'AUTH_FAILED',
      message: expect.stringContaining('not tried again for 10 min'),
      hint: expect.stringContaining('SIGHUP'),
    });
    expect(knocks()).toBe(before);
    sessions.retryNow();
    await works(await sessions.get(one));
  });

  it('is refused, and nothing is sent, when the host shows another key', async () => {
    const sessions = open();
    const [, host] = hosts;
    const [, rotated] = lab.hosts;
    if (!host || !rotated) throw new Error('the lab has no second host');
    await rotated.rotateHostKeys();
    await expect(sessions.get(host)).rejects.toMatchObject({
      code: 'HOST_KEY_MISMATCH',
      outcome: 'not-sent',
    });
  });

  it('to a host that drops every packet ends within its deadline', async () => {
    const sessions = open();
    const [, , host] = hosts;
    const [, , silent] = lab.hosts;
    if (!host || !silent) throw new Error('the lab has no third host');
    await silent.dropPackets();
    try {
      await expect(sessions.get(host)).rejects.toMatchObject({ code: 'TIMEOUT', outcome: 'not-sent' });
    } finally {
      await silent.acceptPackets();
    }
    await works(await sessions.get(host));
  });
});

function sessionsOf(user: string): number[] {
  return labHost.pids('sshd').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(user);
    } catch {
      return false;
    }
  });
}
