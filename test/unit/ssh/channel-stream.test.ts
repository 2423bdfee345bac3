// An SSH channel as libvirt's client writes to it.
import { PassThrough } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { expect, it, vi } from 'vitest';
import { LibvirtClient } from '../../../src/libvirt/client.js';
import { procedures } from '../../../src/libvirt/procedures.js';
import { ChannelStream } from '../../../src/ssh/channel-stream.js';
import { LibvirtPeer } from '../../support/libvirt-peer.js';

it('calls of one turn leave as one packet, and each has its answer', async () => {
  const peer = new LibvirtPeer();
  const channel = Object.assign(peer.client, { stderr: new PassThrough() }) as unknown as ClientChannel;
  const write = vi.spyOn(peer.client, 'write');
  const client = await LibvirtClient.open(new ChannelStream(channel), {
    host: 'kvm-01',
    uri: 'qemu:///system',
    readOnly: true,
    timeoutMs: 5_000,
    keepalive: false,
  });
  peer.on(procedures.connectGetVersion, () => ({ hvVer: 7 }));
  peer.on(procedures.connectGetLibVersion, () => ({ libVer: 9 }));
  write.mockClear();
  const answers = await Promise.all([
    client.call(procedures.connectGetVersion, undefined),
    client.call(procedures.connectGetLibVersion, undefined),
    client.call(procedures.connectGetVersion, undefined),
  ]);
  expect(answers).toEqual([{ hvVer: 7 }, { libVer: 9 }, { hvVer: 7 }]);
  expect(write).toHaveBeenCalledTimes(1);
  await client[Symbol.asyncDispose]();
});
