// What pages of metrics cost, for hosts with 50 VMs and everything on: bytes and render time of one host's page, then the
// page of a fleet of them, read fast, compressed, and slowly, each with the growth of the process that makes it and the
// longest that its event loop stood still. Ends with 1 when the process grows by more than it may.
//   npm run bench:pages [hosts]

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { silentLog } from '../src/core/log.js';
import { serveHttp } from '../src/http/server.js';
import { fleetPage, HostPages } from '../src/metrics/page.js';
import { openAccess } from '../test/support/access.js';
import { hostParts } from '../test/support/large-host.js';

const hosts = Number(process.argv[2] ?? 1_000);
const growthBytesMax = 100 * 1024 * 1024;
const hostRounds = 30;
const slowBytesPerSecond = 8 * 1024 * 1024;
const slowSeconds = 15;

type Watched = { grewBytes: number; stoodStillMs: number; bytes: number; cpuS: number };

function hostFigures(): void {
  const parts = hostParts('kvm-0001').map(({ write }) => write);
  const pages = new HostPages();
  let page = pages.page(parts);
  const times = Array.from({ length: hostRounds }, () => {
    const startMs = performance.now();
    page.release();
    page = pages.page(parts);
    return performance.now() - startMs;
  }).sort((a, b) => a - b);
  const lines = page.bytes
    .toString()
    .split('\n')
    .filter((line) => line && !line.startsWith('#')).length;
  console.log(
    `page of a host with 50 VMs: ${lines} series, ${mib(page.bytes.length)}, ${mib(gzipSync(page.bytes, { level: 1 }).length)} compressed`,
  );
  console.log(
    `rendered in                 ${times[hostRounds >> 1]?.toFixed(1)} ms (median), ${times[0]?.toFixed(1)} ms (best)`,
  );
}

/** Bytes as they came over the wire, and for how long they came. */
async function read(
  url: string,
  headers: Record<string, string>,
  bytesPerSecond = Infinity,
): Promise<{ bytes: number; ms: number }> {
  const startMs = performance.now();
  const request = get(url, { headers });
  const [response] = await once(request, 'response');
  let bytes = 0;
  for await (const chunk of response) {
    bytes += chunk.length;
    const aheadMs = (bytes / bytesPerSecond) * 1000 - (performance.now() - startMs);
    if (aheadMs > 0) await delay(aheadMs);
    if (bytesPerSecond < Infinity && performance.now() - startMs > slowSeconds * 1000) break;
  }
  return { bytes, ms: performance.now() - startMs };
}

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(bytes < 10_485_760 ? 2 : 0)} MiB`;

async function fleetFigures(): Promise<boolean> {
  const child = fork(new URL(import.meta.url), [String(hosts)], {
    env: { ...process.env, BENCH_PAGES: '1' },
  });
  const [url] = (await once(child, 'message')) as [string];
  const watched = async (): Promise<Watched> => {
    const answer = once(child, 'message');
    child.send('watched');
    return (await answer)[0] as Watched;
  };
  let held = true;
  console.log(`page of ${hosts} such hosts:`);
  for (const [what, headers, speed] of [
    ['as fast as it comes', {}, Infinity],
    ['compressed', { 'accept-encoding': 'gzip' }, Infinity],
    [`by a slow reader, for ${slowSeconds} s`, {}, slowBytesPerSecond],
  ] as const) {
    const { bytes, ms } = await read(url, headers, speed);
    const { grewBytes, stoodStillMs, bytes: made, cpuS } = await watched();
    const verdict =
      grewBytes > growthBytesMax ? `MORE than ${mib(growthBytesMax)}` : `${mib(growthBytesMax)} allowed`;
    held &&= grewBytes <= growthBytesMax;
    console.log(
      `  ${what.padEnd(30)} ${mib(made)}${bytes === made ? '' : ` as ${mib(bytes)}`} in ${(ms / 1000).toFixed(1)} s ` +
        `(${mib((made / ms) * 1000)}/s), ${cpuS.toFixed(1)} s of CPU; grew by ${mib(grewBytes)} (${verdict}); stood still ${stoodStillMs.toFixed(0)} ms at most`,
    );
  }
  child.kill();
  return held;
}

async function serve(): Promise<void> {
  let bytes = 0;
  const all = () => Array.from({ length: hosts }, (_, n) => hostParts(`kvm-${String(n).padStart(4, '0')}`));
  const fleet = all();
  const server = await serveHttp({
    host: '127.0.0.1',
    port: 0,
    metricsToken: () => undefined,
    access: await openAccess(),
    log: silentLog,
    sources: {
      async *fleetPage(options) {
        for await (const chunk of fleetPage(() => fleet.flat(), options)) {
          bytes += chunk.length;
          yield chunk;
        }
      },
      hostPage: () => undefined,
      collectorPage: async () => '',
      sdHosts: () => [],
      scraped: () => {},
      readiness: () => ({ ready: true, checks: {} }),
    },
  });
  const loop = monitorEventLoopDelay({ resolution: 10 });
  loop.enable();
  const idleBytes = process.memoryUsage.rss();
  let peakBytes = idleBytes;
  setInterval(() => {
    peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
  }, 20);
  let cpu = process.cpuUsage();
  process.on('message', () => {
    const { user, system } = process.cpuUsage(cpu);
    const grewBytes = peakBytes - idleBytes;
    const watched: Watched = { grewBytes, stoodStillMs: loop.max / 1e6, bytes, cpuS: (user + system) / 1e6 };
    process.send?.(watched);
    bytes = 0;
    loop.reset();
    cpu = process.cpuUsage();
  });
  process.send?.(`${server.url}/metrics`);
}

if (process.env.BENCH_PAGES) await serve();
else {
  hostFigures();
  process.exitCode = (await fleetFigures()) ? 0 : 1;
}
