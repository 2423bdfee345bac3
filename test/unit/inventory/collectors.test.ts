import { describe, expect, test } from 'vitest';
import { collectorList, collectorNames } from '../../../src/inventory/collectors.js';
import { parseInventory } from '../../../src/inventory/load.js';
import { formatProblem } from '../../../src/inventory/problem.js';

const defaults = { libvirtUri: 'qemu:///system', pollIntervalMs: 15_000 };

function load(...lines: string[]) {
  const text = ['version: 1', 'defaults: { ssh: { keyFile: /k } }', ...lines].join('\n');
  return parseInventory(text, 'inventory.yaml', defaults);
}

describe('which collectors run', () => {
  test('these alone, in the order of the house', () => {
    expect(collectorList(['meminfo', 'cpu'])).toEqual(['cpu', 'meminfo']);
  });

  test('all but some', () => {
    const list = collectorList(['no-hwmon', 'no-edac']);
    expect(list).toEqual(collectorNames.filter((name) => name !== 'hwmon' && name !== 'edac'));
  });

  test.each([
    ['cpu', 'must be a list, not "cpu"', /collectors: \[cpu, meminfo\]/],
    [[], 'names no collector', /no-hwmon/],
    [['memifno'], 'names an unknown collector: "memifno"', /Did you mean meminfo\?/],
    [['no-hwmno'], 'names an unknown collector: "hwmno"', /Did you mean no-hwmon\?/],
    [['zzz'], 'names an unknown collector: "zzz"', /Known here: arp, bonding/],
    [[7], 'names an unknown collector: 7', /Known here/],
    [['timex'], 'names timex, which node_exporter has and Outrigger does not', /Leave it out/],
    [['cpu', 'cpu'], 'names cpu twice', /Keep one/],
    [['cpu', 'no-edac'], 'mixes names with no- and without', /no-hwmon/],
    [collectorNames.map((name) => `no-${name}`), 'leaves no collector', /no-hwmon/],
  ])('%j is refused', (raw, message, hint) => {
    expect(collectorList(raw)).toMatchObject({ message, hint: expect.stringMatching(hint) });
  });

  test('are told with line and column', () => {
    const { problems } = load(
      'hosts:',
      '  - name: a',
      '    address: a',
      '    poll: { collectors: [memifno] }',
    );
    expect(problems.map(formatProblem)).toEqual([
      'inventory.yaml:6:25: host "a": poll.collectors names an unknown collector: "memifno". Did you mean meminfo?',
    ]);
  });

  test('a list of a host replaces that of its groups; without one all run', () => {
    const { inventory } = load(
      'groups: { g: { poll: { collectors: [cpu] } } }',
      'hosts:',
      '  - { name: a, address: a, groups: [g], poll: { collectors: [loadavg] } }',
      '  - { name: b, address: b, groups: [g] }',
      '  - { name: c, address: c }',
    );
    expect(inventory?.hosts.map(({ poll }) => poll.collectors)).toEqual([['loadavg'], ['cpu'], undefined]);
  });
});
