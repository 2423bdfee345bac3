// Asks for pages as Prometheus does: each host's page once in an interval, spread over it, compressed, on connections that
// stay. What comes is counted and thrown away, so that the reader costs the machine next to nothing.
import { Agent, get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const timeoutMs = 60_000;
const tickMs = 50;
const headers = {
  accept: 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5',
  'accept-encoding': 'gzip',
  'x-prometheus-scrape-timeout-seconds': String(timeoutMs / 1000),
};

export type Scraped = { ms: number; bytes: number };

export class Scraper {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 });
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  page(path: string): Promise<Scraped> {
    const startMs = performance.now();
    return new Promise((resolve, reject) => {
      const request = get(
        this.#url + path,
        { agent: this.#agent, headers, timeout: timeoutMs },
        (response) => {
          let bytes = 0;
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
          });
          response.once('error', reject);
          response.once('end', () => {
            if (response.statusCode === 200) resolve({ ms: performance.now() - startMs, bytes });
            else reject(new Error(`${path}: ${response.statusCode}`));
          });
        },
      );
      request.once('timeout', () =>
        request.destroy(new Error(`${path}: no answer in ${timeoutMs / 1000} s`)),
      );
      request.once('error', reject);
    });
  }

  /** The collector's own counters of one family, by their labels as they stand. */
  async counters(family: string): Promise<Map<string, number>> {
    const answer = await fetch(`${this.#url}/metrics/collector`, { signal: AbortSignal.timeout(timeoutMs) });
    const text = await answer.text();
    const found = text.matchAll(new RegExp(`^${family}\\{(.*)\\} (\\S+)$`, 'gm'));
    return new Map([...found].map(([, labels = '', value]) => [labels, Number(value)]));
  }

  /** Until the signal; resolves with what it got when the last page has come. */
  async hostPages(
    names: readonly string[],
    everyMs: number,
    signal: AbortSignal,
  ): Promise<{ pages: Scraped[]; failed: number }> {
    const pages: Scraped[] = [];
    let failed = 0;
    const under = new Set<Promise<void>>();
    const startMs = performance.now();
    let asked = 0;
    while (!signal.aborted) {
      const due = Math.floor(((performance.now() - startMs) / everyMs) * names.length);
      for (; asked < due; asked++) {
        const one: Promise<void> = this.page(`/metrics/hosts/${names[asked % names.length]}`)
          .then(
            (page) => void pages.push(page),
            () => void failed++,
          )
          .finally(() => under.delete(one));
        under.add(one);
      }
      await delay(tickMs, undefined, { signal }).catch(() => undefined);
    }
    await Promise.all(under);
    return { pages, failed };
  }

  close(): void {
    this.#agent.destroy();
  }
}
