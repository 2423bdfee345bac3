import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { silentLog } from '../../../src/core/log.js';
import { Fleet } from '../../../src/fleet/fleet.js';
import { SampleStore } from '../../../src/fleet/samples.js';
import type { Host } from '../../../src/inventory/host.js';
import { FakeClock, settle } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';

const host = (name: string, change: Partial<Host> = {}) => aHost({ name, ...change });

function rig() {
  const dialled: string[] = [];
  const fleet = new Fleet({
    clock: new FakeClock(),
    log: silentLog,
    knownHostsFile: '/kh',
    connector: undefined as never,
    openTransport: async ({ name }) => {
      dialled.push(name);
      throw new HostError('REFUSED', { host: name });
    },
  });
  return { fleet, dialled };
}

describe('Fleet', () => {
  it('has a session per host, and touches only what changed', async () => {
    const { fleet, dialled } = rig();
    await fleet.apply([host('a'), host('b'), host('c')]);
    await settle();
    expect(dialled).toEqual(['a', 'b', 'c']);
    const a = fleet.get('a');
    const b = fleet.get('b');
    const moved = host('b', { address: '192.0.2.1' });
    await fleet.apply([host('a', { labels: { rack: 'r1' }, maintenance: true }), moved, host('d')]);
    await settle();
    expect(dialled).toEqual(['a', 'b', 'c', 'b', 'd']);
    expect(fleet.get('a')).toBe(a);
    expect(a.host.labels).toEqual({ rack: 'r1' });
    expect(a.status.state).toBe('maintenance');
    expect(fleet.get('b')).not.toBe(b);
    expect(fleet.find('c')).toBeUndefined();
    expect(() => fleet.get('c')).toThrowError(expect.objectContaining({ code: 'BAD_REQUEST' }));
    await fleet.stop();
    expect(fleet.countByState().down).toBe(0);
  });

  it('counts every state, also those that no host is in', async () => {
    const { fleet } = rig();
    await fleet.apply([host('a'), host('b')]);
    await settle();
    expect(fleet.countByState()).toMatchObject({ down: 2, up: 0, 'auth-failed': 0 });
    await fleet.stop();
  });
});

describe('SampleStore', () => {
  it('keeps the newest sample with its age, and the failure since', () => {
    const clock = new FakeClock();
    const samples = new SampleStore<{ vms: number }>(clock);
    expect(samples.ageMs('a', 'vms')).toBeUndefined();
    samples.put('a', 'vms', 1);
    clock.stepWall(-3_600_000);
    expect(samples.ageMs('a', 'vms')).toBe(0);
    const failure = new HostError('TIMEOUT');
    samples.fail('a', 'vms', failure);
    expect(samples.get('a', 'vms')).toMatchObject({ last: { sample: 1 }, failure });
    samples.put('a', 'vms', 2);
    expect(samples.get('a', 'vms')).toMatchObject({ last: { sample: 2 }, failure: undefined });
    samples.retain(new Set(['b']));
    expect(samples.get('a', 'vms')).toBeUndefined();
  });
});
