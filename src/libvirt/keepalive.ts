// Notices a peer that is gone without a word: a half-open TCP connection, a stopped libvirtd. It asks for a sign of life
// only when nothing was heard during a whole interval, and it refuses to judge a peer that still sends anything.
import type { Clock, Timer } from '../core/clock.js';
import { HostError } from '../core/errors.js';

export type KeepaliveOptions = {
  /** Silence before a PING, and between PINGs. */
  intervalMs: number;
  /** PINGs without any answer before the connection is given up. */
  countMax: number;
};

/** libvirt's own defaults. */
export const keepaliveDefault: KeepaliveOptions = { intervalMs: 5_000, countMax: 5 };

export const keepaliveProcedure = { ping: 1, pong: 2 } as const;

export class Keepalive {
  readonly #options: KeepaliveOptions & { host: string; clock: Clock };
  readonly #ping: () => void;
  readonly #dead: (error: HostError) => void;
  #timer: Timer | undefined;
  #heard = true;
  #unanswered = 0;

  constructor(
    options: KeepaliveOptions & { host: string; clock: Clock },
    ping: () => void,
    dead: (error: HostError) => void,
  ) {
    this.#options = options;
    this.#ping = ping;
    this.#dead = dead;
    this.#arm();
  }

  /** Anything at all came from the peer. */
  heard(): void {
    this.#heard = true;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    const { clock, intervalMs } = this.#options;
    this.#timer = clock.after(intervalMs, () => this.#tick());
  }

  #tick(): void {
    const { host, intervalMs, countMax } = this.#options;
    this.#unanswered = this.#heard ? 0 : this.#unanswered + 1;
    this.#heard = false;
    if (this.#unanswered > countMax) {
      const seconds = (intervalMs * (countMax + 1)) / 1000;
      const message = `no sign of life from libvirt for ${seconds} s`;
      const hint =
        'look whether libvirtd on the host is stopped or overloaded, and whether the network drops packets';
      this.#dead(new HostError('TIMEOUT', { host, outcome: 'unknown', message, hint }));
      return;
    }
    if (this.#unanswered > 0) this.#ping();
    this.#arm();
  }
}
