// The libvirt side alone, byte by byte where the client would never go: wrong arguments, no opening, order of answers.
import { duplexPair } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { errorReply } from '../../../src/libvirt/errors.js';
import { procedures } from '../../../src/libvirt/procedures.js';
import { encodeFrame, type Frame, FrameReader, frameType, program } from '../../../src/libvirt/wire/frame.js';
import { XdrReader, XdrWriter } from '../../../src/libvirt/wire/xdr.js';
import { answers, readable } from '../../../src/sim/answers.js';
import { Faults } from '../../../src/sim/faults.js';
import { SimHost } from '../../../src/sim/host.js';
import { type ResponderFigures, serveLibvirt } from '../../../src/sim/responder.js';
import { FakeClock } from '../../support/fake-clock.js';
import { until } from '../../support/until.js';

type Call = { serial: number; number: number; payload?: Buffer; program?: number };

class Peer {
  readonly replies: Frame[] = [];
  readonly figures: ResponderFigures = { calls: 0, badArguments: 0, unknownProcedures: 0, events: 0 };
  readonly host = new SimHost({ name: 'kvm-01', seed: 1, vms: 2, clock: new FakeClock() });
  readonly #client;

  constructor(options: { readOnly?: boolean; outOfOrder?: boolean } = {}) {
    const [client, server] = duplexPair();
    this.#client = client;
    const reader = new FrameReader();
    client.on('data', (chunk: Buffer) => reader.push(chunk, (frame) => this.replies.push(frame)));
    const faults = new Faults('kvm-01', [], 1);
    serveLibvirt(server, { host: this.host, faults, figures: this.figures, readOnly: true, ...options });
  }

  send(...calls: Call[]): void {
    const frames = calls.map(({ serial, number, payload = Buffer.alloc(0), program: of = program.remote }) =>
      encodeFrame(
        { program: of, version: 1, procedure: number, type: frameType.call, serial, status: 0 },
        payload,
      ),
    );
    this.#client.write(Buffer.concat(frames));
  }

  /** 0 where it was done, else libvirt's code. */
  async ask(call: Call): Promise<number> {
    this.send(call);
    const reply = await until('the reply', () => this.replies.find(({ serial }) => serial === call.serial));
    return reply.status === 0 ? 0 : errorReply.read(new XdrReader(reply.payload)).code;
  }

  async open(): Promise<void> {
    const writer = new XdrWriter();
    procedures.connectOpen.args.write(writer, { name: 'qemu:///system', flags: 0 });
    expect(await this.ask({ serial: 100, number: 1, payload: writer.finish() })).toBe(0);
  }
}

describe('the responder', () => {
  it('counts and refuses arguments that are cut short, and bytes too many', async () => {
    const peer = new Peer();
    await peer.open();
    expect(
      await peer.ask({
        serial: 1,
        number: procedures.connectListAllDomains.number,
        payload: Buffer.alloc(4),
      }),
    ).toBe(39);
    expect(
      await peer.ask({ serial: 2, number: procedures.connectGetHostname.number, payload: Buffer.alloc(4) }),
    ).toBe(39);
    expect(await peer.ask({ serial: 3, number: procedures.connectGetHostname.number })).toBe(0);
    expect(peer.figures).toMatchObject({ badArguments: 2, unknownProcedures: 0 });
  });

  it('refuses procedures and programs that there are not', async () => {
    const peer = new Peer();
    await peer.open();
    expect(await peer.ask({ serial: 1, number: 9_999 })).toBe(39);
    expect(await peer.ask({ serial: 2, number: 59, program: 0x20008087 })).toBe(39);
    expect(peer.figures.unknownProcedures).toBe(2);
  });

  it('wants the opening first, and authentication on the read-write socket', async () => {
    const { number } = procedures.connectGetHostname;
    expect(await new Peer().ask({ serial: 1, number })).toBe(39);
    const writer = new Peer({ readOnly: false });
    expect(await writer.ask({ serial: 1, number })).toBe(39);
    expect(await writer.ask({ serial: 2, number: procedures.authPolkit.number })).toBe(0);
    await writer.open();
    expect(await writer.ask({ serial: 3, number })).toBe(0);
  });

  it('answers each call under its serial, in the other order where it is asked to', async () => {
    for (const [outOfOrder, order] of [
      [false, [1, 2, 3]],
      [true, [3, 2, 1]],
    ] as const) {
      const peer = new Peer({ outOfOrder });
      await peer.open();
      peer.replies.length = 0;
      peer.send(...[1, 2, 3].map((serial) => ({ serial, number: procedures.connectGetHostname.number })));
      await until('the replies', () => peer.replies.length === 3);
      expect(peer.replies.map(({ serial }) => serial)).toEqual(order);
    }
  });

  it('has an answer to every procedure that is declared, and lets readers only read', () => {
    const own = ['authList', 'authPolkit', 'connectOpen', 'connectClose', 'connectSupportsFeature'];
    const events = ['connectDomainEventCallbackRegisterAny', 'connectDomainEventCallbackDeregisterAny'];
    expect([...Object.keys(answers), ...own, ...events].sort()).toEqual(Object.keys(procedures).sort());
    const writes = [...readable].filter((name) =>
      /Create|Destroy|Set|Undefine|Delete|Reset|Suspend|Resume/.test(name),
    );
    expect(writes).toEqual([]);
  });
});
