// The fleet as people and programs see it: hosts and VMs in the shapes of schemas.ts, made from the sessions and the newest
// samples when they are asked for. What is not known is absent; what is not news is marked stale and stays. It refuses to
// remember: the same samples give the same views, and their versions tell whether anything changed.
import type { Clock } from '../../core/clock.js';
import { hintOf, summary } from '../../core/errors.js';
import type { Fleet } from '../../fleet/fleet.js';
import type { SampleStore } from '../../fleet/samples.js';
import type { HostSession } from '../../fleet/session.js';
import type { Host as InventoryHost } from '../../inventory/host.js';
import type { Samples } from '../../pollers/runner.js';
import type { SystemSample } from '../../pollers/system.js';
import type { VmSample, VmsSample } from '../../pollers/vms.js';
import { refusalOf } from '../../queue/job-surroundings.js';
import { isNews } from '../freshness.js';
import type { Cause, Host, Vm } from './schemas.js';
import { vmState, vmView } from './vm-view.js';

export type FleetViewOptions = { fleet: Fleet; samples: SampleStore<Samples>; clock: Clock };

/** Which hosts are looked at; absent: all. */
export type HostGate = (host: InventoryHost) => boolean;

/** A VM before its view is made: enough to filter and to order. */
export type VmRef = {
  readonly host: InventoryHost;
  readonly sample: VmSample;
  readonly stale: boolean;
  readonly sampledAtMs: number;
};

const everyHost: HostGate = () => true;
const filesystemsShownMax = 32;
const problemsShownMax = 20;

export class FleetView {
  readonly #options: FleetViewOptions;
  /** Names of objects, for versions: an object that is replaced is another one. */
  readonly #numbers = new WeakMap<object, number>();
  readonly #sorted = new WeakMap<VmsSample, readonly VmSample[]>();
  #objects = 0;

  constructor(options: FleetViewOptions) {
    this.#options = options;
  }

  /** By name. */
  hosts(may: HostGate = everyHost): Host[] {
    return this.sessions(may).map((session) => this.view(session));
  }

  /** Undefined for a host that the inventory does not have, or that may not be seen. */
  host(name: string, may: HostGate = everyHost): Host | undefined {
    const session = this.find(name, may);
    return session && this.view(session);
  }

  /** By host and name; of one host, or of all. */
  vms(host?: string, may: HostGate = everyHost): Vm[] {
    return [...this.vmRefs(may, host)].map(vmView);
  }

  /** By its UUID, or else by its name. */
  vm(host: string, nameOrUuid: string, may: HostGate = everyHost): Vm | undefined {
    const refs = [...this.vmRefs(may, host)];
    const uuid = nameOrUuid.toLowerCase();
    const ref =
      refs.find(({ sample }) => sample.domain.uuid === uuid) ??
      refs.find(({ sample }) => sample.domain.name === nameOrUuid);
    return ref && vmView(ref);
  }

  /** By name. */
  sessions(may: HostGate = everyHost): HostSession[] {
    const sessions = [...this.#options.fleet.sessions()].filter(({ host }) => may(host));
    return sessions.sort((a, b) => (a.host.name < b.host.name ? -1 : 1));
  }

  /** By host, name and UUID. */
  *vmRefs(may: HostGate = everyHost, host?: string): Generator<VmRef> {
    const one = host === undefined ? undefined : this.find(host, may);
    const sessions = host === undefined ? this.sessions(may) : one ? [one] : [];
    for (const session of sessions) yield* this.#vmsOf(session);
  }

  view(session: HostSession): Host {
    const { samples, clock } = this.#options;
    const { host, status } = session;
    const vms = samples.get(host.name, 'vms')?.last;
    const system = samples.get(host.name, 'system')?.last;
    const newest = newestOf(vms, system);
    const refusal = refusalOf(host);
    return {
      name: host.name,
      address: host.address,
      groups: [...host.groups],
      labels: { ...host.labels },
      state: status.state,
      since: iso(status.sinceMs),
      ...(status.cause && { cause: causeOf(status.cause) }),
      maintenance: host.maintenance,
      ops: { allowed: !refusal, ...(refusal && { why: refusal.message }) },
      ssh: session.has('way'),
      libvirt: session.has('libvirt'),
      files: session.has('files'),
      ...(session.via && { via: session.via }),
      stale: this.#isStale(session),
      ...(newest && {
        sampledAt: iso(newest.takenAtMs),
        sampleAgeSeconds: Math.max(0, clock.monotonicMs() - newest.takenAtMonotonicMs) / 1000,
      }),
      ...(vms && { vms: countsOf(vms.sample) }),
      ...(system && systemView(system.sample)),
    };
  }

  /** Changes when anything of the host's view does, but for its age. */
  version(session: HostSession): string {
    const { samples } = this.#options;
    const { host, status } = session;
    const vms = samples.get(host.name, 'vms')?.last;
    const system = samples.get(host.name, 'system')?.last;
    const parts = [host, status.cause, vms, system].map((part) => (part ? this.#number(part) : 0));
    const open = (['way', 'libvirt', 'files'] as const).map((part) => (session.has(part) ? 1 : 0));
    const stale = [isNews(session, samples, 'vms'), isNews(session, samples, 'system')].map(Number);
    return [...parts, status.state, status.sinceMs, ...open, ...stale].join('.');
  }

  /** Undefined for a host that the inventory does not have, or that may not be seen. */
  find(name: string, may: HostGate = everyHost): HostSession | undefined {
    const session = this.#options.fleet.find(name);
    return session && may(session.host) ? session : undefined;
  }

  *#vmsOf(session: HostSession): Generator<VmRef> {
    const { samples } = this.#options;
    const last = samples.get(session.host.name, 'vms')?.last;
    if (!last) return;
    const stale = !isNews(session, samples, 'vms');
    for (const sample of this.#inOrder(last.sample)) {
      yield { host: session.host, sample, stale, sampledAtMs: last.takenAtMs };
    }
  }

  #inOrder(sample: VmsSample): readonly VmSample[] {
    const known = this.#sorted.get(sample);
    if (known) return known;
    const sorted = [...sample.vms].sort(
      ({ domain: a }, { domain: b }) => compare(a.name, b.name) || compare(a.uuid, b.uuid),
    );
    this.#sorted.set(sample, sorted);
    return sorted;
  }

  #isStale(session: HostSession): boolean {
    const { samples } = this.#options;
    return !isNews(session, samples, 'vms') || !isNews(session, samples, 'system');
  }

  #number(object: object): number {
    const known = this.#numbers.get(object) ?? ++this.#objects;
    this.#numbers.set(object, known);
    return known;
  }
}

export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

type Taken = { takenAtMs: number; takenAtMonotonicMs: number };

function newestOf(...samples: (Taken | undefined)[]): Taken | undefined {
  const taken = samples.filter((sample) => sample !== undefined);
  return taken.sort((a, b) => b.takenAtMonotonicMs - a.takenAtMonotonicMs)[0];
}

function causeOf(cause: NonNullable<HostSession['status']['cause']>): Cause {
  const hint = hintOf(cause);
  return { code: cause.code, message: summary(cause), ...(hint && { hint }) };
}

function countsOf({ vms }: VmsSample): Host['vms'] {
  return { total: vms.length, running: vms.filter((vm) => vmState(vm) === 'running').length };
}

function systemView(sample: SystemSample): Partial<Host> {
  const { MemTotal: totalBytes, MemAvailable: availableBytes } = sample.meminfo ?? {};
  const { sysname, release } = sample.kernel;
  const os = sample.os?.PRETTY_NAME;
  return {
    ...(sample.stat && { cpus: sample.stat.cpus.length }),
    ...(sample.loadavg && { load: sample.loadavg }),
    ...(totalBytes !== undefined &&
      availableBytes !== undefined && { memory: { totalBytes, availableBytes } }),
    ...(sample.filesystems && { filesystems: filesystemsOf(sample.filesystems) }),
    ...(sample.uptime !== undefined && { uptimeSeconds: sample.uptime }),
    ...(release && { kernel: [sysname, release].filter(Boolean).join(' ') }),
    ...(os && { os }),
    ...(sample.problems.length > 0 && { problems: sample.problems.slice(0, problemsShownMax) }),
  };
}

/** The fullest first; of what one device holds at several places, each. */
function filesystemsOf(found: NonNullable<SystemSample['filesystems']>): NonNullable<Host['filesystems']> {
  const measured = found.flatMap(({ mountpoint, space }) =>
    space && space.sizeBytes > 0
      ? [{ mountpoint, sizeBytes: space.sizeBytes, availableBytes: space.availableBytes }]
      : [],
  );
  measured.sort((a, b) => a.availableBytes / a.sizeBytes - b.availableBytes / b.sizeBytes);
  return measured.slice(0, filesystemsShownMax);
}
