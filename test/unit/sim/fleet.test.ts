// The simulated fleet as its client sees it: over SSH, with the real client, and its faults.
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { HostError } from '../../../src/core/errors.js';
import { loadInventory } from '../../../src/inventory/load.js';
import { LibvirtClient } from '../../../src/libvirt/client.js';
import type { LifecycleEvent } from '../../../src/libvirt/events.js';
import { procedures } from '../../../src/libvirt/procedures.js';
import { detailsPoller } from '../../../src/pollers/details.js';
import { systemPoller } from '../../../src/pollers/system.js';
import { vmsPoller } from '../../../src/pollers/vms.js';
import { type SimFleet, type SimFleetOptions, simFleet } from '../../../src/sim/fleet.js';
import { SshConnector } from '../../../src/ssh/connect.js';
import type { SshConnection } from '../../../src/ssh/connection.js';
import { openLibvirtChannel } from '../../../src/ssh/libvirt-channel.js';
import { aHost } from '../../support/host.js';
import { until } from '../../support/until.js';

/** On loopback; a server that stays silent costs a test as much. */
const connectTimeoutMs = 1_000;
const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function raise(options: Partial<SimFleetOptions> = {}): Promise<SimFleet> {
  const dir = await mkdtemp(join(tmpdir(), 'outrigger-sim-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const fleet = await simFleet({ hosts: 1, vms: 4, seed: 7, dir, ...options });
  cleanups.push(() => fleet.close());
  return fleet;
}

async function connect(fleet: SimFleet, purpose: 'poll' | 'ops' = 'poll', index = 0): Promise<SshConnection> {
  const host = fleet.hosts[index];
  if (!host) throw new Error('no such host');
  const { name, address, port } = host;
  const keyFile = purpose === 'poll' ? fleet.pollKeyFile : fleet.opsKeyFile;
  const target = {
    host: name,
    address,
    port,
    user: 'outrigger',
    keyFile,
    knownHostsFiles: [fleet.knownHostsFile],
  };
  const connection = await new SshConnector({ agentSocket: undefined }).connect(target, {
    timeoutMs: connectTimeoutMs,
  });
  cleanups.push(() => connection.end());
  return connection;
}

async function open(connection: SshConnection, readOnly = true): Promise<LibvirtClient> {
  const uri = 'qemu:///system';
  const way = {
    transport: 'socket',
    socket: 'auto',
    daemonUri: uri,
    readOnly,
    timeoutMs: connectTimeoutMs,
  } as const;
  const { stream } = await openLibvirtChannel(connection, way);
  const client = await LibvirtClient.open(stream, {
    host: connection.target.host,
    uri,
    readOnly,
    timeoutMs: connectTimeoutMs,
  });
  cleanups.push(() => client.close());
  return client;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(HostError);
  return (error as HostError).code;
}

describe('a simulated host', () => {
  it('is polled by every poller of the service without a problem', async () => {
    const fleet = await raise({ vms: 6 });
    const connection = await connect(fleet);
    const libvirt = await open(connection);
    const files = await connection.files();
    const readers = { libvirt: () => libvirt, files: () => files };
    const context = { host: aHost(), signal: new AbortController().signal, clock: systemClock };
    const { vms } = await vmsPoller.poll(readers, context);
    expect(vms).toHaveLength(6);
    expect(vms.filter(({ busy }) => busy)).toEqual([]);
    const details = await detailsPoller.poll(readers, context);
    expect(details).toMatchObject({ versions: { hypervisor: '7.2.0', libvirtd: '9.0.0' }, problems: [] });
    expect(details.pools).toMatchObject([{ name: 'default', info: { state: 2 } }]);
    expect(details.domains.every(({ details: read, timedOut }) => read && !timedOut)).toBe(true);
    const system = await systemPoller.poll(readers, context);
    expect(system.problems).toEqual([]);
    expect(system).toMatchObject({ kernel: { hostname: 'kvm-01' }, os: { ID: 'debian' } });
    expect(system.filesystems?.map(({ mountpoint, space }) => [mountpoint, space !== undefined])).toEqual([
      ['/', true],
      ['/var/lib/libvirt/images', true],
      ['/run', true],
    ]);
    // What this machine has not: bonds, sensors, memory controllers …
    const without = system.collectors?.filter(({ ok }) => !ok).map(({ collector }) => collector);
    expect(
      without?.filter((name) => ['cpu', 'meminfo', 'diskstats', 'netdev', 'filesystem'].includes(name)),
    ).toEqual([]);
    const again = await systemPoller.poll(readers, { ...context, previous: system });
    expect(again.problems).toEqual([]);
    expect(again.uptime).toBeGreaterThanOrEqual(system.uptime ?? Number.NaN);
    expect(fleet.figures()).toMatchObject({ badArguments: 0, unknownProcedures: 0 });
  });

  it('writes an inventory that loads, with a host each', async () => {
    const fleet = await raise({ hosts: 3, vms: 1, defaults: 'poll: { guest: 60s }' });
    const { inventory, problems } = await loadInventory(fleet.inventoryFile, {
      libvirtUri: 'qemu:///system',
      pollIntervalMs: 15_000,
    });
    expect(problems).toEqual([]);
    expect(inventory?.hosts.map(({ name }) => name)).toEqual(['kvm-01', 'kvm-02', 'kvm-03']);
    expect(new Set(fleet.hosts.map(({ port }) => port)).size).toBe(3);
  });

  it('listens on an address each, where it is asked to', async () => {
    const fleet = await raise({ hosts: 2, vms: 1, addresses: 'each' });
    expect(fleet.hosts.map(({ address }) => address)).toEqual(['127.77.0.1', '127.77.0.2']);
    await connect(fleet, 'poll', 1);
  });

  it('lets each key go its own way only', async () => {
    const fleet = await raise();
    const poll = await connect(fleet);
    const ops = await connect(fleet, 'ops');
    expect(await codeOf(open(poll, false))).toBe('SOCKET_DENIED');
    expect(await codeOf(ops.files({ timeoutMs: 2_000 }))).toBe('SFTP_DENIED');
    const files = await poll.files();
    expect(await codeOf(files.read('/etc/shadow'))).toBe('FILE_MISSING');
    expect(await codeOf(poll.execHelper('qemu:///system', true))).toBe('FORWARD_DENIED');
    const stranger = await raise();
    const { address, port } = fleet.hosts[0] ?? { address: '', port: 0 };
    const target = { host: 'kvm-01', address, port, user: 'outrigger', keyFile: stranger.pollKeyFile };
    const knownHostsFiles = [fleet.knownHostsFile];
    const entering = new SshConnector({ agentSocket: undefined }).connect(
      { ...target, knownHostsFiles },
      { timeoutMs: connectTimeoutMs },
    );
    expect(await codeOf(entering)).toBe('AUTH_FAILED');
  });

  it('tells of what another connection does', async () => {
    const fleet = await raise();
    const watching = await open(await connect(fleet));
    const acting = await open(await connect(fleet, 'ops'), false);
    const stop = new AbortController();
    const events: LifecycleEvent[] = [];
    const gathering = (async () => {
      for await (const event of watching.lifecycleEvents(stop.signal, { reboots: true })) events.push(event);
    })();
    await watching.call(procedures.connectGetHostname, undefined);
    const { dom } = await acting.call(procedures.domainLookupByName, { name: 'web-1' });
    await acting.call(procedures.domainReset, { dom, flags: 0 });
    await acting.call(procedures.domainDestroyFlags, { dom, flags: 0 });
    await until('the events', () => events.length >= 3);
    expect(events).toMatchObject([
      { event: 'rebooted' },
      { event: 'shutdown', detail: 'host' },
      { event: 'stopped', detail: 'destroyed' },
    ]);
    stop.abort();
    await gathering;
  });

  it('goes down, comes back, and leaves nothing open', async () => {
    const fleet = await raise();
    const [host] = fleet.hosts;
    const connection = await connect(fleet);
    await host?.down();
    expect((await connection.closed).code).toBe('CLOSED');
    expect(await codeOf(connect(fleet))).toBe('REFUSED');
    await host?.up();
    await connect(fleet);
    await fleet.close();
    expect(host?.connections).toBe(0);
    const refused = await new Promise((resolve) => {
      connectTcp(host?.port ?? 0, '127.0.0.1').once('error', (error) =>
        resolve((error as NodeJS.ErrnoException).code),
      );
    });
    expect(refused).toBe('ECONNREFUSED');
  });
});

describe('faults', () => {
  it.each([
    [{ host: '*', procedure: 'ssh.connect', action: 'close' }, 'CLOSED'],
    [{ host: 'kvm-01', procedure: 'ssh.connect', action: 'hang' }, 'TIMEOUT'],
    [{ host: '*', procedure: 'ssh.connect', action: 'wrong-key' }, 'HOST_KEY_MISMATCH'],
    [{ host: '*', procedure: 'ssh.auth', action: 'error' }, 'AUTH_FAILED'],
    [{ host: '*', procedure: 'ssh.auth', action: 'hang' }, 'TIMEOUT'],
  ] as const)('%o on the way in: %s', async (fault, code) => {
    const fleet = await raise({ faults: [fault] });
    expect(await codeOf(connect(fleet))).toBe(code);
    expect(fleet.hosts[0]?.faults.struck).toBeGreaterThan(0);
  });

  it.each([
    [{ action: 'error', code: 38, message: 'no' }, 'LIBVIRT_ERROR'],
    [{ action: 'drop' }, 'TIMEOUT'],
    [{ action: 'hang' }, 'TIMEOUT'],
    [{ action: 'garbage' }, 'PROTOCOL_ERROR'],
    [{ action: 'close' }, 'CLOSED'],
  ] as const)('libvirt: the second %o', async (action, code) => {
    const procedure = 'connectGetAllDomainStats';
    const fleet = await raise({ faults: [{ host: '*', procedure, nth: 2, ...action }] });
    const client = await open(await connect(fleet));
    expect(await client.domainStats()).toHaveLength(4);
    expect(await codeOf(client.domainStats({ timeoutMs: 300 }))).toBe(code);
    expect(fleet.hosts[0]?.faults.struck).toBe(1);
  });

  it('an answer that comes late is the same answer', async () => {
    const fault = {
      host: '*',
      procedure: 'connectGetHostname',
      nth: 1,
      action: 'delay',
      delayMs: 100,
    } as const;
    const fleet = await raise({ faults: [fault] });
    const client = await open(await connect(fleet));
    const late = client.call(procedures.connectGetHostname, undefined);
    const order: string[] = [];
    const both = [
      late.then(() => order.push('late')),
      client.call(procedures.connectGetUri, undefined).then(() => order.push('soon')),
    ];
    await Promise.all(both);
    expect(order).toEqual(['soon', 'late']);
    expect(await late).toEqual({ hostname: 'kvm-01' });
  });

  it('a file that fails, and a file that hangs', async () => {
    const fleet = await raise({
      faults: [
        { host: '*', procedure: 'sftp /proc/loadavg', action: 'error' },
        { host: '*', procedure: 'sftp /proc/meminfo', action: 'hang' },
      ],
    });
    const files = await (await connect(fleet)).files();
    expect(await codeOf(files.read('/proc/loadavg'))).toBe('FILE_ERROR');
    expect(await codeOf(files.read('/proc/meminfo', { timeoutMs: 300 }))).toBe('TIMEOUT');
    expect(await files.read('/proc/uptime')).toMatch(/^\d+\.\d\d /);
  });
});
