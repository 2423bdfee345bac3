// Calls in the background: what polls the whole host must get through whatever hangs.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { backgroundInFlightMax } from '../../../src/libvirt/calls.js';
import type { LibvirtClient } from '../../../src/libvirt/client.js';
import { procedures } from '../../../src/libvirt/procedures.js';
import type { Frame } from '../../../src/libvirt/wire/frame.js';
import { FakeClock, settle } from '../../support/fake-clock.js';
import { LibvirtPeer } from '../../support/libvirt-peer.js';

const { connectGetHostname, connectGetVersion, domainGetXmlDesc } = procedures;
const background = { background: true, timeoutMs: 1_000 };

let peer: LibvirtPeer;
let clock: FakeClock;
let client: LibvirtClient;
let held: Frame[];

const xmlOf = (id: number) => {
  const dom = { name: `web-${id}`, uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id };
  return client.call(domainGetXmlDesc, { dom, flags: 0 }, background).catch((error) => error);
};

beforeEach(async () => {
  peer = new LibvirtPeer();
  clock = new FakeClock();
  client = await peer.open({ clock });
  held = [];
  peer.with(domainGetXmlDesc, (call) => void held.push(call));
  peer.on(connectGetVersion, () => ({ hvVer: 1 }));
});

afterEach(async () => {
  peer.client.destroy();
  await settle();
});

it('take their share of the slots and no more; others pass them', async () => {
  const calls = Array.from({ length: backgroundInFlightMax + 1 }, (_, id) => xmlOf(id));
  await settle();
  expect(held).toHaveLength(backgroundInFlightMax);
  await expect(client.call(connectGetVersion, undefined)).resolves.toEqual({ hvVer: 1 });
  const [first] = held;
  if (first) peer.reply(first, domainGetXmlDesc.result, { xml: '<a/>' });
  await settle();
  expect(held).toHaveLength(backgroundInFlightMax + 1);
  await expect(calls[0]).resolves.toEqual({ xml: '<a/>' });
});

it('that hang keep their share: the next ones are told that they were not sent', async () => {
  const hung = Array.from({ length: backgroundInFlightMax }, (_, id) => xmlOf(id));
  await settle();
  await clock.advance(1_000);
  for (const error of await Promise.all(hung))
    expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
  const next = xmlOf(99);
  await settle();
  await clock.advance(1_000);
  expect(await next).toMatchObject({ code: 'TIMEOUT', outcome: 'not-sent' });
  await expect(client.call(connectGetVersion, undefined)).resolves.toEqual({ hvVer: 1 });
});

it('is not made again while the last one for the same is unanswered', async () => {
  const hung = xmlOf(1);
  await settle();
  await clock.advance(1_000);
  await hung;
  expect(await xmlOf(1)).toMatchObject({ code: 'HOST_BUSY', outcome: 'not-sent' });
  const other = xmlOf(2);
  await settle();
  expect(held).toHaveLength(2);
  for (const call of held) peer.reply(call, domainGetXmlDesc.result, { xml: '<late/>' });
  expect(await other).toEqual({ xml: '<late/>' });
  const again = xmlOf(1);
  await settle();
  const [, , last] = held;
  if (last) peer.reply(last, domainGetXmlDesc.result, { xml: '<now/>' });
  expect(await again).toEqual({ xml: '<now/>' });
});

it('the same may be asked twice where nobody gave it up', async () => {
  peer.with(connectGetHostname, (call) => void held.push(call));
  const calls = [0, 1].map(() => client.call(connectGetHostname, undefined, background));
  await settle();
  for (const call of held) peer.reply(call, connectGetHostname.result, { hostname: 'kvm' });
  await expect(Promise.all(calls)).resolves.toHaveLength(2);
});
