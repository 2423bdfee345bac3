// A simulated VM: what it is, the state that operations change, and its figures at a moment. Its time runs only while its
// processors turn. It refuses, with libvirt's codes, what libvirt refuses in that state; it has no timer.
//
//   shutoff, crashed ──create──► running ◄──suspend, resume──► paused        destroy, shutdown, crash ──► shutoff
import { affectFlag, type DomainRef } from '../libvirt/procedures.js';
import { type Drift, driftOf } from './drift.js';
import { pick, seededRandom, seedOf, uuidFrom } from './random.js';
import { invalid, Refusal, refusalCode } from './refusal.js';

/** virDomainState. */
export const vmState = { running: 1, paused: 3, shutoff: 5, crashed: 6 } as const;
/** virDomain…Reason, of the states above. */
export const vmReason = {
  booted: 1,
  unpaused: 5,
  fromSnapshot: 4,
  user: 1,
  startingUp: 11,
  shutdown: 1,
  destroyed: 2,
  crashed: 3,
  panicked: 1,
  unknown: 0,
} as const;

export type SimDisk = {
  target: string;
  format: 'qcow2' | 'raw';
  /** The top first; each stands on the next. */
  chain: string[];
  capacity: number;
  read: Drift;
  write: Drift;
};

export type SimNet = { tap: string; mac: string; ip: string; rx: Drift; tx: Drift };

export type SimSnapshot = {
  name: string;
  description: string;
  parent: string | undefined;
  /** Of the VM when it was taken. */
  state: number;
  memory: boolean;
  external: boolean;
  createdS: number;
  /** The definition at that time. */
  definition: string;
  disks: readonly { target: string; included: boolean; overlay: string }[];
};

/** `connected`: it answers. `silent`: it is configured, and does not. */
export type Agent = 'none' | 'connected' | 'silent';

const gib = 1024 * 1024;
const firstPid = 2_000;

export class SimVm {
  readonly seed: number;
  readonly name: string;
  readonly uuid: string;
  readonly vcpus: number;
  readonly memoryKiB: number;
  readonly disks: SimDisk[];
  readonly nets: SimNet[];
  readonly cpu: Drift;
  readonly snapshots = new Map<string, SimSnapshot>();
  currentSnapshot: string | undefined;
  agent: Agent;
  /** -1 while it does not run. */
  id = -1;
  state: number = vmState.shutoff;
  reason: number = vmReason.unknown;
  persistent = true;
  autostart = false;
  managedSave = false;
  balloonPeriodS = 5;
  /** Its QEMU does not answer: what needs its monitor waits for the job lock. */
  stuck = false;
  /** When its process began, since the host's boot; of its last life while it does not run. */
  startedMs = 0;
  #turnedMs = 0;
  #turnsSinceMs: number | undefined;

  constructor(fleetSeed: number, host: string, name: string, number: number) {
    this.seed = seedOf(fleetSeed, `${host}/${name}`);
    const random = seededRandom(this.seed);
    this.name = name;
    this.uuid = uuidFrom(random);
    this.vcpus = pick(random, [1, 2, 2, 4, 8]);
    this.memoryKiB = pick(random, [1, 2, 4, 8, 16]) * gib;
    this.cpu = driftOf(this.seed, this.vcpus * 0.15e9 * (0.2 + random()));
    this.disks = [disk(this, 'vda', 'qcow2', random)];
    if (name.startsWith('db')) this.disks.push(disk(this, 'vdb', 'raw', random));
    const bytes = [number >> 8, number & 0xff].map((byte) => byte.toString(16).padStart(2, '0'));
    const mac = `52:54:00:${(this.seed & 0xff).toString(16).padStart(2, '0')}:${bytes.join(':')}`;
    const ip = `10.${20 + (number >> 16)}.${(number >> 8) & 0xff}.${number & 0xff}`;
    const rx = driftOf(seedOf(this.seed, 'rx'), 120_000);
    this.nets = [{ tap: `vnet${number}`, mac, ip, rx, tx: driftOf(seedOf(this.seed, 'tx'), 90_000) }];
    this.agent = random() < 0.8 ? 'connected' : 'none';
  }

  get ref(): DomainRef {
    return { name: this.name, uuid: this.uuid, id: this.id };
  }

  /** Of its process: libvirt's number, which is given once. */
  get pid(): number {
    return firstPid + this.id;
  }

  get active(): boolean {
    return this.id >= 0;
  }

  /** Milliseconds that its processors have turned in this life. */
  turnedMs(nowMs: number): number {
    return this.#turnedMs + (this.#turnsSinceMs === undefined ? 0 : nowMs - this.#turnsSinceMs);
  }

  /** `beforeMs`: it has run that long already. */
  boot(id: number, nowMs: number, { beforeMs = 0, paused = false } = {}): void {
    this.id = id;
    this.startedMs = nowMs - beforeMs;
    this.#turnedMs = beforeMs;
    this.#turnsSinceMs = undefined;
    this.managedSave = false;
    this.balloonPeriodS = 5;
    if (paused) this.#set(vmState.paused, vmReason.user);
    else this.turn(nowMs, vmReason.booted);
  }

  turn(nowMs: number, reason: number): void {
    this.#turnsSinceMs ??= nowMs;
    this.#set(vmState.running, reason);
  }

  stand(nowMs: number, reason: number): void {
    this.#turnedMs = this.turnedMs(nowMs);
    this.#turnsSinceMs = undefined;
    this.#set(vmState.paused, reason);
  }

  end(state: number, reason: number): void {
    this.id = -1;
    this.stuck = false;
    this.#turnedMs = 0;
    this.#turnsSinceMs = undefined;
    this.#set(state, reason);
  }

  #set(state: number, reason: number): void {
    this.state = state;
    this.reason = reason;
  }

  /** Throws what libvirt says of a VM that does not run. */
  mustRun(): void {
    if (!this.active) throw invalid('domain is not running');
  }

  mustAnswerAgent(): void {
    this.mustRun();
    if (this.agent === 'none') {
      throw new Refusal(
        refusalCode.argumentUnsupported,
        'argument unsupported: QEMU guest agent is not configured',
      );
    }
    if (this.state !== vmState.running) throw invalid('domain is not running');
    if (this.agent === 'silent') {
      const message = 'Guest agent is not responding: QEMU guest agent is not connected';
      throw new Refusal(refusalCode.agentUnresponsive, message);
    }
  }

  setBalloonPeriod(period: number, flags: number): void {
    if ((flags & affectFlag.live) !== 0) this.mustRun();
    this.balloonPeriodS = period;
  }

  snapshot(name: string): SimSnapshot {
    const found = this.snapshots.get(name);
    if (found) return found;
    throw new Refusal(
      refusalCode.noDomainSnapshot,
      `Domain snapshot not found: no domain snapshot with matching name '${name}'`,
    );
  }
}

function disk(vm: SimVm, target: string, format: SimDisk['format'], random: () => number): SimDisk {
  const suffix = target === 'vda' ? '' : '-data';
  return {
    target,
    format,
    chain: [`/var/lib/libvirt/images/${vm.name}${suffix}.${format === 'raw' ? 'raw' : 'qcow2'}`],
    capacity: pick(random, [10, 20, 40, 80]) * gib * 1024,
    read: driftOf(seedOf(vm.seed, `${target} read`), 200_000),
    write: driftOf(seedOf(vm.seed, `${target} write`), 500_000),
  };
}
