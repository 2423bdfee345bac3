// The last hour of figures, for the small graphs of people who look at a host or a VM now: one number a step in ring buffers
// of fixed size. It refuses to be a time-series database: nothing is kept on disk, and what does not fit is not kept.
//
//   what      steps         series   bytes (2 a point, 8 a latest value)
//   host      240 of 15 s   9        about 4.4 KB: 4.4 MB for 1,000 hosts
//   VM        60 of 60 s    6        about 0.8 KB: 15 MB for 20,000 VMs
//   fleet     240 of 15 s   2        about 1 KB
import type { Clock } from '../core/clock.js';
import { figureOf, pointOf, unknownPoint } from '../core/points.js';
import { fitted, moveRow, Rows } from '../core/rows.js';

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

/** Of one host, of the fleet, or of all VMs of a host: a row each. A step's value is the newest that fell into it. */
class Rings<S extends string> {
  readonly #names: readonly S[];
  readonly #steps: Steps;
  #points = new Uint16Array(0);
  #latest = new Float64Array(0);
  #step = Number.NEGATIVE_INFINITY;

  constructor(names: readonly S[], steps: Steps, rows: number) {
    this.#names = names;
    this.#steps = steps;
    this.resize(rows);
  }

  get #pointsWidth(): number {
    return this.#names.length * this.#steps.points;
  }

  /** Makes room for these many rows. */
  resize(rows: number): void {
    this.#points = fitted(this.#points, this.#pointsWidth, rows, unknownPoint);
    this.#latest = fitted(this.#latest, this.#names.length, rows, Number.NaN);
  }

  clear(row: number): void {
    this.#points.fill(unknownPoint, row * this.#pointsWidth, (row + 1) * this.#pointsWidth);
    this.#latest.fill(Number.NaN, row * this.#names.length, (row + 1) * this.#names.length);
  }

  move(from: number, to: number): void {
    moveRow(this.#points, this.#pointsWidth, from, to);
    moveRow(this.#latest, this.#names.length, from, to);
  }

  put(row: number, values: Values<S>, atMs: number): void {
    this.#moveTo(atMs);
    const { points } = this.#steps;
    const slot = slotOf(this.#step, points);
    let series = row * this.#names.length;
    for (const name of this.#names) {
      if (Object.hasOwn(values, name)) {
        const value = values[name] ?? Number.NaN;
        this.#latest[series] = value;
        if (Number.isFinite(value)) this.#points[series * points + slot] = pointOf(value);
      }
      series++;
    }
  }

  read(row: number, name: S, atMs: number): Points {
    this.#moveTo(atMs);
    const { points } = this.#steps;
    const start = this.#seriesOf(row, name) * points;
    return Array.from({ length: points }, (_, index) => {
      const slot = slotOf(this.#step - (points - 1 - index), points);
      return figureOf(this.#points[start + slot] ?? unknownPoint);
    });
  }

  latest(row: number, name: S): number | undefined {
    return known(this.#latest[this.#seriesOf(row, name)]);
  }

  #seriesOf(row: number, name: S): number {
    return row * this.#names.length + this.#names.indexOf(name);
  }

  /** Empties the steps between the newest and now, in all rows. Time here never goes back. */
  #moveTo(atMs: number): void {
    const { stepMs, points } = this.#steps;
    const step = Math.floor(atMs / stepMs);
    const first = Math.max(this.#step + 1, step - points + 1);
    for (let at = first; at <= step; at++) {
      for (let index = slotOf(at, points); index < this.#points.length; index += points)
        this.#points[index] = unknownPoint;
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

/** By UUID. */
type HostVms = { rows: Rows; rings: Rings<VmSeries> };

export class History {
  readonly #clock: Clock;
  readonly #fleet = new Rings(fleetSeries, fineSteps, 1);
  readonly #hosts = new Map<string, Rings<HostSeries>>();
  readonly #vms = new Map<string, HostVms>();
  #vmCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  putFleet(values: Values<FleetSeries>): void {
    this.#fleet.put(0, values, this.#clock.monotonicMs());
  }

  putHost(host: string, values: Values<HostSeries>): void {
    const rings = this.#hosts.get(host) ?? new Rings(hostSeries, fineSteps, 1);
    this.#hosts.set(host, rings);
    rings.put(0, values, this.#clock.monotonicMs());
  }

  /** All VMs of a host by UUID: what is not among them is forgotten. */
  putVms(host: string, values: ReadonlyMap<string, Values<VmSeries>>): void {
    const vms = this.#vms.get(host) ?? { rows: new Rows(), rings: new Rings(vmSeries, coarseSteps, 0) };
    this.#vms.set(host, vms);
    const { rows, rings } = vms;
    this.#vmCount -= rows.count;
    rows.retain(values, (from, to) => rings.move(from, to));
    const kept = rows.count;
    for (const uuid of values.keys()) {
      if (this.#vmCount + rows.count >= vmsKeptMax) break;
      if (rows.of(uuid) === undefined) rows.add(uuid);
    }
    this.#vmCount += rows.count;
    rings.resize(rows.count);
    for (let row = kept; row < rows.count; row++) rings.clear(row);
    const nowMs = this.#clock.monotonicMs();
    for (const [uuid, figures] of values) {
      const row = rows.of(uuid);
      if (row !== undefined) rings.put(row, figures, nowMs);
    }
  }

  fleet(series: FleetSeries): Points {
    return this.#fleet.read(0, series, this.#clock.monotonicMs());
  }

  /** Undefined for what has no history. */
  host(name: string, series: HostSeries): Points | undefined {
    return this.#hosts.get(name)?.read(0, series, this.#clock.monotonicMs());
  }

  vm(host: string, uuid: string, series: VmSeries): Points | undefined {
    const vms = this.#vms.get(host);
    const row = vms?.rows.of(uuid);
    return row === undefined ? undefined : vms?.rings.read(row, series, this.#clock.monotonicMs());
  }

  /** The figure of the newest sample; undefined when it had none. */
  latestOfVm(host: string, uuid: string, series: VmSeries): number | undefined {
    const vms = this.#vms.get(host);
    const row = vms?.rows.of(uuid);
    return row === undefined ? undefined : vms?.rings.latest(row, series);
  }

  latestOfHost(host: string, series: HostSeries): number | undefined {
    return this.#hosts.get(host)?.latest(0, series);
  }

  /** Forgets hosts that left the inventory. */
  retain(hosts: ReadonlySet<string>): void {
    for (const host of this.#hosts.keys()) if (!hosts.has(host)) this.#hosts.delete(host);
    for (const [host, vms] of this.#vms) {
      if (hosts.has(host)) continue;
      this.#vmCount -= vms.rows.count;
      this.#vms.delete(host);
    }
  }
}
