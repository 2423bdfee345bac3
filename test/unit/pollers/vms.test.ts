import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import type { DomainStats } from '../../../src/libvirt/stats.js';
import type { HostReaders } from '../../../src/pollers/poller.js';
import { isBusy, vmsPoller } from '../../../src/pollers/vms.js';
import { FakeClock } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';
import { domainStats } from '../metrics/fixtures.js';

const active = { name: 'web-1', uuid: '5c0a9b1e-2f53-4f5c-9d8e-1f2a3b4c5d6e', id: 3 };
/** What libvirt knows of an active VM without asking its QEMU. */
const withoutMonitor: Partial<DomainStats> = {
  balloon: { current: 262_144, maximum: 262_144 },
  blocks: [{ name: 'vda', path: '/a.img' }, { name: 'sda' }],
  iothreads: [],
  dirtyrate: {},
  other: { 'net.count': 1, 'block.count': 2 },
};

describe('a VM is busy', () => {
  it.each<[string, boolean, Partial<DomainStats>]>([
    ['with all figures', false, {}],
    ['without anything from the monitor', true, withoutMonitor],
    ['without disks, either', true, { ...withoutMonitor, blocks: [] }],
    ['paused and without anything from the monitor', true, { ...withoutMonitor, state: { state: 3 } }],
    ['with only the size of its process', false, { ...withoutMonitor, balloon: { maximum: 1, rss: 5 } }],
    ['with only disk requests', false, { ...withoutMonitor, blocks: [{ name: 'vda', 'rd.reqs': 0 }] }],
    ['with only a dirty rate', false, { ...withoutMonitor, dirtyrate: { calc_status: 0 } }],
    ['with only I/O threads', false, { ...withoutMonitor, iothreads: [{ 'poll-max-ns': 1 }] }],
    ['stopped', false, { ...withoutMonitor, domain: { ...active, id: -1 }, state: { state: 5 } }],
    ['of a driver that reports no memory', false, { ...withoutMonitor, balloon: {}, blocks: [] }],
  ])('%s: %s', (_name, busy, over) => {
    expect(isBusy(domainStats('web-1', { domain: active, ...over }))).toBe(busy);
  });

  it('is judged once for all that libvirt gave the same fields of, but for those that are stopped', () => {
    const fields = {};
    const ask = (over: Partial<DomainStats>) => isBusy(domainStats('web-1', { domain: active, ...over }));
    expect(ask({ ...withoutMonitor, fields })).toBe(true);
    expect(ask({ fields })).toBe(true);
    expect(ask({ fields, domain: { ...active, id: -1 } })).toBe(false);
    expect(ask({ fields: {} })).toBe(false);
  });
});

describe('the VM poller', () => {
  const readersOf = (domainStatsCall: () => Promise<DomainStats[]>): HostReaders => ({
    libvirt: () => ({
      domainStats: domainStatsCall,
      listDomains: () => Promise.reject(new Error('the VM poller asks once')),
      call: () => Promise.reject(new Error('the VM poller asks once')),
    }),
    files: () => {
      throw new Error('the VM poller has no business with files');
    },
  });
  const signal = new AbortController().signal;

  it('asks once, and marks the busy ones', async () => {
    let calls = 0;
    const readers = readersOf(async () => {
      calls += 1;
      return [domainStats('web-1'), domainStats('stuck', withoutMonitor)];
    });
    const sample = await vmsPoller.poll(readers, { host: aHost(), signal, clock: new FakeClock(1000) });
    expect(calls).toBe(1);
    expect(sample.takenAtMs).toBe(1000);
    expect(sample.vms.map(({ domain, busy }) => [domain.name, busy])).toEqual([
      ['web-1', false],
      ['stuck', true],
    ]);
  });

  it('fails as libvirt does', async () => {
    const readers = readersOf(async () => {
      throw new HostError('CLOSED', { message: 'connection closed' });
    });
    await expect(
      vmsPoller.poll(readers, { host: aHost(), signal, clock: new FakeClock() }),
    ).rejects.toMatchObject({
      code: 'CLOSED',
    });
  });
});
