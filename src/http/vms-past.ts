// The VMs of one host from sample to sample: their figures for the history, and since when each is in its state or busy. Of the
// sample before it keeps some numbers a VM, all in one array, since there are tens of thousands of VMs. It refuses to invent: a
// counter that went back, or a VM that was started anew, has no rate.
import type { Clock } from '../core/clock.js';
import { fitted, moveRow, Rows } from '../core/rows.js';
import type { VmSeries } from '../fleet/history.js';
import type { StatRecord } from '../libvirt/stats.js';
import type { VmSample } from '../pollers/vms.js';

const nsPerSecond = 1e9;
const bytesPerKib = 1024;
const percent = 100;

/** A row of numbers; NaN where something is not known. */
const column = {
  id: 0,
  state: 1,
  /** Wall milliseconds. */
  stateSinceMs: 2,
  busySinceMs: 3,
  /** The counters of the sample before: nanoseconds, bytes. */
  cpu: 4,
  diskRead: 5,
  diskWrite: 6,
  netReceive: 7,
  netTransmit: 8,
} as const;
const width = Object.keys(column).length;

type Known = number | undefined;

/** Wall milliseconds. `stateSinceMs` is undefined when the VM was so already when it was first seen. */
export type VmSince = { stateSinceMs: Known; busySinceMs: Known };

export class VmsPast {
  readonly #clock: Clock;
  readonly #rows = new Rows();
  #numbers = new Float64Array(0);
  /** Monotonic, of the sample before; undefined until the first. */
  #atMs: Known;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  since(uuid: string): VmSince | undefined {
    const row = this.#rows.of(uuid);
    if (row === undefined) return undefined;
    const at = row * width;
    return {
      stateSinceMs: known(this.#numbers[at + column.stateSinceMs]),
      busySinceMs: known(this.#numbers[at + column.busySinceMs]),
    };
  }

  /** Takes in a sample of all VMs; their figures by UUID. */
  next(vms: readonly VmSample[]): Map<string, Record<VmSeries, Known>> {
    const atMs = this.#clock.monotonicMs();
    const seconds = this.#atMs === undefined ? 0 : (atMs - this.#atMs) / 1000;
    const wallMs = this.#clock.wallMs();
    const figures = new Map<string, Record<VmSeries, Known>>();
    for (const vm of vms) {
      const row =
        this.#rows.of(vm.domain.uuid) ?? this.#add(vm, this.#atMs === undefined ? undefined : wallMs);
      figures.set(vm.domain.uuid, this.#figures(row * width, vm, seconds));
      this.#follow(row * width, vm, wallMs);
    }
    this.#rows.retain(figures, (from, to) => moveRow(this.#numbers, width, from, to));
    this.#numbers = fitted(this.#numbers, width, this.#rows.count, Number.NaN);
    this.#atMs = atMs;
    return figures;
  }

  #add({ domain, state }: VmSample, stateSinceMs: Known): number {
    const row = this.#rows.add(domain.uuid);
    this.#numbers = fitted(this.#numbers, width, this.#rows.count, Number.NaN);
    const numbers = this.#numbers.subarray(row * width, (row + 1) * width).fill(Number.NaN);
    numbers[column.state] = state.state ?? Number.NaN;
    numbers[column.stateSinceMs] = stateSinceMs ?? Number.NaN;
    return row;
  }

  /** Since when it is as it is. */
  #follow(at: number, { state: { state = Number.NaN }, busy }: VmSample, wallMs: number): void {
    const numbers = this.#numbers;
    if (!Object.is(numbers[at + column.state], state)) numbers[at + column.stateSinceMs] = wallMs;
    numbers[at + column.state] = state;
    if (!busy) numbers[at + column.busySinceMs] = Number.NaN;
    else if (Number.isNaN(numbers[at + column.busySinceMs])) numbers[at + column.busySinceMs] = wallMs;
  }

  #figures(at: number, vm: VmSample, seconds: number): Record<VmSeries, Known> {
    const { domain, cpu, blocks, nets } = vm;
    const running = domain.id >= 0;
    const over = running && this.#numbers[at + column.id] === domain.id ? seconds : 0;
    this.#numbers[at + column.id] = domain.id;
    const cpuRate = this.#rate(at + column.cpu, cpu.time, over);
    return {
      cpuPercent: cpuRate === undefined ? undefined : (percent * cpuRate) / nsPerSecond,
      memoryUsedBytes: running ? memoryUsed(vm) : undefined,
      diskReadBytesPerSecond: this.#rate(at + column.diskRead, sum(blocks, 'rd.bytes'), over),
      diskWriteBytesPerSecond: this.#rate(at + column.diskWrite, sum(blocks, 'wr.bytes'), over),
      netReceiveBytesPerSecond: this.#rate(at + column.netReceive, sum(nets, 'rx.bytes'), over),
      netTransmitBytesPerSecond: this.#rate(at + column.netTransmit, sum(nets, 'tx.bytes'), over),
    };
  }

  /** A counter's growth a second; `counter` stands in the cell from then on. */
  #rate(cell: number, counter: Known, seconds: number): Known {
    const now = counter ?? Number.NaN;
    const before = this.#numbers[cell] as number;
    this.#numbers[cell] = now;
    return seconds > 0 && now >= before ? (now - before) / seconds : undefined;
  }
}

/** What the guest says it uses; without its word, what its process takes of the host. */
function memoryUsed({ balloon: { available, usable, rss } }: VmSample): Known {
  const kib = available !== undefined && usable !== undefined ? available - usable : rss;
  return kib === undefined || kib < 0 ? undefined : kib * bytesPerKib;
}

/** Over all devices; undefined when none is known. */
function sum(records: readonly StatRecord[], key: string): Known {
  let all: Known;
  for (const record of records) {
    const value = record?.[key];
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) all = (all ?? 0) + value;
  }
  return all;
}

function known(value: Known): Known {
  return value === undefined || Number.isNaN(value) ? undefined : value;
}
