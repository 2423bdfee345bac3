// A bound on every wait. It refuses to hide what was awaited: the error is made by the caller, who knows.
import { setMaxListeners } from 'node:events';
import { type Clock, systemClock } from './clock.js';
import { HostError } from './errors.js';

export type DeadlineOptions = {
  /** The wait ends after this many milliseconds. */
  timeoutMs: number;
  /** Made and thrown when the time is up. */
  onTimeout: () => Error;
  /** Ends the wait early with ABORTED (or with the signal's reason when that is a HostError). */
  signal?: AbortSignal | undefined;
  clock?: Clock;
};

/**
 * Runs `work` with a signal that aborts at the deadline or with `options.signal`, and settles no later than that, also
 * when the work ignores its signal. A late result of the work is dropped; a late rejection is not unhandled.
 */
export function withDeadline<T>(
  work: (signal: AbortSignal) => Promise<T>,
  options: DeadlineOptions,
): Promise<T> {
  const ending = new Ending();
  return within(
    () => work(ending.signal),
    options,
    (error) => ending.end(error),
  );
}

/** The signal of work that may not ask for one: it is made when it is asked for, since one costs more than all else here. */
export class Ending {
  #controller: AbortController | undefined;
  #ended: { reason: unknown } | undefined;

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#ended) this.#controller.abort(this.#ended.reason);
    }
    return this.#controller.signal;
  }

  end(reason: unknown): void {
    this.#ended ??= { reason };
    this.#controller?.abort(reason);
  }

  /** Throws the reason once it has ended. */
  check(): void {
    if (this.#ended) throw this.#ended.reason;
  }
}

/** As withDeadline, for work that needs no signal. `onEnd`: told when the wait ended early. */
export function within<T>(
  work: () => Promise<T>,
  { timeoutMs, onTimeout, signal, clock = systemClock }: DeadlineOptions,
  onEnd?: (error: unknown) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const end = (error: unknown) => {
      settle();
      reject(error);
      onEnd?.(error);
    };
    const onAbort = () => end(abortError(signal));
    const timer = clock.after(timeoutMs, () => end(onTimeout()));
    const settle = () => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    if (signal?.aborted) return onAbort();
    // A poll waits for many things with one signal: that is no leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener('abort', onAbort, { once: true });
    work().then(
      (value) => {
        settle();
        resolve(value);
      },
      (error) => {
        settle();
        reject(error);
      },
    );
  });
}

/** The error that an aborted signal stands for. */
export function abortError(signal: AbortSignal | undefined): Error {
  if (signal?.reason instanceof HostError) return signal.reason;
  return new HostError('ABORTED', { message: 'stopped before it was done', cause: signal?.reason });
}
