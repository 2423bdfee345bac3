// The libvirt daemon's side of one connection, over any Duplex: frames in, answers out, with the caller's serial. Each argument
// is decoded with the codec that the client writes it with; one that does not fit, or bytes too many, is an RPC error and is
// counted. It refuses calls before the opening, and whatever the connection may not; it never waits for a client that does not read.
import type { Duplex } from 'node:stream';
import { errorReply } from '../libvirt/errors.js';
import { keepaliveProcedure } from '../libvirt/keepalive.js';
import {
  authType,
  connectReadOnly,
  domainEventCallbackLifecycle,
  domainEventCallbackReboot,
  eventId,
  feature,
  procedures,
} from '../libvirt/procedures.js';
import type { Codec } from '../libvirt/wire/codec.js';
import {
  encodeFrame,
  type Frame,
  FrameReader,
  frameStatus,
  frameType,
  program,
} from '../libvirt/wire/frame.js';
import { XdrReader, XdrWriter } from '../libvirt/wire/xdr.js';
import { answers, LateRefusal, readable } from './answers.js';
import type { FaultAction, Faults } from './faults.js';
import type { SimEvent, SimHost } from './host.js';
import { invalid, Refusal, refusalCode, refusalDomain } from './refusal.js';

/** What a client was caught at, over all connections of a host. */
export type ResponderFigures = {
  calls: number;
  badArguments: number;
  unknownProcedures: number;
  events: number;
};

export type ResponderOptions = {
  host: SimHost;
  faults: Faults;
  figures: ResponderFigures;
  /** Of the socket: its clients may read. */
  readOnly: boolean;
  /** Of two answers that are ready together, the later call is answered first. */
  outOfOrder?: boolean;
};

type Declared = { name: string; number: number; args: Codec<unknown>; result: Codec<unknown> };
const byNumber = new Map(
  Object.values(procedures).map((known) => [known.number, known as unknown as Declared]),
);

/** A client that lets so much lie unread is cut off. */
const unreadBytesMax = 32 * 1024 * 1024;
/** libvirt's own limit of callbacks of a client. */
const callbacksMax = 1_024;

export function serveLibvirt(stream: Duplex, options: ResponderOptions): void {
  new Responder(stream, options);
}

class Responder {
  readonly #stream: Duplex;
  readonly #o: ResponderOptions;
  readonly #reader = new FrameReader();
  /** Callback → kind of event. */
  readonly #callbacks = new Map<number, number>();
  #nextCallback = 0;
  #authenticated: boolean;
  #opened = false;
  #readOnly: boolean;
  #hung = false;
  #held: (() => void)[] | undefined;
  readonly #unlisten: () => void;

  constructor(stream: Duplex, options: ResponderOptions) {
    this.#stream = stream;
    this.#o = options;
    this.#readOnly = options.readOnly;
    this.#authenticated = options.readOnly;
    this.#unlisten = options.host.listen((event) => this.#tell(event));
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', () => stream.destroy());
    stream.on('end', () => stream.end());
    stream.on('close', () => this.#unlisten());
  }

  #receive(chunk: Buffer): void {
    if (this.#hung) return;
    try {
      this.#reader.push(chunk, (frame) => this.#take(frame));
    } catch {
      this.#stream.destroy();
    }
  }

  #take(frame: Frame): void {
    if (frame.program === program.keepalive) {
      if (frame.procedure === keepaliveProcedure.ping && !this.#hung) {
        this.#send({ ...frame, procedure: keepaliveProcedure.pong }, Buffer.alloc(0));
      }
      return;
    }
    this.#o.figures.calls++;
    const known = byNumber.get(frame.procedure);
    const fault = known && this.#o.faults.at(known.name);
    if (fault) this.#suffer(fault, frame, known);
    else this.#answer(frame, known);
  }

  #suffer(fault: FaultAction, frame: Frame, known: Declared): void {
    switch (fault.action) {
      case 'delay':
        this.#o.host.clock.after(fault.delayMs, () => this.#answer(frame, known));
        return;
      case 'error':
        this.#refuse(
          frame,
          new Refusal(
            fault.code ?? refusalCode.internal,
            fault.message ?? 'internal error: a simulated fault',
          ),
        );
        return;
      case 'garbage':
        this.#stream.write(Buffer.alloc(64, 0xff));
        return;
      case 'hang':
        this.#hung = true;
        return;
      case 'close':
        this.#stream.destroy();
        return;
      default:
        return;
    }
  }

  #answer(frame: Frame, known: Declared | undefined): void {
    if (this.#hung || this.#stream.destroyed) return;
    try {
      if (frame.program !== program.remote || !known) throw this.#unknown(frame);
      const result = this.#result(known, this.#argumentsOf(frame, known));
      // Statistics come encoded, in room that the next ones use again.
      const payload = Buffer.isBuffer(result) ? result : encoded(known, result);
      this.#reply({ ...frame, type: frameType.reply, status: frameStatus.ok }, payload);
    } catch (error) {
      const refusal =
        error instanceof Refusal
          ? error
          : new Refusal(refusalCode.internal, `internal error: ${String(error)}`);
      if (refusal instanceof LateRefusal) {
        this.#o.host.clock.after(refusal.afterMs, () => this.#refuse(frame, refusal));
      } else this.#refuse(frame, refusal);
    }
  }

  #unknown({ program: number, procedure }: Frame): Refusal {
    this.#o.figures.unknownProcedures++;
    const what =
      number === program.remote ? `unknown procedure: ${procedure}` : `Cannot find program ${number}`;
    return new Refusal(refusalCode.rpc, what, refusalDomain.rpc);
  }

  #argumentsOf({ payload }: Frame, { name, args }: Declared): unknown {
    const reader = new XdrReader(payload);
    let value: unknown;
    try {
      value = args.read(reader);
    } catch {
      throw this.#badArguments(`Unable to decode message payload of ${name}`);
    }
    if (reader.remaining > 0) throw this.#badArguments(`${reader.remaining} bytes too many in ${name}`);
    return value;
  }

  #badArguments(message: string): Refusal {
    this.#o.figures.badArguments++;
    return new Refusal(refusalCode.rpc, message, refusalDomain.rpc);
  }

  #result({ name }: Declared, args: unknown): unknown {
    const own = ofTheConnection[name];
    if (own) return own.call(this.#connection, args as never);
    if (!this.#authenticated)
      throw new Refusal(refusalCode.rpc, 'authentication required', refusalDomain.rpc);
    if (!this.#opened) throw new Refusal(refusalCode.rpc, 'connection not open', refusalDomain.rpc);
    if (this.#readOnly && !readable.has(name)) throw readOnlyRefusal(name);
    if (this.#readOnly && asksAgent(name, args)) throw readOnlyRefusal(name);
    const answer = answers[name as keyof typeof answers] as (host: SimHost, args: unknown) => unknown;
    return answer(this.#o.host, args);
  }

  /** What `ofTheConnection` may do here. */
  readonly #connection: Connection = {
    authTypes: () => [this.#o.readOnly ? authType.none : authType.polkit],
    authenticate: () => {
      this.#authenticated = true;
    },
    open: (uri, flags) => {
      if (!this.#authenticated)
        throw new Refusal(refusalCode.rpc, 'authentication required', refusalDomain.rpc);
      if (this.#opened) throw new Refusal(refusalCode.rpc, 'connection already open', refusalDomain.rpc);
      if (uri !== null && uri !== '' && !uri.startsWith('qemu:')) {
        throw new Refusal(refusalCode.noConnect, `no connection driver available for ${uri}`);
      }
      this.#opened = true;
      this.#readOnly ||= (flags & connectReadOnly) !== 0;
    },
    register: (kind) => {
      if (this.#callbacks.size >= callbacksMax) throw new Refusal(refusalCode.rpc, 'too many callbacks');
      const callbackId = this.#nextCallback++;
      this.#callbacks.set(callbackId, kind);
      return callbackId;
    },
    deregister: (callbackId) => {
      if (this.#callbacks.delete(callbackId)) return;
      throw new Refusal(
        refusalCode.invalidArg,
        `invalid argument: domain event callback ${callbackId} not registered`,
      );
    },
  };

  #tell(event: SimEvent): void {
    const kind = event.event === 'reboot' ? eventId.reboot : eventId.lifecycle;
    for (const [callbackId, wanted] of this.#callbacks) {
      if (wanted !== kind || this.#hung) continue;
      const writer = new XdrWriter();
      let { number } = domainEventCallbackReboot;
      if (event.event === 'reboot')
        domainEventCallbackReboot.message.write(writer, { callbackId, dom: event.vm });
      else {
        number = domainEventCallbackLifecycle.number;
        const { vm: dom, event: which, detail } = event;
        domainEventCallbackLifecycle.message.write(writer, { callbackId, dom, event: which, detail });
      }
      this.#o.figures.events++;
      const header = { program: program.remote, version: 1, procedure: number, serial: 0 };
      this.#send({ ...header, type: frameType.event, status: frameStatus.ok }, writer.finish());
    }
  }

  #refuse(frame: Frame, { code, domain, message }: Refusal): void {
    const writer = new XdrWriter();
    errorReply.write(writer, { code, domain, message, level: 2 });
    // The fields that follow in virNetMessageError, empty: dom, str1 to str3, int1, int2, net.
    for (let left = 7; left > 0; left--) writer.int(0);
    this.#reply({ ...frame, type: frameType.reply, status: frameStatus.error }, writer.finish());
  }

  #reply(header: Omit<Frame, 'payload'>, payload: Buffer): void {
    const bytes = encodeFrame(header, payload);
    if (!this.#o.outOfOrder) {
      this.#write(bytes);
      return;
    }
    const send = () => this.#write(bytes);
    if (this.#held) {
      this.#held.push(send);
      return;
    }
    const held = [send];
    this.#held = held;
    setImmediate(() => {
      this.#held = undefined;
      for (const late of held.reverse()) late();
    });
  }

  #send(header: Omit<Frame, 'payload'>, payload: Buffer): void {
    this.#write(encodeFrame(header, payload));
  }

  #write(bytes: Buffer): void {
    if (this.#stream.destroyed || this.#hung) return;
    this.#stream.write(bytes);
    if (this.#stream.writableLength > unreadBytesMax) this.#stream.destroy();
  }
}

function encoded(known: Declared, result: unknown): Buffer {
  const writer = new XdrWriter();
  known.result.write(writer, result);
  return writer.finish();
}

type Connection = {
  authTypes(): number[];
  authenticate(): void;
  open(uri: string | null, flags: number): void;
  register(kind: number): number;
  deregister(callbackId: number): void;
};

const ofTheConnection: Record<string, (this: Connection, args: never) => unknown> = {
  authList() {
    return { types: this.authTypes() };
  },
  authPolkit() {
    this.authenticate();
    return { complete: 1 };
  },
  connectOpen({ name, flags }: { name: string | null; flags: number }) {
    this.open(name, flags);
  },
  connectClose: () => undefined,
  connectSupportsFeature: ({ feature: asked }: { feature: number }) => ({
    supported: asked === feature.programKeepalive ? 1 : 0,
  }),
  connectDomainEventCallbackRegisterAny({ eventId: kind }: { eventId: number }) {
    if (kind !== eventId.lifecycle && kind !== eventId.reboot)
      throw invalid(`event ${kind} is not simulated`);
    return { callbackId: this.register(kind) };
  },
  connectDomainEventCallbackDeregisterAny({ callbackId }: { callbackId: number }) {
    this.deregister(callbackId);
  },
};

function asksAgent(name: string, args: unknown): boolean {
  return name === 'domainInterfaceAddresses' && (args as { source: number }).source === 1;
}

function readOnlyRefusal(name: string): Refusal {
  const message = `operation forbidden: read only access prevents vir${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  return new Refusal(refusalCode.operationDenied, message);
}
