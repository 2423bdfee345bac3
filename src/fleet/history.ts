// The last hour of figures, for the small graphs of people who look at a host or a VM now: one number a step in ring buffers
// of fixed size. It refuses to be a time-series database: nothing is kept on disk, and what does not fit is not kept.
//
//   what      steps         series   bytes (4 a point, 8 a latest value)
//   host      240 of 15 s   9        about 9 KB:  9 MB for 1,000 hosts
//   VM        60 of 60 s    6        about 1.6 KB: 32 MB for 20,000 VMs
//   fleet     240 of 15 s   2        about 2 KB
import type { Clock } from '../core/clock.js';

export const hostSeries = [
  'load1',
  'cpuPercent',
  'memoryUsedBytes',
  'diskUsedPercent',
  'diskReadBytesPerSecond',
  'diskWriteBytesPerSecond',
  'netReceiveBytesPerSecond',
  'netTransmitBytesPerSecond',
  'vmsRunning',
] as const;
export type HostSeries = (typeof hostSeries)[number];

/** `cpuPercent`: of one CPU, so that a VM with four may show 400. */
export const vmSeries = [
  'cpuPercent',
  'memoryUsedBytes',
  'diskReadBytesPerSecond',
  'diskWriteBytesPerSecond',
  'netReceiveBytesPerSecond',
  'netTransmitBytesPerSecond',
] as const;
export type VmSeries = (typeof vmSeries)[number];

export const fleetSeries = ['jobsWaiting', 'jobsActive'] as const;
export type FleetSeries = (typeof fleetSeries)[number];

type Steps = { stepMs: number; points: number };
const fineSteps: Steps = { stepMs: 15_000, points: 240 };
const coarseSteps: Steps = { stepMs: 60_000, points: 60 };

/** A VM beyond this has no history. */
export const vmsKeptMax = 30_000;

/** One number a step, oldest first, the newest last; undefined where nothing was known. */
export type Points = readonly (number | undefined)[];

/** A series that is not named stays as it is; one that is undefined is not known now. */
type Values<S extends string> = Readonly<Partial<Record<S, number | undefined>>>;

/** Of one host, one VM or the fleet. A step's value is the newest that fell into it. */
class Ring<S extends string> {
  readonly #names: readonly S[];
  readonly #steps: Steps;
  readonly #points: Float32Array;
  readonly #latest: Float64Array;
  #step = Number.NEGATIVE_INFINITY;

  constructor(names: readonly S[], steps: Steps) {
    this.#names = names;
    this.#steps = steps;
    this.#points = new Float32Array(names.length * steps.points).fill(Number.NaN);
    this.#latest = new Float64Array(names.length).fill(Number.NaN);
  }

  put(values: Values<S>, atMs: number): void {
    this.#moveTo(atMs);
    const slot = slotOf(this.#step, this.#steps.points);
    this.#names.forEach((name, index) => {
      if (!Object.hasOwn(values, name)) return;
      const value = values[name] ?? Number.NaN;
      this.#latest[index] = value;
      if (Number.isFinite(value)) this.#points[index * this.#steps.points + slot] = value;
    });
  }

  read(name: S, atMs: number): Points {
    this.#moveTo(atMs);
    const { points } = this.#steps;
    const start = this.#names.indexOf(name) * points;
    return Array.from({ length: points }, (_, index) => {
      const slot = slotOf(this.#step - (points - 1 - index), points);
      return known(this.#points[start + slot]);
    });
  }

  latest(name: S): number | undefined {
    return known(this.#latest[this.#names.indexOf(name)]);
  }

  /** Empties the steps between the newest and now. Time here never goes back. */
  #moveTo(atMs: number): void {
    const { stepMs, points } = this.#steps;
    const step = Math.floor(atMs / stepMs);
    const first = Math.max(this.#step + 1, step - points + 1);
    for (let at = first; at <= step; at++) {
      const slot = slotOf(at, points);
      for (let index = 0; index < this.#names.length; index++) {
        this.#points[index * points + slot] = Number.NaN;
      }
    }
    this.#step = Math.max(this.#step, step);
  }
}

function slotOf(step: number, points: number): number {
  return ((step % points) + points) % points;
}

function known(value: number | undefined): number | undefined {
  return value === undefined || Number.isNaN(value) ? undefined : value;
}

export class History {
  readonly #clock: Clock;
  readonly #fleet = new Ring(fleetSeries, fineSteps);
  readonly #hosts = new Map<string, Ring<HostSeries>>();
  readonly #vms = new Map<string, Map<string, Ring<VmSeries>>>();
  #vmCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  putFleet(values: Values<FleetSeries>): void {
    this.#fleet.put(values, this.#clock.monotonicMs());
  }

  putHost(host: string, values: Values<HostSeries>): void {
    const ring = this.#hosts.get(host) ?? new Ring(hostSeries, fineSteps);
    this.#hosts.set(host, ring);
    ring.put(values, this.#clock.monotonicMs());
  }

  /** All VMs of a host by UUID: what is not among them is forgotten. */
  putVms(host: string, values: ReadonlyMap<string, Values<VmSeries>>): void {
    const vms = this.#vms.get(host) ?? new Map<string, Ring<VmSeries>>();
    this.#vms.set(host, vms);
    for (const uuid of vms.keys()) if (!values.has(uuid) && vms.delete(uuid)) this.#vmCount--;
    const nowMs = this.#clock.monotonicMs();
    for (const [uuid, figures] of values) {
      const ring = vms.get(uuid) ?? this.#newVm(vms, uuid);
      ring?.put(figures, nowMs);
    }
  }

  fleet(series: FleetSeries): Points {
    return this.#fleet.read(series, this.#clock.monotonicMs());
  }

  /** Undefined for what has no history. */
  host(name: string, series: HostSeries): Points | undefined {
    return this.#hosts.get(name)?.read(series, this.#clock.monotonicMs());
  }

  vm(host: string, uuid: string, series: VmSeries): Points | undefined {
    return this.#vms.get(host)?.get(uuid)?.read(series, this.#clock.monotonicMs());
  }

  /** The figure of the newest sample; undefined when it had none. */
  latestOfVm(host: string, uuid: string, series: VmSeries): number | undefined {
    return this.#vms.get(host)?.get(uuid)?.latest(series);
  }

  latestOfHost(host: string, series: HostSeries): number | undefined {
    return this.#hosts.get(host)?.latest(series);
  }

  /** Forgets hosts that left the inventory. */
  retain(hosts: ReadonlySet<string>): void {
    for (const host of this.#hosts.keys()) if (!hosts.has(host)) this.#hosts.delete(host);
    for (const [host, vms] of this.#vms) {
      if (hosts.has(host)) continue;
      this.#vmCount -= vms.size;
      this.#vms.delete(host);
    }
  }

  #newVm(vms: Map<string, Ring<VmSeries>>, uuid: string): Ring<VmSeries> | undefined {
    if (this.#vmCount >= vmsKeptMax) return undefined;
    const ring = new Ring(vmSeries, coarseSteps);
    vms.set(uuid, ring);
    this.#vmCount++;
    return ring;
  }
}
