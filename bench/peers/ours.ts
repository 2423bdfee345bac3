// Outrigger's client of bench/peers.ts: the way to a host, its libvirt and the poller of VMs, as the service uses them, in a
// process of their own. It answers one JSON line for each that it reads; see client.ts for what is asked.
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/core/clock.js';
import { silentLog } from '../../src/core/log.js';
import { openTransport, type Transport } from '../../src/fleet/transport.js';
import type { Host } from '../../src/inventory/host.js';
import type { LibvirtClient } from '../../src/libvirt/client.js';
import { type VmsSample, vmsPoller } from '../../src/pollers/vms.js';
import { SshConnector } from '../../src/ssh/connect.js';
import { fieldsOf } from '../../test/support/domstats.js';
import type { Answer, Request, Target } from './client.js';

type Connection = { host: Host; transport: Transport; client: LibvirtClient; sample: VmsSample | undefined };

const target: Target = JSON.parse(process.argv[2] ?? '');
const connector = new SshConnector();
/** Nobody ends a poll early here. */
const { signal } = new AbortController();
const open: Connection[] = [];

async function connect(target: Target, index: number): Promise<Connection> {
  const { address, port } = target.hosts[index % target.hosts.length] as Target['hosts'][number];
  const deps = { connector, knownHostsFile: target.knownHosts, clock: systemClock, log: silentLog };
  const host: Host = {
    name: `${address}:${port}`,
    connection: 'ssh',
    address,
    groups: [],
    labels: {},
    ssh: { user: target.user, port, keyFile: target.keyFile, agent: false, jump: [] },
    libvirt: { uri: 'qemu:///system', socket: target.socket, transport: 'socket' },
    poll: { intervalMs: 15_000, detailsMs: 300_000 },
    ops: false,
    maintenance: false,
  };
  const transport = await openTransport(host, deps);
  const { client } = await transport.openLibvirt({ readOnly: true });
  return { host, transport, client, sample: undefined };
}

async function poll(connection: Connection): Promise<void> {
  const { host, client } = connection;
  const readers = {
    libvirt: () => client,
    files: () => {
      throw new Error('the poller of VMs reads no files');
    },
  };
  connection.sample = await vmsPoller.poll(readers, { host, signal, clock: systemClock });
}

async function close(times: number): Promise<void> {
  for (const { transport, client } of open.splice(open.length - times)) {
    await client.close();
    await transport.close();
  }
}

async function act({ do: what, times = 0, to = target }: Request): Promise<Partial<Answer>> {
  switch (what) {
    case 'connect':
      for (let n = 0; n < times; n++) {
        open.push(await connect(to, n));
      }
      return {};
    case 'poll':
      for (let n = 0; n < times; n++) for (const connection of open) await poll(connection);
      return {};
    case 'close':
      await close(times);
      return {};
    case 'memory':
      return memory();
    case 'version':
      return { version: `node ${process.version}` };
  }
}

function memory(): Partial<Answer> {
  if (!globalThis.gc) throw new Error('node runs without --expose-gc');
  for (let n = 0; n < 4; n++) globalThis.gc();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { bytes: rss, heapBytes: heapUsed + external };
}

for await (const line of createInterface({ input: process.stdin })) {
  const before = process.cpuUsage();
  const answer = await act(JSON.parse(line));
  const { user, system } = process.cpuUsage(before);
  const samples = open.flatMap(({ sample }) => sample ?? []);
  const whole: Answer = {
    cpuMs: (user + system) / 1000,
    domains: samples.reduce((sum, { vms }) => sum + vms.length, 0),
    fields: samples.reduce((sum, { vms }) => sum + vms.reduce((all, vm) => all + fieldsOf(vm).size, 0), 0),
    ...answer,
  };
  process.stdout.write(`${JSON.stringify(whole)}\n`);
}
await close(open.length);
process.exit(0);
