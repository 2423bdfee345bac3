// What we say of a host against what node_exporter says of the same one: this machine.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { hostPage, type Part } from '../../src/metrics/page.js';
import { renderSystem } from '../../src/metrics/render-system.js';
import { systemPoller } from '../../src/pollers/system.js';
import { LocalFileReader } from '../../src/ssh/local-files.js';
import { aHost } from '../support/host.js';
import { until } from '../support/until.js';
import { parseSeries, parseTypes, type Series, seriesKey } from '../unit/metrics/parse.js';

// Debian's node_exporter leaves out more than the original by default: these are the original's rules, and ours.
const originalRules = [
  '--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)',
  '--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$',
  '--collector.netdev.device-exclude=^$',
];

/** Names of a later node_exporter than Debian 12 has (1.7). */
const later = /^node_cpu_frequency_hertz\b/;

/** Sockets, memory and space come and go between two readings; sizes do not. */
const restless =
  /^node_(memory_(?!MemTotal|SwapTotal|Hugepagesize|HugePages_Total)|sockstat|load|procs|filefd_allocated|time_seconds|disk_io_now|filesystem_(avail|free|files_free))/;
/** Relative; bytes of a busy machine. */
const restlessShare = 0.1;
const restlessAbsolute = 64 * 1024 * 1024;

let exporter: ChildProcess;
let url: string;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function theirs(): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  return response.text();
}

async function ours(): Promise<string> {
  const files = new LocalFileReader('here');
  const readers = {
    files: () => files,
    libvirt: () => {
      throw new Error('no libvirt here');
    },
  };
  const sample = await systemPoller.poll(readers, {
    host: aHost(),
    signal: AbortSignal.timeout(10_000),
    clock: systemClock,
  });
  expect(sample.problems).toEqual([]);
  const part: Part = (lines) => renderSystem(lines, 'here', sample);
  return hostPage('here', [part]);
}

function byKey(page: string): Map<string, Series> {
  return new Map(parseSeries(page).map((series) => [seriesKey(series), series]));
}

beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/metrics`;
  exporter = spawn('prometheus-node-exporter', [`--web.listen-address=127.0.0.1:${port}`, ...originalRules], {
    stdio: 'ignore',
  });
  const failed = once(exporter, 'error').then(([error]) => {
    throw new Error(
      `prometheus-node-exporter cannot run: ${error.message}. lab/prepare.sh test installs it.`,
    );
  });
  const answers = () => theirs().catch(() => '');
  await Promise.race([failed, until('node_exporter answers', answers)]);
  failed.catch(() => {});
});

afterAll(async () => {
  if (exporter.exitCode !== null) return;
  exporter.kill();
  await once(exporter, 'exit');
});

describe('beside node_exporter on the same host', () => {
  it('every series has the same name, type and labels, and the same value', async () => {
    const before = await theirs();
    const page = await ours();
    const after = await theirs();
    const [low, mine, high] = [byKey(before), byKey(page), byKey(after)];
    expect(mine.size).toBeGreaterThan(150);

    const theirTypes = parseTypes(after);
    for (const [name, type] of parseTypes(page)) {
      if (!later.test(name)) expect(theirTypes.get(name), `type of ${name}`).toBe(type);
    }

    const unknown: string[] = [];
    const wrong: string[] = [];
    for (const [key, { name, value }] of mine) {
      const [first, last] = [low.get(key)?.value, high.get(key)?.value];
      if (first === undefined || last === undefined) {
        if (!later.test(name)) unknown.push(key);
      } else if (!isBetween(name, first, value, last)) wrong.push(`${key}: ${first} … ${value} … ${last}`);
    }
    expect(unknown).toEqual([]);
    expect(wrong).toEqual([]);
  });

  it('nothing is missing that dashboards need first', async () => {
    const names = new Set(parseSeries(await ours()).map(({ name }) => name));
    const needed = [
      ...[
        'node_cpu_seconds_total',
        'node_load1',
        'node_memory_MemTotal_bytes',
        'node_memory_MemAvailable_bytes',
      ],
      ...[
        'node_memory_SwapTotal_bytes',
        'node_filesystem_size_bytes',
        'node_filesystem_files',
        'node_uname_info',
      ],
      ...[
        'node_network_receive_bytes_total',
        'node_disk_read_bytes_total',
        'node_boot_time_seconds',
        'node_os_info',
      ],
      ...[
        'node_time_seconds',
        'node_vmstat_pgfault',
        'node_netstat_Tcp_InSegs',
        'node_context_switches_total',
      ],
    ];
    expect(needed.filter((name) => !names.has(name))).toEqual([]);
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
