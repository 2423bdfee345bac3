// Which acts have begun, and which of them have no end: what a crash leaves to be settled. It holds the last days only
// and a bounded number of requests, and it refuses to judge what became of an act: libvirt knows.
import type { AuditLine } from './line.js';

export type BegunAct = {
  readonly act: string;
  /** ISO time. */
  readonly at: string;
  readonly vm?: Vm;
  /** As written: cut when it was too long. */
  readonly before?: unknown;
  /** Its end, or that of its job, is in the log. */
  readonly ended: boolean;
};

type Vm = { readonly name: string; readonly uuid: string };

export type InterruptedJob = {
  readonly requestId: string;
  readonly op: string;
  readonly host: string;
  readonly vm: Vm | undefined;
  /** Those without an end, in the order they were begun. */
  readonly acts: readonly BegunAct[];
};

/** A day more than results are kept for, so that a request is known here for longer than it can be asked again. */
export const rememberedMs = 8 * 24 * 60 * 60_000;

/** Of the lines that are remembered; some 100,000 requests. The oldest that have ended are forgotten first. */
const rememberedBytesMax = 64 * 1024 * 1024;

type Request = {
  op: string;
  host: string;
  vm: Vm | undefined;
  acts: { act: string; at: string; ended: boolean; vm?: Vm; before?: unknown }[];
  lastMs: number;
  bytes: number;
};

export class ActsIndex {
  readonly #open = new Map<string, Request>();
  readonly #ended = new Map<string, Request>();
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax = rememberedBytesMax) {
    this.#bytesMax = bytesMax;
  }

  take({ kind, at, bytes, fields }: AuditLine): void {
    const { requestId, act, op, host, vm, before } = fields;
    if (kind === 'torn' || kind === 'refused' || typeof requestId !== 'string') return;
    const known = this.#open.get(requestId) ?? this.#ended.get(requestId);
    if (kind !== 'begin' && !known) return;
    const request = known ?? { op: '', host: '', vm: undefined, acts: [], lastMs: 0, bytes: 0 };
    request.lastMs = Date.parse(at);
    if (kind === 'begin') {
      request.op = String(op);
      request.host = String(host);
      request.vm = isVm(vm) ? vm : undefined;
      request.bytes += bytes;
      this.#bytes += bytes;
      request.acts.push({
        act: typeof act === 'string' ? act : request.op,
        at,
        ended: false,
        ...(request.vm && { vm: request.vm }),
        ...(before !== undefined && { before }),
      });
    } else {
      for (const begun of request.acts) if (act === undefined || begun.act === act) begun.ended = true;
    }
    this.#file(requestId, request);
  }

  begun(requestId: string): readonly BegunAct[] {
    const request = this.#open.get(requestId) ?? this.#ended.get(requestId);
    return request?.acts.map((act) => ({ ...act })) ?? [];
  }

  interrupted(): readonly InterruptedJob[] {
    return [...this.#open].map(([requestId, { op, host, vm, acts }]) => ({
      requestId,
      op,
      host,
      vm,
      acts: acts.filter(({ ended }) => !ended).map((act) => ({ ...act })),
    }));
  }

  /** Forgets what is older than `rememberedMs`. */
  forgetOld(nowMs: number): void {
    for (const requests of [this.#open, this.#ended]) {
      for (const [requestId, { lastMs }] of requests) {
        if (nowMs - lastMs <= rememberedMs) break;
        this.#forget(requests, requestId);
      }
    }
  }

  /** Last in its map, so that the first is the oldest. */
  #file(requestId: string, request: Request): void {
    this.#open.delete(requestId);
    this.#ended.delete(requestId);
    const ended = request.acts.every((act) => act.ended);
    (ended ? this.#ended : this.#open).set(requestId, request);
    for (const requests of [this.#ended, this.#open]) {
      for (const oldest of requests.keys()) {
        if (this.#bytes <= this.#bytesMax) return;
        this.#forget(requests, oldest);
      }
    }
  }

  #forget(requests: Map<string, Request>, requestId: string): void {
    this.#bytes -= requests.get(requestId)?.bytes ?? 0;
    requests.delete(requestId);
  }
}

function isVm(value: unknown): value is Vm {
  const { name, uuid } = (value ?? {}) as Partial<Vm>;
  return typeof name === 'string' && typeof uuid === 'string';
}
