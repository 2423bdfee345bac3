// Questions about one VM or pool at a time, each with its own deadline, so that a stuck one costs its own entry alone. They
// go in the background of the connection, where they leave slots to the poll of the VMs. It refuses to go on when libvirt
// has no slot left for it, and after the budget of the poll: what was not asked counts as timed out.
import type { Clock } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import { backgroundInFlightMax } from '../libvirt/calls.js';
import type { CallOptions } from '../libvirt/client.js';
import { LibvirtError, libvirtCode } from '../libvirt/errors.js';
import type { Procedure } from '../libvirt/procedures.js';
import type { HostLibvirt } from './poller.js';

/** For one answer. */
const callTimeoutMs = 4_000;
/** How many may be under way. */
export const vmCallsAtATime = backgroundInFlightMax;

/** `gone`: there is no such thing any more. `refused`: libvirt says that it will not or can not. */
export type Answer<R> = { value: R } | 'gone' | 'timed-out' | 'refused';

export type VmCallsOptions = {
  libvirt: HostLibvirt;
  signal: AbortSignal;
  clock: Clock;
  budgetMs: number;
};

export class VmCalls {
  readonly #options: VmCallsOptions;
  readonly #callOptions: CallOptions;
  readonly #endsMs: number;
  #noSlot = false;

  constructor(options: VmCallsOptions) {
    this.#options = options;
    this.#callOptions = { timeoutMs: callTimeoutMs, signal: options.signal, background: true };
    this.#endsMs = options.clock.monotonicMs() + options.budgetMs;
  }

  /** Throws when the connection fails, or the poll ends. */
  async ask<A, R>(procedure: Procedure<A, R>, args: A): Promise<Answer<R>> {
    const { libvirt, signal, clock } = this.#options;
    if (this.#noSlot || clock.monotonicMs() >= this.#endsMs) return 'timed-out';
    try {
      return { value: await libvirt.call(procedure, args, this.#callOptions) };
    } catch (error) {
      if (error instanceof LibvirtError) return this.#refusal(error);
      if (signal.aborted || !(error instanceof HostError)) throw error;
      if (error.code !== 'TIMEOUT' && error.code !== 'HOST_BUSY') throw error;
      if (error.code === 'TIMEOUT' && error.outcome === 'not-sent') this.#noSlot = true;
      return 'timed-out';
    }
  }

  #refusal({ libvirtCode: code }: LibvirtError): 'gone' | 'timed-out' | 'refused' {
    if (vanished.has(code)) return 'gone';
    // libvirt gave up waiting for whatever holds the VM.
    return code === libvirtCode.operationTimeout ? 'timed-out' : 'refused';
  }
}

const vanished: ReadonlySet<number> = new Set([
  libvirtCode.noDomain,
  libvirtCode.noDomainSnapshot,
  libvirtCode.noStoragePool,
]);
