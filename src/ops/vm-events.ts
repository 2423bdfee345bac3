// Waiting for something to happen to one VM. An event ends a wait early and means: look again. It refuses to be the proof of
// anything but a reboot, which leaves no other trace.
import type { Clock } from '../core/clock.js';
import type { LibvirtClient } from '../libvirt/client.js';

export class VmEvents implements Disposable {
  readonly #stop = new AbortController();
  readonly #clock: Clock;
  readonly #uuid: string;
  #news = false;
  #rebooted = false;
  #wake: (() => void) | undefined;

  private constructor(client: LibvirtClient, uuid: string, clock: Clock) {
    this.#clock = clock;
    this.#uuid = uuid;
    this.#follow(client).catch(() => undefined);
  }

  static of(client: LibvirtClient, uuid: string, clock: Clock): VmEvents {
    return new VmEvents(client, uuid, clock);
  }

  /** The guest has been reset since this began. */
  get rebooted(): boolean {
    return this.#rebooted;
  }

  /** Resolves at the next event, or after `waitMs`; rejects with the reason of `signal`. */
  next(waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      if (this.#news) {
        this.#news = false;
        return resolve();
      }
      const settle = () => {
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
        this.#wake = undefined;
      };
      const onAbort = () => {
        settle();
        reject(signal.reason);
      };
      const timer = this.#clock.after(waitMs, () => {
        settle();
        resolve();
      });
      this.#wake = () => {
        settle();
        this.#news = false;
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  /** A driver without events, or a connection that ends, costs nothing but promptness: who waits also looks by itself. */
  async #follow(client: LibvirtClient): Promise<void> {
    for await (const event of client.lifecycleEvents(this.#stop.signal, { reboots: true })) {
      if (event.event !== 'lost' && event.domain.uuid !== this.#uuid) continue;
      if (event.event === 'rebooted') this.#rebooted = true;
      this.#news = true;
      this.#wake?.();
    }
  }
}
