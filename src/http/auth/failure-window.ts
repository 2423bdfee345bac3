// How often callers failed lately, by address. IPv6 addresses count as their /64: one machine has all of those. It refuses to
// remember more than so many addresses: the oldest are forgotten first.
import { isIPv6 } from 'node:net';
import type { Clock } from '../../core/clock.js';

const addressesMax = 10_000;

export class FailureWindow {
  readonly #clock: Clock;
  readonly #failuresMax: number;
  readonly #windowMs: number;
  readonly #byAddress = new Map<string, { sinceMs: number; failures: number }>();

  constructor(clock: Clock, failuresMax: number, windowMs: number) {
    this.#clock = clock;
    this.#failuresMax = failuresMax;
    this.#windowMs = windowMs;
  }

  /** How long the address is kept off; 0 while it is not. */
  waitMs(address: string): number {
    const found = this.#byAddress.get(network(address));
    if (!found || found.failures < this.#failuresMax) return 0;
    return Math.max(0, found.sinceMs + this.#windowMs - this.#clock.monotonicMs());
  }

  count(address: string): void {
    const key = network(address);
    const nowMs = this.#clock.monotonicMs();
    const found = this.#byAddress.get(key);
    if (found && nowMs - found.sinceMs < this.#windowMs) {
      found.failures++;
      return;
    }
    this.#byAddress.delete(key);
    this.#byAddress.set(key, { sinceMs: nowMs, failures: 1 });
    for (const oldest of this.#byAddress.keys()) {
      if (this.#byAddress.size <= addressesMax) break;
      this.#byAddress.delete(oldest);
    }
  }

  get size(): number {
    return this.#byAddress.size;
  }
}

function network(address: string): string {
  const [plain = ''] = address.split('%');
  if (!isIPv6(plain) || plain.startsWith('::ffff:')) return plain.replace('::ffff:', '');
  const [head = '', tail] = plain.split('::');
  const before = head.split(':').filter(Boolean);
  const after = (tail ?? '').split(':').filter(Boolean);
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0');
  const groups = [...before, ...zeros, ...after].slice(0, 4);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}
