import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { callsInFlightMax, callsQueuedMax, callTimeoutMs } from '../../../src/libvirt/calls.js';
import {
  closeTimeoutMs,
  type LibvirtClient,
  type LibvirtClientOptions,
} from '../../../src/libvirt/client.js';
import { domainStatsRecords, procedures } from '../../../src/libvirt/procedures.js';
import type { Frame } from '../../../src/libvirt/wire/frame.js';
import { XdrReader, XdrWriter } from '../../../src/libvirt/wire/xdr.js';
import { FakeClock, settle } from '../../support/fake-clock.js';
import { LibvirtPeer } from '../../support/libvirt-peer.js';
import { until } from '../../support/until.js';

const { connectGetHostname, connectGetVersion, domainDestroy } = procedures;
const dom = { name: 'web-1', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 };

const keepalive = { intervalMs: 1_000, countMax: 3 };

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

describe('opening', () => {
  it.each([
    [true, 1],
    [false, 0],
  ])('asks which authentication, then opens (readOnly %s)', async (readOnly, flags) => {
    const seen: unknown[] = [];
    peer.on(procedures.connectOpen, (args) => void seen.push(args));
    client = await open({ readOnly });
    expect(seen).toEqual([{ name: 'qemu:///system', flags }]);
    expect(peer.received.map(({ procedure }) => procedure)).toEqual([66, 1]);
    expect(client.readOnly).toBe(readOnly);
  });

  it('authenticates by polkit when the daemon wants it', async () => {
    peer.on(procedures.authList, () => ({ types: [2] }));
    peer.on(procedures.authPolkit, () => ({ complete: 1 }));
    client = await open();
    expect(peer.received.map(({ procedure }) => procedure)).toEqual([66, 70, 1]);
  });

  it('asks for nothing before it is let in, then for keepalive and for opening together', async () => {
    const numbers = () => peer.received.map(({ procedure }) => procedure);
    const [auth, opened] = peer.hold(procedures.authList, () => open({ keepalive }));
    const asked = await auth;
    await settle();
    expect(numbers()).toEqual([66]);
    const supports: Frame[] = [];
    peer.with(procedures.connectSupportsFeature, (call) => void supports.push(call));
    peer.reply(asked, procedures.authList.result, { types: [0] });
    await settle();
    expect(numbers()).toEqual([66, procedures.connectSupportsFeature.number, 1]);
    for (const call of supports) peer.reply(call, procedures.connectSupportsFeature.result, { supported: 1 });
    client = await opened;
  });

  it('says what to do when polkit refuses', async () => {
    peer.on(procedures.authList, () => ({ types: [2] }));
    peer.with(procedures.authPolkit, (call) =>
      peer.refuse(call, { code: 45, domain: 60, message: 'authentication failed' }),
    );
    await expect(open()).rejects.toMatchObject({
      code: 'POLKIT_DENIED',
      host: 'kvm-01',
      outcome: 'failed',
      libvirtCode: 45,
      libvirtDomain: 60,
      hint: expect.stringContaining('usermod -aG libvirt'),
    });
    expect(peer.client.destroyed).toBe(true);
  });

  it('refuses a daemon that wants a password', async () => {
    peer.on(procedures.authList, () => ({ types: [1] }));
    await expect(open()).rejects.toMatchObject({
      code: 'SOCKET_DENIED',
      message: expect.stringContaining('SASL'),
    });
  });

  it('has one deadline for all of it', async () => {
    peer.with(procedures.connectOpen, () => undefined);
    const opening = expect(open()).rejects.toMatchObject({ code: 'TIMEOUT', host: 'kvm-01' });
    await clock.advance(5_000);
    await opening;
    expect(peer.client.destroyed).toBe(true);
  });

  it('ends when it is aborted', async () => {
    peer.with(procedures.connectOpen, () => undefined);
    const stop = new AbortController();
    const opening = expect(open({ signal: stop.signal })).rejects.toMatchObject({ code: 'ABORTED' });
    await settle();
    stop.abort();
    await opening;
    expect(peer.client.destroyed).toBe(true);
  });

  it('ends at once on a stream that has ended already', async () => {
    peer.client.destroy();
    await settle();
    await expect(open()).rejects.toMatchObject({ code: 'CLOSED', outcome: 'not-sent' });
  });

  it('says where to look when the daemon hangs up', async () => {
    peer.with(procedures.authList, () => peer.server.end());
    await expect(open()).rejects.toMatchObject({
      code: 'CLOSED',
      cause: { message: 'libvirt closed the connection', hint: expect.stringContaining('journalctl') },
    });
  });
});

describe('a call', () => {
  beforeEach(async () => {
    client = await open();
  });

  it('brings the result', async () => {
    peer.on(connectGetHostname, () => ({ hostname: 'kvm-01.example.net' }));
    expect(await client.call(connectGetHostname, undefined)).toEqual({ hostname: 'kvm-01.example.net' });
    expect(client.calls).toEqual({ inFlight: 0, queued: 0, lost: 0, lateReplies: 0 });
  });

  it("keeps libvirt's own words and numbers when it is refused", async () => {
    peer.with(domainDestroy, (call) =>
      peer.refuse(call, {
        code: 55,
        domain: 10,
        message: 'Requested operation is not valid: domain is not running',
      }),
    );
    await expect(client.call(domainDestroy, { dom })).rejects.toMatchObject({
      name: 'LibvirtError',
      code: 'LIBVIRT_ERROR',
      outcome: 'failed',
      host: 'kvm-01',
      libvirtCode: 55,
      libvirtDomain: 10,
      level: 2,
      message: 'Requested operation is not valid: domain is not running',
    });
  });

  it('with arguments that cannot be written was not sent', async () => {
    const bad = client.call(procedures.domainLookupByUuid, { uuid: 'web-1' });
    await expect(bad).rejects.toMatchObject({ code: 'BAD_REQUEST', outcome: 'not-sent' });
  });

  it('that is not answered in time has an unknown outcome, and keeps its slot until the late reply', async () => {
    const [call, done] = peer.hold(domainDestroy, () =>
      client.call(domainDestroy, { dom }, { timeoutMs: 100 }),
    );
    const failed = expect(done).rejects.toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
    await clock.advance(100);
    await failed;
    expect(client.calls).toMatchObject({ inFlight: 1, lost: 1, lateReplies: 0 });
    peer.reply(await call, domainDestroy.result, undefined);
    await until('the late reply', () => client.calls.lateReplies === 1);
    expect(client.calls).toMatchObject({ inFlight: 0, lost: 0 });
  });

  it('waits for a slot, and within its own deadline', async () => {
    const held: Frame[] = [];
    peer.with(connectGetHostname, (call) => void held.push(call));
    const first = Array.from({ length: callsInFlightMax }, () => client.call(connectGetHostname, undefined));
    const late = client.call(connectGetHostname, undefined, { timeoutMs: 50 });
    const next = client.call(connectGetHostname, undefined);
    await settle();
    expect(held).toHaveLength(callsInFlightMax);
    const refused = expect(late).rejects.toMatchObject({ code: 'TIMEOUT', outcome: 'not-sent' });
    await clock.advance(50);
    await refused;
    expect(held).toHaveLength(callsInFlightMax);
    for (let answered = 0; answered < callsInFlightMax + 1; answered++) {
      await until('the call', () => held[answered]);
      peer.reply(held[answered] as Frame, connectGetHostname.result, { hostname: `answer ${answered}` });
    }
    expect((await Promise.all(first)).at(-1)).toEqual({ hostname: 'answer 4' });
    expect(await next).toEqual({ hostname: 'answer 5' });
  });

  it('beyond the queue is refused at once', async () => {
    const calls = Array.from({ length: callsInFlightMax + callsQueuedMax }, () =>
      client.call(connectGetVersion, undefined).catch((error) => error),
    );
    const error = await client.call(connectGetVersion, undefined).catch((error) => error);
    expect(error).toMatchObject({ code: 'HOST_BUSY', outcome: 'not-sent' });
    peer.server.end();
    const errors = await Promise.all(calls);
    expect(errors.filter(({ outcome }) => outcome === 'unknown')).toHaveLength(callsInFlightMax);
    expect(errors.filter(({ outcome }) => outcome === 'not-sent')).toHaveLength(callsQueuedMax);
  });

  it('ends when its signal aborts: unknown once sent, not-sent before', async () => {
    const stop = new AbortController();
    const { signal } = stop;
    peer.with(connectGetHostname, () => undefined);
    const calls = Array.from({ length: callsInFlightMax + 1 }, () =>
      client.call(connectGetHostname, undefined, { signal }).catch((error) => error),
    );
    await settle();
    stop.abort();
    const errors = await Promise.all(calls);
    expect(errors.map(({ code }) => code)).toEqual(Array(callsInFlightMax + 1).fill('ABORTED'));
    expect(errors.map(({ outcome }) => outcome)).toEqual([
      ...Array(callsInFlightMax).fill('unknown'),
      'not-sent',
    ]);
    await expect(client.call(connectGetHostname, undefined, { signal })).rejects.toMatchObject({
      outcome: 'not-sent',
    });
    expect(client.calls).toMatchObject({ inFlight: callsInFlightMax, queued: 0, lost: 0 });
  });

  it('leaves no listener on its signal', async () => {
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, 'addEventListener');
    const removed = vi.spyOn(signal, 'removeEventListener');
    peer.on(connectGetHostname, () => ({ hostname: 'x' }));
    await client.call(connectGetHostname, undefined, { signal });
    peer.with(connectGetHostname, (call) => peer.refuse(call, { code: 1, message: null }));
    await client.call(connectGetHostname, undefined, { signal }).catch(() => undefined);
    expect(added).toHaveBeenCalledTimes(2);
    expect(removed).toHaveBeenCalledTimes(2);
  });

  it('that fills the last slot with silence ends the connection', async () => {
    peer.with(connectGetHostname, () => undefined);
    const calls = Array.from({ length: callsInFlightMax }, () =>
      client.call(connectGetHostname, undefined).catch((error) => error),
    );
    const queued = client.call(connectGetVersion, undefined, { timeoutMs: 60_000 }).catch((error) => error);
    await clock.advance(callTimeoutMs);
    expect((await Promise.all(calls)).map(({ code }) => code)).toEqual(
      Array(callsInFlightMax).fill('TIMEOUT'),
    );
    expect(await client.closed).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('5 calls'),
    });
    expect(await queued).toMatchObject({ outcome: 'not-sent', cause: await client.closed });
  });
});

describe('domain stats', () => {
  const flagsOf = (call: Frame) =>
    procedures.connectGetAllDomainStats.args.read(new XdrReader(call.payload)).flags;

  beforeEach(async () => {
    client = await open();
  });

  it('do not wait for busy domains', async () => {
    peer.on(procedures.connectGetAllDomainStats, () => Buffer.alloc(4));
    expect(await client.domainStats()).toEqual([]);
    expect(peer.calls(procedures.connectGetAllDomainStats).map(flagsOf)).toEqual([0x2000_0000]);
  });

  it('wait for them where libvirt cannot leave them out, and remember it', async () => {
    peer.with(procedures.connectGetAllDomainStats, (call) => {
      if (flagsOf(call) === 0) peer.reply(call, procedures.connectGetAllDomainStats.result, Buffer.alloc(4));
      else peer.refuse(call, { code: 8, message: 'unsupported flags (0x20000000)' });
    });
    expect(await client.domainStats()).toEqual([]);
    expect(await client.domainStats()).toEqual([]);
    expect(peer.calls(procedures.connectGetAllDomainStats).map(flagsOf)).toEqual([0x2000_0000, 0, 0]);
    await expect(client.domainStats({ flags: 1 })).rejects.toMatchObject({ libvirtCode: 8 });
  });

  it('that make no sense end the connection', async () => {
    peer.on(procedures.connectGetAllDomainStats, () => Buffer.from([0, 0, 0, 1]));
    await expect(client.domainStats()).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
    expect(await client.closed).toMatchObject({ code: 'PROTOCOL_ERROR', host: 'kvm-01' });
  });
});

it('lists domains, each as the object that the newest stats named it with, while it is the same', async () => {
  client = await open();
  const uuid = (digit: string) => `${digit.repeat(8)}-0000-4000-8000-000000000000`;
  const web = { name: 'web', uuid: uuid('1'), id: 1 };
  const db = { name: 'db', uuid: uuid('2'), id: 2 };
  const writer = new XdrWriter();
  domainStatsRecords.write(
    writer,
    [web, db].map((dom) => ({ dom, params: [] })),
  );
  peer.on(procedures.connectGetAllDomainStats, () => writer.finish());
  const stats = await client.domainStats();
  const restarted = { ...db, id: 3 };
  peer.on(procedures.connectListAllDomains, () => ({ domains: [restarted, web], ret: 2 }));
  const listed = await client.listDomains(2);
  expect(listed).toEqual([restarted, web]);
  expect(listed[1]).toBe(stats[0]?.domain);
  expect(await client.listDomains(2)).toBe(listed);
  peer.on(procedures.connectListAllDomains, () => ({ domains: [web], ret: 1 }));
  expect(await client.listDomains(1)).toEqual([web]);
  expect(await client.listDomains(2)).toEqual([web]);
});

describe('closing', () => {
  it('says goodbye once', async () => {
    client = await open({ keepalive });
    await Promise.all([client.close(), client.close()]);
    await client.close();
    expect(peer.calls(procedures.connectClose)).toHaveLength(1);
    expect(await client.closed).toMatchObject({ code: 'CLOSED', message: 'closed on our side' });
    expect(peer.client.destroyed).toBe(true);
  });

  it('does not wait for a peer that is silent', async () => {
    client = await open();
    peer.with(procedures.connectClose, () => undefined);
    const closing = client.close();
    await clock.advance(closeTimeoutMs);
    await closing;
    expect(peer.client.destroyed).toBe(true);
  });

  it('happens at the end of a block', async () => {
    {
      await using scoped = await open();
      client = scoped;
    }
    expect(await client.closed).toBeInstanceOf(HostError);
  });

  it('by an error of the stream keeps its cause', async () => {
    client = await open();
    const pending = client.call(connectGetVersion, undefined).catch((error) => error);
    const cause = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    peer.client.destroy(cause);
    expect(await client.closed).toMatchObject({ code: 'CLOSED', host: 'kvm-01', cause });
    expect(await pending).toMatchObject({ code: 'CLOSED', outcome: 'unknown' });
  });
});
