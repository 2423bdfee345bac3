// BullMQ and ioredis emit an error per retry and per connection. What the monitor already tells (the store is away) goes
// to debug; anything else is logged once a minute per text, with the number left out. It refuses to keep more than a few.
import type { Clock } from '../core/clock.js';
import { describe } from '../core/errors.js';
import type { Log } from '../core/log.js';

const repeatAfterMs = 60_000;
const textsMax = 100;

const ofTheConnection =
  /Connection is closed|ECONN|EPIPE|ENOENT|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|Command timed out|Socket timeout|writeable|max retries|aborted due to connection|^LOADING|^READONLY|^NOAUTH|^WRONGPASS/;
/** What an outage leaves behind: jobs whose lock went with the store. */
const ofAnOutage = /Missing lock for job|could not renew lock|Missing key for job/;

export class ErrorGate {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #told = new Map<string, { atMs: number; unsaid: number }>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  report(error: unknown): void {
    const text = describe(error);
    if (ofTheConnection.test(text) || ofAnOutage.test(text)) {
      this.#log.debug({ why: text }, 'queue error');
      return;
    }
    const kind = text.replaceAll(/repeat:\S+|\d+/g, '#');
    const nowMs = this.#clock.monotonicMs();
    const before = this.#told.get(kind);
    if (before && nowMs - before.atMs < repeatAfterMs) {
      before.unsaid++;
      return;
    }
    if (this.#told.size >= textsMax) this.#told.clear();
    this.#told.set(kind, { atMs: nowMs, unsaid: 0 });
    this.#log.warn({ why: text, unsaid: before?.unsaid ?? 0 }, 'queue error');
  }
}
