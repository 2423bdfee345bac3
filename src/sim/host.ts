// The model of one simulated KVM host: its VMs and volumes, what operations do to them, and the events that follow. Figures
// come from (seed, time) when they are asked for. It knows no wire: it is given names and flags, and throws Refusal.
import type { Clock, Timer } from '../core/clock.js';
import { undefineFlag } from '../libvirt/procedures.js';
import { seededRandom, seedOf, uuidFrom } from './random.js';
import { invalid, Refusal, refusalCode, refusalDomain } from './refusal.js';
import { SimVm, vmReason, vmState } from './vm.js';

/** virDomainEventType. */
export const domainEvent = {
  defined: 0,
  undefined: 1,
  started: 2,
  suspended: 3,
  resumed: 4,
  stopped: 5,
  shutdown: 6,
  crashed: 8,
} as const;

/** `reboot` in place of a lifecycle event. */
export type SimEvent = { vm: SimVm['ref'] } & ({ event: number; detail: number } | { event: 'reboot' });

export type SimVolume = {
  pool: string;
  name: string;
  path: string;
  capacity: number;
  allocation: number;
  format: 'qcow2' | 'raw';
  backing?: string;
};

export type SimFilesystem = {
  device: string;
  mountpoint: string;
  fstype: string;
  sizeBytes: number;
  /** Of the space, 0 to 1. */
  used: number;
};

export type SimHostOptions = { name: string; seed: number; vms: number; clock: Clock };

export const poolName = 'default';
export const imagesDir = '/var/lib/libvirt/images';
/** A guest that obeys needs so long. */
const guestObeysMs = 2_000;
const tib = 1024 ** 4;

export class SimHost {
  readonly name: string;
  readonly seed: number;
  readonly uuid: string;
  readonly cpus: number;
  readonly memoryKiB: number;
  readonly clock: Clock;
  readonly filesystems: SimFilesystem[];
  readonly volumes = new Map<string, SimVolume>();
  readonly #fleetSeed: number;
  readonly #vms = new Map<string, SimVm>();
  readonly #listeners = new Set<(event: SimEvent) => void>();
  readonly #timers = new Set<Timer>();
  /** The host has been up so long when the simulation begins. */
  readonly #upBeforeMs: number;
  #nextId = 1;
  #number = 0;

  constructor({ name, seed, vms, clock }: SimHostOptions) {
    this.name = name;
    this.#fleetSeed = seed;
    this.seed = seedOf(seed, name);
    this.clock = clock;
    const random = seededRandom(this.seed);
    this.uuid = uuidFrom(random);
    this.cpus = 32;
    this.memoryKiB = 256 * 1024 * 1024;
    this.#upBeforeMs = (1 + random() * 60) * 86_400_000 - clock.monotonicMs();
    this.filesystems = [
      {
        device: '/dev/sda2',
        mountpoint: '/',
        fstype: 'ext4',
        sizeBytes: tib / 10,
        used: 0.2 + 0.3 * random(),
      },
      {
        device: '/dev/sdb1',
        mountpoint: imagesDir,
        fstype: 'xfs',
        sizeBytes: 8 * tib,
        used: 0.3 + 0.4 * random(),
      },
    ];
    for (let index = 0; index < vms; index++) {
      const kind = index % 2 === 0 ? 'web' : 'db';
      const vm = this.define(`${kind}-${Math.floor(index / 2) + 1}`, false);
      if (random() < 0.92) vm.boot(this.#nextId++, this.nowMs(), { beforeMs: random() * this.nowMs() });
      vm.autostart = random() < 0.5;
    }
  }

  /** Since the host's boot: what all figures are functions of. */
  nowMs(): number {
    return this.#upBeforeMs + this.clock.monotonicMs();
  }

  get vms(): Iterable<SimVm> {
    return this.#vms.values();
  }

  get vmCount(): number {
    return this.#vms.size;
  }

  /** Throws Refusal noDomain. */
  byUuid(uuid: string, name = ''): SimVm {
    const vm = this.#vms.get(uuid);
    if (vm) return vm;
    const called = name === '' ? '' : ` (${name})`;
    throw noDomain(`no domain with matching uuid '${uuid}'${called}`);
  }

  byName(name: string): SimVm {
    for (const vm of this.#vms.values()) if (vm.name === name) return vm;
    throw noDomain(`no domain with matching name '${name}'`);
  }

  listen(listener: (event: SimEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#listeners.clear();
  }

  /** `tell`: with its event. */
  define(name: string, tell = true): SimVm {
    const vm = new SimVm(this.#fleetSeed, this.name, name, this.#number++);
    this.#vms.set(vm.uuid, vm);
    for (const { chain, format, capacity } of vm.disks) {
      const [path = ''] = chain;
      this.volumes.set(path, volumeAt(path, format, capacity));
    }
    if (tell) this.#tell(vm, domainEvent.defined, 0);
    return vm;
  }

  create(vm: SimVm, paused = false): void {
    if (vm.active) throw invalid('domain is already running');
    vm.boot(this.#nextId++, this.nowMs(), { paused });
    if (!paused) this.#tell(vm, domainEvent.resumed, 0);
    this.#tell(vm, domainEvent.started, 0);
    if (paused) this.#tell(vm, domainEvent.suspended, 0);
  }

  suspend(vm: SimVm): void {
    vm.mustRun();
    if (vm.state === vmState.paused) return;
    vm.stand(this.nowMs(), vmReason.user);
    this.#tell(vm, domainEvent.suspended, 0);
  }

  resume(vm: SimVm): void {
    vm.mustRun();
    if (vm.state === vmState.running) throw invalid('domain is already running');
    vm.turn(this.nowMs(), vmReason.unpaused);
    this.#tell(vm, domainEvent.resumed, 0);
  }

  destroy(vm: SimVm): void {
    vm.mustRun();
    this.#tell(vm, domainEvent.shutdown, 2);
    this.#end(vm, vmState.shutoff, vmReason.destroyed, 1);
  }

  /** Its guest panics, and libvirt ends it: on_crash is destroy. */
  crash(vm: SimVm): void {
    vm.mustRun();
    this.#tell(vm, domainEvent.crashed, 0);
    this.#end(vm, vmState.shutoff, vmReason.crashed, 2);
  }

  /** The guest does it in its own time. One that stands still, does so when it goes on: here, never. */
  shutdown(vm: SimVm): void {
    vm.mustRun();
    this.#obey(vm, () => {
      this.#tell(vm, domainEvent.shutdown, 1);
      this.#end(vm, vmState.shutoff, vmReason.shutdown, 0);
    });
  }

  reboot(vm: SimVm): void {
    vm.mustRun();
    this.#obey(vm, () => this.#publish({ vm: vm.ref, event: 'reboot' }));
  }

  reset(vm: SimVm): void {
    vm.mustRun();
    this.#publish({ vm: vm.ref, event: 'reboot' });
  }

  undefine(vm: SimVm, flags: number): void {
    if (!vm.persistent) throw invalid('cannot undefine transient domain');
    if (!vm.active && vm.managedSave && (flags & undefineFlag.managedSave) === 0) {
      throw invalid('Refusing to undefine while domain managed save image exists');
    }
    if (!vm.active && vm.snapshots.size > 0 && (flags & undefineFlag.snapshotsMetadata) === 0) {
      throw invalid(`cannot delete inactive domain with ${vm.snapshots.size} snapshots`);
    }
    vm.persistent = false;
    vm.autostart = false;
    this.#tell(vm, domainEvent.undefined, 0);
    if (!vm.active) this.#vms.delete(vm.uuid);
  }

  /** After a snapshot: as it was, but for its memory's content, which nobody sees. */
  revert(vm: SimVm, state: number): void {
    const fromSnapshot = { started: 3, suspended: 5, resumed: 2, stopped: 6 };
    if (state === vmState.shutoff) {
      if (vm.active) this.#end(vm, vmState.shutoff, 7, fromSnapshot.stopped);
      return;
    }
    if (vm.active) this.#tell(vm, domainEvent.stopped, fromSnapshot.stopped);
    vm.boot(this.#nextId++, this.nowMs(), { paused: state === vmState.paused });
    this.#tell(vm, domainEvent.started, fromSnapshot.started);
    if (state === vmState.paused) this.#tell(vm, domainEvent.suspended, fromSnapshot.suspended);
  }

  volume(path: string): SimVolume {
    const volume = this.volumes.get(path);
    if (volume) return volume;
    const message = `Storage volume not found: no storage vol with matching path '${path}'`;
    throw new Refusal(refusalCode.noStorageVol, message, refusalDomain.storage);
  }

  addOverlay(path: string, backing: string, capacity: number): void {
    this.volumes.set(path, { ...volumeAt(path, 'qcow2', capacity), backing });
  }

  /** Bytes. `filesystem.used` is the truth of it. */
  poolSpace(): { capacity: number; allocation: number; available: number } {
    const disk = this.filesystems.find(({ mountpoint }) => mountpoint === imagesDir);
    const capacity = disk?.sizeBytes ?? 0;
    const allocation = Math.floor(capacity * (disk?.used ?? 0));
    return { capacity, allocation, available: capacity - allocation };
  }

  #obey(vm: SimVm, act: () => void): void {
    const { id } = vm;
    const timer = this.clock.after(guestObeysMs, () => {
      this.#timers.delete(timer);
      if (vm.id === id && vm.state === vmState.running && !vm.stuck) act();
    });
    this.#timers.add(timer);
  }

  #end(vm: SimVm, state: number, reason: number, detail: number): void {
    const { ref } = vm;
    vm.end(state, reason);
    if (!vm.persistent) this.#vms.delete(vm.uuid);
    this.#publish({ vm: ref, event: domainEvent.stopped, detail });
  }

  #tell(vm: SimVm, event: number, detail: number): void {
    this.#publish({ vm: vm.ref, event, detail });
  }

  #publish(event: SimEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

function noDomain(message: string): Refusal {
  return new Refusal(refusalCode.noDomain, `Domain not found: ${message}`);
}

function volumeAt(path: string, format: SimVolume['format'], capacity: number): SimVolume {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return { pool: poolName, name, path, capacity, allocation: Math.floor(capacity / 3), format };
}
