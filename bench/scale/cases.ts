// One size of the fleet: it is raised, the cases are run on it one after another, and it is taken down. Every size begins with a
// cold start, and a profile is taken after the steady window, not in it. A page that is not served in time is a figure too.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { nowMs, ServiceProcess, SimProcess } from './children.js';
import { type JobFigures, measureJobs } from './jobs.js';
import type { ScaleOptions } from './options.js';
import { type Profiled, takeProfile } from './profile.js';
import { type Scraped, Scraper } from './scrape.js';
import { measureWindow, type WindowFigures, type WindowOptions } from './window.js';

export type SizeFigures = {
  hosts: number;
  /** From the start of the process until each host had both samples; Infinity: not within `freshTimeoutMs`. */
  coldMs: number;
  steady?: WindowFigures;
  profile?: Profiled;
  /** Infinity ms: it was not served whole within its time. */
  fleetPage?: Scraped;
  jobs?: JobFigures;
  /** Of the healthy half. */
  halfDead?: WindowFigures;
  /** From the first host's return until each had both samples anew; Infinity: not within `freshTimeoutMs`. */
  allBackMs?: number;
};

export type Say = (line: string) => void;

type Surroundings = {
  options: ScaleOptions;
  run: number;
  window: Omit<WindowOptions, 'forMs'>;
  say: Say;
};

const notServed: Scraped = { ms: Number.POSITIVE_INFINITY, bytes: 0 };
const freshTimeoutMs = 300_000;
const freshEveryMs = 100;
const settleRounds = 2;
const profileMsMax = 60_000;
const halfDeadMsMax = 120_000;
/** Long enough for most reconnections to have backed off to their longest pause. */
const allDownMs = 120_000;

/** `run`: which one of this size, from 1. */
export async function runSize(
  { hosts, run }: { hosts: number; run: number },
  options: ScaleOptions,
  say: Say,
  signal: AbortSignal,
): Promise<SizeFigures> {
  const { vms, intervalMs, scrapeMs, cases } = options;
  const dir = await mkdtemp(join(tmpdir(), 'outrigger-scale-'));
  try {
    await using sim = await SimProcess.start({ hosts, vms, dir: join(dir, 'fleet'), defaults: '' });
    signal.throwIfAborted();
    await using service = new ServiceProcess(sim.inventoryFile, join(dir, 'data'), intervalMs);
    const window = { sim, service, intervalMs, scrapeMs, signal, hosts: sim.names };
    const around: Surroundings = { options, run, window, say: (line) => say(`${hosts} hosts: ${line}`) };
    await service.started();
    const coldMs = await untilFresh(around, service.startedMs);
    const figures: SizeFigures = { hosts, coldMs };
    if (cases.has('steady') || cases.has('half-dead')) await steady(around, figures);
    if (cases.has('jobs')) await jobs(around, figures);
    if (cases.has('half-dead')) await halfDead(around, figures);
    if (cases.has('all-back')) await allBack(around, figures);
    return figures;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function steady({ options, run, window, say }: Surroundings, figures: SizeFigures): Promise<void> {
  const { service, intervalMs, signal } = window;
  const { windowMs, cases, out } = options;
  await delay(settleRounds * intervalMs, undefined, { signal });
  say(`steady, for ${windowMs / 60_000} min`);
  figures.steady = await measureWindow({ ...window, forMs: windowMs });
  if (!cases.has('steady')) return;
  say('taking a CPU profile');
  // One for each run: the table of functions names the first one's.
  const file = join(out, `scale-${figures.hosts}${run > 1 ? `-${run}` : ''}.cpuprofile`);
  figures.profile = await takeProfile({ ...window, forMs: Math.min(windowMs, profileMsMax) }, file);
  const scraper = new Scraper(service.url);
  figures.fleetPage = await scraper.page('/metrics').catch(() => notServed);
  scraper.close();
}

async function jobs({ window, options, say }: Surroundings, figures: SizeFigures): Promise<void> {
  const { service, hosts, scrapeMs, signal } = window;
  say('VM jobs');
  const over = new AbortController();
  const scraper = new Scraper(service.url);
  const scraping =
    options.scrapeMs > 0
      ? scraper.hostPages(hosts, scrapeMs, AbortSignal.any([signal, over.signal]))
      : undefined;
  try {
    figures.jobs = await measureJobs(service.storeSocket, hosts, signal);
  } finally {
    over.abort();
    await scraping;
    scraper.close();
  }
}

/** Every second host is dead; the others are measured from the moment on that they die. */
async function halfDead({ window, options, say }: Surroundings, figures: SizeFigures): Promise<void> {
  const { sim, hosts } = window;
  const dying = hosts.filter((_, at) => at % 2 === 1);
  const healthy = hosts.filter((_, at) => at % 2 === 0);
  say(`${dying.length} die`);
  await sim.order({ do: 'down', hosts: dying });
  figures.halfDead = await measureWindow({
    ...window,
    hosts: healthy,
    forMs: Math.min(options.windowMs, halfDeadMsMax),
  });
  await sim.order({ do: 'up', hosts: dying });
}

async function allBack(around: Surroundings, figures: SizeFigures): Promise<void> {
  const { sim, hosts, signal } = around.window;
  around.say(`all die, and are back after ${allDownMs / 1000} s`);
  await sim.order({ do: 'down', hosts: [...hosts] });
  await delay(allDownMs, undefined, { signal });
  const backMs = nowMs();
  await sim.order({ do: 'up', hosts: [...hosts] });
  figures.allBackMs = await untilFresh(around, backMs);
}

/** Milliseconds from `sinceMs` until each host had both samples anew; Infinity: not in time. */
async function untilFresh({ window, say }: Surroundings, sinceMs: number): Promise<number> {
  const { service, hosts, signal } = window;
  const endMs = nowMs() + freshTimeoutMs;
  for (;;) {
    const { count, lastMs, missing } = await service.ask('fresh', { hosts, sinceMs });
    if (count === hosts.length) {
      say(`all fresh after ${((lastMs - sinceMs) / 1000).toFixed(1)} s`);
      return lastMs - sinceMs;
    }
    if (nowMs() > endMs) {
      say(`${count} are fresh after ${freshTimeoutMs / 1000} s; not ${missing.join(', ')} …`);
      return Number.POSITIVE_INFINITY;
    }
    await delay(freshEveryMs, undefined, { signal });
  }
}
