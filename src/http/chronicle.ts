// Turns what arrives (samples, lifecycle events, turns of a session) into what people want to see of the last hour: points of
// the history, recent events, and since when a VM is in its state (vms-past.ts). It keeps of the sample before only what
// rates need, and refuses to invent: a counter that went back has no rate.
import { type Clock, sleep } from '../core/clock.js';
import { History, type HostSeries } from '../fleet/history.js';
import { RecentEvents } from '../fleet/recent-events.js';
import type { LifecycleEvent } from '../libvirt/events.js';
import type { Samples } from '../pollers/runner.js';
import type { SystemSample } from '../pollers/system.js';
import type { VmSample } from '../pollers/vms.js';
import { type VmSince, VmsPast } from './vms-past.js';

const percent = 100;
/** What is counted elsewhere already: loopback, and the host's ends of its guests' interfaces. */
const netExcluded = /^(lo|vnet\d+|tap.*|veth.*|macvtap\d+)$/;
/** Made of disks that are counted themselves. */
const diskExcluded = /^(dm-|md)\d+$/;

const queueEveryMs = 15_000;

type Depth = { waiting: number; delayed: number; active: number };
type Counters = { atMs: number; values: readonly (number | undefined)[] };

export class Chronicle {
  readonly history: History;
  readonly events: RecentEvents;
  readonly #clock: Clock;
  readonly #systems = new Map<string, Counters>();
  readonly #vms = new Map<string, VmsPast>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.history = new History(clock);
    this.events = new RecentEvents(clock);
  }

  onSample<P extends keyof Samples>(host: string, poller: P, sample: Samples[P]): void {
    if (poller === 'system') this.#onSystem(host, sample as Samples['system']);
    if (poller === 'vms') this.#onVms(host, (sample as Samples['vms']).vms);
  }

  onEvent(host: string, event: LifecycleEvent): void {
    if (event.event === 'lost') {
      this.events.add(host, {
        event: 'lost',
        detail: `${event.count} events came faster than they were read`,
      });
      return;
    }
    const { name, uuid } = event.domain;
    this.events.add(host, { event: event.event, detail: event.detail, vm: { name, uuid } });
  }

  onHostState(host: string, state: string, why: string | undefined): void {
    this.events.add(host, { event: state, detail: why ?? '' });
  }

  /** Puts the queue's depth into the history until it is told to stop; a store that is away leaves a gap. */
  followQueue(read: () => Promise<Depth | undefined>): () => void {
    const stop = new AbortController();
    const follow = async () => {
      while (!stop.signal.aborted) {
        const depth = await read().catch(() => undefined);
        this.history.putFleet({
          jobsWaiting: depth && depth.waiting + depth.delayed,
          jobsActive: depth?.active,
        });
        await sleep(this.#clock, queueEveryMs, stop.signal);
      }
    };
    follow().catch(() => undefined);
    return () => stop.abort();
  }

  vmSince(host: string, uuid: string): VmSince | undefined {
    return this.#vms.get(host)?.since(uuid);
  }

  /** Forgets hosts that left the inventory. */
  retain(hosts: ReadonlySet<string>): void {
    this.history.retain(hosts);
    this.events.retain(hosts);
    for (const map of [this.#systems, this.#vms]) {
      for (const host of map.keys()) if (!hosts.has(host)) map.delete(host);
    }
  }

  #onSystem(host: string, sample: SystemSample): void {
    const now: Counters = { atMs: this.#clock.monotonicMs(), values: systemCounters(sample) };
    const [busy, all, ...rates] = growth(now, this.#systems.get(host));
    this.#systems.set(host, now);
    const { MemTotal, MemAvailable } = sample.meminfo ?? {};
    const [read, write, receive, transmit] = rates;
    this.history.putHost(host, {
      load1: sample.loadavg?.one,
      cpuPercent: busy !== undefined && all ? (percent * busy) / all : undefined,
      memoryUsedBytes:
        MemTotal !== undefined && MemAvailable !== undefined ? MemTotal - MemAvailable : undefined,
      diskUsedPercent: fullest(sample)?.usedPercent,
      diskReadBytesPerSecond: read,
      diskWriteBytesPerSecond: write,
      netReceiveBytesPerSecond: receive,
      netTransmitBytesPerSecond: transmit,
    } satisfies Record<Exclude<HostSeries, 'vmsRunning'>, number | undefined>);
  }

  #onVms(host: string, vms: readonly VmSample[]): void {
    const past = this.#vms.get(host) ?? new VmsPast(this.#clock);
    this.#vms.set(host, past);
    this.history.putVms(host, past.next(vms));
    this.history.putHost(host, { vmsRunning: vms.filter(({ domain }) => domain.id >= 0).length });
  }
}

export type Fullest = { mountpoint: string; usedPercent: number; availableBytes: number; sizeBytes: number };

/** The filesystem with the least room, in percent. */
export function fullest(sample: SystemSample): Fullest | undefined {
  let worst: Fullest | undefined;
  for (const { mountpoint, space } of sample.filesystems ?? []) {
    if (!space || !(space.sizeBytes > 0)) continue;
    const { sizeBytes, availableBytes } = space;
    const usedPercent = percent * (1 - availableBytes / sizeBytes);
    if (!worst || usedPercent > worst.usedPercent)
      worst = { mountpoint, usedPercent, availableBytes, sizeBytes };
  }
  return worst;
}

/** busy, all, disk read, disk write, net receive, net transmit. */
function systemCounters({ stat, disks, netDevices }: SystemSample): (number | undefined)[] {
  let [busy, all] = [0, 0];
  for (const cpu of stat?.cpus ?? []) {
    const worked = cpu.user + cpu.nice + cpu.system + (cpu.irq ?? 0) + (cpu.softirq ?? 0) + (cpu.steal ?? 0);
    busy += worked;
    all += worked + cpu.idle + (cpu.iowait ?? 0);
  }
  const real = disks?.filter(({ device }) => !diskExcluded.test(device));
  const nets = netDevices?.filter(({ device }) => !netExcluded.test(device));
  return [
    stat && busy,
    stat && all,
    total(real, ({ readBytes }) => readBytes),
    total(real, ({ writtenBytes }) => writtenBytes),
    total(nets, ({ receiveBytes }) => receiveBytes),
    total(nets, ({ transmitBytes }) => transmitBytes),
  ];
}

/** Each counter's growth a second; undefined unless both are known and it did not go back. */
function growth(now: Counters, was: Counters | undefined): (number | undefined)[] {
  const seconds = was ? (now.atMs - was.atMs) / 1000 : 0;
  return now.values.map((value, index) => {
    const before = was?.values[index];
    if (value === undefined || before === undefined || value < before || seconds <= 0) return undefined;
    return (value - before) / seconds;
  });
}

/** Undefined when none is known. */
function total<T>(
  items: readonly T[] | undefined,
  pick: (item: T) => number | undefined,
): number | undefined {
  let sum: number | undefined;
  for (const item of items ?? []) {
    const value = pick(item);
    if (value !== undefined) sum = (sum ?? 0) + value;
  }
  return sum;
}
