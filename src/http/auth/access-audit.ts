// What was asked of the service over HTTP, in the audit log: every write before it is done, every refusal. A write whose line
// cannot be written is not done. A scanner cannot fill the disk: of each minute's refusals the first few are told one by one,
// the rest as a number.
import { randomUUID } from 'node:crypto';
import type { AuditEntry } from '../../audit/log.js';
import type { Clock, Timer } from '../../core/clock.js';
import type { Log } from '../../core/log.js';

export const refusalLinesMax = 20;
export const refusalWindowMs = 60_000;
const addressesShownMax = 10;

/** The part of the audit log that is used here. */
export type AuditSink = { append(entry: AuditEntry): Promise<void> };

export type Access = {
  /** Who asked; undefined: nobody that we know. */
  actor: string | undefined;
  via: string | undefined;
  address: string;
  /** `POST /api/v1/jobs`, `login`. */
  action: string;
  host?: string | undefined;
  /** What it was about. */
  facts?: object | undefined;
};

export class AccessAudit {
  readonly #sink: () => AuditSink | undefined;
  readonly #clock: Clock;
  readonly #log: Log;
  #window: { lines: number; more: number; addresses: Set<string>; timer: Timer } | undefined;

  /** `sink` is undefined until the audit log is open: writes are refused until then. */
  constructor(sink: () => AuditSink | undefined, clock: Clock, log: Log) {
    this.#sink = sink;
    this.#clock = clock;
    this.#log = log;
  }

  /** Resolves when it is on the disk. */
  async written(access: Access, outcome = 'admitted'): Promise<void> {
    const sink = this.#sink();
    if (!sink) throw new Error('the audit log is not open yet');
    await sink.append({ ...entryOf(access), outcome });
  }

  refused(access: Access, status: number, why: string): void {
    this.#window ??= this.#openWindow();
    const window = this.#window;
    if (window.lines >= refusalLinesMax) {
      window.more++;
      if (window.addresses.size < addressesShownMax) window.addresses.add(access.address);
      return;
    }
    window.lines++;
    this.#append({ ...entryOf(access), outcome: `refused ${status}`, error: why });
  }

  /** Writes what was only counted. */
  flush(): void {
    const window = this.#window;
    this.#window = undefined;
    window?.timer.cancel();
    if (!window || window.more === 0) return;
    const access = {
      actor: undefined,
      via: undefined,
      address: [...window.addresses].join(' '),
      action: 'refusals',
    };
    this.#append({
      ...entryOf(access),
      outcome: 'refused',
      error: `${window.more} more refusals in a minute`,
    });
  }

  #openWindow() {
    const timer = this.#clock.after(refusalWindowMs, () => this.flush());
    return { lines: 0, more: 0, addresses: new Set<string>(), timer };
  }

  #append(entry: AuditEntry): void {
    this.#sink()
      ?.append(entry)
      .catch((error) => this.#log.error({ error }, 'a refusal is not in the audit log'));
  }
}

function entryOf({ actor, via, address, action, host, facts }: Access): AuditEntry {
  return {
    kind: 'access',
    requestId: `http-${randomUUID()}`,
    op: action,
    host: host ?? '',
    requestedBy: actor ?? 'nobody',
    reason: `${via ? `by ${via} ` : ''}from ${address}`,
    ...(facts && { before: facts }),
  };
}
