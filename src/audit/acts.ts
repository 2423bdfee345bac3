// Which acts have begun, and which of them have no end: what a crash leaves to be settled. It holds the last days only
// and a bounded number of requests, and it refuses to judge what became of an act: libvirt knows.
import type { AuditLine } from './line.js';

export type BegunAct = {
  readonly act: string;
  readonly at: string;
  /** Its end, or that of its job, is in the log. */
  readonly ended: boolean;
};

export type InterruptedJob = {
  readonly requestId: string;
  readonly op: string;
  readonly host: string;
  readonly vm: { readonly name: string; readonly uuid: string } | undefined;
  /** Those without an end, in the order they were begun. */
  readonly acts: readonly BegunAct[];
};

/** A day more than results are kept for, so that a request is known here for longer than it can be asked again. */
export const rememberedMs = 8 * 24 * 60 * 60_000;

/** Requests whose acts have all ended; the oldest are forgotten first. */
const endedMax = 100_000;
/** Requests with an act that has not ended. */
const openMax = 20_000;
/** Acts of one request. */
const actsMax = 10_000;

type Request = {
  op: string;
  host: string;
  vm: InterruptedJob['vm'];
  acts: { act: string; at: string; ended: boolean }[];
  lastMs: number;
};

export class ActsIndex {
  readonly #open = new Map<string, Request>();
  readonly #ended = new Map<string, Request>();

  take({ kind, at, fields }: AuditLine): void {
    const { requestId, act, op, host, vm } = fields;
    if (kind === 'torn' || kind === 'refused' || typeof requestId !== 'string') return;
    const known = this.#open.get(requestId) ?? this.#ended.get(requestId);
    if (kind !== 'begin' && !known) return;
    const request = known ?? { op: '', host: '', vm: undefined, acts: [], lastMs: 0 };
    request.lastMs = Date.parse(at);
    if (kind === 'begin') {
      request.op = String(op);
      request.host = String(host);
      request.vm = vm as InterruptedJob['vm'];
      const name = typeof act === 'string' ? act : request.op;
      if (request.acts.length < actsMax) request.acts.push({ act: name, at, ended: false });
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
        requests.delete(requestId);
      }
    }
  }

  /** Last in its map, so that the first is the oldest. */
  #file(requestId: string, request: Request): void {
    this.#open.delete(requestId);
    this.#ended.delete(requestId);
    const ended = request.acts.every((act) => act.ended);
    const [requests, max] = ended ? [this.#ended, endedMax] : [this.#open, openMax];
    requests.set(requestId, request);
    if (requests.size <= max) return;
    const [oldest] = requests.keys();
    if (oldest !== undefined) requests.delete(oldest);
  }
}
