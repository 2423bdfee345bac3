// What agents and events tell, as series: nothing twice, nothing invented, whatever the names.
import { describe, expect, it } from 'vitest';
import { DomainEvents } from '../../../src/fleet/domain-events.js';
import { renderChanges, renderEvents } from '../../../src/metrics/render-events.js';
import { renderGuest } from '../../../src/metrics/render-guest.js';
import type { GuestVm } from '../../../src/pollers/guest.js';
import { domainStats, fleetText, rendered } from './fixtures.js';
import { parseSeries, seriesKey } from './parse.js';
import { promtoolComplaints, promtoolThere } from './promtool.js';

const hostile = 'a"b\\c\nd é';

function guest(name: string, over: Partial<GuestVm> = {}): GuestVm {
  const filesystem = { mountpoint: hostile, device: 'vda1', fstype: 'ext4', sizeBytes: 100, usedBytes: 40 };
  return {
    domain: { name, uuid: name, id: 1 },
    agent: 'up',
    figures: { users: 2, os: { id: hostile }, hostname: hostile, filesystems: [filesystem, filesystem] },
    question: 'ours',
    failures: 0,
    hung: false,
    judgedAtMs: 0,
    askAtMs: 0,
    ...over,
  };
}

const { figures: _, ...down } = guest('down', { agent: 'down' });
const vms = [
  guest(hostile),
  guest(hostile),
  down,
  guest('none', { agent: 'none' }),
  guest('new', { agent: 'unknown' }),
];
const seriesOf = (texts: ReadonlyMap<string, string>) => parseSeries([...texts.values()].join(''));

describe('guests', () => {
  it('have each series once; those without an agent, or not asked yet, have none', () => {
    const series = seriesOf(
      rendered((lines) => renderGuest(lines, 'h', { takenAtMs: 0, vms, problems: [] })),
    );
    expect(new Set(series.map(seriesKey)).size).toBe(series.length);
    const agents = series.filter(({ name }) => name === 'outrigger_domain_guest_agent_up');
    expect(agents.map(({ value }) => value)).toEqual([1, 0]);
    expect(series.filter(({ labels }) => labels.domain === 'down')).toHaveLength(1);
    expect(series.filter(({ labels }) => ['none', 'new'].includes(labels.domain ?? ''))).toEqual([]);
    expect(series).toHaveLength(1 + 1 + 1 + 3 + 1);
  });

  it.runIf(promtoolThere)('satisfy promtool', async () => {
    const events = new DomainEvents();
    events.opened('h');
    const sample = { takenAtMs: 0, vms: [{ ...domainStats(hostile), busy: false }] };
    events.polled('h', sample.vms, 1_000_000);
    const page = await fleetText([
      (lines) => renderGuest(lines, 'h', { takenAtMs: 0, vms, problems: [] }),
      (lines) => renderEvents(lines, 'h', events),
      (lines) => renderChanges(lines, 'h', sample, events, undefined),
    ]);
    expect(promtoolComplaints(page)).toEqual([]);
  });
});

describe('changes', () => {
  const uuid = domainStats('x').domain.uuid;
  const vm = (name: string, over: Parameters<typeof domainStats>[1] = {}) => ({
    ...domainStats(name, over),
    busy: false,
  });
  const page = (
    vms: ReturnType<typeof vm>[],
    starts: { uuid: string; id: number; startedAtMs?: number }[],
    events = new DomainEvents(),
  ) => {
    events.polled('h', vms, 1_000_000);
    const sample = { takenAtMs: 0, vms };
    const part = rendered((lines) =>
      renderChanges(lines, 'h', sample, events, { takenAtMs: 0, vms: starts }),
    );
    return new Map(seriesOf(part).map(({ name, labels, value }) => [name, { labels, value }]));
  };

  it('a VM that runs since it booted is in that state since its process was started', () => {
    const series = page([vm('web-1')], [{ uuid, id: 3, startedAtMs: 5_500 }]);
    expect(series.get('outrigger_domain_start_time_seconds')?.value).toBe(5.5);
    expect(series.get('outrigger_domain_state_change_timestamp_seconds')?.value).toBe(5.5);
    expect(series.get('outrigger_domain_state_reason_info')?.labels).toMatchObject({
      domain: 'web-1',
      state: 'running',
      reason: 'booted',
    });
  });

  it('one that was resumed since, or whose process is not known, says nothing that nobody saw', () => {
    const resumed = page(
      [vm('web-1', { state: { state: 1, reason: 5 } })],
      [{ uuid, id: 3, startedAtMs: 5_500 }],
    );
    expect(resumed.get('outrigger_domain_start_time_seconds')?.value).toBe(5.5);
    expect(resumed.has('outrigger_domain_state_change_timestamp_seconds')).toBe(false);
    for (const starts of [[], [{ uuid, id: 3 }], [{ uuid, id: 2, startedAtMs: 5_500 }]]) {
      expect([...page([vm('web-1')], starts).keys()]).toEqual(['outrigger_domain_state_reason_info']);
    }
  });

  it('a reason of a newer libvirt stays a number, and a state that is not told has no line', () => {
    const newer = page([vm('web-1', { state: { state: 5, reason: 77 } })], []);
    expect(newer.get('outrigger_domain_state_reason_info')?.labels).toMatchObject({
      state: 'shutoff',
      reason: '77',
    });
    expect(page([vm('web-1', { state: {} })], []).size).toBe(0);
  });
});
