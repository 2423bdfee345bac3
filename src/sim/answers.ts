// What a simulated libvirt answers to each procedure, as a table by libvirt's names: from decoded arguments to a result. It
// refuses as libvirt does: writes over a read-only connection, unknown VMs, states that do not allow it.
import {
  addressSource,
  listDomainsFlag,
  listPoolsFlag,
  listSnapshotsFlag,
  type procedures,
  shutdownFlag,
  startFlag,
  xmlFlag,
} from '../libvirt/procedures.js';
import type { Codec } from '../libvirt/wire/codec.js';
import { guestInfo } from './guest.js';
import { poolName, type SimHost } from './host.js';
import { invalid, Refusal, refusalCode, refusalDomain } from './refusal.js';
import { deleteSnapshot, listSnapshots, revertToSnapshot, takeSnapshot } from './snapshots.js';
import { allDomainStats } from './stats.js';
import { type SimVm, vmState } from './vm.js';
import { capabilitiesXml, domainXml, snapshotXml, volumeXml } from './xml.js';

type Procedures = typeof procedures;
export type ProcedureName = keyof Procedures;
type ArgsOf<K extends ProcedureName> = Procedures[K] extends { args: Codec<infer A> } ? A : never;
type ResultOf<K extends ProcedureName> = Procedures[K] extends { result: Codec<infer R> } ? R : never;

export type Answers = {
  [K in Exclude<ProcedureName, OfTheConnection>]: (host: SimHost, args: ArgsOf<K>) => ResultOf<K>;
};
/** Those that are about the connection, not the host: the responder has them. */
export type OfTheConnection =
  | 'authList'
  | 'authPolkit'
  | 'connectOpen'
  | 'connectClose'
  | 'connectSupportsFeature'
  | 'connectDomainEventCallbackRegisterAny'
  | 'connectDomainEventCallbackDeregisterAny';

const libvirtVersion = 9_000_000;
const qemuVersion = 7_002_000;
const poolRunning = 2;
/** libvirt waits so long for the lock of a VM whose process hangs. */
const lockWaitMs = 30_000;

/** What libvirt says only after a time. */
export class LateRefusal extends Refusal {
  readonly afterMs: number;

  constructor(code: number, message: string, afterMs: number) {
    super(code, message);
    this.afterMs = afterMs;
  }
}

/** For what needs the VM's job lock. */
function locked(host: SimHost, { uuid, name }: { uuid: string; name: string }): SimVm {
  const vm = host.byUuid(uuid, name);
  if (!vm.stuck) return vm;
  const message =
    'Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainGetBlockInfo)';
  throw new LateRefusal(refusalCode.operationTimeout, message, lockWaitMs);
}

function unlocked(host: SimHost, { uuid, name }: { uuid: string; name: string }): SimVm {
  return host.byUuid(uuid, name);
}

const noJob = {
  type: 0,
  timeElapsed: 0,
  timeRemaining: 0,
  dataTotal: 0,
  dataProcessed: 0,
  dataRemaining: 0,
  memTotal: 0,
  memProcessed: 0,
  memRemaining: 0,
  fileTotal: 0,
  fileProcessed: 0,
  fileRemaining: 0,
};

function mustBePool({ name }: { name: string }): void {
  if (name === poolName) return;
  const message = `Storage pool not found: no storage pool with matching name '${name}'`;
  throw new Refusal(refusalCode.noStoragePool, message, refusalDomain.storage);
}

const poolRef = ({ uuid }: SimHost) => ({ name: poolName, uuid });
const snapshotRef = (vm: SimVm, name: string) => ({ name, dom: vm.ref });
const volumeRef = ({ name, path }: { name: string; path: string }) => ({ pool: poolName, name, key: path });

/** Tried through the agent, when the flags say so; else, or by default, by the power button. */
function askGuest(vm: SimVm, flags: number, act: (vm: SimVm) => void): void {
  if ((flags & shutdownFlag.agent) !== 0) vm.mustAnswerAgent();
  act(vm);
}

export const answers: Answers = {
  connectGetType: () => ({ type: 'QEMU' }),
  connectGetVersion: () => ({ hvVer: qemuVersion }),
  connectGetLibVersion: () => ({ libVer: libvirtVersion }),
  connectGetHostname: ({ name }) => ({ hostname: name }),
  connectGetUri: () => ({ uri: 'qemu:///system' }),
  connectGetCapabilities: (host) => ({ capabilities: capabilitiesXml(host) }),
  nodeGetInfo: ({ cpus, memoryKiB }) => ({
    model: 'x86_64',
    memory: memoryKiB,
    cpus,
    mhz: 2400,
    nodes: 1,
    sockets: 1,
    cores: cpus / 2,
    threads: 2,
  }),

  connectListAllDomains: (host, { flags }) => {
    const wanted = [...host.vms].filter((vm) => {
      if ((flags & listDomainsFlag.active) !== 0 && !vm.active) return false;
      if ((flags & listDomainsFlag.hasSnapshot) !== 0 && vm.snapshots.size === 0) return false;
      return (flags & listDomainsFlag.running) === 0 || vm.state === vmState.running;
    });
    return { domains: wanted.map(({ ref }) => ref), ret: wanted.length };
  },
  connectGetAllDomainStats: allDomainStats,
  domainLookupByName: (host, { name }) => ({ dom: host.byName(name).ref }),
  domainLookupByUuid: (host, { uuid }) => ({ dom: host.byUuid(uuid).ref }),
  domainGetXmlDesc: (host, { dom, flags }) => ({
    xml: domainXml(unlocked(host, dom), (flags & xmlFlag.inactive) !== 0),
  }),
  domainGetState: (host, { dom }) => {
    const { state, reason } = unlocked(host, dom);
    return { state, reason };
  },
  domainGetAutostart: (host, { dom }) => ({ autostart: unlocked(host, dom).autostart ? 1 : 0 }),
  domainIsPersistent: (host, { dom }) => ({ persistent: unlocked(host, dom).persistent ? 1 : 0 }),
  domainHasManagedSaveImage: (host, { dom }) => ({ result: unlocked(host, dom).managedSave ? 1 : 0 }),
  domainGetJobInfo: (host, { dom }) => {
    unlocked(host, dom).mustRun();
    return noJob;
  },
  domainGetBlockInfo: (host, { dom, path }) => {
    const disk = locked(host, dom).disks.find(({ target, chain }) => target === path || chain[0] === path);
    if (!disk)
      throw new Refusal(
        refusalCode.invalidArg,
        `invalid argument: invalid path ${path} not assigned to domain`,
      );
    const allocation = Math.floor(disk.capacity / 3);
    return { allocation, capacity: disk.capacity, physical: allocation + 4096 };
  },
  domainInterfaceAddresses: (host, { dom, source }) => {
    const vm = unlocked(host, dom);
    vm.mustRun();
    if (source === addressSource.agent) vm.mustAnswerAgent();
    if (source === addressSource.lease) return { ifaces: [] };
    const ifaces = vm.nets.map(({ tap, mac, ip }, index) => ({
      name: source === addressSource.agent ? `eth${index}` : tap,
      hwaddr: mac,
      addrs: [{ type: 0, addr: ip, prefix: source === addressSource.agent ? 16 : 0 }],
    }));
    return { ifaces };
  },

  domainCreate: (host, { dom }) => host.create(locked(host, dom)),
  domainCreateWithFlags: (host, { dom, flags }) => {
    const vm = locked(host, dom);
    host.create(vm, (flags & startFlag.paused) !== 0);
    return { dom: vm.ref };
  },
  domainSuspend: (host, { dom }) => host.suspend(locked(host, dom)),
  domainResume: (host, { dom }) => host.resume(locked(host, dom)),
  domainShutdownFlags: (host, { dom, flags }) =>
    askGuest(locked(host, dom), flags, (vm) => host.shutdown(vm)),
  domainReboot: (host, { dom, flags }) => askGuest(locked(host, dom), flags, (vm) => host.reboot(vm)),
  domainReset: (host, { dom }) => host.reset(locked(host, dom)),
  // Needs no lock: it is how a process that hangs is ended.
  domainDestroy: (host, { dom }) => host.destroy(unlocked(host, dom)),
  domainDestroyFlags: (host, { dom }) => host.destroy(unlocked(host, dom)),
  domainUndefineFlags: (host, { dom, flags }) => host.undefine(unlocked(host, dom), flags),
  domainSetAutostart: (host, { dom, autostart }) => {
    const vm = unlocked(host, dom);
    if (!vm.persistent) throw invalid('cannot set autostart for transient domain');
    vm.autostart = autostart !== 0;
  },
  domainPmWakeup: (host, { dom }) => {
    locked(host, dom).mustRun();
    const message =
      "internal error: unable to execute QEMU command 'system_wakeup': Unable to wake up: guest is not in suspended state";
    throw new Refusal(refusalCode.internal, message);
  },
  domainSetMemoryStatsPeriod: (host, { dom, period, flags }) =>
    locked(host, dom).setBalloonPeriod(period, flags),

  domainListAllSnapshots: (host, { dom, flags }) => {
    const vm = unlocked(host, dom);
    const found = listSnapshots(vm, (flags & listSnapshotsFlag.roots) !== 0);
    return { snapshots: found.map(({ name }) => snapshotRef(vm, name)), ret: found.length };
  },
  domainSnapshotLookupByName: (host, { dom, name }) => {
    const vm = unlocked(host, dom);
    return { snap: snapshotRef(vm, vm.snapshot(name).name) };
  },
  domainSnapshotGetXmlDesc: (host, { snap }) => ({
    xml: snapshotXml(unlocked(host, snap.dom).snapshot(snap.name)),
  }),
  domainHasCurrentSnapshot: (host, { dom }) => ({
    result: unlocked(host, dom).currentSnapshot === undefined ? 0 : 1,
  }),
  domainSnapshotCurrent: (host, { dom }) => {
    const vm = unlocked(host, dom);
    if (vm.currentSnapshot === undefined) {
      const message = 'Domain snapshot not found: the domain does not have a current snapshot';
      throw new Refusal(refusalCode.noDomainSnapshot, message);
    }
    return { snap: snapshotRef(vm, vm.currentSnapshot) };
  },
  domainSnapshotCreateXml: (host, { dom, xmlDesc, flags }) => {
    const vm = locked(host, dom);
    return { snap: snapshotRef(vm, takeSnapshot(host, vm, xmlDesc, flags)) };
  },
  domainRevertToSnapshot: (host, { snap, flags }) =>
    revertToSnapshot(host, locked(host, snap.dom), snap.name, flags),
  domainSnapshotDelete: (host, { snap, flags }) => deleteSnapshot(locked(host, snap.dom), snap.name, flags),

  connectListAllStoragePools: (host, { flags }) => {
    const shown = flags === 0 || (flags & listPoolsFlag.active) !== 0;
    return { pools: shown ? [poolRef(host)] : [], ret: shown ? 1 : 0 };
  },
  storagePoolGetInfo: (host, { pool }) => {
    mustBePool(pool);
    return { state: poolRunning, ...host.poolSpace() };
  },
  storagePoolRefresh: (_host, { pool }) => mustBePool(pool),
  storagePoolListAllVolumes: (host, { pool }) => {
    mustBePool(pool);
    const vols = [...host.volumes.values()].map(volumeRef);
    return { vols, ret: vols.length };
  },
  storageVolLookupByPath: (host, { path }) => ({ vol: volumeRef(host.volume(path)) }),
  storageVolGetXmlDesc: (host, { vol }) => ({ xml: volumeXml(host.volume(vol.key)) }),
  storageVolDelete: (host, { vol }) => {
    host.volumes.delete(host.volume(vol.key).path);
  },

  domainGetGuestInfo: (host, { dom, types }) => {
    const vm = locked(host, dom);
    vm.mustAnswerAgent();
    return { params: guestInfo(vm, types) };
  },
  domainGetFsInfo: (host, { dom }) => {
    const vm = locked(host, dom);
    vm.mustAnswerAgent();
    return { info: [{ mountpoint: '/', name: 'vda1', fstype: 'ext4', devAlias: ['vda'] }], ret: 1 };
  },
  domainGetHostname: (host, { dom }) => {
    const vm = locked(host, dom);
    vm.mustAnswerAgent();
    return { hostname: vm.name };
  },
};

/** What libvirt does over a read-only connection; all else it refuses there. */
export const readable: ReadonlySet<string> = new Set<ProcedureName>([
  'connectGetType',
  'connectGetVersion',
  'connectGetLibVersion',
  'connectGetHostname',
  'connectGetUri',
  'connectGetCapabilities',
  'nodeGetInfo',
  'connectListAllDomains',
  'connectGetAllDomainStats',
  'domainLookupByName',
  'domainLookupByUuid',
  'domainGetXmlDesc',
  'domainGetState',
  'domainGetAutostart',
  'domainIsPersistent',
  'domainHasManagedSaveImage',
  'domainGetJobInfo',
  'domainGetBlockInfo',
  'domainInterfaceAddresses',
  'domainListAllSnapshots',
  'domainSnapshotLookupByName',
  'domainSnapshotGetXmlDesc',
  'domainHasCurrentSnapshot',
  'domainSnapshotCurrent',
  'connectListAllStoragePools',
  'storagePoolGetInfo',
  'storagePoolListAllVolumes',
  'storageVolLookupByPath',
  'storageVolGetXmlDesc',
]);
