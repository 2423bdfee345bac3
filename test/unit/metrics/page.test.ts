import { describe, expect, it } from 'vitest';
import { families } from '../../../src/metrics/families.js';
import { renderHostState } from '../../../src/metrics/host-state.js';
import { type FleetPart, fleetPage, HostPages, type Part } from '../../../src/metrics/page.js';
import { renderDetails } from '../../../src/metrics/render-details.js';
import { renderGuest } from '../../../src/metrics/render-guest.js';
import { renderSystem } from '../../../src/metrics/render-system.js';
import { renderVms } from '../../../src/metrics/render-vms.js';
import type { DetailsSample } from '../../../src/pollers/details.js';
import type { GuestSample } from '../../../src/pollers/guest.js';
import type { VmSample } from '../../../src/pollers/vms.js';
import { fleetText, hostPage, running, stopped, systemSample } from './fixtures.js';
import { openMetricsComplaints } from './openmetrics.js';
import { parseSeries, seriesKey } from './parse.js';

const evilNames = [
  '"} 1\nevil{a="',
  '\\',
  '\\n',
  '\n',
  'a\0b',
  'a\u0001b',
  'Zürich 東京',
  '\ud800',
  '\ud801',
  ' ',
];

/** A host whose VMs, disks and interfaces have hostile names, each twice. */
function evilHost(instance: string): Part[] {
  const device = { blocks: evilNames.map((name) => ({ name, 'rd.reqs': 1 })), nets: [] };
  const vms = [...evilNames, ...evilNames].map((name) => running(name, device));
  const system = systemSample();
  return [
    (lines) =>
      renderHostState(lines, instance, {
        up: true,
        libvirtUp: true,
        state: 'up',
        states: ['up', 'down'],
        maintenance: false,
        samples: [{ poller: 'vms', ageMs: 1 }],
        info: { rack: '"\n\\' },
      }),
    (lines) => renderVms(lines, instance, { takenAtMs: 0, vms }),
    (lines) => renderDetails(lines, instance, evilDetails(vms)),
    (lines) => renderGuest(lines, instance, evilGuests(vms)),
    (lines) =>
      renderSystem(lines, instance, {
        ...system,
        filesystems: evilNames.flatMap((mountpoint) => [
          { device: 'd', mountpoint, fstype: 'ext4', readOnly: false },
          { device: 'd', mountpoint, fstype: 'ext4', readOnly: true },
        ]),
        disks: (system.disks ?? []).flatMap((disk) => [disk, disk]),
        netDevices: (system.netDevices ?? []).flatMap((net) => [net, net]),
      }),
  ];
}

function evilDetails(vms: readonly VmSample[]): DetailsSample {
  return {
    takenAtMs: 0,
    versions: { hypervisor: '"\n', libvirtd: '\\' },
    domains: vms.map(({ domain }) => ({
      domain,
      timedOut: false,
      snapshots: { count: 1, oldestS: 1 },
      details: {
        os: { type: '"\n\\' },
        nova: { name: '"\n\\' },
        disks: evilNames.map((target) => ({
          target,
          device: 'disk',
          serial: target,
          limits: { total_iops_sec: 1 },
        })),
        interfaces: evilNames.map((target) => ({ target, mac: target })),
      },
    })),
    pools: evilNames.map((name) => ({
      name,
      timedOut: false,
      info: { state: 2, capacity: 3, allocation: 2, available: 1 },
    })),
    problems: [],
  };
}

function evilGuests(vms: readonly VmSample[]): GuestSample {
  const asked = { question: 'all', failures: 0, hung: false, judgedAtMs: 0, askAtMs: 0 } as const;
  const filesystems = evilNames.map((mountpoint) => ({
    mountpoint,
    device: mountpoint,
    usedBytes: 1,
    sizeBytes: 2,
  }));
  const figures = { hostname: '"\n\\', os: { id: '"' }, users: 1, filesystems };
  return {
    takenAtMs: 0,
    problems: [],
    vms: vms.map(({ domain }) => ({ domain, agent: 'up', figures, ...asked })),
  };
}

function fleetOf(hosts: number): Part[] {
  return Array.from({ length: hosts }, (_, n): Part[] => {
    const instance = `kvm-${n}`;
    return [
      (lines) => renderVms(lines, instance, { takenAtMs: 0, vms: [running('web-1'), stopped('old')] }),
      (lines) => renderSystem(lines, instance, systemSample()),
    ];
  }).flat();
}

const twice = (page: string) => {
  const seen = new Set<string>();
  return parseSeries(page)
    .map(seriesKey)
    .filter((key) => seen.size === seen.add(key).size);
};

describe('a page', () => {
  it.each(['text', 'openmetrics'] as const)(
    'in %s has no series twice, whatever names hosts send',
    async (format) => {
      const parts = [...evilHost('kvm-1'), ...evilHost('kvm-2')];
      expect(twice(await fleetText(parts, { format }))).toEqual([]);
      expect(twice(hostPage(evilHost('kvm-1'), format))).toEqual([]);
    },
  );

  it('of a host has nothing of the page before it, not even where that broke off', () => {
    const pages = new HostPages();
    const broken: Part = () => {
      throw new Error('broken');
    };
    const small: Part[] = [(lines) => renderVms(lines, 'kvm-2', { takenAtMs: 0, vms: [running('b')] })];
    const read = pages.page(evilHost('kvm-1'));
    const held = pages.page(evilHost('kvm-1'));
    const text = held.bytes.toString();
    read.release();
    expect(() => pages.page([...evilHost('kvm-2'), broken])).toThrow('broken');
    const next = pages.page(small);
    expect(next.bytes.buffer).toBe(read.bytes.buffer);
    expect(next.bytes.toString()).toBe(hostPage(small));
    expect(held.bytes.toString()).toBe(text);
  });

  it('is OpenMetrics when asked, with the same series', async () => {
    const text = hostPage(evilHost('kvm-1'));
    const open = hostPage(evilHost('kvm-1'), 'openmetrics');
    expect(openMetricsComplaints(open)).toEqual([]);
    expect(parseSeries(open)).toEqual(parseSeries(text));
    expect(open).toContain('# TYPE node_vmstat_pgfault unknown\n');
    expect(open).toContain('# TYPE libvirt_domain_info_cpu_time_seconds counter\n');
    expect(text).not.toContain('# EOF');
  });

  it('in OpenMetrics has no two families whose names meet', () => {
    const every: Part = (lines) => {
      for (const name of families.keys()) lines.add(name, lines.host('h'), 1);
    };
    expect(openMetricsComplaints(hostPage([every], 'openmetrics'))).toEqual([]);
  });
});

describe('the page of a fleet that is too large to hold', () => {
  it.each([1, 1_000, 20_000, 60_000])('is the same when %d bytes may be held', async (heldBytesMax) => {
    const parts = fleetOf(40);
    const whole = await fleetText(parts);
    expect(whole.length).toBeGreaterThan(200_000);
    expect(await fleetText(parts, { heldBytesMax })).toBe(whole);
  });

  it('takes a pass for every family at the most', async () => {
    let passes = 0;
    const parts = fleetOf(3);
    const { signal } = new AbortController();
    const passed = () => {
      passes++;
      return parts.map((write) => ({ kind: 'any', write }));
    };
    let text = '';
    for await (const chunk of fleetPage(passed, { signal, format: 'text', heldBytesMax: 1 })) text += chunk;
    expect(passes).toBe(1 + (text.match(/^# TYPE /gm)?.length ?? 0));
  });

  it('asks in a pass only the parts that write what it wants', async () => {
    const asked: string[] = [];
    const part = (kind: string, family: 'node_load1' | 'libvirt_up', host: number): FleetPart => ({
      kind,
      write: (lines) => {
        asked.push(kind);
        lines.add(family, lines.host(`h${host}`), host);
      },
    });
    // Only the last host's second part writes what the first parts write too.
    const parts = [part('a', 'node_load1', 1), part('b', 'libvirt_up', 1), part('b', 'node_load1', 2)];
    const { signal } = new AbortController();
    let text = '';
    for await (const chunk of fleetPage(() => parts, { signal, format: 'text', heldBytesMax: 1 }))
      text += chunk;
    expect(parseSeries(text)).toHaveLength(3);
    expect(asked).toEqual(['a', 'b', 'b', 'b', 'b', 'a', 'b', 'b']);
  });

  it('goes on when hosts come and go between the passes', async () => {
    let passes = 0;
    const { signal } = new AbortController();
    const parts = () => fleetOf(passes++ % 3).map((write) => ({ kind: 'any', write }));
    let text = '';
    for await (const chunk of fleetPage(parts, { signal, format: 'text', heldBytesMax: 1 })) text += chunk;
    expect(twice(text)).toEqual([]);
  });

  it('ends when it is not wanted any more, and lets timers run meanwhile', async () => {
    const ending = new AbortController();
    const write: Part = (lines) => renderSystem(lines, 'h', systemSample());
    const endless = function* (): Generator<FleetPart> {
      for (;;) yield { kind: 'system', write };
    };
    setTimeout(() => ending.abort(new Error('gone')), 20);
    const page = fleetPage(endless, { signal: ending.signal, format: 'text' });
    await expect(page.next()).rejects.toThrow('gone');
  });

  it('of no hosts is empty', async () => {
    expect(await fleetText([])).toBe('');
  });
});
