// A libvirt connection over any Duplex: a unix socket, an SSH channel, a helper's stdin and stdout. It joins the codec, the
// calls, the keepalive and the events, and owns the stream: whatever goes wrong on it ends it once, with a reason that
// every caller gets. It refuses to reconnect, and to go on after bytes that make no sense.
import type { Duplex } from 'node:stream';
import { afterAnswer, batchWrites } from '../core/batched-writes.js';
import { type Clock, systemClock } from '../core/clock.js';
import { within } from '../core/deadline.js';
import { asHostError, HostError } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import { type CallFigures, type CallOptions, Calls } from './calls.js';
import { DomainLists } from './domain-list.js';
import { LibvirtError, libvirtCode } from './errors.js';
import { EventBuffer, type LifecycleEvent, lifecycleEvent, rebootEvent } from './events.js';
import { Keepalive, type KeepaliveOptions, keepaliveDefault, keepaliveProcedure } from './keepalive.js';
import {
  authType,
  connectReadOnly,
  type DomainRef,
  domainEventCallbackLifecycle,
  domainEventCallbackReboot,
  eventId,
  feature,
  type Procedure,
  procedures,
} from './procedures.js';
import { type DomainStats, statsFlag, statsGroupsDefault } from './stats.js';
import { DomainStatsDecoder } from './stats-decoder.js';
import {
  encodeFrame,
  type Frame,
  type FrameHeader,
  FrameReader,
  frameStatus,
  frameType,
  program,
  programVersion,
} from './wire/frame.js';
import { protocolError, XdrReader } from './wire/xdr.js';

/** For the farewell, and for the peer to hang up after it. */
export const closeTimeoutMs = 2_000;

const emptyPayload: Buffer = Buffer.alloc(0);
const closedHint = 'look at what libvirt says on the host: `journalctl -u libvirtd -u virtqemud`';

export type LibvirtClientOptions = {
  /** Inventory name, for errors and the log. */
  host: string;
  /** What the daemon opens: `qemu:///system`. */
  uri: string;
  readOnly: boolean;
  /** For the whole opening. */
  timeoutMs: number;
  signal?: AbortSignal;
  /** `false`: no PINGs of ours; the peer's are answered all the same. */
  keepalive?: KeepaliveOptions | false;
  log?: Log;
  clock?: Clock;
};

export type { CallOptions } from './calls.js';

export class LibvirtClient implements AsyncDisposable {
  readonly host: string;
  readonly readOnly: boolean;
  /** Resolves, and never rejects, when the connection has ended, with the reason. */
  readonly closed: Promise<HostError>;

  readonly #duplex: Duplex;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #calls: Calls;
  // A reply is decoded when it is taken.
  readonly #frames = new FrameReader({ lend: true });
  readonly #stats: Procedure<{ doms: never[]; stats: number; flags: number }, DomainStats[]>;
  readonly #lists = new DomainLists();
  /** Those of the newest statistics. */
  #domains: readonly DomainRef[] = [];
  /** Libvirt before 4.5 does not know `nowait`. */
  #statsFlags: number = statsFlag.nowait;
  /** Each with the kinds of events that it wants. */
  readonly #subscribers = new Map<EventBuffer, readonly number[]>();
  #closing: Promise<void> | undefined;
  /** By kind of event. */
  readonly #callbacks = new Map<number, Promise<{ callbackId: number }>>();
  #keepalive: Keepalive | undefined;
  #ended: HostError | undefined;
  #resolveClosed: (reason: HostError) => void = () => undefined;

  private constructor(duplex: Duplex, options: LibvirtClientOptions) {
    this.host = options.host;
    this.readOnly = options.readOnly;
    this.#duplex = batchWrites(duplex, afterAnswer);
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#calls = new Calls({
      host: this.host,
      clock: this.#clock,
      send: (procedure, serial, payload) =>
        this.#send(
          {
            program: program.remote,
            version: programVersion,
            procedure,
            type: frameType.call,
            serial,
            status: frameStatus.ok,
          },
          payload,
        ),
      onExhausted: (error) => this.#end(error),
    });
    const decoder = new DomainStatsDecoder();
    this.#stats = {
      ...procedures.connectGetAllDomainStats,
      result: {
        read: (reader) => {
          const stats = decoder.read(reader);
          this.#domains = stats.map(({ domain }) => domain);
          return stats;
        },
      },
    };
    duplex.on('data', (chunk: Buffer) => this.#receive(chunk));
    duplex.once('end', () => this.#end(this.#closedError('libvirt closed the connection', closedHint)));
    duplex.once('close', () => this.#end(this.#closedError('the way to libvirt was closed')));
    duplex.on('error', (cause) => this.#end(this.#brokenError(cause)));
    if (duplex.errored) this.#end(this.#brokenError(duplex.errored));
    else if (duplex.destroyed) this.#end(this.#closedError('the way to libvirt was closed'));
  }

  /** Opens libvirt on `duplex` and owns it from then on, also when the opening fails. */
  static async open(duplex: Duplex, options: LibvirtClientOptions): Promise<LibvirtClient> {
    const client = new LibvirtClient(duplex, options);
    try {
      await client.#handshake(options);
      return client;
    } catch (error) {
      client.#end(asHostError(error, { host: options.host }));
      throw error;
    }
  }

  /** What is under way: for logs and metrics. */
  get calls(): CallFigures {
    return this.#calls.figures;
  }

  /** Rejects with a HostError; its `outcome` says whether libvirt may have done what was asked. */
  call<A, R>(procedure: Procedure<A, R>, args: A, options: CallOptions = {}): Promise<R> {
    return this.#calls.call(procedure, args, options);
  }

  /** All domains in one call. By default busy ones are not waited for, and some of their figures miss. */
  async domainStats(options: CallOptions & { flags?: number; groups?: number } = {}): Promise<DomainStats[]> {
    const { flags = this.#statsFlags, groups = statsGroupsDefault } = options;
    const ask = (flags: number) => this.call(this.#stats, { doms: [], stats: groups, flags }, options);
    try {
      return await ask(flags);
    } catch (error) {
      const refused = error instanceof LibvirtError && error.libvirtCode === libvirtCode.invalidArg;
      if (!refused || options.flags !== undefined || flags === 0) throw error;
      this.#log.info({ host: this.host }, 'libvirt is too old to leave busy VMs out: it will wait for them');
      this.#statsFlags = 0;
      return await ask(0);
    }
  }

  /** `flags`: which ones. A domain that `domainStats` told of is the same object here: many samples name it, and hold it once. */
  listDomains(flags: number, options: CallOptions = {}): Promise<readonly DomainRef[]> {
    const procedure = {
      ...procedures.connectListAllDomains,
      result: { read: (reader: XdrReader) => this.#lists.read(flags, reader, this.#domains) },
    };
    return this.call(procedure, { needResults: 1, flags }, options);
  }

  /**
   * Lifecycle events of all domains, from the first `next()` on. Ends when `signal` aborts; throws the reason when the
   * connection ends. A subscriber too slow for `eventsHeldMax` events gets a `lost` event in place of the oldest.
   * With `reboots`, also `rebooted` where a guest was reset.
   */
  async *lifecycleEvents(
    signal?: AbortSignal,
    { reboots = false }: { reboots?: boolean } = {},
  ): AsyncGenerator<LifecycleEvent, void, void> {
    const buffer = new EventBuffer();
    const kinds = reboots ? [eventId.lifecycle, eventId.reboot] : [eventId.lifecycle];
    this.#subscribers.set(buffer, kinds);
    for (const kind of kinds) {
      this.#registerCallback(kind).catch((error) => buffer.end(asHostError(error, { host: this.host })));
    }
    try {
      yield* buffer.drain(signal);
    } finally {
      this.#subscribers.delete(buffer);
      const wanted = new Set([...this.#subscribers.values()].flat());
      for (const kind of kinds) if (!wanted.has(kind)) this.#deregisterCallback(kind);
    }
  }

  /** Says goodbye and hangs up; settles within `closeTimeoutMs` whatever the peer does. Calls under way are rejected. */
  close(): Promise<void> {
    this.#closing ??= this.#sayGoodbye();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #sayGoodbye(): Promise<void> {
    const goodbye = this.call(procedures.connectClose, undefined, { timeoutMs: closeTimeoutMs });
    await goodbye.catch(() => undefined);
    this.#end(this.#closedError('closed on our side'));
  }

  #handshake({ uri, timeoutMs, signal, keepalive = keepaliveDefault }: LibvirtClientOptions): Promise<void> {
    // No signal for the calls: when the wait ends early, the connection does, and all calls with it.
    const open = async () => {
      await this.#authenticate({ timeoutMs });
      await Promise.all([
        // In one packet, in libvirt's own order: whether it knows keepalive is asked before it opens.
        keepalive && this.#startKeepalive(keepalive, { timeoutMs }),
        this.call(
          procedures.connectOpen,
          { name: uri, flags: this.readOnly ? connectReadOnly : 0 },
          { timeoutMs },
        ),
      ]);
    };
    const onTimeout = () =>
      new HostError('TIMEOUT', {
        host: this.host,
        outcome: 'unknown',
        message: `libvirt did not open within ${timeoutMs} ms`,
        hint: 'look whether libvirtd on the host is stopped or overloaded',
      });
    return within(open, { timeoutMs, onTimeout, signal, clock: this.#clock });
  }

  async #authenticate(options: CallOptions): Promise<void> {
    const { types } = await this.call(procedures.authList, undefined, options);
    if (types.length === 0 || types.includes(authType.none)) return;
    if (types.includes(authType.polkit)) {
      await this.call(procedures.authPolkit, undefined, options);
      return;
    }
    throw new HostError('SOCKET_DENIED', {
      host: this.host,
      message: 'libvirt asks for a password (SASL), which Outrigger does not have',
      hint: 'set auth_unix_ro and auth_unix_rw to "polkit" or "none" in libvirtd.conf on the host',
    });
  }

  async #startKeepalive(keepalive: KeepaliveOptions, options: CallOptions): Promise<void> {
    const asked = { feature: feature.programKeepalive };
    const { supported } = await this.call(procedures.connectSupportsFeature, asked, options);
    if (supported === 0 || this.#ended) return;
    this.#keepalive = new Keepalive(
      { ...keepalive, host: this.host, clock: this.#clock },
      () => this.#sendKeepalive(keepaliveProcedure.ping),
      (error) => this.#end(error),
    );
  }

  #receive(chunk: Buffer): void {
    if (this.#ended) return;
    this.#keepalive?.heard();
    try {
      this.#frames.push(chunk, this.#route);
    } catch (cause) {
      this.#end(this.#nonsenseError(cause));
    }
  }

  readonly #route = (frame: Frame): void => {
    if (this.#ended) return;
    if (frame.version !== programVersion) throw protocolError(`version ${frame.version} of a program`);
    if (frame.program === program.keepalive) this.#answerPing(frame);
    else if (frame.program !== program.remote) throw protocolError(`the unknown program ${frame.program}`);
    else if (frame.type === frameType.reply) this.#calls.reply(frame);
    else if (frame.type === frameType.event) this.#deliver(frame);
    else throw protocolError(`a packet of type ${frame.type}, which was not asked for`);
  };

  /** A peer that does not read gets no more PONGs: they would pile up here. */
  #answerPing({ procedure }: Frame): void {
    if (procedure !== keepaliveProcedure.ping || this.#duplex.writableNeedDrain) return;
    this.#sendKeepalive(keepaliveProcedure.pong);
  }

  #deliver({ procedure, payload }: Frame): void {
    const at = this.#clock.wallMs();
    if (procedure === domainEventCallbackLifecycle.number) {
      const message = domainEventCallbackLifecycle.message.read(new XdrReader(payload));
      this.#publish(eventId.lifecycle, lifecycleEvent(message, at));
    } else if (procedure === domainEventCallbackReboot.number) {
      const message = domainEventCallbackReboot.message.read(new XdrReader(payload));
      this.#publish(eventId.reboot, rebootEvent(message, at));
    }
  }

  #publish(kind: number, event: LifecycleEvent): void {
    for (const [buffer, kinds] of this.#subscribers) if (kinds.includes(kind)) buffer.push(event);
  }

  /** What waits to be written is bounded by the calls in flight. */
  #send(header: FrameHeader, payload: Buffer = emptyPayload): void {
    if (!this.#ended) this.#duplex.write(encodeFrame(header, payload));
  }

  #sendKeepalive(procedure: number): void {
    const header = { program: program.keepalive, version: programVersion, procedure };
    this.#send({ ...header, type: frameType.event, serial: 0, status: frameStatus.ok });
  }

  #registerCallback(kind: number): Promise<unknown> {
    const registered =
      this.#callbacks.get(kind) ??
      this.call(procedures.connectDomainEventCallbackRegisterAny, { eventId: kind, dom: null });
    this.#callbacks.set(kind, registered);
    return registered;
  }

  #deregisterCallback(kind: number): void {
    const callback = this.#callbacks.get(kind);
    this.#callbacks.delete(kind);
    callback
      ?.then(({ callbackId }) =>
        this.call(procedures.connectDomainEventCallbackDeregisterAny, { callbackId }),
      )
      .catch((error) => this.#log.debug({ host: this.host, error }, 'libvirt events were not deregistered'));
  }

  #end(reason: HostError): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#keepalive?.stop();
    this.#calls.end(reason);
    for (const buffer of this.#subscribers.keys()) buffer.end(reason);
    this.#duplex.destroy();
    this.#log.debug({ host: this.host, error: reason }, 'libvirt connection ended');
    this.#resolveClosed(reason);
  }

  #closedError(message: string, hint?: string): HostError {
    return new HostError('CLOSED', { host: this.host, outcome: 'unknown', message, ...(hint && { hint }) });
  }

  #brokenError(cause: unknown): HostError {
    if (cause instanceof HostError) return cause;
    return new HostError('CLOSED', {
      host: this.host,
      outcome: 'unknown',
      message: 'the way to libvirt broke',
      cause,
    });
  }

  #nonsenseError(cause: unknown): HostError {
    if (!(cause instanceof HostError)) return asHostError(cause, { host: this.host, outcome: 'unknown' });
    const message = 'what came from libvirt makes no sense';
    return new HostError('PROTOCOL_ERROR', { host: this.host, outcome: 'unknown', message, cause });
  }
}
