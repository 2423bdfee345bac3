// A connection that keeps itself: opens, stays open as long as it can, and opens again with full-jitter backoff. It
// knows nothing of hosts, SSH or libvirt, and it refuses to answer for a value that it does not hold.
//
//   opening ──ok──► open ──closed──► failed ──delay──► (tries again, still failed) ──ok──► open
//      └──error──► failed
import { type Backoff, fullJitterMs } from '../core/backoff.js';
import { type Clock, sleep } from '../core/clock.js';
import { asHostError, type HostError } from '../core/errors.js';

export type Opened<T> = {
  value: T;
  /** Resolves, with the cause, when the connection has ended by itself. */
  closed: Promise<HostError>;
  close(): Promise<void>;
};

export type LinkState<T> =
  | { status: 'opening' }
  | { status: 'open'; value: T }
  | { status: 'failed'; cause: HostError };

export type LinkOptions<T> = {
  open(signal: AbortSignal): Promise<Opened<T>>;
  /** Runs beside the open connection; its signal aborts when the connection ends, and the link waits for it. */
  whileOpen?: (value: T, signal: AbortSignal) => Promise<void>;
  onChange(): void;
  /** Counts every failed attempt and every lost connection. */
  onFailure?: (cause: HostError) => void;
  /** A floor under the delay after this failure, milliseconds. */
  retryFloorMs?: (cause: HostError) => number;
  clock: Clock;
  backoff?: Backoff;
  random?: () => number;
};

export const reconnectBackoff: Backoff = { baseMs: 1_000, capMs: 30_000, factor: 2 };

/** A connection that lasted this long clears the count of failures; a shorter one goes on backing off. */
export const stableAfterMs = 30_000;

export class Link<T> {
  #state: LinkState<T> = { status: 'opening' };
  #wake: (() => void) | undefined;
  readonly #options: LinkOptions<T>;

  constructor(options: LinkOptions<T>) {
    this.#options = options;
  }

  get state(): LinkState<T> {
    return this.#state;
  }

  /** Cuts the present delay short. Without one it does nothing: an attempt is under way already. */
  retryNow(): void {
    this.#wake?.();
  }

  /** Keeps the connection until `signal` aborts; then closes it and resolves. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let attempt = 0;
    while (!signal.aborted) {
      const startedMs = clock.monotonicMs();
      const cause = await this.#once(signal);
      if (signal.aborted) return;
      attempt = clock.monotonicMs() - startedMs >= stableAfterMs ? 1 : attempt + 1;
      this.#set({ status: 'failed', cause });
      this.#options.onFailure?.(cause);
      await this.#pause(this.#delayMs(cause, attempt), signal);
    }
  }

  /** One life of the connection: resolves with why it ended. */
  async #once(signal: AbortSignal): Promise<HostError> {
    let opened: Opened<T>;
    try {
      opened = await this.#options.open(signal);
    } catch (error) {
      return asHostError(error);
    }
    const { whileOpen } = this.#options;
    // Made only for somebody who listens: it is most of what a link holds.
    const life = whileOpen && new AbortController();
    let stop = () => {};
    const stopped = new Promise<unknown>((resolve) => {
      stop = () => {
        life?.abort(signal.reason);
        resolve(signal.reason);
      };
    });
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      this.#set({ status: 'open', value: opened.value });
      const beside = life && whileOpen(opened.value, life.signal);
      const cause = await Promise.race([opened.closed, stopped]);
      life?.abort(cause);
      await beside;
      return asHostError(cause);
    } finally {
      signal.removeEventListener('abort', stop);
      await opened.close().catch(() => undefined);
    }
  }

  #delayMs(cause: HostError, attempt: number): number {
    const { backoff = reconnectBackoff, random, retryFloorMs } = this.#options;
    return (retryFloorMs?.(cause) ?? 0) + fullJitterMs(backoff, attempt, random);
  }

  async #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    const wake = new AbortController();
    this.#wake = () => wake.abort();
    const stop = () => wake.abort();
    signal.addEventListener('abort', stop, { once: true });
    await sleep(this.#options.clock, delayMs, wake.signal).catch(() => undefined);
    signal.removeEventListener('abort', stop);
    this.#wake = undefined;
  }

  #set(state: LinkState<T>): void {
    this.#state = state;
    this.#options.onChange();
  }
}
