// What we say of a host against what a real node_exporter says that runs on it, beside its sshd.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { systemClock } from '../../src/core/clock.js';
import { silentLog } from '../../src/core/log.js';
import type { CollectorName } from '../../src/inventory/collectors.js';
import type { HostPoll } from '../../src/inventory/host.js';
import { HostPages, type Part } from '../../src/metrics/page.js';
import { renderSystem } from '../../src/metrics/render-system.js';
import type { HostFiles } from '../../src/pollers/poller.js';
import { type SystemSample, systemPoller } from '../../src/pollers/system.js';
import { SshConnector } from '../../src/ssh/connect.js';
import type { SshConnection } from '../../src/ssh/connection.js';
import { dashboard1860 } from '../support/dashboard-1860.js';
import { aHost } from '../support/host.js';
import { freePort } from '../support/sshd.js';
import { until } from '../support/until.js';
import { parseSeries, parseTypes, type Series, seriesKey } from '../unit/metrics/parse.js';

// Debian's node_exporter leaves out more than the original by default: these are the original's rules, and ours.
const originalRules = [
  '--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)',
  '--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$',
  '--collector.netdev.device-exclude=^$',
];

/** Names of a later node_exporter than Debian 12 has (1.5). */
const later =
  /^node_(cpu_frequency_hertz|cpu_isolated|pressure_irq_|kernel_hung_|softnet_(cpu_collision|received_rps|flow_limit|backlog)|netstat_TcpExt_TCP(OFOQueue|RcvQDrop)|os_support_end|disk_(filesystem|device_mapper)_info)/;
/** Labels of a later one. */
const laterLabels: Readonly<Record<string, string>> = {
  node_network_info: 'adminstate',
  node_disk_info: 'rotational',
};

/** Sockets, memory and space come and go between two readings; sizes do not. */
const restless =
  /^node_(memory_(?!MemTotal|SwapTotal|Hugepagesize|HugePages_Total)|sockstat|load|procs|filefd_allocated|time_seconds|disk_io_now|entropy|nf_conntrack_entries$|arp_entries|filesystem_(avail|free|files_free)|cpu_scaling_frequency_hertz|thermal|hwmon)/;
/** Relative; bytes of a busy machine. */
const restlessShare = 0.1;
const restlessAbsolute = 64 * 1024 * 1024;
const ourOwn = /^node_scrape_collector_/;
/** node_exporter tells of a mount that a later one hides from everybody that it cannot be read; we do not tell of it. */
const isHiddenMount = ({ name, value }: Series) => name === 'node_filesystem_device_error' && value === 1;

let lab: Lab;
let host: LabHost;
let connection: SshConnection;
let url: string;

async function theirs(): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  return response.text();
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

type Requests = { reads: number; lists: number };

/** The host's files, and how many requests were made for them. */
async function countedFiles(): Promise<{ files: HostFiles; requests: Requests }> {
  const files = await connection.files();
  const requests: Requests = { reads: 0, lists: 0 };
  const counted: HostFiles = {
    read: (path, options) => {
      requests.reads += 1;
      return files.read(path, options);
    },
    parsed: (path, options, parse) => {
      requests.reads += 1;
      return files.parsed(path, options, parse);
    },
    readAll: (paths, options, taker) => {
      requests.reads += paths.length;
      return files.readAll(paths, options, taker);
    },
    list: (path, options) => {
      requests.lists += 1;
      return files.list(path, options);
    },
    readlink: (path, options) => files.readlink(path, options),
    statvfs: (path, options) => files.statvfs(path, options),
  };
  return { files: counted, requests };
}

type Polled = { sample: SystemSample; requests: Requests; durationMs: number };

async function polled(previous?: SystemSample, collectors?: CollectorName[]): Promise<Polled> {
  const { files, requests } = await countedFiles();
  const nothing = () => {
    throw new Error('the system poller has no business with libvirt');
  };
  const poll: HostPoll = { intervalMs: 15_000, detailsMs: 300_000, ...(collectors && { collectors }) };
  const startedMs = performance.now();
  const sample = await systemPoller.poll(
    { files: () => files, libvirt: nothing, opsLibvirt: nothing },
    { host: aHost({ poll }), signal: AbortSignal.timeout(10_000), clock: systemClock, previous },
  );
  expect(sample.problems).toEqual([]);
  return { sample, requests, durationMs: performance.now() - startedMs };
}

function pageOf(sample: SystemSample): string {
  const part: Part = (lines) => renderSystem(lines, 'here', sample);
  return new HostPages().page([part]).bytes.toString();
}

function byKey(page: string): Map<string, Series> {
  return new Map(parseSeries(page).map((series) => [seriesKey(asOld(series)), series]));
}

function asOld(series: Series): Series {
  const { [laterLabels[series.name] ?? '']: _, ...labels } = series.labels;
  return { ...series, labels };
}

function namesOf(page: string): Set<string> {
  return new Set(parseSeries(page).map(({ name }) => name));
}

beforeAll(async () => {
  lab = await raiseLab({ name: 'node-exporter', hosts: 1, guests: 0 });
  const [first] = lab.hosts;
  if (!first) throw new Error('the lab has no host');
  host = first;
  const port = await freePort();
  url = `http://127.0.0.1:${port}/metrics`;
  const argv = ['prometheus-node-exporter', `--web.listen-address=127.0.0.1:${port}`, ...originalRules];
  const script = 'setsid "$@" < /dev/null > /run/lab/log/node-exporter.log 2>&1 &';
  const started = await host.exec(['/bin/bash', '-c', script, 'start', ...argv]);
  expect(started).toMatchObject({ code: 0 });
  await until('node_exporter answers (lab/prepare.sh test installs it)', () => theirs().catch(() => ''));
  connection = await new SshConnector({ log: silentLog, clock: systemClock }).connect({
    host: host.name,
    address: host.address,
    port: host.port,
    user: 'outrigger',
    keyFile: host.pollKeyFile,
    knownHostsFiles: [host.knownHostsFile],
    agent: false,
    jump: [],
  });
});

afterAll(async () => {
  await connection?.end();
  await lab?.down();
});

describe('beside node_exporter on the same host', () => {
  it('has nine in ten of the names that dashboard 1860 asks of a default node_exporter', async () => {
    const served = namesOf(await theirs());
    const ours = namesOf(pageOf((await polled()).sample));
    const asked = dashboard1860.filter((name) => served.has(name));
    const missing = asked.filter((name) => !ours.has(name));
    const share = (asked.length - missing.length) / asked.length;
    const percent = (share * 100).toFixed(1);
    say(`1860: ${asked.length - missing.length} of ${asked.length} names (${percent} %)`);
    say(`missing: ${missing.join(' ')}`);
    say(`not asked, since node_exporter has none here: ${dashboard1860.length - asked.length}`);
    expect(asked.length).toBeGreaterThan(150);
    expect(share).toBeGreaterThanOrEqual(0.9);
  });

  it('every series has the same name, type and labels, and the same value', async () => {
    const before = await theirs();
    const page = pageOf((await polled()).sample);
    const after = await theirs();
    const [low, mine, high] = [byKey(before), byKey(page), byKey(after)];
    expect(mine.size).toBeGreaterThan(250);

    const theirTypes = parseTypes(after);
    for (const [name, type] of parseTypes(page)) {
      if (!later.test(name)) expect(theirTypes.get(name), `type of ${name}`).toBe(type);
    }

    const unknown: string[] = [];
    const wrong: string[] = [];
    for (const [key, { name, value }] of mine) {
      if (later.test(name) || ourOwn.test(name)) continue;
      const [first, last] = [low.get(key)?.value, high.get(key)?.value];
      if (first === undefined || last === undefined) unknown.push(key);
      else if (!isBetween(name, first, value, last)) wrong.push(`${key}: ${first} … ${value} … ${last}`);
    }
    const names = namesOf(page);
    const left = [...high].filter(
      ([key, series]) =>
        names.has(series.name) && !mine.has(key) && !ourOwn.test(series.name) && !isHiddenMount(series),
    );
    expect(unknown).toEqual([]);
    expect(wrong).toEqual([]);
    expect(left.map(([key]) => key)).toEqual([]);
  });

  it('a collector finds something where node_exporter does', async () => {
    const success = (page: string) =>
      new Map(
        parseSeries(page)
          .filter(({ name }) => name === 'node_scrape_collector_success')
          .map(({ labels, value }) => [labels.collector ?? '', value]),
      );
    const found = success(await theirs());
    const ours = success(pageOf((await polled()).sample));
    const both = [...ours].filter(([collector]) => found.has(collector));
    expect(both.length).toBeGreaterThan(30);
    expect(Object.fromEntries(both)).toEqual(
      Object.fromEntries(both.map(([collector]) => [collector, found.get(collector)])),
    );
  });

  it('reads rarely what rarely changes, and only what the inventory wants', async () => {
    const cold = await polled();
    const warm = await polled(cold.sample);
    const few = await polled(undefined, ['cpu', 'meminfo']);
    for (const [what, { requests, durationMs }] of Object.entries({ cold, warm, few })) {
      say(`${what} poll: ${requests.reads} files, ${requests.lists} lists, ${durationMs.toFixed(1)} ms`);
    }
    expect(warm.requests.lists).toBe(0);
    expect(warm.requests.reads).toBeLessThan(cold.requests.reads / 2);
    expect(few.requests.reads).toBeLessThan(6);
    expect(
      [...namesOf(pageOf(few.sample))].filter((name) => !/^node_(cpu|memory|scrape)_/.test(name)),
    ).toEqual([]);
  });
});

/** Rounding of the same sum done in another order. */
const rounding = 1e-9;

function isBetween(name: string, first: number, value: number, last: number): boolean {
  const [low, high] = [Math.min(first, last), Math.max(first, last)];
  const scale = Math.max(Math.abs(low), Math.abs(high));
  const room = restless.test(name)
    ? Math.max(restlessShare * scale, scale > restlessAbsolute ? restlessAbsolute : 10)
    : rounding * scale;
  return value >= low - room && value <= high + room;
}
