import { describe, expect, it } from 'vitest';
import { eachOnce } from '../../../src/metrics/exposition.js';
import { families } from '../../../src/metrics/families.js';
import { escapeLabel } from '../../../src/metrics/label-bytes.js';
import { renderVms } from '../../../src/metrics/render-vms.js';
import { fleetText, rendered, running } from './fixtures.js';
import { promtoolComplaints, promtoolThere } from './promtool.js';

/** A page's line with this value of a label. */
const lineWith = (value: string) =>
  rendered((lines) => lines.add('node_load1', lines.label(lines.host('h'), 'a', value), 1)).get('node_load1');

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
    expect(lineWith(value)).toBe(`node_load1{instance="h",a="${text}"} 1\n`);
  });

  it('bounds them', () => {
    expect(escapeLabel('x'.repeat(5000))).toHaveLength(1024);
    expect(escapeLabel('"'.repeat(5000)).length).toBeLessThanOrEqual(2048);
    for (const char of ['x', '"', '東', '😀', '\ud800']) {
      const value = char.repeat(5000);
      expect(lineWith(value)).toBe(`node_load1{instance="h",a="${escapeLabel(value)}"} 1\n`);
    }
  });

  it('are those of the thing, however the things lie in one another', () => {
    const text = rendered((lines) => {
      const host = lines.host('h');
      for (const vm of ['a-long-name', 'b', 'c"', 'x'.repeat(1000)]) {
        const domain = lines.label(host, 'domain', vm);
        for (const disk of ['vda', 'v']) lines.add('node_load1', lines.label(domain, 'disk', disk), 1);
        lines.add('node_load1', domain, 2);
      }
      lines.add('node_load1', host, 3);
    }).get('node_load1');
    const names = ['a-long-name', 'b', 'c\\"', 'x'.repeat(1000)];
    const expected = names.flatMap((name) => [
      `{instance="h",domain="${name}",disk="vda"} 1`,
      `{instance="h",domain="${name}",disk="v"} 1`,
      `{instance="h",domain="${name}"} 2`,
    ]);
    expect(text).toBe([...expected, '{instance="h"} 3'].map((line) => `node_load1${line}\n`).join(''));
  });

  it.runIf(promtoolThere)('lets no name break the page', async () => {
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
    rendered((lines) => lines.add('node_load1', lines.host('h'), value)).get('node_load1');

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

it.each([1, 10])('of things of one name, among %d others too, the first counts', (others) => {
  const more = Array.from({ length: others }, (_, n) => ({ name: `other-${n}`, size: n }));
  // On a page control characters are all the same.
  const things = ['a', 'b', '\u0001', 'a', '\u0002'].map((name, size) => ({ name, size }));
  const once = eachOnce([...things, ...more], ({ name }) => name);
  expect(once).toEqual([...things.slice(0, 3), ...more]);
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
