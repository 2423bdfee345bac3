// One size of the fleet: it is raised, the cases are run on it one after another, and it is taken down. Every size begins with a
// cold start, and a profile is taken after the steady window, not in it.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { nowMs, ServiceProcess, SimProcess } from './children.js';
import type { ScaleOptions } from './options.js';
import { type CpuParts, cpuParts } from './parts.js';
import { type Scraped, Scraper } from './scrape.js';
import { measureWindow, type WindowFigures } from './window.js';

export type Profiled = { coreShare: number; otherThreads: number; file: string } & CpuParts;

export type SizeFigures = {
  hosts: number;
  /** From the start of the process until each host had both samples; undefined: not within `freshTimeoutMs`. */
  coldMs: number | undefined;
  steady?: WindowFigures;
  profile?: Profiled;
  fleetPage?: Scraped;
};

export type Say = (line: string) => void;

const freshTimeoutMs = 300_000;
const freshEveryMs = 100;
const settleRounds = 2;
const profileMs = 60_000;

export async function runSize(
  hosts: number,
  options: ScaleOptions,
  say: Say,
  signal: AbortSignal,
): Promise<SizeFigures> {
  const { vms, intervalMs, scrapeMs, windowMs, cases, out } = options;
  const dir = await mkdtemp(join(tmpdir(), 'outrigger-scale-'));
  try {
    await using sim = await SimProcess.start({ hosts, vms, dir: join(dir, 'fleet'), defaults: '' });
    say(`${hosts} hosts: simulated`);
    signal.throwIfAborted();
    await using service = new ServiceProcess(sim.inventoryFile, join(dir, 'data'), intervalMs);
    await service.started();
    const coldMs = await untilFresh(service, sim.names, service.startedMs, signal);
    say(
      `${hosts} hosts: all fresh ${coldMs === undefined ? 'NOT' : `after ${(coldMs / 1000).toFixed(1)} s`}`,
    );
    const figures: SizeFigures = { hosts, coldMs };
    const window = { sim, service, intervalMs, scrapeMs, signal, hosts: sim.names };
    if (cases.has('steady') || cases.has('half-dead')) {
      await delay(settleRounds * intervalMs, undefined, { signal });
      say(`${hosts} hosts: steady, for ${windowMs / 60_000} min`);
      figures.steady = await measureWindow({ ...window, forMs: windowMs });
    }
    if (cases.has('steady')) {
      figures.profile = await profiled(
        service,
        sim.names,
        options,
        join(out, `scale-${hosts}.cpuprofile`),
        signal,
      );
      say(`${hosts} hosts: profiled`);
      figures.fleetPage = await fleetPage(service);
    }
    return figures;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Milliseconds from `sinceMs` until each of these hosts had both samples anew. */
async function untilFresh(
  service: ServiceProcess,
  hosts: readonly string[],
  sinceMs: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const endMs = nowMs() + freshTimeoutMs;
  while (nowMs() < endMs) {
    const { count, lastMs } = await service.ask('fresh', { hosts, sinceMs });
    if (count === hosts.length) return lastMs - sinceMs;
    await delay(freshEveryMs, undefined, { signal });
  }
  return undefined;
}

async function profiled(
  service: ServiceProcess,
  hosts: readonly string[],
  { windowMs, scrapeMs }: ScaleOptions,
  file: string,
  signal: AbortSignal,
): Promise<Profiled> {
  const over = new AbortController();
  const scraper = new Scraper(service.url);
  try {
    if (scrapeMs > 0) void scraper.hostPages(hosts, scrapeMs, AbortSignal.any([signal, over.signal]));
    const forMs = Math.min(windowMs, profileMs);
    const { cpuMs, tookMs } = await service.ask('profile', { forMs, file });
    const { parts, top } = cpuParts(JSON.parse(await readFile(file, 'utf8')));
    const threadMs = [...parts.values()].reduce((sum, ms) => sum + ms, 0);
    const shares = new Map([...parts].map(([part, ms]) => [part, ms / tookMs]));
    return {
      ...{ coreShare: cpuMs / tookMs, otherThreads: (cpuMs - threadMs) / tookMs, file, parts: shares },
      top: top.map((entry) => ({ ...entry, ms: (entry.ms / tookMs) * 1000 })),
    };
  } finally {
    over.abort();
    scraper.close();
  }
}

async function fleetPage(service: ServiceProcess): Promise<Scraped> {
  const scraper = new Scraper(service.url);
  try {
    return await scraper.page('/metrics');
  } finally {
    scraper.close();
  }
}
