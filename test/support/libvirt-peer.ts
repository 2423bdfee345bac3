// The other end of a libvirt connection, for faults in time and bytes that a real libvirtd does not commit on request. It
// answers the opening like libvirt, and each further call as the test says. It refuses to invent answers: a call without
// an answer stays open.
import { type Duplex, duplexPair } from 'node:stream';
import { LibvirtClient, type LibvirtClientOptions } from '../../src/libvirt/client.js';
import { errorReply } from '../../src/libvirt/errors.js';
import { domainEventCallbackLifecycle, procedures } from '../../src/libvirt/procedures.js';
import { type Codec, nothing } from '../../src/libvirt/wire/codec.js';
import { encodeFrame, type Frame, FrameReader, frameType, program } from '../../src/libvirt/wire/frame.js';
import { XdrReader, XdrWriter } from '../../src/libvirt/wire/xdr.js';

type Declared<A, R> = { name: string; number: number; args: Codec<A>; result: Codec<R> };
type Answer = (call: Frame, peer: LibvirtPeer) => void;

export class LibvirtPeer {
  /** For the client under test. */
  readonly client: Duplex;
  readonly server: Duplex;
  /** Every frame that came, in order. */
  readonly received: Frame[] = [];
  readonly #answers = new Map<number, Answer>();
  readonly #reader = new FrameReader();

  constructor() {
    [this.client, this.server] = duplexPair();
    this.on(procedures.authList, () => ({ types: [0] }));
    this.on(procedures.connectOpen, () => undefined);
    this.on(procedures.connectClose, () => undefined);
    this.on(procedures.connectSupportsFeature, () => ({ supported: 1 }));
    this.server.on('data', (chunk: Buffer) => this.#reader.push(chunk, (frame) => this.#take(frame)));
    this.server.on('error', () => undefined);
  }

  /** Answers every call of `procedure` at once. */
  on<A, R>(procedure: Declared<A, R>, result: (args: A) => R): void {
    this.#answers.set(procedure.number, (call) => {
      this.reply(call, procedure.result, result(procedure.args.read(new XdrReader(call.payload))));
    });
  }

  /** Does what the test says with every call of `procedure`. */
  with<A, R>(procedure: Declared<A, R>, answer: Answer): void {
    this.#answers.set(procedure.number, answer);
  }

  /** Starts a call whose frame the test answers itself. */
  hold<A, R, T>(
    procedure: Declared<A, R>,
    start: () => Promise<T>,
  ): [call: Promise<Frame>, done: Promise<T>] {
    const call = new Promise<Frame>((resolve) => {
      this.with(procedure, resolve);
    });
    return [call, start()];
  }

  open(options: Partial<LibvirtClientOptions>): Promise<LibvirtClient> {
    const defaults = {
      host: 'kvm-01',
      uri: 'qemu:///system',
      readOnly: true,
      timeoutMs: 5_000,
      keepalive: false,
    } as const;
    return LibvirtClient.open(this.client, { ...defaults, ...options });
  }

  calls({ number }: { number: number }): Frame[] {
    return this.received.filter((frame) => frame.program === program.remote && frame.procedure === number);
  }

  reply<R>(call: Frame, result: Codec<R>, value: R): void {
    this.send({ ...call, type: frameType.reply, status: 0 }, result, value);
  }

  refuse(call: Frame, error: { code: number; domain?: number; message: string | null }): void {
    this.send({ ...call, type: frameType.reply, status: 1 }, errorReply, { domain: 0, level: 2, ...error });
  }

  lifecycle(name: string, event: number, detail: number): void {
    const dom = { name, uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 };
    const { number, message } = domainEventCallbackLifecycle;
    this.send({ procedure: number, type: frameType.event }, message, { callbackId: 1, dom, event, detail });
  }

  /** 1 = PING, 2 = PONG. */
  keepalive(procedure: number): void {
    this.send({ program: program.keepalive, procedure, type: frameType.event }, nothing, undefined);
  }

  send<T>(header: Partial<Frame> & { procedure: number; type: number }, codec: Codec<T>, value: T): void {
    const writer = new XdrWriter();
    codec.write(writer, value);
    const whole = { program: program.remote, version: 1, serial: 0, status: 0, ...header };
    this.server.write(encodeFrame(whole, writer.finish()));
  }

  #take(frame: Frame): void {
    this.received.push(frame);
    if (frame.program === program.remote) this.#answers.get(frame.procedure)?.(frame, this);
  }
}

/** A small deterministic generator (mulberry32): the same seed, the same numbers in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
