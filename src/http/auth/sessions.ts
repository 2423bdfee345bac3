// Who is signed in to the pages. A session's id is random and kept hashed, in memory: a restart signs everybody out. It ends when
// it is idle, when it is old, and when what it stands on is gone: a token taken out of the file ends its sessions at once.
// It refuses to grow: a caller with many sessions loses its oldest.
import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '../../core/clock.js';
import { Secret } from '../../core/secret.js';
import type { Principal } from './principal.js';

const idleMsMax = 4 * 3_600_000;
export const sessionMsMax = 24 * 3_600_000;
const sessionsMax = 2_000;
const sessionsPerGrantMax = 20;
const idBytes = 32;

/** What a session stands on. */
export type Grant = {
  /** The same for the same token. */
  readonly key: string;
  /** The caller as it is now; undefined when the right is gone. */
  principal(): Principal | undefined;
};

export type Session = { readonly csrf: string; readonly principal: Principal };

type Kept = { grant: Grant; csrf: string; createdMs: number; usedMs: number };

export class Sessions {
  readonly #clock: Clock;
  /** The least recently used first. */
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** The id for the cookie. */
  create(grant: Grant): Secret {
    const id = randomBytes(idBytes).toString('base64url');
    const nowMs = this.#clock.monotonicMs();
    const own = [...this.#kept].filter(([, kept]) => kept.grant.key === grant.key);
    for (const [key] of own.slice(0, Math.max(0, own.length - sessionsPerGrantMax + 1)))
      this.#kept.delete(key);
    for (const key of this.#kept.keys()) {
      if (this.#kept.size < sessionsMax) break;
      this.#kept.delete(key);
    }
    const csrf = randomBytes(idBytes).toString('base64url');
    this.#kept.set(hashed(id), { grant, csrf, createdMs: nowMs, usedMs: nowMs });
    return new Secret(id);
  }

  /** Counts as use. */
  find(id: string): Session | undefined {
    const key = hashed(id);
    const kept = this.#kept.get(key);
    const principal = kept && this.#alive(kept) ? kept.grant.principal() : undefined;
    if (!kept || !principal) {
      this.#kept.delete(key);
      return undefined;
    }
    kept.usedMs = this.#clock.monotonicMs();
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    const isCurrent = () =>
      this.#kept.get(key) === kept && this.#alive(kept) && kept.grant.principal() !== undefined;
    return { csrf: kept.csrf, principal: { ...principal, isCurrent } };
  }

  end(id: string): void {
    this.#kept.delete(hashed(id));
  }

  #alive({ createdMs, usedMs }: Kept): boolean {
    const nowMs = this.#clock.monotonicMs();
    return nowMs - usedMs <= idleMsMax && nowMs - createdMs <= sessionMsMax;
  }
}

function hashed(id: string): string {
  return createHash('sha256').update(id).digest('hex');
}
