// One window of measuring: what the service, its store, the simulated fleet and everything else on the machine took meanwhile,
// how old samples grew, how late the event loop was, and how long pages took.
import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceProcess, SimProcess } from './children.js';
import { cpuSeconds, machineSeconds, residentBytes } from './proc.js';
import { Scraper } from './scrape.js';

export type Quantiles = { count: number; p50: number; p99: number; max: number };

export type WindowFigures = {
  seconds: number;
  /** Shares of one core. */
  cpu: { service: number; store: number; sim: number; bench: number; others: number; stolen: number };
  residentBytes: { service: number; store: number; sim: number };
  /** Ages in ms that samples reached right before the next one came. */
  freshness: { all: Quantiles; vms: Quantiles; system: Quantiles };
  loop: { p50Ms: number; p99Ms: number; maxMs: number };
  hostPage: { ms: Quantiles; bytes: number; failed: number };
  /** What the collector counted meanwhile. */
  pollsNotOk: number;
  connectFailures: Record<string, number>;
};

export type WindowOptions = {
  sim: SimProcess;
  service: ServiceProcess;
  /** Whose freshness counts, and whose pages are asked for. */
  hosts: readonly string[];
  forMs: number;
  intervalMs: number;
  scrapeMs: number;
  signal: AbortSignal;
};

const residentEveryMs = 1_000;

export async function measureWindow(options: WindowOptions): Promise<WindowFigures> {
  const { sim, service, hosts, forMs, intervalMs, scrapeMs, signal } = options;
  const pids = { service: service.pid, store: service.storePid, sim: sim.pid, bench: process.pid };
  const over = new AbortController();
  const scraper = new Scraper(service.url);
  const most = { service: 0, store: 0, sim: 0 };
  const look = () => {
    for (const who of ['service', 'store', 'sim'] as const)
      most[who] = Math.max(most[who], residentBytes(pids[who]));
  };
  const looking = setInterval(look, residentEveryMs);
  try {
    const countersBefore = await troubles(scraper);
    await service.ask('begin', { hosts });
    const readings = () => ({
      ...mapped(pids, cpuSeconds),
      ...machineSeconds(),
      ms: performance.now(),
    });
    const before = readings();
    const scraping = scrapeMs > 0 ? scraper.hostPages(hosts, scrapeMs, over.signal) : undefined;
    await delay(forMs, undefined, { signal });
    const after = readings();
    over.abort();
    const { gapsMs, loop } = await service.ask('end', { intervalMs });
    const { pages = [], failed = 0 } = (await scraping) ?? {};
    look();
    const countersAfter = await troubles(scraper);
    const seconds = (after.ms - before.ms) / 1000;
    const share = (who: keyof typeof pids | 'busy' | 'stolen') => (after[who] - before[who]) / seconds;
    const cpu = mapped(pids, (_, who) => share(who));
    const others = share('busy') - cpu.service - cpu.store - cpu.sim - cpu.bench;
    return {
      seconds,
      cpu: { ...cpu, others: Math.max(0, others), stolen: share('stolen') },
      residentBytes: most,
      freshness: {
        all: quantiles([...gapsMs.vms, ...gapsMs.system]),
        vms: quantiles(gapsMs.vms),
        system: quantiles(gapsMs.system),
      },
      loop,
      hostPage: {
        ms: quantiles(pages.map(({ ms }) => ms)),
        bytes: pages.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(1, pages.length),
        failed,
      },
      pollsNotOk: sum(
        grown(countersBefore.polls, countersAfter.polls, (labels) => !/outcome="ok"/.test(labels)),
      ),
      connectFailures: grown(countersBefore.connects, countersAfter.connects, () => true),
    };
  } finally {
    over.abort();
    clearInterval(looking);
    scraper.close();
  }
}

async function troubles(scraper: Scraper) {
  return {
    polls: await scraper.counters('outrigger_polls_total'),
    connects: await scraper.counters('outrigger_connect_failures_total'),
  };
}

function grown(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  which: (labels: string) => boolean,
): Record<string, number> {
  const growth = [...after].map(([labels, value]) => [labels, value - (before.get(labels) ?? 0)] as const);
  return Object.fromEntries(growth.filter(([labels, by]) => by > 0 && which(labels)));
}

const sum = (of: Record<string, number>) => Object.values(of).reduce((total, value) => total + value, 0);

export function quantiles(values: readonly number[]): Quantiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

function mapped<K extends string>(
  of: Record<K, number>,
  by: (value: number, key: K) => number,
): Record<K, number> {
  const entries = (Object.entries(of) as [K, number][]).map(([key, value]) => [key, by(value, key)]);
  return Object.fromEntries(entries) as Record<K, number>;
}
