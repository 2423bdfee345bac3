// Polls get no more of the jobs key than they need, and only where the inventory says so.
import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../src/core/log.js';
import { OpsForPolls, pollsIdleMs } from '../../../src/fleet/ops-for-polls.js';
import type { OpsSessionsDeps } from '../../../src/fleet/ops-session.js';
import type { HostPoll } from '../../../src/inventory/host.js';
import { procedures } from '../../../src/libvirt/procedures.js';
import { FakeClock } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';

const dom = { name: 'web-1', uuid: '5c0a9b1e-2f53-4f5c-9d8e-1f2a3b4c5d6e', id: 3 };
const hostWith = (poll: Partial<HostPoll>) =>
  aHost({ poll: { intervalMs: 15_000, detailsMs: 300_000, ...poll } });

function opened() {
  const clock = new FakeClock();
  const called: { name: string; args: unknown }[] = [];
  const closed: string[] = [];
  const never = new Promise<never>(() => undefined);
  const client = {
    host: 'kvm-01',
    closed: never,
    call: async (procedure: { name: string }, args: unknown) => {
      called.push({ name: procedure.name, args });
      return { params: [], info: [], hostname: 'h' };
    },
    close: async () => closed.push('client'),
  };
  const transport = {
    closed: never,
    openLibvirt: async () => ({ client, via: 'test' }),
    close: async () => undefined,
  };
  const deps = { clock, log: silentLog, openTransport: async () => transport } as unknown as OpsSessionsDeps;
  return { polls: new OpsForPolls(deps), clock, called, closed };
}

describe('the jobs key for polls', () => {
  it('is not used for a host whose inventory entry asks for nothing that needs it', async () => {
    const { polls } = opened();
    const host = hostWith({});
    polls.apply([host]);
    await expect(polls.libvirt(host)).rejects.toMatchObject({ code: 'BAD_REQUEST', outcome: 'not-sent' });
  });

  it('asks agents and sets the balloon period, and can do nothing else', async () => {
    const { polls, called } = opened();
    const host = hostWith({ guestMs: 60_000 });
    polls.apply([host]);
    const ops = await polls.libvirt(host);
    await ops.guestInfo(dom, 31);
    await ops.guestFilesystems(dom);
    await ops.guestHostname(dom);
    await ops.setBalloonPeriod(dom, 5);
    expect(called.map(({ name }) => name)).toEqual([
      procedures.domainGetGuestInfo.name,
      procedures.domainGetFsInfo.name,
      procedures.domainGetHostname.name,
      procedures.domainSetMemoryStatsPeriod.name,
    ]);
    expect(called.at(-1)?.args).toEqual({ dom, period: 5, flags: 1 });
    expect(Object.keys(ops)).toHaveLength(4);
    await polls.close();
  });

  it('is let go when the inventory wants it no more, and when no poll has used it for long', async () => {
    const { polls, clock, closed } = opened();
    const host = hostWith({ guestMs: 60_000 });
    polls.apply([host]);
    await polls.libvirt(host);
    await clock.advance(pollsIdleMs - 1);
    expect(closed).toEqual([]);
    await clock.advance(1);
    expect(closed).toHaveLength(1);
    await polls.libvirt(host);
    polls.apply([hostWith({})]);
    await clock.advance(1);
    expect(closed).toHaveLength(2);
    await expect(polls.libvirt(host)).rejects.toMatchObject({ outcome: 'not-sent' });
    await polls.close();
  });
});
