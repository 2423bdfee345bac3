// The scale benchmark's arithmetic: whose CPU a profile shows, and which bounds are judged held.
import { describe, expect, it } from 'vitest';
import { judge } from '../../../bench/scale/bounds.js';
import type { SizeFigures } from '../../../bench/scale/cases.js';
import { ofRuns } from '../../../bench/scale/median.js';
import { readOptions } from '../../../bench/scale/options.js';
import { cpuParts } from '../../../bench/scale/parts.js';
import { figuresTable } from '../../../bench/scale/report.js';
import { quantiles, type WindowFigures } from '../../../bench/scale/window.js';

const frame = (functionName: string, url = '') => ({ functionName, url, lineNumber: 0 });

describe('parts of a CPU profile', () => {
  it('gives native time to the part that called it, and leaves idling out', () => {
    const { parts } = cpuParts({
      nodes: [
        { id: 1, callFrame: frame('(root)'), children: [2, 4, 5, 7] },
        {
          id: 2,
          callFrame: frame('decrypt', 'file:///a/node_modules/ssh2/lib/protocol/crypto.js'),
          children: [3],
        },
        { id: 3, callFrame: frame('update', 'node:internal/crypto/cipher') },
        { id: 4, callFrame: frame('(idle)') },
        {
          id: 5,
          callFrame: frame('read', 'file:///a/dist/ssh/sftp-session.js'),
          children: [6],
        },
        { id: 6, callFrame: frame('record', 'file:///a/dist/libvirt/stats.js') },
        { id: 7, callFrame: frame('onStreamRead', 'node:internal/stream_base_commons') },
      ],
      samples: [2, 3, 4, 5, 6, 7],
      timeDeltas: [1_000, 2_000, 50_000, 4_000, 5_000, 6_000],
    });
    expect(Object.fromEntries(parts)).toEqual({ SSH: 3, SFTP: 4, 'libvirt decode': 5, node: 6 });
  });
});

describe('bounds', () => {
  const steady = (p99Ms: number, cpu: number): WindowFigures => {
    const fresh = { count: 9, p50: 15_000, p99: p99Ms, max: p99Ms };
    return {
      seconds: 60,
      cpu: { service: cpu, store: 0, sim: 0, bench: 0, others: 0, stolen: 0 },
      residentBytes: { service: 1e8, store: 0, sim: 0 },
      freshness: { all: fresh, vms: fresh, system: fresh },
      loop: { p50Ms: 0, p99Ms: 20, maxMs: 30 },
      hostPage: { ms: fresh, bytes: 1, failed: 0 },
      pollsNotOk: 0,
      connectFailures: {},
    };
  };
  const missed = (sizes: SizeFigures[]) =>
    judge(sizes, readOptions([]))
      .filter(({ held }) => !held)
      .map(({ bound, figure }) => [bound, figure]);

  it('hold for a fleet that is fresh and costs the same a host', () => {
    const sizes = [
      { hosts: 100, coldMs: 1, steady: steady(16_000, 0.05) },
      { hosts: 1_000, coldMs: 1, steady: steady(17_000, 0.55), allBackMs: 60_000 },
    ];
    expect(missed(sizes)).toEqual([]);
  });

  it('do not hold when samples are late, hosts never return, or a host costs more in a larger fleet', () => {
    const sizes = [
      { hosts: 100, coldMs: 1, steady: steady(16_000, 0.05) },
      {
        hosts: 1_000,
        coldMs: 1,
        steady: steady(17_001, 0.59),
        halfDead: steady(18_800, 0.1),
        allBackMs: Number.POSITIVE_INFINITY,
      },
    ];
    expect(missed(sizes)).toEqual([
      ['1000 hosts: freshness p99 at most 17 s', '17.00 s'],
      ['1000 hosts: half the fleet dead: healthy hosts’ p99 within 10 % of before', '10.6 %'],
      ['1000 hosts: all back at once: fresh within 60 s', 'never'],
      ['CPU a host from 100 to 1000 hosts: grows by at most 15 %', '18.0 %'],
    ]);
  });

  it('are judged by the medians of several runs, and told with the least and the most', () => {
    const run = (p99Ms: number, allBackMs: number, failures = {}): SizeFigures => ({
      hosts: 1_000,
      coldMs: p99Ms * 2,
      steady: { ...steady(p99Ms, 0.5), connectFailures: failures },
      profile: { file: `of-${p99Ms}`, cpu: 0.6, otherThreads: 0.1, parts: new Map([['gc', 0.1]]), top: [] },
      allBackMs,
    });
    const never = Number.POSITIVE_INFINITY;
    const runs = ofRuns([run(16_000, never, { HOST_DOWN: 3 }), run(19_000, 50_000), run(16_500, 55_000)]);
    expect(runs.median).toMatchObject({
      coldMs: 33_000,
      allBackMs: 55_000,
      steady: { freshness: { all: { p99: 16_500 } }, connectFailures: { HOST_DOWN: 0 } },
      profile: { file: 'of-16000', parts: new Map([['gc', 0.1]]) },
    });
    expect(missed([runs.median])).toEqual([]);
    const lines = figuresTable([runs])
      .split('\n')
      .map((line) => line.replace(/ +/g, ' '));
    expect(lines).toContain('| freshness p99 | 16.50 s (16.00–19.00) |');
    expect(lines).toContain('| connections that failed | 0 (0–3) |');
    expect(lines).toContain('| all back at once: all fresh after | 55.00 s (50.00–never) |');
    expect(lines).toContain('| collector CPU, of a core | 50.0 % |');
    expect(lines.join()).not.toContain('half dead');
  });

  it('are not judged for fleets beyond 1,000 hosts', () => {
    expect(missed([{ hosts: 3_000, coldMs: 1, steady: steady(99_000, 2) }])).toEqual([]);
  });
});

it('counts quantiles by rank', () => {
  const values = Array.from({ length: 200 }, (_, at) => 200 - at);
  expect(quantiles(values)).toEqual({ count: 200, p50: 101, p99: 199, max: 200 });
});

it('names what is wrong with an option', () => {
  expect(() => readOptions(['--case', 'warm'])).toThrow('--case: warm is none of');
  expect(() => readOptions(['--hosts', '100,x'])).toThrow('--hosts: x is not a number from 1 to 10000');
});
