// The same expectations on a real KVM host and on a simulated one: what the simulation says must be what libvirtd and sshd say.
// Each test runs on both; shapes of answers are compared with each other. It refuses expectations of one side only.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { systemClock } from '../../src/core/clock.js';
import { LibvirtClient } from '../../src/libvirt/client.js';
import { LibvirtError } from '../../src/libvirt/errors.js';
import type { LifecycleEvent } from '../../src/libvirt/events.js';
import {
  type DomainRef,
  domainStatsRecords,
  listDomainsFlag,
  procedures,
} from '../../src/libvirt/procedures.js';
import { statsFlag } from '../../src/libvirt/stats.js';
import { nothing } from '../../src/libvirt/wire/codec.js';
import { XdrReader } from '../../src/libvirt/wire/xdr.js';
import { Lines } from '../../src/metrics/exposition.js';
import { renderSystem } from '../../src/metrics/render-system.js';
import { parseDomain } from '../../src/ops/domain-xml.js';
import { parseSnapshot } from '../../src/ops/snapshots.js';
import { startsPoller } from '../../src/pollers/starts.js';
import { systemPoller } from '../../src/pollers/system.js';
import { type SimFleet, simFleet } from '../../src/sim/fleet.js';
import { SshConnector } from '../../src/ssh/connect.js';
import type { SshConnection } from '../../src/ssh/connection.js';
import { openLibvirtChannel } from '../../src/ssh/libvirt-channel.js';
import { aHost } from '../support/host.js';
import { OpsHarness } from '../support/ops.js';
import { until } from '../support/until.js';

type Place = Pick<LabHost, 'name' | 'address' | 'pollKeyFile' | 'opsKeyFile' | 'knownHostsFile'> & {
  port: number;
};
type Side = { place: Place; connection: SshConnection; reader: LibvirtClient; writer: LibvirtClient };

const sides: Partial<Record<'real' | 'simulated', Side>> = {};
const names = ['real', 'simulated'] as const;
const uri = 'qemu:///system';
const off = 'web-2';
const running = 'db-1';
const wait = { timeoutMs: 10_000 };
const closers: (() => Promise<unknown>)[] = [];
let lab: Lab;
let fleet: SimFleet;

beforeAll(async () => {
  lab = await raiseLab({
    name: 'sim-contract',
    hosts: 1,
    guests: [{ name: 'web-1' }, { name: running }, { name: off, start: false }],
    waitForGuests: true,
  });
  const [host] = lab.hosts as [LabHost];
  await host.virsh('pool-define-as', 'default', 'dir', '--target', '/var/lib/libvirt/images');
  await host.virsh('pool-start', 'default');
  const dir = await mkdtemp(join(tmpdir(), 'outrigger-sim-contract-'));
  closers.push(() => rm(dir, { recursive: true, force: true }));
  fleet = await simFleet({ hosts: 1, vms: 3, seed: 1, dir, outOfOrder: true });
  const [simulated] = fleet.hosts;
  if (!simulated) throw new Error('no simulated host');
  for (const vm of simulated.model.vms) {
    vm.agent = 'connected';
    vm.autostart = false;
    if (vm.name === off && vm.active) simulated.model.destroy(vm);
    if (vm.name !== off && !vm.active) simulated.model.create(vm);
  }
  const { name, address, port } = simulated;
  sides.real = await enter(host);
  sides.simulated = await enter({ ...fleet, name, address, port });
});

afterAll(async () => {
  for (const close of closers.reverse()) await close();
  await fleet?.close();
  await lab?.down();
});

async function enter(place: Place): Promise<Side> {
  const connection = await connect(place, 'outrigger', place.pollKeyFile);
  const ops = await connect(place, 'outrigger-ops', place.opsKeyFile);
  return { place, connection, reader: await open(connection, true), writer: await open(ops, false) };
}

async function connect(place: Place, user: string, keyFile: string): Promise<SshConnection> {
  const { name: host, address, port, knownHostsFile } = place;
  const target = { host, address, port, user, keyFile, knownHostsFiles: [knownHostsFile] };
  const connection = await new SshConnector({ agentSocket: undefined }).connect(target, wait);
  closers.push(() => connection.end());
  return connection;
}

async function open(connection: SshConnection, readOnly: boolean): Promise<LibvirtClient> {
  const way = { transport: 'socket', socket: 'auto', daemonUri: uri, readOnly, ...wait } as const;
  const { stream, via } = await openLibvirtChannel(connection, way);
  expect(via).toBe(`/run/libvirt/libvirt-sock${readOnly ? '-ro' : ''}`);
  const client = await LibvirtClient.open(stream, { host: connection.target.host, uri, readOnly, ...wait });
  closers.push(() => client.close());
  return client;
}

function side(name: (typeof names)[number]): Side {
  const found = sides[name];
  if (!found) throw new Error(`the ${name} host is not there`);
  return found;
}

const lookup = async ({ reader }: Side, name: string): Promise<DomainRef> =>
  (await reader.call(procedures.domainLookupByName, { name })).dom;

/** libvirt's number for why not; 0 where it was done. */
async function codeOf(work: Promise<unknown>): Promise<number> {
  try {
    await work;
    return 0;
  } catch (error) {
    if (error instanceof LibvirtError) return error.libvirtCode;
    throw error;
  }
}

describe.each(names)('a %s host', (name) => {
  it('says what it is', async () => {
    const { reader } = side(name);
    expect(await reader.call(procedures.connectGetType, undefined)).toEqual({ type: 'QEMU' });
    expect(await reader.call(procedures.connectGetUri, undefined)).toEqual({ uri });
    expect((await reader.call(procedures.connectGetLibVersion, undefined)).libVer).toBeGreaterThan(
      9_000_000 - 1,
    );
    expect((await reader.call(procedures.connectGetVersion, undefined)).hvVer).toBeGreaterThan(7_000_000);
    expect(await reader.call(procedures.connectSupportsFeature, { feature: 10 })).toEqual({ supported: 1 });
    const { capabilities } = await reader.call(procedures.connectGetCapabilities, undefined);
    expect(capabilities).toMatch(/<uuid>[0-9a-f-]{36}<\/uuid>[\s\S]*<domain type='qemu'\/>/);
    const node = await reader.call(procedures.nodeGetInfo, undefined);
    expect(node).toMatchObject({ model: 'x86_64', nodes: 1, sockets: 1 });
    expect(node.memory).toBeGreaterThan(100_000);
  });

  it('lists and finds its VMs', async () => {
    const { reader } = side(name);
    const listed = async (flags: number) =>
      (await reader.call(procedures.connectListAllDomains, { needResults: 1, flags })).domains
        .map((dom) => dom.name)
        .sort();
    expect(await listed(0)).toEqual(['db-1', 'web-1', 'web-2']);
    expect(await listed(1)).toEqual(['db-1', 'web-1']);
    expect(await listed(16)).toEqual(['db-1', 'web-1']);
    const dom = await lookup(side(name), running);
    expect(await reader.call(procedures.domainLookupByUuid, { uuid: dom.uuid })).toEqual({ dom });
    expect((await lookup(side(name), off)).id).toBe(-1);
    const stranger = { name: 'nobody', uuid: '00000000-0000-4000-8000-000000000001', id: -1 };
    expect(await codeOf(reader.call(procedures.domainLookupByName, { name: 'nobody' }))).toBe(42);
    expect(await codeOf(reader.call(procedures.domainLookupByUuid, stranger))).toBe(42);
    expect(await codeOf(reader.call(procedures.domainGetState, { dom: stranger, flags: 0 }))).toBe(42);
    expect(await codeOf(reader.call(procedures.domainGetXmlDesc, { dom: stranger, flags: 0 }))).toBe(42);
  });

  it('describes them', async () => {
    const { reader } = side(name);
    for (const vm of [running, off]) {
      const dom = await lookup(side(name), vm);
      const { xml } = await reader.call(procedures.domainGetXmlDesc, { dom, flags: 0 });
      const definition = parseDomain(xml);
      expect(definition).toMatchObject({ name: vm, uuid: dom.uuid, os: { type: 'hvm', arch: 'x86_64' } });
      const [vda] = definition.disks;
      expect(vda).toMatchObject({
        device: 'disk',
        type: 'file',
        target: 'vda',
        bus: 'virtio',
        format: 'qcow2',
      });
      expect(vda?.path).toBe(`/var/lib/libvirt/images/${vm}.qcow2`);
      expect(vda?.backingKnown).toBe(vm === running);
      expect(definition.interfaces).toMatchObject([{ type: 'bridge', model: 'virtio' }]);
      expect(definition.guestAgent).toEqual({ configured: true, connected: vm === running });
    }
  });

  it('has files that tell when its VMs were started: of their processes, again and again', async () => {
    const { connection, reader } = side(name);
    const files = await connection.files();
    const readers = { libvirt: () => reader, files: () => files };
    const context = { host: aHost(), signal: new AbortController().signal, clock: systemClock };
    const { vms, bootedAtMs = 0 } = await startsPoller.poll(readers, context);
    const { dom } = await reader.call(procedures.domainLookupByName, { name: running });
    const found = vms.find(({ uuid }) => uuid === dom.uuid);
    expect(found).toMatchObject({ id: dom.id, pid: expect.any(Number) });
    expect(found?.startedAtMs).toBeGreaterThan(bootedAtMs);
    expect(found?.startedAtMs).toBeLessThan(Date.now() + 2_000);
    const changed = new Set([dom.uuid]);
    expect((await startsPoller.poll(readers, { ...context, changed })).vms).toEqual(vms);
  });

  it('refuses to write over the read-only socket, and what it does not know', async () => {
    const { reader, place } = side(name);
    const dom = await lookup(side(name), running);
    const domAndFlags = { dom, flags: 0 };
    const refusals = [
      codeOf(reader.call(procedures.domainDestroyFlags, domAndFlags)),
      codeOf(reader.call(procedures.domainSuspend, { dom })),
      codeOf(
        reader.call(procedures.domainSnapshotCreateXml, { dom, xmlDesc: '<domainsnapshot/>', flags: 0 }),
      ),
      codeOf(reader.call(procedures.domainGetGuestInfo, { dom, types: 0, flags: 0 })),
      codeOf(reader.call(procedures.domainGetFsInfo, domAndFlags)),
      codeOf(reader.call(procedures.domainGetHostname, domAndFlags)),
      codeOf(reader.call(procedures.domainInterfaceAddresses, { dom, source: 1, flags: 0 })),
      codeOf(reader.call(procedures.domainSetMemoryStatsPeriod, { dom, period: 5, flags: 1 })),
    ];
    expect(await Promise.all(refusals)).toEqual([29, 29, 29, 29, 29, 29, 29, 29]);
    const unknown = { name: 'unknown', number: 9_999, args: nothing, result: nothing };
    expect(await codeOf(reader.call(unknown, undefined))).toBe(39);
    const cut = { ...procedures.domainGetState, args: nothing };
    expect(await codeOf(reader.call(cut, undefined))).toBe(39);
    expect(place.name).toBe((await reader.call(procedures.connectGetHostname, undefined)).hostname);
  });

  it('changes state, refuses what the state does not allow, and tells of it', async () => {
    const { reader, writer } = side(name);
    const stop = new AbortController();
    const events: LifecycleEvent[] = [];
    const gathering = (async () => {
      for await (const event of reader.lifecycleEvents(stop.signal, { reboots: true })) events.push(event);
    })();
    const again = () => lookup(side(name), off);
    const state = async () => {
      const { state, reason } = await reader.call(procedures.domainGetState, {
        dom: await again(),
        flags: 0,
      });
      return [state, reason];
    };
    const flags = 0;
    let dom = await again();
    const atRest = [
      await codeOf(writer.call(procedures.domainDestroyFlags, { dom, flags })),
      await codeOf(writer.call(procedures.domainSuspend, { dom })),
      await codeOf(writer.call(procedures.domainResume, { dom })),
      await codeOf(writer.call(procedures.domainReset, { dom, flags })),
      await codeOf(writer.call(procedures.domainReboot, { dom, flags })),
      await codeOf(writer.call(procedures.domainShutdownFlags, { dom, flags })),
      await codeOf(writer.call(procedures.domainGetJobInfo, { dom })),
      await codeOf(writer.call(procedures.domainGetGuestInfo, { dom, types: 0, flags })),
      await codeOf(writer.call(procedures.domainInterfaceAddresses, { dom, source: 2, flags })),
    ];
    expect(atRest).toEqual(Array.from({ length: 9 }, () => 55));
    await writer.call(procedures.domainCreateWithFlags, { dom, flags: 1 }, { timeoutMs: 60_000 });
    expect(await state()).toEqual([3, 1]);
    dom = await again();
    expect(await codeOf(writer.call(procedures.domainCreate, { dom }))).toBe(55);
    expect(await codeOf(writer.call(procedures.domainSuspend, { dom }))).toBe(0);
    await writer.call(procedures.domainResume, { dom });
    expect(await state()).toEqual([1, 5]);
    expect(await codeOf(writer.call(procedures.domainResume, { dom }))).toBe(55);
    expect(await codeOf(writer.call(procedures.domainPmWakeup, { dom, flags }))).toBe(1);
    await writer.call(procedures.domainSuspend, { dom });
    await writer.call(procedures.domainResume, { dom });
    await writer.call(procedures.domainReset, { dom, flags });
    await until('the reset', () => events.some(({ event }) => event === 'rebooted'));
    await writer.call(procedures.domainDestroyFlags, { dom, flags });
    expect(await state()).toEqual([5, 2]);
    await until('the end', () => events.some(({ event }) => event === 'stopped'));
    stop.abort();
    await gathering;
    const told = events.map((event) => `${event.event} ${'detail' in event ? event.detail : ''}`.trim());
    expect(told.filter((words) => words !== 'rebooted')).toEqual([
      'started booted',
      'suspended paused',
      'resumed unpaused',
      'suspended paused',
      'resumed unpaused',
      'shutdown host',
      'stopped destroyed',
    ]);
  });

  it('takes, lists and deletes snapshots', async () => {
    const { writer } = side(name);
    const dom = await lookup(side(name), off);
    const take = (snapshot: string) =>
      writer.call(procedures.domainSnapshotCreateXml, {
        dom,
        xmlDesc: `<domainsnapshot><name>${snapshot}</name><description>a &amp; b</description></domainsnapshot>`,
        flags: 0,
      });
    const list = async (flags = 0) =>
      (await writer.call(procedures.domainListAllSnapshots, { dom, needResults: 1, flags })).snapshots
        .map((snapshot) => snapshot.name)
        .sort();
    const having = async () =>
      (
        await writer.call(procedures.connectListAllDomains, {
          needResults: 1,
          flags: listDomainsFlag.hasSnapshot,
        })
      ).domains.map(({ name }) => name);
    const current = { dom, flags: 0 };
    expect(await having()).toEqual([]);
    expect(await writer.call(procedures.domainHasCurrentSnapshot, current)).toEqual({ result: 0 });
    expect(await codeOf(writer.call(procedures.domainSnapshotCurrent, current))).toBe(72);
    expect((await take('one')).snap.name).toBe('one');
    expect((await take('two')).snap.name).toBe('two');
    expect(await codeOf(take('two'))).toBeGreaterThan(0);
    expect(await list()).toEqual(['one', 'two']);
    expect(await list(1)).toEqual(['one']);
    expect(await having()).toEqual([dom.name]);
    const { snap } = await writer.call(procedures.domainSnapshotLookupByName, { ...current, name: 'two' });
    const { xml } = await writer.call(procedures.domainSnapshotGetXmlDesc, { snap, flags: 0 });
    const { createdAt, ...told } = parseSnapshot(xml);
    const shape = { description: 'a & b', state: 'shutoff', parent: 'one', kind: 'internal', memory: false };
    expect(told).toEqual({ name: 'two', ...shape, disks: ['vda'] });
    expect(Math.abs(Date.parse(createdAt ?? '') - Date.now())).toBeLessThan(120_000);
    expect((await writer.call(procedures.domainSnapshotCurrent, current)).snap.name).toBe('two');
    expect(await codeOf(writer.call(procedures.domainUndefineFlags, { dom, flags: 0 }))).toBe(55);
    const missing = { snap: { ...snap, name: 'three' }, flags: 0 };
    expect(await codeOf(writer.call(procedures.domainRevertToSnapshot, missing))).toBe(72);
    await writer.call(procedures.domainRevertToSnapshot, { snap: { ...snap, name: 'one' }, flags: 0 });
    expect((await writer.call(procedures.domainSnapshotCurrent, current)).snap.name).toBe('one');
    await writer.call(procedures.domainSnapshotDelete, { snap: { ...snap, name: 'one' }, flags: 1 });
    expect(await list()).toEqual([]);
  });

  it('shows its pool and volumes', async () => {
    const { reader } = side(name);
    const { pools } = await reader.call(procedures.connectListAllStoragePools, { needResults: 1, flags: 2 });
    expect(pools.map((pool) => pool.name)).toEqual(['default']);
    const [pool] = pools;
    if (!pool) throw new Error('no pool');
    const info = await reader.call(procedures.storagePoolGetInfo, { pool });
    expect(info.state).toBe(2);
    expect(info.allocation + info.available).toBe(info.capacity);
    const { vols } = await reader.call(procedures.storagePoolListAllVolumes, {
      pool,
      needResults: 1,
      flags: 0,
    });
    const vol = vols.find((volume) => volume.name === `${off}.qcow2`);
    if (!vol) throw new Error('no volume');
    expect(vol).toEqual({
      pool: 'default',
      name: `${off}.qcow2`,
      key: `/var/lib/libvirt/images/${off}.qcow2`,
    });
    expect(await reader.call(procedures.storageVolLookupByPath, { path: vol.key })).toEqual({ vol });
    const { xml } = await reader.call(procedures.storageVolGetXmlDesc, { vol, flags: 0 });
    expect(xml).toMatch(/<format type='qcow2'\/>/);
    const lost = { ...vol, name: 'lost', key: '/lost' };
    expect(await codeOf(reader.call(procedures.storageVolGetXmlDesc, { vol: lost, flags: 0 }))).toBe(50);
    const other = { ...pool, name: 'other', uuid: '00000000-0000-4000-8000-000000000001' };
    expect(await codeOf(reader.call(procedures.storagePoolGetInfo, { pool: other }))).toBe(49);
  });

  it('serves the operations of jobs', async () => {
    await using ops = await OpsHarness.of(side(name).place as unknown as LabHost);
    const force = { vm: off, params: { force: true, timeoutSeconds: 0 } };
    expect(await ops.run('start', { vm: off })).toMatchObject({
      outcome: 'changed',
      after: { state: 'running' },
    });
    expect(await ops.run('start', { vm: off })).toMatchObject({ outcome: 'unchanged' });
    expect(await ops.run('pause', { vm: off })).toMatchObject({
      outcome: 'changed',
      after: { state: 'paused' },
    });
    expect((await ops.fails('stop', { vm: off })).code).toBe('INVALID_STATE');
    expect(await ops.run('resume', { vm: off })).toMatchObject({
      outcome: 'changed',
      after: { state: 'running' },
    });
    expect(await ops.run('stop', force)).toMatchObject({ outcome: 'changed', after: { state: 'shutoff' } });
    expect(await ops.run('stop', { vm: running, params: { timeoutSeconds: 60 } })).toMatchObject({
      outcome: 'changed',
    });
    expect(await ops.run('start', { vm: running })).toMatchObject({ outcome: 'changed' });
    expect(await ops.run('set_autostart', { vm: off, params: { enabled: true } })).toMatchObject({
      outcome: 'changed',
    });
    const data = (await ops.run('info', { vm: off })).data as Record<string, unknown>;
    expect(data).toMatchObject({ name: off, state: 'shutoff', autostart: true, persistent: true });
    expect((await ops.fails('start', { vm: 'never-1' })).code).toBe('VM_NOT_FOUND');
  });
});

describe('side by side', () => {
  /** `field type` of each field, numbers of vCPUs evened out; by VM. */
  async function shapes({ reader }: Side, flags: number): Promise<Record<string, string[]>> {
    const payload = await reader.call(procedures.connectGetAllDomainStats, { doms: [], stats: 0x3ff, flags });
    const records = domainStatsRecords.read(new XdrReader(payload));
    const shape = records.map(({ dom, params }) => {
      const fields = params.map(({ field, type }) => `${field} ${type}`);
      return [dom.name, fields.filter((field) => !/^vcpu\.[1-9]/.test(field))] as const;
    });
    return Object.fromEntries(shape);
  }

  it('statistics have the same fields, types and order', async () => {
    await until('the balloon', async () =>
      (await shapes(side('real'), 0))[running]?.includes('balloon.usable ullong'),
    );
    for (const flags of [0, statsFlag.nowait]) {
      expect(await shapes(side('simulated'), flags)).toEqual(await shapes(side('real'), flags));
    }
  });

  it('a VM that is stuck loses the same fields', async () => {
    const [host] = lab.hosts as [LabHost];
    const [simulated] = fleet.hosts;
    const stuck = simulated?.model.byName('web-1');
    if (!stuck) throw new Error('no VM');
    await host.stickGuest('web-1', { jobHeld: true });
    stuck.stuck = true;
    try {
      const real = (await shapes(side('real'), statsFlag.nowait))['web-1'];
      expect((await shapes(side('simulated'), statsFlag.nowait))['web-1']).toEqual(real);
    } finally {
      host.unstickGuest('web-1');
      stuck.stuck = false;
    }
  });

  it("the host's own figures are of the same families", async () => {
    const families = async ({ connection }: Side): Promise<string[]> => {
      const files = await connection.files();
      const libvirt = () => {
        throw new Error('the system poller has no business with libvirt');
      };
      const context = { host: aHost(), signal: new AbortController().signal, clock: systemClock };
      const sample = await systemPoller.poll({ files: () => files, libvirt }, context);
      expect(sample.problems).toEqual([]);
      const lines = new Lines();
      renderSystem(lines, 'h', sample);
      return [...lines.written().keys()].sort();
    };
    const simulated = new Set(await families(side('simulated')));
    expect((await families(side('real'))).filter((family) => !simulated.has(family))).toEqual([]);
  });
});

it('the simulation was never asked in a way that it does not know', () => {
  // Asked on purpose above: one procedure that there is not, and one call that is cut short.
  expect(fleet.figures()).toMatchObject({ unknownProcedures: 1, badArguments: 1 });
});
