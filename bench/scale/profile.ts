// A CPU profile of the service under its load, told by part. A profile knows time, not CPU: on a machine that others use, a part
// that waits for a core looks busy. So its shares are applied to the CPU that the kernel says the thread really had.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { cpuParts, type SelfTime } from './parts.js';
import { cpuSeconds, mainThreadSeconds } from './proc.js';
import { Scraper } from './scrape.js';
import type { WindowOptions } from './window.js';

export type Profiled = {
  file: string;
  /** Shares of one core, profiling included. */
  cpu: number;
  /** Of threads beside the one that runs JavaScript: gc, compiler, libuv's pool with gzip. */
  otherThreads: number;
  parts: Map<string, number>;
  top: (Omit<SelfTime, 'ms'> & { share: number })[];
};

export async function takeProfile(options: WindowOptions, name: string): Promise<Profiled> {
  const { service, hosts, forMs, scrapeMs, signal } = options;
  const file = resolve(name);
  const over = new AbortController();
  const scraper = new Scraper(service.url);
  const stop = AbortSignal.any([signal, over.signal]);
  const scraping = scrapeMs > 0 ? scraper.hostPages(hosts, scrapeMs, stop) : undefined;
  try {
    const before = [cpuSeconds(service.pid), mainThreadSeconds(service.pid), performance.now()] as const;
    await service.ask('profile', { forMs, file });
    const seconds = (performance.now() - before[2]) / 1000;
    const cpu = (cpuSeconds(service.pid) - before[0]) / seconds;
    const mainThread = (mainThreadSeconds(service.pid) - before[1]) / seconds;
    const { parts, top } = cpuParts(JSON.parse(await readFile(file, 'utf8')));
    const allMs = [...parts.values()].reduce((sum, ms) => sum + ms, 0);
    const share = (ms: number) => (ms / Math.max(1, allMs)) * mainThread;
    return {
      file,
      cpu,
      otherThreads: cpu - mainThread,
      parts: new Map([...parts].map(([part, ms]) => [part, share(ms)])),
      top: top.map(({ ms, ...entry }) => ({ ...entry, share: share(ms) })),
    };
  } finally {
    over.abort();
    await scraping;
    scraper.close();
  }
}
