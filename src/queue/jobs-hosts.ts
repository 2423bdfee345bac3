// Places at each host: so many jobs at a time, a few more that wait for a place here, and the rest goes back to the queue,
// so that a slow host with many jobs does not hold the places of the others. It refuses to outlive its jobs: a host
// without jobs is forgotten.
import PQueue from 'p-queue';

/** Jobs that wait here for a place at one host. */
const waitingMax = 16;

export type Place = { free(): void };

export class HostPlaces {
  readonly #cap: number;
  readonly #hosts = new Map<string, PQueue>();

  constructor(cap: number) {
    this.#cap = cap;
  }

  /** Resolves with a place, or with undefined when too many wait already. Rejects with the signal's reason. */
  async take(host: string, signal: AbortSignal): Promise<Place | undefined> {
    if (signal.aborted) throw signal.reason;
    const queue = this.#hosts.get(host) ?? new PQueue({ concurrency: this.#cap });
    this.#hosts.set(host, queue);
    if (queue.size >= waitingMax) return undefined;
    return new Promise<Place>((resolve, reject) => {
      let waiting = true;
      const onAbort = () => {
        if (waiting) reject(signal.reason);
        waiting = false;
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const hold = () =>
        new Promise<void>((free) => {
          if (!waiting) return free();
          waiting = false;
          signal.removeEventListener('abort', onAbort);
          resolve({ free });
        });
      void queue.add(hold).then(() => {
        if (queue.size === 0 && queue.pending === 0 && this.#hosts.get(host) === queue)
          this.#hosts.delete(host);
      });
    });
  }
}
