import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LibvirtClient, LibvirtClientOptions } from '../../../src/libvirt/client.js';
import { eventsHeldMax, type LifecycleEvent } from '../../../src/libvirt/events.js';
import { procedures } from '../../../src/libvirt/procedures.js';
import { FakeClock, settle } from '../../support/fake-clock.js';
import { LibvirtPeer } from '../../support/libvirt-peer.js';
import { until } from '../../support/until.js';

const { connectDomainEventCallbackRegisterAny, connectDomainEventCallbackDeregisterAny } = procedures;
let peer: LibvirtPeer;
let clock: FakeClock;
let client: LibvirtClient;

const open = (options: Partial<LibvirtClientOptions> = {}) => peer.open({ clock, ...options });

beforeEach(() => {
  peer = new LibvirtPeer();
  clock = new FakeClock();
});

afterEach(async () => {
  peer.client.destroy();
  await settle();
  expect(clock.pending).toBe(0);
});

describe('lifecycle events', () => {
  let stop: AbortController;

  beforeEach(async () => {
    peer.on(connectDomainEventCallbackRegisterAny, () => ({ callbackId: 1 }));
    peer.on(connectDomainEventCallbackDeregisterAny, () => undefined);
    client = await open();
    stop = new AbortController();
  });

  const registered = () => peer.calls(connectDomainEventCallbackRegisterAny).length;
  const deregistered = () => peer.calls(connectDomainEventCallbackDeregisterAny).length;

  it('come in order, in libvirt’s words, to every subscriber', async () => {
    const one = gather(client.lifecycleEvents(stop.signal));
    const two = gather(client.lifecycleEvents(stop.signal));
    await until('the registration', registered);
    peer.lifecycle('web-1', 2, 0);
    peer.lifecycle('web-1', 5, 1);
    peer.lifecycle('web-1', 77, 3);
    await until('the events', () => one.events.length === 3 && two.events.length === 3);
    stop.abort();
    await Promise.all([one.ended, two.ended]);
    expect(one.events).toEqual(two.events);
    expect(one.events.map((event) => (event.event === 'lost' ? event : [event.event, event.detail]))).toEqual(
      [
        ['started', 'booted'],
        ['stopped', 'destroyed'],
        ['unknown', '77.3'],
      ],
    );
    expect(one.events[0]).toMatchObject({ domain: { name: 'web-1' }, at: clock.wallMs() });
    await until('the deregistration', deregistered);
    expect([registered(), deregistered()]).toEqual([1, 1]);
  });

  it('say so when a slow subscriber lost some', async () => {
    const events = client.lifecycleEvents(stop.signal);
    const first = events.next();
    await until('the registration', registered);
    for (let index = 0; index < eventsHeldMax + 11; index++) peer.lifecycle(`vm-${index}`, 4, 0);
    await first;
    await settle();
    expect((await events.next()).value).toMatchObject({ event: 'lost', count: 10 });
    expect((await events.next()).value).toMatchObject({ event: 'resumed', domain: { name: 'vm-11' } });
    await events.return();
  });

  it('end with the reason when the connection ends', async () => {
    const { ended } = gather(client.lifecycleEvents(stop.signal));
    await until('the registration', registered);
    peer.server.end();
    await expect(ended).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(client.lifecycleEvents().next()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('end with the reason when libvirt does not give any', async () => {
    peer.with(connectDomainEventCallbackRegisterAny, (call) => peer.refuse(call, { code: 3, message: 'no' }));
    await expect(client.lifecycleEvents().next()).rejects.toMatchObject({ libvirtCode: 3 });
    peer.on(connectDomainEventCallbackRegisterAny, () => ({ callbackId: 2 }));
    const { events, ended } = gather(client.lifecycleEvents(stop.signal));
    await until('the second registration', () => registered() === 2);
    peer.lifecycle('web-1', 4, 0);
    await until('the event', () => events.length);
    stop.abort();
    await ended;
  });
});

function gather(source: AsyncIterable<LifecycleEvent>): { events: LifecycleEvent[]; ended: Promise<void> } {
  const events: LifecycleEvent[] = [];
  const run = async () => {
    for await (const event of source) events.push(event);
  };
  return { events, ended: run() };
}
