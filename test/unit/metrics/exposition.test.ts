import { describe, expect, it } from 'vitest';
import { escapeLabel } from '../../../src/metrics/exposition.js';
import { families } from '../../../src/metrics/families.js';
import { renderVms } from '../../../src/metrics/render-vms.js';
import { fleetText, rendered, running } from './fixtures.js';
import { promtoolComplaints } from './promtool.js';

describe('label values', () => {
  it.each([
    ['web-1', 'web-1'],
    ['a"b', 'a\\"b'],
    ['a\\b', 'a\\\\b'],
    ['a\nb', 'a\\nb'],
    ['a\\nb', 'a\\\\nb'],
    ['a\u0000b\rc\td', 'a\ufffdb\ufffdc\ufffdd'],
    ['Zürich – 東京 😀', 'Zürich – 東京 😀'],
    ['half \ud83d', 'half \ufffd'],
    ['', ''],
  ])('writes %j as %j', (value, text) => {
    expect(escapeLabel(value)).toBe(text);
  });

  it('bounds them', () => {
    expect(escapeLabel('x'.repeat(5000))).toHaveLength(1024);
    expect(escapeLabel('"'.repeat(5000)).length).toBeLessThanOrEqual(2048);
  });

  it('lets no name break the page', async () => {
    const names = ['"} 1\nevil{a="', '\\', '\n', 'a\0b', '{}', '#', ' ', '\ud800', 'x'.repeat(3000)];
    const sample = { takenAtMs: 0, vms: names.map((name) => running(name)) };
    const page = await fleetText([(lines) => renderVms(lines, 'h', sample)]);
    expect(promtoolComplaints(page)).toEqual([]);
    expect(page).not.toMatch(/^evil/m);
    expect(page).toContain(`libvirt_domains{instance="h"} ${names.length}\n`);
  });
});

describe('values', () => {
  const lineOf = (value: unknown) =>
    rendered((lines) => lines.add('node_load1', 'instance="h"', value)).get('node_load1');

  it.each([
    [0, '0'],
    [0.1, '0.1'],
    [18_446_744_073_709_552_000, '18446744073709552000'],
    [1e21, '1e+21'],
    [-1, '-1'],
    [1e-7, '1e-7'],
  ])('writes %d as %s', (value, text) => {
    expect(lineOf(value)).toBe(`node_load1{instance="h"} ${text}\n`);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, undefined, null, '5', {}])('leaves out %s', (value) => {
    expect(lineOf(value)).toBeUndefined();
  });
});

describe('families', () => {
  it('have a help of one sentence, and names that fit their type', () => {
    for (const [name, { help, type }] of families) {
      expect(help, name).toMatch(/^\S.*\.$/);
      if (name.endsWith('_total')) expect(type, name).toBe('counter');
      if (type === 'counter') expect(name).toMatch(/_total$/);
    }
  });
});
