import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LibvirtClient, LibvirtClientOptions } from '../../../src/libvirt/client.js';
import { procedures } from '../../../src/libvirt/procedures.js';
import { encodeFrame, type Frame, frameBytesMax, program } from '../../../src/libvirt/wire/frame.js';
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

describe('bytes that make no sense', () => {
  beforeEach(async () => {
    client = await open();
  });

  const header = { program: program.remote, version: 1, procedure: 59, type: 1, serial: 99, status: 0 };
  const length = (bytes: number) => {
    const word = Buffer.alloc(4);
    word.writeUInt32BE(bytes);
    return word;
  };

  it.each([
    ['a length that is too long', length(frameBytesMax + 1)],
    ['a length that is too short', length(3)],
    ['text', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['an unknown program', encodeFrame({ ...header, program: 1 }, Buffer.alloc(0))],
    ['an unknown version', encodeFrame({ ...header, version: 2 }, Buffer.alloc(0))],
    ['a reply to no call', encodeFrame(header, Buffer.alloc(0))],
    ['a stream', encodeFrame({ ...header, type: 3 }, Buffer.alloc(0))],
    ['a call', encodeFrame({ ...header, type: 0 }, Buffer.alloc(0))],
    ['an event cut short', encodeFrame({ ...header, type: 2, procedure: 318 }, Buffer.alloc(4))],
  ])('(%s) end the connection', async (_, bytes) => {
    const pending = client.call(domainDestroy, { dom }).catch((error) => error);
    await settle();
    peer.server.write(bytes);
    expect(await client.closed).toMatchObject({ code: 'PROTOCOL_ERROR', host: 'kvm-01' });
    expect(await pending).toMatchObject({ code: 'PROTOCOL_ERROR', outcome: 'unknown', host: 'kvm-01' });
    expect(peer.client.destroyed).toBe(true);
    await expect(client.call(connectGetVersion, undefined)).rejects.toMatchObject({ outcome: 'not-sent' });
  });

  it.each([
    ['of another procedure', (call: Frame) => ({ ...call, type: 1, procedure: 60 })],
    ['with an unknown status', (call: Frame) => ({ ...call, type: 1, status: 2 })],
    ['cut short', (call: Frame) => ({ ...call, type: 1 })],
    ['that is a refusal cut short', (call: Frame) => ({ ...call, type: 1, status: 1 })],
  ])('(a reply %s) end the connection', async (_, reply) => {
    peer.with(
      connectGetHostname,
      (call) => void peer.server.write(encodeFrame(reply(call), Buffer.alloc(0))),
    );
    await expect(client.call(connectGetHostname, undefined)).rejects.toMatchObject({
      code: 'PROTOCOL_ERROR',
    });
    expect(await client.closed).toMatchObject({ code: 'PROTOCOL_ERROR' });
  });

  it('(half a packet, then silence) leave the deadline in charge', async () => {
    const [call, done] = peer.hold(domainDestroy, () =>
      client.call(domainDestroy, { dom }, { timeoutMs: 100 }),
    );
    peer.server.write(encodeFrame({ ...(await call), type: 1 }, Buffer.alloc(64)).subarray(0, 40));
    const failed = expect(done).rejects.toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
    await clock.advance(100);
    await failed;
  });

  it('(events that nobody knows) are passed over', async () => {
    peer.server.write(encodeFrame({ ...header, type: 2, procedure: 9999 }, Buffer.alloc(8)));
    peer.on(connectGetHostname, () => ({ hostname: 'x' }));
    expect(await client.call(connectGetHostname, undefined)).toEqual({ hostname: 'x' });
  });
});

describe('keepalive', () => {
  it('answers PING, also while a call is open', async () => {
    client = await open();
    peer.keepalive(1);
    const pong = await until('a PONG', () =>
      peer.received.find((frame) => frame.program === program.keepalive),
    );
    expect(pong).toMatchObject({ version: 1, procedure: 2, type: 2, serial: 0, status: 0 });
  });

  it('does not pile up PONGs for a peer that does not read', async () => {
    client = await open();
    peer.server.pause();
    for (let ping = 0; ping < 20_000; ping++) peer.keepalive(1);
    await settle();
    expect(peer.client.writableLength).toBeLessThan(256 * 1024);
  });

  it('asks only after silence, and gives a dead peer up', async () => {
    client = await open({ keepalive });
    const pings = () => peer.received.filter((frame) => frame.program === program.keepalive).length;
    await clock.advance(1_000);
    expect(pings()).toBe(0);
    await clock.advance(1_000);
    expect(pings()).toBe(1);
    peer.keepalive(2);
    await settle();
    await clock.advance(1_000);
    expect(pings()).toBe(1);
    await clock.advance(3_000);
    expect(pings()).toBe(4);
    const pending = client.call(domainDestroy, { dom }).catch((error) => error);
    await clock.advance(1_000);
    expect(await client.closed).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('no sign of life'),
    });
    expect(await pending).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
  });

  it('is left alone when the daemon does not know it', async () => {
    peer.on(procedures.connectSupportsFeature, () => ({ supported: 0 }));
    client = await open({ keepalive });
    await clock.advance(60_000);
    expect(clock.pending).toBe(0);
    expect(peer.received.some((frame) => frame.program === program.keepalive)).toBe(false);
  });
});
