// Loaded into the service under test before it starts (node --import). Notes when each sample is put, and, when the parent asks,
// event-loop delay and a CPU profile. It costs a map look-up and one number a sample, far less than asking for pages would. It
// is plain JavaScript, since the service runs without a TypeScript loader. It refuses to run beside a service that it does not
// understand, and ends the service when the parent is gone.
import { writeFile } from 'node:fs/promises';
import { Session } from 'node:inspector/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { SampleStore } from '../../dist/fleet/samples.js';

const pollers = ['vms', 'system'];
const resolutionMs = 10;
const profileEveryUs = 1_000;
const missingMax = 5;
/** On the machine's monotonic clock, which the parent reads too. */
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

/** By poller and host: when its newest sample was put. @type {Map<string, Map<string, number>>} */
const putMs = new Map(pollers.map((poller) => [poller, new Map()]));
/** @type {{ sinceMs: number, hosts: Set<string>, gapsMs: Record<string, number[]> } | undefined} */
let watch;

const { put } = SampleStore.prototype;
if (typeof put !== 'function') throw new Error('bench/scale/probe.mjs: SampleStore has no put');
SampleStore.prototype.put = function (host, poller, sample) {
  const times = putMs.get(poller);
  if (times) {
    const now = nowMs();
    if (watch?.hosts.has(host)) watch.gapsMs[poller].push(now - (times.get(host) ?? watch.sinceMs));
    times.set(host, now);
  }
  return put.call(this, host, poller, sample);
};

const loop = monitorEventLoopDelay({ resolution: resolutionMs });
/** The histogram holds the time from one turn of a timer to the next: what is beyond the timer's own is delay. */
const loopMs = (ns) => Math.max(0, ns / 1e6 - resolutionMs);

const orders = {
  begin({ hosts }) {
    watch = {
      sinceMs: nowMs(),
      hosts: new Set(hosts),
      gapsMs: Object.fromEntries(pollers.map((p) => [p, []])),
    };
    loop.enable();
    loop.reset();
    return {};
  },
  /** A host whose next sample is late counts with the age it has reached. */
  end({ intervalMs }) {
    const { hosts, gapsMs, sinceMs } = watch;
    watch = undefined;
    loop.disable();
    for (const poller of pollers) {
      for (const host of hosts) {
        const ageMs = nowMs() - (putMs.get(poller).get(host) ?? sinceMs);
        if (ageMs > intervalMs) gapsMs[poller].push(ageMs);
      }
    }
    return {
      gapsMs,
      loop: {
        p50Ms: loopMs(loop.percentile(50)),
        p99Ms: loopMs(loop.percentile(99)),
        maxMs: loopMs(loop.max),
      },
    };
  },
  /** How many of these hosts have both samples from after that time, when the last of them got it, and some that have not. */
  fresh({ hosts, sinceMs }) {
    let count = 0;
    let lastMs = 0;
    const missing = [];
    for (const host of hosts) {
      const bothMs = Math.min(...pollers.map((poller) => putMs.get(poller).get(host) ?? 0));
      if (bothMs <= sinceMs) {
        if (missing.length < missingMax) missing.push(host);
        continue;
      }
      count++;
      lastMs = Math.max(lastMs, bothMs);
    }
    return { count, lastMs, missing };
  },
  async profile({ forMs, file }) {
    const session = new Session();
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: profileEveryUs });
    await session.post('Profiler.start');
    const startMs = nowMs();
    await delay(forMs);
    const tookMs = nowMs() - startMs;
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    await writeFile(file, JSON.stringify(profile));
    return { tookMs };
  },
};

process.on('message', async (order) => {
  try {
    process.send({ answer: await orders[order.do](order) });
  } catch (error) {
    process.send({ error: String(error?.stack ?? error) });
  }
});
process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
process.channel?.unref();
