import { describe, expect, it } from 'vitest';
import { chart, sparkline } from '../../../../src/http/pages/chart.js';
import { escapeHtml, html, path, query } from '../../../../src/http/pages/html.js';
import type { CollectorState } from '../../../../src/http/pages/model.js';
import { paged } from '../../../../src/http/pages/parts.js';
import { readRunbooks } from '../../../../src/http/pages/runbooks.js';
import { bytes, duration, plain } from '../../../../src/http/pages/words.js';
import { whatIsWrong } from '../../../../src/http/pages/wrong.js';
import { aHost, aJob, nowMs } from '../../../support/pages.js';

describe('html', () => {
  it('escapes every value but what the tag itself made', () => {
    const hostile = `<script>alert("x")</script>'\`&`;
    const text = html`<a title="${hostile}">${hostile}${[html`<b>${1}</b>`, '<i>']}${undefined}${null}${false}</a>`;
    expect(text.toString()).toBe(
      '<a title="&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39;&#96;&amp;">&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39;&#96;&amp;<b>1</b>&lt;i&gt;</a>',
    );
  });

  it('shows characters that make a screen lie as what they are not', () => {
    expect(escapeHtml('a\u202eb\u0000c\u2028d\u001be\ud800f\u200fg')).toBe(
      'a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg',
    );
    expect(escapeHtml('two\nlines\tand 😀')).toBe('two\nlines\tand 😀');
  });

  it('encodes paths and queries', () => {
    expect(path('vms', 'kvm-1', 'a/../b?#\ud800')).toBe('/vms/kvm-1/a%2F..%2Fb%3F%23%EF%BF%BD');
    expect(query({ q: 'a&b=c', page: undefined, state: '', label: ['x=1', 'y'] })).toBe(
      '?q=a%26b%3Dc&label=x%3D1&label=y',
    );
    expect(query({ q: '' })).toBe('');
  });
});

describe('words', () => {
  it.each([
    [bytes(undefined), '–'],
    [bytes(0), '0 B'],
    [bytes(1536), '1.5 KiB'],
    [plain(9.97), '10'],
    [plain(0.997), '1.0'],
    [bytes(256 * 2 ** 30), '256 GiB'],
    [plain(0.04), '0.04'],
    [duration(-5), '0 s'],
    [duration(59_400), '59 s'],
    [duration(3_599_000), '59 min'],
    [duration(172_800_000), '2 d'],
  ])('%s is %s', (text, expected) => expect(text).toBe(expected));
});

describe('graphs', () => {
  const draw = (points: (number | undefined)[], top?: number) =>
    chart({ title: 'Load', lines: [{ name: 'load', points }], say: plain, top }).toString();

  const gap = [undefined, undefined, undefined, undefined];

  it('join points that come with each poll, however many steps lie between', () => {
    const text = draw(Array.from({ length: 40 }, (_, index) => (index % 8 === 0 ? index : undefined)));
    const [, d = ''] = /<path class="line line-1" d="([^"]*)"/.exec(text) ?? [];
    expect(d.match(/[ML]/g)?.join('')).toBe('MLLLL');
  });

  it('leave a gap where nothing is known, draw a lone point, and say the figures as text', () => {
    const text = draw([1, 2, undefined, 4, ...gap, 2, ...gap, 3, 3]);
    const [, d = ''] = /<path class="line line-1" d="([^"]*)"/.exec(text) ?? [];
    expect(d.match(/M/g)).toHaveLength(3);
    expect(d).not.toMatch(/NaN|undefined|Infinity/);
    expect(text).toContain('<b>3.0</b>');
    expect(text).toContain('1.0 to 4.0');
  });

  it('have words instead of lines while there is nothing to draw', () => {
    for (const points of [[], [undefined, undefined], [1]]) {
      expect(draw(points)).not.toContain('<svg');
      expect(draw(points)).toContain('Nothing to draw yet');
    }
    expect(sparkline(undefined).toString()).toBe('');
    expect(draw([0, 0])).not.toMatch(/NaN/);
  });

  it('never leave the frame, and a sparkline stays short', () => {
    const ys = [...draw([50, 500], 100).matchAll(/[ML]([\d.]+) ([\d.]+)/g)].map(([, , y]) => Number(y));
    expect(Math.min(...ys)).toBeGreaterThanOrEqual(0);
    expect(sparkline(Array.from({ length: 240 }, (_, index) => index)).toString().length).toBeLessThan(900);
  });
});

describe('pages of a list', () => {
  const all = Array.from({ length: 250 }, (_, index) => index);
  it.each([
    [1, 1, 0, 100],
    [3, 3, 200, 50],
    [99, 3, 200, 50],
    [0, 1, 0, 100],
    [Number.NaN, 1, 0, 100],
  ])('page %s is page %s', (wanted, page, first, rows) => {
    const shown = paged(all, wanted, 100);
    expect([shown.page, shown.first, shown.rows.length, shown.pages]).toEqual([page, first, rows, 3]);
  });
  it('an empty list has one empty page', () =>
    expect(paged([], 1, 100)).toMatchObject({ pages: 1, rows: [] }));
});

describe('what is wrong now', () => {
  const well: CollectorState = { store: { up: true, detail: 'up' }, inventory: { problems: [] } };
  const iso = (agoMs: number) => new Date(nowMs - agoMs).toISOString();
  const vm = {
    host: 'kvm-1',
    name: 'web-1',
    uuid: 'u-1',
    state: 'running',
    busy: false,
    stale: false,
    vcpus: 1,
    memoryMaximumBytes: 1,
    stateSinceMs: undefined,
    busySinceMs: undefined,
  };
  const wrong = (over: Partial<Parameters<typeof whatIsWrong>[0]>) =>
    whatIsWrong({ collector: well, hosts: [], vms: [], failedJobs: [], nowMs, ...over });

  it('is nothing when all is well, in maintenance, switched off, cancelled, or long ago', () => {
    expect(
      wrong({
        hosts: [
          aHost('kvm-1'),
          aHost('kvm-2', { state: 'maintenance', stale: true }),
          aHost('kvm-3', { state: 'connecting', since: iso(5_000) }),
        ],
        vms: [
          vm,
          { ...vm, state: 'shutoff' },
          { ...vm, state: 'crashed', stale: true },
          { ...vm, busy: true, busySinceMs: nowMs - 20_000 },
        ],
        failedJobs: [
          aJob('1', { state: 'failed', failure: { code: 'CANCELLED', message: '' } }),
          aJob('2', {
            state: 'failed',
            finishedAt: iso(4_000_000),
            failure: { code: 'GUEST_TIMEOUT', message: '' },
          }),
        ],
      }),
    ).toEqual([]);
  });

  it('puts the worst first, and of the same kind what is wrong the longest', () => {
    const found = wrong({
      collector: {
        store: { up: false, detail: 'refused', sinceMs: nowMs - 4_000 },
        backend: { ok: false, detail: 'refused', sinceMs: nowMs - 180_000 },
        inventory: { problems: ['line 3', 'line 4'], sinceMs: nowMs - 2_000 },
        tokens: { what: 'line 1', sinceMs: nowMs - 1_000 },
      },
      hosts: [
        aHost('degraded', { state: 'degraded', libvirt: true, files: false }),
        aHost('no-libvirt', { state: 'degraded', libvirt: false }),
        aHost('stale', { stale: true }),
        aHost('down-lately', { state: 'down', since: iso(1_000) }),
        aHost('down-long', { state: 'down', since: iso(9_000_000) }),
        aHost('refused', { state: 'auth-failed', since: iso(2_000) }),
        aHost('other-key', { state: 'host-key-mismatch' }),
      ],
      vms: [
        { ...vm, uuid: 'u-2', state: 'crashed', stateSinceMs: nowMs - 5_000 },
        { ...vm, uuid: 'u-3', busy: true, busySinceMs: nowMs - 120_000 },
      ],
      failedJobs: [
        aJob('lost', {
          state: 'failed',
          failure: { code: 'OUTCOME_UNKNOWN', message: 'the connection broke' },
        }),
        aJob('late', { state: 'failed', failure: { code: 'GUEST_TIMEOUT', message: 'still runs' } }),
      ],
    });
    expect(found.map(({ key }) => key)).toEqual([
      'store',
      'host other-key',
      'host down-long',
      'host refused',
      'host down-lately',
      'host no-libvirt',
      'job lost',
      'vm kvm-1 u-2',
      'backend',
      'vm kvm-1 u-3',
      'host stale',
      'inventory',
      'tokens',
      'host degraded',
      'job late',
    ]);
    expect(found.every(({ what }) => what.length > 0)).toBe(true);
    const { sections } = readRunbooks();
    for (const { key, sinceMs, runbook } of found) {
      // a VM that hangs or crashed before it was first seen has no time; these have
      expect(sinceMs, key).toBeLessThan(nowMs);
      expect(
        sections.map(({ title }) => title),
        key,
      ).toContain(runbook);
    }
    expect(found.find(({ key }) => key === 'host other-key')?.command).toBe('outrigger enroll other-key');
    expect(found.find(({ key }) => key === 'host refused')?.command).toBe('outrigger check refused');
    expect(found.find(({ key }) => key === 'inventory')?.why).toBe('line 3 (and 1 more)');
    expect(found.find(({ key }) => key === 'job lost')?.why).toBe('OUTCOME_UNKNOWN: the connection broke');
  });
});
