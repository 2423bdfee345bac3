// The inventory file, from text to hosts: every fault with its place, precedence, URIs.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Host } from '../../../src/inventory/host.js';
import {
  hostsMax,
  inventoryBytesMax,
  loadInventory,
  parseInventory,
  problemsMax,
} from '../../../src/inventory/load.js';
import { formatProblem } from '../../../src/inventory/problem.js';
import { hostKeys, sectionKeys } from '../../../src/inventory/schema.js';

const defaults = { libvirtUri: 'qemu:///system', pollIntervalMs: 15_000 };
const file = '/etc/outrigger/inventory.yaml';

function problemsOf(text: string): string[] {
  const { inventory, problems } = parseInventory(text, file, defaults);
  expect(inventory === undefined).toBe(problems.length > 0);
  return problems.map((problem) => formatProblem(problem).replace(`${file}:`, ''));
}

function hostsOf(text: string): readonly Host[] {
  const { inventory, problems } = parseInventory(text, file, defaults);
  expect(problems.map(formatProblem)).toEqual([]);
  return inventory?.hosts ?? [];
}

function hostOf(text: string): Host {
  const [host, ...others] = hostsOf(text);
  expect(others).toEqual([]);
  if (!host) throw new Error('no host');
  return host;
}

/** One host, with `lines` as its keys besides the name. */
function oneHost(...lines: string[]): string {
  return ['version: 1', 'hosts:', '  - name: a', ...lines.map((line) => `    ${line}`), ''].join('\n');
}

const keyed = 'ssh: { keyFile: /k }';

describe('faults of the YAML itself', () => {
  test.each([
    [
      'a tab',
      'version: 1\nhosts:\n\t- name: a\n',
      /^3:1: a tab is used for indentation\. Indent with spaces\.$/,
    ],
    ['an open quote', 'version: "1\n', /^2:1: YAML: Missing closing "quote\. .*quotes/],
    ['an open bracket', 'version: 1\nhosts: [\n', /^3:1: YAML: .*\. .*close every \[/],
    ['a second document', 'version: 1\n---\nhosts: []\n', /^2:1: a second YAML document .* Keep one/],
    ['two keys on a line', 'version: 1\nhosts: a: b\n', /^2:8: a second key on one line\. Put a value/],
    ['a reserved character', 'version: @x\n', /^1:10: YAML: .*Put the value in quotes/],
    ['a tag', 'version: 1\nhosts: !secret []\n', /^2:8: YAML: Unresolved tag: !secret\. Take the tag out/],
    [
      'an unknown alias',
      'version: 1\nhosts: *none\n',
      /Unresolved alias.*the anchor \(&name\) stands before/,
    ],
    ['nothing', '', /^1:1: the inventory is empty\. Start from inventory\.example\.yaml\.$/],
    ['a list', '- a\n', /^1:1: the inventory must be a mapping/],
    ['plain text', 'hello\n', /^1:1: the inventory must be a mapping/],
  ])('%s', (_, text, expected) => {
    const problems = problemsOf(text);
    expect(problems.join('\n')).toMatch(new RegExp(expected.source, 'm'));
  });

  test('duplicate keys are told at every depth, with the line of the first, beside other faults', () => {
    const text = oneHost('address: x', 'address: y', 'ssh: { keyFile: /k, port: 1, port: 0 }');
    expect(problemsOf(text)).toEqual([
      '5:5: duplicate key address: it stands in line 4 already. Keep one of the two.',
      '6:34: duplicate key port: it stands in line 6 already. Keep one of the two.',
      '6:40: host "a": ssh.port must be a whole number from 1 to 65535, not 0',
    ]);
  });

  test('a bomb of aliases, an endless alias and endless nesting are refused, not followed', () => {
    const levels = Array.from({ length: 9 }, (_, level) => {
      const inner = Array(9).fill(level === 0 ? 'x' : `*a${level - 1}`);
      return `a${level}: &a${level} [${inner.join(', ')}]`;
    });
    expect(problemsOf(levels.join('\n')).join('\n')).toMatch(/alias/i);
    expect(problemsOf('version: 1\nhosts: &h [*h]\n').length).toBeGreaterThan(0);
    expect(problemsOf('['.repeat(100_000)).length).toBeGreaterThan(0);
  });

  test('anchors serve ordinary use', () => {
    const text =
      'version: 1\nhosts:\n  - { name: a, address: a, ssh: &s { keyFile: /k } }\n  - { name: b, address: b, ssh: *s }\n';
    expect(hostsOf(text).map((host) => host.ssh.keyFile)).toEqual(['/k', '/k']);
  });

  test('merge keys are told about', () => {
    const text = 'version: 1\ndefaults: &d { ops: true }\nhosts:\n  - name: a\n    address: a\n    <<: *d\n';
    expect(problemsOf(text)).toEqual([expect.stringMatching(/^6:5: host "a": unknown key <<\. .*group/)]);
  });
});

describe('faults of keys and values', () => {
  test.each([
    ['version: 2\nhosts: []\n', '1:10: version must be 1, not 2. Write version: 1.'],
    ['hosts: []\n', '1:1: version is missing. Write version: 1 in the first line.'],
    ['version: 1\n', /^1:1: hosts is missing\. Write hosts:/],
    ['version: 1\nhosts:\n', /^2:\d+: hosts must be a list, not empty/],
    ['version: 1\nhosts: {}\n', /^2:8: hosts must be a list, not a mapping/],
    ['version: 1\nhost: []\nhosts: []\n', '2:1: the inventory: unknown key host. Did you mean hosts?'],
    ['version: 1\ngroups: [a]\nhosts: []\n', /^2:9: groups must be a mapping of names to keys, not a list/],
    ['version: 1\ngroups: { a: 3 }\nhosts: []\n', '2:14: group "a" must be a mapping of keys, not 3'],
    ['version: 1\ngroups: { "a b": {} }\nhosts: []\n', /^2:11: group "a b": the name must be/],
    [
      'version: 1\ndefaults: { address: a }\nhosts: []\n',
      '2:13: defaults: unknown key address. It belongs on a host.',
    ],
    [
      'version: 1\ndefaults: { keyFile: a }\nhosts: []\n',
      /^2:13: defaults: unknown key keyFile\. It belongs under ssh/,
    ],
    ['version: 1\nhosts: [3]\n', '2:9: host number 1 must be a mapping of keys, not 3'],
    ['version: 1\nhosts:\n  - address: a\n', '3:5: host number 1: name is missing. Write name: kvm-01.'],
  ])('%j', (text, expected) => {
    const matcher = typeof expected === 'string' ? expected : expect.stringMatching(expected);
    expect(problemsOf(text)).toEqual([matcher]);
  });

  test.each([
    ['adress: a', '4:5: host "a": unknown key adress. Did you mean address?'],
    ['ssh: { prot: 1 }', '4:12: host "a": ssh: unknown key prot. Did you mean port?'],
    ['port: 22', '4:5: host "a": unknown key port. It belongs under ssh: write ssh: { port: … }.'],
    ['ssh: { password: hunter2 }', /^4:12: .*unknown key password\. Secrets never stand in the inventory/],
    ['ssh: { port: 65536 }', '4:18: host "a": ssh.port must be a whole number from 1 to 65535, not 65536'],
    ['ssh: { port: "22" }', /not "22"\. Write 22 without quotes\.$/],
    ['ssh: { port: }', '4:18: host "a": ssh.port is empty. Give it a value, or take the line out.'],
    ['ssh: { user: "a b" }', '4:18: host "a": ssh.user must be a user name, not "a b"'],
    ['ssh: { agent: yes }', /agent must be true or false, not "yes"\. Write true\.$/],
    ['ssh: { keyFile: ~root/key }', /names another user's home/],
    ['ssh: { keyFile: "file:///k" }', /must be the path of a file/],
    ['ssh: { knownHostsFile: [a, b] }', /knownHostsFile must be text, not a list/],
    ['ssh: { jump: "a,b,a" }', /ssh\.jump goes through a twice/],
    ['ssh: { jump: "a:b:22" }', /ssh\.jump must be user@host:port, not "a:b:22"\. .*brackets/],
    ['ssh: { jump: "fe80::1" }', /an IPv6 address stands in brackets/],
    ['ssh: { jump: [{ host: a }] }', /ssh\.jump must be text, not a mapping\. Write user@host:port/],
    ['libvirt: { transport: helpr }', /must be auto, socket or helper, not "helpr"\. Did you mean helper\?$/],
    ['libvirt: { socket: autom }', /must be auto or an absolute path.*Did you mean auto\?$/],
    [
      'libvirt: { uri: qemu+ssh://h/system }',
      /Write a URI that reaches the host by SSH as the uri of the host/,
    ],
    ['libvirt: { uri: xen:///system }', /libvirt\.uri cannot be used: .*xen/],
    ['poll: { interval: 15 minutes }', /poll\.interval must be a duration.*Write it like 15s, 5m, 1h, 500ms/],
    ['poll: { interval: 0 }', /must be from 100ms to 1h, not 0$/],
    ['poll: { interval: -5s }', /must be a duration, not "-5s"/],
    ['poll: { details: 25h }', /must be from 100ms to 24h, not "25h"$/],
    ['poll: { guest: 1s }', /poll\.guest must be from 5s to 24h, not "1s"$/],
    [
      'poll: { guest: never }',
      /poll\.guest must be a duration, not "never"\. Write it like 60s or 5m, or off\.$/,
    ],
    [
      'poll: { guest: true }',
      /poll\.guest must be a duration, not true\. Write it like 60s or 5m, or off\.$/,
    ],
    ['poll: { balloonPeriod: 500ms }', /poll\.balloonPeriod must be from 1s to 1h, not "500ms"/],
    [
      'poll: { balloonPeriod: 1.5s }',
      /poll\.balloonPeriod must be whole seconds, not "1\.5s"\. Write it like 5s/,
    ],
    ['poll: { balloonPeriod: soon }', /poll\.balloonPeriod must be a duration.*Write it like 5s, or off\.$/],
    ['labels: [a]', /labels must be a mapping of names to text, not a list/],
    ['labels: { rack: 12 }', '4:21: host "a": labels.rack must be text, not 12. Write it in quotes: "12".'],
    [
      'labels: { 1a: x }',
      '4:15: host "a": labels.1a is not a Prometheus label name. Use letters, digits and underscores: _1a.',
    ],
    ['labels: { __meta: x }', /^4:15: .*reserved by Prometheus/],
    ['labels: { instance: x }', /^4:15: .*Choose another name, such as host_instance\.$/],
    ['labels: { job: x }', /metrics use themselves/],
    ['labels: { domain: x }', /metrics use themselves/],
    ['groups: web', '4:13: host "a": groups must be a list. Write groups: [web].'],
    ['groups: [g, g]', /names g twice/],
    ['ops: on', '4:10: host "a": ops must be true or false, not "on". Write true.'],
    ['maintenance: fasle', /Did you mean false\?$/],
    ['id: "a b"', /^4:9: host "a": id must be a UUID/],
    [
      'uri: qemu+ssh://u:hunter2@h/system',
      /^4:10: host "a": uri cannot be used: .*password\. Use a key file/,
    ],
    ['uri: qemu+ssh://192.0.2.300/system', /^4:10: host "a": uri must be a DNS name or an IP address/],
    ['uri: qemu+tls://h/system', /uri cannot be used: .*tls/],
  ])('%s', (line, expected) => {
    const matcher = typeof expected === 'string' ? expected : expect.stringMatching(expected);
    const others = line.startsWith('uri') || line.startsWith('adress') ? [] : ['address: a'];
    const keys = line.startsWith('ssh') ? [] : [keyed];
    const text = oneHost(line, ...others, ...keys);
    const problems = problemsOf(text).filter((problem) => !/has neither|there is no group/.test(problem));
    expect(problems).toEqual([matcher]);
    expect(problems.join()).not.toContain('hunter2');
  });

  test.each(['Kvm_01', '-a', 'a.', 'a/b', '..'])('name %s', (name) => {
    const text = `version: 1\nhosts:\n  - { name: "${name}", address: a, ssh: { keyFile: k } }\n`;
    expect(problemsOf(text)).toEqual([expect.stringMatching(/^3:13: .*name must be lower-case letters/)]);
  });

  test.each([
    ['192.0.2.300', /Check the digits/],
    ['root@a', /Write the user as ssh\.user/],
    ['a:22', /Write the port as ssh\.port/],
    ['qemu+ssh://a/system', /Write it as uri instead of address/],
    ['-oProxyCommand=x', /must be a DNS name/],
  ])('address %s', (address, expected) => {
    expect(problemsOf(oneHost(`address: "${address}"`, keyed))).toEqual([expect.stringMatching(expected)]);
  });

  test('the text of a key is refused and not repeated', () => {
    const text = oneHost(
      'address: a',
      'ssh:',
      '  keyFile: |',
      '    -----BEGIN OPENSSH PRIVATE KEY-----',
      '    c2VjcmV0',
      '',
    );
    expect(problemsOf(text)).toEqual([
      expect.stringMatching(
        /^6:16: host "a": ssh\.keyFile holds the text of a key.*path of that file here\.$/,
      ),
    ]);
    expect(problemsOf(text).join()).not.toContain('c2VjcmV0');
  });

  test('every fault is told at once, in the order of the file', () => {
    const text = [
      'version: 3',
      'groups: { g: { opps: true } }',
      'hosts:',
      '  - { name: A, address: a, groups: [g] }',
      '  - { name: b, groups: [h] }',
      '  - { name: b, uri: "qemu+ssh://u@h:1/system", ssh: { port: 2, user: v, jmp: x } }',
    ].join('\n');
    const problems = problemsOf(text);
    expect(problems).toEqual([
      expect.stringMatching(/^1:10: version must be 1/),
      expect.stringMatching(/^2:16: group "g": unknown key opps\. Did you mean ops\?/),
      expect.stringMatching(/^4:13: host "A": name must be/),
      expect.stringMatching(/^5:5: host "b" has neither address nor uri\. Give it address/),
      expect.stringMatching(/^5:25: host "b": there is no group "h"\. /),
      expect.stringMatching(/^6:13: host "b" stands in line 5 already/),
      expect.stringMatching(/^6:61: host "b": ssh\.port is 2 but uri says 1/),
      expect.stringMatching(/^6:70: host "b": ssh\.user is v but uri says u/),
      expect.stringMatching(/^6:73: host "b": ssh: unknown key jmp\. Did you mean jump\?/),
    ]);
  });

  test(`no more than ${problemsMax} problems are listed`, () => {
    const text = `version: 1\nhosts:\n${'  - {}\n'.repeat(problemsMax + 5)}`;
    const problems = problemsOf(text);
    expect(problems).toHaveLength(problemsMax + 1);
    expect(problems.at(-1)).toMatch(/\d+ more problems are not shown/);
  });
});

describe('what hosts must be to each other', () => {
  test('names and ids are unique', () => {
    const text = [
      'version: 1',
      'defaults: { ssh: { keyFile: k } }',
      'hosts:',
      '  - { name: a, id: x, address: a }',
      '  - { name: b, id: x, address: b }',
      '  - { name: a, address: c }',
    ].join('\n');
    expect(problemsOf(text)).toEqual([
      '5:20: host "b": id "x" is that of the host in line 4. Ids are unique: take one of the two out.',
      '6:13: host "a" stands in line 4 already. Names are unique: rename one of the two, or take it out.',
    ]);
  });

  test('one machine stands once, however it is written', () => {
    const head =
      'version: 1\ndefaults: { ssh: { keyFile: k } }\nhosts:\n  - { name: a, address: H.example }\n';
    for (const again of ['address: h.EXAMPLE', 'uri: "qemu+ssh://other@h.example:22/system"']) {
      expect(problemsOf(`${head}  - { name: b, ${again} }\n`)).toEqual([
        expect.stringMatching(/^5:5: host "b" is the same machine as the host in line 4/),
      ]);
    }
    for (const other of [
      'address: h.example, ssh: { port: 2222 }',
      'address: h.example, ssh: { jump: bastion }',
      'uri: "test+ssh://h.example/default"',
    ]) {
      expect(hostsOf(`${head}  - { name: b, ${other} }\n`)).toHaveLength(2);
    }
  });

  test('a host needs a key or an agent, from wherever; a local one needs none', () => {
    expect(problemsOf(oneHost('address: a'))).toEqual([
      expect.stringMatching(/^3:5: host "a" has no SSH key: .*Set ssh\.keyFile in defaults/),
    ]);
    expect(hostOf(oneHost('address: a', 'ssh: { agent: true }')).ssh.agent).toBe(true);
    expect(hostOf(oneHost('uri: qemu+ssh://a/system?sshauth=agent')).ssh.agent).toBe(true);
    expect(hostOf(oneHost('uri: qemu+ssh://a/system?keyfile=/k')).ssh.keyFile).toBe('/k');
    expect(hostOf(oneHost('uri: qemu:///system')).connection).toBe('local');
  });

  test('balloons are set up only where there is a jobs key to do it with', () => {
    const balloon = 'poll: { balloonPeriod: 5s }';
    expect(problemsOf(oneHost('address: a', keyed, balloon))).toEqual([
      '3:5: host "a" sets up balloons (poll.balloonPeriod), which libvirt allows with the jobs key only, but has none. ' +
        'Set ssh.opsKeyFile (and ssh.opsUser), or write poll: { balloonPeriod: off } on this host.',
    ]);
    expect(hostOf(oneHost('uri: qemu:///system', balloon)).poll.balloonPeriodS).toBe(5);
    expect(hostOf(oneHost('uri: qemu:///system', 'poll: { balloonPeriod: off }')).poll).not.toHaveProperty(
      'balloonPeriodS',
    );
  });

  test("guests' agents are asked only where there is a jobs key to ask with", () => {
    const guest = 'poll: { guest: 1m }';
    const withKey = 'ssh: { keyFile: /k, opsKeyFile: /o }';
    expect(problemsOf(oneHost('address: a', keyed, guest))).toEqual([
      '3:5: host "a" asks guests\' agents (poll.guest), which libvirt allows with the jobs key only, but has none. ' +
        'Set ssh.opsKeyFile (and ssh.opsUser), or write poll: { guest: off } on this host.',
    ]);
    expect(problemsOf(oneHost('address: a', withKey, guest, 'ops: false'))).toEqual([
      expect.stringMatching(
        /^3:5: .*but says ops: false\. Take ops: false out, or write poll: \{ guest: off \}/,
      ),
    ]);
    expect(problemsOf(oneHost('uri: qemu:///system', guest, 'ops: false'))).toHaveLength(1);
    expect(hostOf(oneHost('address: a', withKey, guest)).poll.guestMs).toBe(60_000);
    expect(hostOf(oneHost('uri: qemu:///system', guest)).poll.guestMs).toBe(60_000);
    const defaults = `version: 1\ndefaults: { ${keyed}, ${guest} }\nhosts:\n`;
    for (const off of ['off', 'false', '"off"']) {
      const host = hostOf(`${defaults}  - { name: a, address: a, poll: { guest: ${off} } }`);
      expect(host.poll).not.toHaveProperty('guestMs');
    }
  });

  test('a host is not its own jump host', () => {
    const text =
      'version: 1\ndefaults: { ssh: { keyFile: k, jump: b } }\nhosts:\n  - { name: b, address: b }\n';
    expect(problemsOf(text)).toEqual([
      expect.stringMatching(/^4:5: .*through itself.*Write ssh: \{ jump: \[\] \}/),
    ]);
    expect(hostsOf(text.replace('address: b', 'address: b, ssh: { jump: [] }'))).toHaveLength(1);
  });
});

describe('precedence', () => {
  const text = [
    'version: 1',
    'defaults:',
    '  ssh: { user: d, port: 1, keyFile: d, jump: d }',
    '  labels: { a: d, b: d, c: d, e: d }',
    '  poll: { interval: 10s, details: 1m }',
    '  libvirt: { uri: qemu:///session }',
    '  ops: false',
    'groups:',
    '  g1: { ssh: { port: 2, keyFile: g1 }, labels: { b: g1, c: g1, e: g1 }, libvirt: { socket: /g1 }, ops: true }',
    '  g2: { ssh: { keyFile: g2 }, labels: { c: g2, e: g2 }, maintenance: true }',
    '  empty:',
    'hosts:',
    '  - name: a',
    '    address: a',
    '    groups: [g1, g2, empty]',
    '    labels: { e: h }',
    '    ssh: { jump: [x, "y@[2001:DB8::1]:23"] }',
    '    poll: { interval: 1500ms }',
  ].join('\n');

  test('host over later group over earlier group over defaults, key by key', () => {
    expect(hostOf(text)).toEqual({
      name: 'a',
      connection: 'ssh',
      address: 'a',
      groups: ['g1', 'g2', 'empty'],
      labels: { a: 'd', b: 'g1', c: 'g2', e: 'h' },
      ssh: {
        user: 'd',
        port: 2,
        keyFile: '/etc/outrigger/g2',
        agent: false,
        jump: [
          { address: 'x', port: 22 },
          { user: 'y', address: '2001:db8::1', port: 23 },
        ],
      },
      libvirt: { uri: 'qemu:///session', socket: '/g1', transport: 'auto' },
      poll: { intervalMs: 1500, detailsMs: 60_000 },
      ops: true,
      maintenance: true,
    });
  });

  test('the other order of groups gives the other values', () => {
    const host = hostOf(text.replace('[g1, g2, empty]', '[g2, g1]'));
    expect([host.ssh.keyFile, host.labels.c]).toEqual(['/etc/outrigger/g1', 'g1']);
  });

  test('without any of them: the settings, then our own defaults', () => {
    const { inventory } = parseInventory(oneHost('address: a', keyed), file, {
      libvirtUri: 'test:///default',
      pollIntervalMs: 7000,
    });
    expect(inventory?.hosts[0]).toMatchObject({
      ssh: { user: 'outrigger', port: 22, jump: [] },
      libvirt: { uri: 'test:///default', socket: 'auto', transport: 'auto' },
      poll: { intervalMs: 7000, detailsMs: 300_000 },
      ops: true,
      maintenance: false,
    });
  });

  test.each([
    ['15s', 15_000],
    ['15', 15_000],
    ['0.5', 500],
    ['500ms', 500],
    ['1.5m', 90_000],
    ['1h', 3_600_000],
  ])('a duration of %s', (given, ms) => {
    expect(hostOf(oneHost('address: a', keyed, `poll: { interval: ${given} }`)).poll.intervalMs).toBe(ms);
  });

  test('paths start from the folder of the inventory, ~ from home', () => {
    const { ssh } = hostOf(
      oneHost(
        'address: a',
        'ssh: { keyFile: keys/a, knownHostsFile: ~/kh, opsKeyFile: /o, agent: ./sock, opsUser: ops }',
      ),
    );
    expect(ssh).toMatchObject({
      keyFile: '/etc/outrigger/keys/a',
      knownHostsFile: join(homedir(), 'kh'),
      opsKeyFile: '/o',
      agent: '/etc/outrigger/sock',
      opsUser: 'ops',
    });
  });
});

describe('URIs', () => {
  const whole = 'uri: qemu+ssh://u@[2001:DB8::1]:23/system?keyfile=/k&known_hosts=/kh&socket=/s&proxy=native';

  test('say what keys would say, over groups and defaults', () => {
    const text = oneHost(whole, 'groups: [g]').replace(
      'hosts:',
      'groups: { g: { ssh: { user: g, port: 9, keyFile: g }, libvirt: { uri: "test:///default", socket: /g } } }\nhosts:',
    );
    expect(hostOf(text)).toMatchObject({
      address: '2001:db8::1',
      ssh: { user: 'u', port: 23, keyFile: '/k', knownHostsFile: '/kh' },
      libvirt: { uri: 'qemu:///system', socket: '/s', transport: 'helper' },
    });
  });

  test('the same said twice is well, the contrary is a fault', () => {
    expect(hostOf(oneHost(whole, 'address: 2001:db8::1', 'ssh: { user: u, port: 23 }')).address).toBe(
      '2001:db8::1',
    );
    expect(
      problemsOf(oneHost(whole, 'address: other', 'libvirt: { uri: "test:///default", transport: socket }')),
    ).toEqual([
      '5:14: host "a": address is other but uri says 2001:db8::1. Take address out, or write the same in both.',
      expect.stringMatching(
        /^6:21: host "a": libvirt\.uri is test:\/\/\/default but uri says qemu:\/\/\/system/,
      ),
      expect.stringMatching(/^6:51: host "a": libvirt\.transport is socket but uri says helper/),
    ]);
  });

  test('test+ssh opens the test driver', () => {
    expect(hostOf(oneHost('uri: test+ssh://h/default', keyed)).libvirt.uri).toBe('test:///default');
  });

  test('a local URI is this machine: no address, no SSH', () => {
    const text = oneHost('uri: qemu:///system?socket=/run/x', 'labels: { a: b }').replace(
      'hosts:',
      'defaults: { ssh: { keyFile: k, jump: j } }\nhosts:',
    );
    expect(hostOf(text)).toMatchObject({
      connection: 'local',
      address: 'localhost',
      ssh: { agent: false, jump: [] },
      libvirt: { uri: 'qemu:///system', socket: '/run/x' },
    });
    expect(problemsOf(oneHost('uri: qemu:///system', 'address: a', keyed))).toEqual([
      expect.stringMatching(
        /^5:14: host "a": address is given, but its uri means this machine's own libvirt/,
      ),
      expect.stringMatching(/^6:10: host "a": ssh is given/),
    ]);
  });
});

describe('the file', () => {
  const folder = mkdtemp(join(tmpdir(), 'inventory-'));
  afterAll(async () => rm(await folder, { recursive: true, force: true }));

  test('the example loads, and shows every key', async () => {
    const example = new URL('../../../inventory.example.yaml', import.meta.url).pathname;
    const { inventory, problems } = await loadInventory(example, defaults);
    expect(problems.map(formatProblem)).toEqual([]);
    expect(inventory?.hosts.map(({ name, connection }) => `${name} ${connection}`)).toEqual([
      'kvm-01 ssh',
      'kvm-02.fra1 ssh',
      'kvm-03 ssh',
      'trial ssh',
      'here local',
    ]);
    const text = await readFile(example, 'utf8');
    const keys = [...hostKeys, ...Object.values(sectionKeys).flat()];
    expect(keys.filter((key) => !new RegExp(`\\b${key}:`).test(text))).toEqual([]);
  });

  test('docs/inventory.md has a row for every key', async () => {
    const text = await readFile(new URL('../../../docs/inventory.md', import.meta.url), 'utf8');
    const nested = Object.entries(sectionKeys).flatMap(([section, keys]) =>
      keys.map((key) => `${section}.${key}`),
    );
    const keys = [...hostKeys.filter((key) => !(key in sectionKeys)), ...nested];
    expect(keys.filter((key) => !text.includes(`| \`${key}\` |`))).toEqual([]);
  });

  test('a file that cannot be read is one problem with its mend', async () => {
    const at = await folder;
    await mkdir(join(at, 'dir'));
    await writeFile(join(at, 'latin1'), Buffer.from([0x61, 0xe9, 0x0a]));
    await writeFile(join(at, 'large'), Buffer.alloc(inventoryBytesMax + 1, ' '));
    const messages = await Promise.all(
      ['none', 'dir', 'latin1', 'large'].map(async (name) => {
        const { inventory, problems } = await loadInventory(join(at, name), defaults);
        expect(inventory).toBeUndefined();
        return problems.map(formatProblem).join('\n').replace(`${at}/`, '');
      }),
    );
    expect(messages).toEqual([
      'none: there is no inventory file here. Copy inventory.example.yaml to this place, or set AGENT_INVENTORY to where the file is.',
      'dir: this is a folder. Set AGENT_INVENTORY to the file in it.',
      'latin1: the inventory is not UTF-8 text. Save it as UTF-8.',
      expect.stringMatching(/^large: the inventory is larger than 8 MiB\. /),
    ]);
  });

  test('hosts in the thousands load; too many are refused', () => {
    const lines = (count: number) =>
      `version: 1\ndefaults: { ssh: { keyFile: k } }\nhosts:\n${Array.from({ length: count }, (_, n) => `  - {name: h${n}, address: h${n}}\n`).join('')}`;
    expect(hostsOf(lines(2000))).toHaveLength(2000);
    expect(problemsOf(lines(hostsMax + 1))).toEqual([
      expect.stringMatching(/^4:3: the inventory has 10001 hosts/),
    ]);
  });
});
