// A receiver for outbox tests: what was delivered, when, and how it is to fail. It refuses to drop repeats by itself:
// `once` does, by the id, as a backend would.
import type { OutboxEntry } from '../../src/queue/outbox-types.js';

export class Receiver {
  /** Every delivery that succeeded, repeats included. */
  readonly taken: OutboxEntry[] = [];
  /** Every delivery that was begun. */
  readonly begun: OutboxEntry[] = [];
  /** Throws to refuse one. */
  rule: (entry: OutboxEntry, signal: AbortSignal) => unknown = () => undefined;
  /** Most deliveries at a time: of one host, and of all. */
  mostOfOne = 0;
  mostOfAll = 0;
  readonly #running = new Map<string, number>();

  readonly deliver = async (entry: OutboxEntry, signal: AbortSignal): Promise<void> => {
    this.begun.push(entry);
    const running = (this.#running.get(entry.host) ?? 0) + 1;
    this.#running.set(entry.host, running);
    this.mostOfOne = Math.max(this.mostOfOne, running);
    this.mostOfAll = Math.max(
      this.mostOfAll,
      [...this.#running.values()].reduce((a, b) => a + b, 0),
    );
    try {
      await this.rule(entry, signal);
      await new Promise((resolve) => setImmediate(resolve));
      this.taken.push(entry);
    } finally {
      this.#running.set(entry.host, (this.#running.get(entry.host) ?? 1) - 1);
    }
  };

  /** Payloads of one host, without repeats, in the order in which they came first. */
  once(host: string): unknown[] {
    const first = new Map(
      this.taken.filter((entry) => entry.host === host).map(({ id, payload }) => [id, payload]),
    );
    return [...first.values()];
  }
}

/** As the client of the backend fails. */
export class Failure extends Error {
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    { retryable = true, retryAfterMs }: { retryable?: boolean; retryAfterMs?: number } = {},
  ) {
    super(message);
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs;
  }
}
