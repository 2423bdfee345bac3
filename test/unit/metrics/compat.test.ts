// Tinkoff's names: the same figures in other words, on pages in either format, and the table in the docs.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { compats, renameLabels } from '../../../src/metrics/compat.js';
import type { Lines } from '../../../src/metrics/exposition.js';
import { families } from '../../../src/metrics/families.js';
import { fleetPage } from '../../../src/metrics/page.js';
import { hostPage } from './fixtures.js';
import { parseSeries, parseTypes } from './parse.js';

const { tinkoff } = compats;
const evilName = 'a"},instance="x",storage_pool="y';
const evil = 'domain="a\\"},instance=\\"x\\",storage_pool=\\"y"';

function write(lines: Lines): void {
  const host = lines.host('h');
  const state = lines.label(lines.label(host, 'domain', evilName), 'state_desc', 'running');
  lines.add('libvirt_domain_info_state', state, 1);
  const domain = lines.label(host, 'domain', 'vm');
  const nova = lines.label(lines.label(domain, 'instance_id', 'u'), 'flavor_name', 'f');
  lines.add('libvirt_domain_openstack_info', nova, 1);
  lines.add('libvirt_domain_vcpu_current', domain, 4);
  const pool = lines.label(host, 'storage_pool', 'images');
  lines.add('libvirt_storage_pool_capacity_bytes', pool, 7);
  lines.add('libvirt_storage_pool_state', pool, 2);
}

const expected = [
  { name: 'libvirt_domain_vcpu_current', labels: { domain: 'vm' }, value: 4 },
  {
    name: 'libvirt_domain_info_vstate',
    labels: { domain: 'a\\"},instance=\\"x\\",storage_pool=\\"y' },
    value: 1,
  },
  { name: 'libvirt_domain_info_meta', labels: { domain: 'vm', uuid: 'u', flavor: 'f' }, value: 1 },
  { name: 'libvirt_storage_pool_state', labels: { storage_pool: 'images' }, value: 2 },
  { name: 'libvirt_pool_info_capacity_bytes', labels: { pool: 'images' }, value: 7 },
];

it('a page of one host has the names and labels of the table, and types under these names', () => {
  const page = hostPage([write], 'text', tinkoff);
  expect(parseSeries(page)).toEqual(expect.arrayContaining(expected));
  expect(parseSeries(page)).toHaveLength(expected.length);
  expect(new Set(parseTypes(page).keys())).toEqual(new Set(expected.map(({ name }) => name)));
});

it.each([Number.POSITIVE_INFINITY, 1])(
  'so has the page of the fleet, with %d bytes held',
  async (heldBytesMax) => {
    let page = '';
    const { signal } = new AbortController();
    const options = { signal, format: 'openmetrics', heldBytesMax, compat: tinkoff } as const;
    for await (const chunk of fleetPage(() => [{ kind: 'any', write }], options)) page += chunk;
    const withInstance = expected.map((one) => ({ ...one, labels: { instance: 'h', ...one.labels } }));
    expect(parseSeries(page)).toEqual(expect.arrayContaining(withInstance));
    expect(parseSeries(page)).toHaveLength(expected.length);
  },
);

it('no name is given twice', () => {
  const names = [...families.keys()].map((name) => tinkoff?.get(name)?.name ?? name);
  expect(new Set(names).size).toBe(names.length);
});

it('every label that it renames is one of the family', () => {
  for (const [name, { labels = {} }] of tinkoff ?? []) {
    expect(families.get(name)?.labels, name).toEqual(expect.arrayContaining(Object.keys(labels)));
  }
});

it('labels keep their values, whatever stands in them', () => {
  expect(renameLabels(`${evil},state_desc="x"`, { state_desc: null, storage_pool: 'pool' })).toBe(evil);
  expect(renameLabels('state_desc="x"', { state_desc: null })).toBe('');
  expect(renameLabels('constructor="x"', {})).toBe('constructor="x"');
});

it('docs/settings.md has the whole table', () => {
  const docs = readFileSync(new URL('../../../docs/settings.md', import.meta.url), 'utf8');
  const spelled = docs.replace(/`(\w+)\{(\w+),(\w+),(\w+)\}(\w+)`/g, '`$1$2$5` `$1$3$5` `$1$4$5`');
  for (const [name, renamed] of tinkoff ?? []) {
    expect(spelled).toContain(`\`${name}\``);
    expect(spelled).toContain(`\`${renamed.name}\``);
    for (const [from, to] of Object.entries(renamed.labels ?? {}))
      expect(spelled).toContain(to ? `\`${from}\` → \`${to}\`` : `without \`${from}\``);
  }
});
