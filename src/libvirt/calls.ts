// Calls on one connection: at most `callsInFlightMax` at a time, the others wait their turn within their own deadline.
//
//   queued ──slot──► sent ──reply──► settled            rejected while queued: not-sent
//      │               └──deadline or abort──► abandoned ──late reply──► slot free
//      └──deadline or abort──► gone                      rejected once sent: unknown (libvirt's own refusal: failed)
//
// Calls in the background leave slots to the others: what polls the whole host must not stand behind a stuck VM. One that
// libvirt left without an answer is not sent again until the answer comes, or a single VM would take all slots in time.
// libvirtd goes on with a call that nobody waits for, so an abandoned call keeps its slot until its reply comes. One whose
// deadline has passed is lost; when all slots are lost the connection is of no use and is given up. It knows no socket.
import type { Clock } from '../core/clock.js';
import { abortError } from '../core/deadline.js';
import { asHostError, HostError, type Outcome } from '../core/errors.js';
import { type Wait, Waits } from '../core/waits.js';
import { decodeError } from './errors.js';
import type { Procedure } from './procedures.js';
import { type Frame, frameStatus } from './wire/frame.js';
import { protocolError, XdrReader, XdrWriter } from './wire/xdr.js';

/** libvirtd serves 5 calls at a time per client; more would wait there, where nobody sees them. */
export const callsInFlightMax = 5;
/** Of those, calls in the background, the ones that hang included. */
export const backgroundInFlightMax = 3;
export const callsQueuedMax = 256;

/** For calls that name no deadline of their own. */
export const callTimeoutMs = 15_000;

/** `background`: a call that may wait behind all others, and that may hang. */
export type CallOptions = { timeoutMs?: number; signal?: AbortSignal; background?: boolean };

export type CallFigures = {
  inFlight: number;
  queued: number;
  /** Slots whose call got no reply within its deadline. */
  lost: number;
  /** Replies that came after their caller had left. */
  lateReplies: number;
};

type Call = Wait & {
  readonly procedure: { readonly name: string; readonly number: number };
  readonly payload: Buffer;
  readonly background: boolean;
  state: 'queued' | 'sent' | 'abandoned' | 'lost';
  /** Once sent. */
  serial: number;
  /** Decodes the result for the caller; throws PROTOCOL_ERROR, and settles nothing, when it cannot. */
  resolve(result: Buffer): void;
  reject(error: unknown): void;
};

export type CallsOptions = {
  host: string;
  clock: Clock;
  send(procedure: number, serial: number, payload: Buffer): void;
  /** Every slot is lost. */
  onExhausted(error: HostError): void;
};

export class Calls {
  readonly #options: CallsOptions;
  readonly #waits: Waits;
  // Arrays: there are few, and what comes and goes in a Map or a Set leaves its old tables behind.
  readonly #inFlight: Call[] = [];
  readonly #queue: Call[] = [];
  #serial = 0;
  #lateReplies = 0;
  #ended: HostError | undefined;

  constructor(options: CallsOptions) {
    this.#options = options;
    this.#waits = new Waits(options.clock);
  }

  get figures(): CallFigures {
    return {
      inFlight: this.#inFlight.length,
      queued: this.#queue.length,
      lost: this.#lost(),
      lateReplies: this.#lateReplies,
    };
  }

  call<A, R>(
    procedure: Procedure<A, R>,
    args: A,
    { timeoutMs = callTimeoutMs, signal, background = false }: CallOptions,
  ): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const refusal = this.#refusal(signal);
      if (refusal) throw refusal;
      const payload = this.#encode(procedure, args);
      if (background) this.#refuseOwed(procedure, payload);
      const call: Call = {
        procedure,
        payload,
        background,
        state: 'queued',
        serial: 0,
        place: 0,
        resolve: (result) => resolve(procedure.result.read(new XdrReader(result))),
        reject,
        dueMs: this.#options.clock.monotonicMs() + timeoutMs,
        onDue: () => this.#expire(call, timeoutMs),
        signal,
        onAbort: () => this.#leave(call, (outcome) => this.#aborted(signal, outcome)),
      };
      this.#waits.add(call);
      this.#queue.push(call);
      this.#fill();
    });
  }

  /** Settles the call that `frame` answers. Throws PROTOCOL_ERROR when there is none, or when it makes no sense. */
  reply(frame: Frame): void {
    const call = this.#inFlight.find(({ serial }) => serial === frame.serial);
    if (call === undefined) throw protocolError(`a reply to call ${frame.serial}, which was not made`);
    if (frame.procedure !== call.procedure.number) {
      throw protocolError(
        `a reply to procedure ${frame.procedure}, where ${call.procedure.number} was called`,
      );
    }
    if (frame.status !== frameStatus.ok && frame.status !== frameStatus.error) {
      throw protocolError(`a reply with the unknown status ${frame.status}`);
    }
    const abandoned = call.state !== 'sent';
    if (abandoned) this.#lateReplies++;
    else if (frame.status === frameStatus.ok) call.resolve(frame.payload);
    else call.reject(decodeError(frame.payload, this.#options.host, call.procedure.name));
    this.#waits.delete(call);
    remove(this.#inFlight, call);
    this.#fill();
  }

  /** Rejects everything, now and later. What was sent has an unknown outcome. */
  end(error: HostError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#waits.clear();
    for (const call of [...this.#inFlight.splice(0), ...this.#queue.splice(0)]) {
      call.reject(this.#endedError(call.state === 'queued' ? 'not-sent' : 'unknown'));
    }
  }

  #refusal(signal: AbortSignal | undefined): HostError | undefined {
    if (signal?.aborted) return this.#aborted(signal, 'not-sent');
    if (this.#ended) return this.#endedError('not-sent');
    if (this.#queue.length < callsQueuedMax) return undefined;
    const message = `${callsQueuedMax} calls are waiting already`;
    return new HostError('HOST_BUSY', { host: this.#options.host, outcome: 'not-sent', message });
  }

  #fill(): void {
    while (this.#inFlight.length < callsInFlightMax) {
      const spare = this.#backgroundInFlight() < backgroundInFlightMax;
      const call = this.#queue.find(({ background }) => spare || !background);
      if (!call) return;
      remove(this.#queue, call);
      call.serial = this.#nextSerial();
      call.state = 'sent';
      this.#inFlight.push(call);
      this.#options.send(call.procedure.number, call.serial, call.payload);
    }
  }

  #backgroundInFlight(): number {
    let count = 0;
    for (const { background } of this.#inFlight) if (background) count++;
    return count;
  }

  /** The caller goes. A call that was sent stays in its slot. */
  #leave(call: Call, error: (outcome: Outcome) => HostError): void {
    if (call.state === 'queued') {
      this.#waits.delete(call);
      remove(this.#queue, call);
      call.reject(error('not-sent'));
    } else if (call.state === 'sent') {
      call.state = 'abandoned';
      call.reject(error('unknown'));
    }
  }

  #expire(call: Call, timeoutMs: number): void {
    const { host } = this.#options;
    const { name } = call.procedure;
    this.#leave(call, (outcome) => {
      const what = outcome === 'unknown' ? 'libvirt did not answer' : 'no slot became free for';
      return new HostError('TIMEOUT', { host, outcome, message: `${what} ${name} within ${timeoutMs} ms` });
    });
    if (call.state !== 'abandoned') return;
    call.state = 'lost';
    if (this.#lost() < callsInFlightMax) return;
    const message = `libvirt left ${callsInFlightMax} calls without an answer`;
    this.#options.onExhausted(new HostError('TIMEOUT', { host, outcome: 'unknown', message }));
  }

  /** Throws when the same was asked before, was given up, and is still unanswered. */
  #refuseOwed({ name, number }: { name: string; number: number }, payload: Buffer): void {
    for (const { state, procedure, payload: asked } of this.#inFlight) {
      if (state === 'sent' || procedure.number !== number || !asked.equals(payload)) continue;
      const message = `libvirt has not answered the last ${name} for the same yet`;
      throw new HostError('HOST_BUSY', { host: this.#options.host, outcome: 'not-sent', message });
    }
  }

  #lost(): number {
    let lost = 0;
    for (const { state } of this.#inFlight) if (state === 'lost') lost++;
    return lost;
  }

  #nextSerial(): number {
    const taken = () => this.#inFlight.some(({ serial }) => serial === this.#serial);
    do this.#serial = (this.#serial + 1) >>> 0;
    while (this.#serial === 0 || taken());
    return this.#serial;
  }

  #encode<A>(procedure: Procedure<A, unknown>, args: A): Buffer {
    const { host } = this.#options;
    try {
      const writer = new XdrWriter();
      procedure.args.write(writer, args);
      return writer.finish();
    } catch (cause) {
      const message = `bad arguments for ${procedure.name}`;
      throw new HostError('BAD_REQUEST', { host, outcome: 'not-sent', message, cause });
    }
  }

  #endedError(outcome: Outcome): HostError {
    const ended = this.#ended;
    return new HostError(ended?.code ?? 'CLOSED', {
      host: this.#options.host,
      outcome,
      message: 'the libvirt connection is closed',
      cause: ended,
    });
  }

  #aborted(signal: AbortSignal | undefined, outcome: Outcome): HostError {
    const { code, message, hint } = asHostError(abortError(signal));
    const cause = signal?.reason;
    return new HostError(code, { host: this.#options.host, outcome, message, cause, ...(hint && { hint }) });
  }
}

function remove(calls: Call[], call: Call): void {
  const at = calls.indexOf(call);
  if (at >= 0) calls.splice(at, 1);
}
