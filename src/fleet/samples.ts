// The newest sample of each host and poller, with its age on the monotonic clock, and the last failure since. It keeps no
// history and refuses to hand out a sample as fresh when it is not: the age goes with it.
import type { Clock } from '../core/clock.js';
import type { HostError } from '../core/errors.js';

export type Stored<S> = {
  sample: S;
  takenAtMs: number;
  takenAtMonotonicMs: number;
};

export type PollRecord<S> = {
  last: Stored<S> | undefined;
  /** The failure of the newest poll; undefined after a good one. */
  failure: HostError | undefined;
};

/** `Samples` names each poller's sample type: { vms: VmsSample; system: SystemSample }. */
export class SampleStore<Samples extends object> {
  readonly #hosts = new Map<string, Map<keyof Samples, PollRecord<Samples[keyof Samples]>>>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  put<P extends keyof Samples>(host: string, poller: P, sample: Samples[P]): void {
    const last = { sample, takenAtMs: this.#clock.wallMs(), takenAtMonotonicMs: this.#clock.monotonicMs() };
    this.#polls(host).set(poller, { last, failure: undefined });
  }

  fail(host: string, poller: keyof Samples, failure: HostError): void {
    this.#polls(host).set(poller, { last: this.#hosts.get(host)?.get(poller)?.last, failure });
  }

  get<P extends keyof Samples>(host: string, poller: P): PollRecord<Samples[P]> | undefined {
    return this.#hosts.get(host)?.get(poller) as PollRecord<Samples[P]> | undefined;
  }

  /** Milliseconds since the last good sample; undefined when there never was one. */
  ageMs(host: string, poller: keyof Samples): number | undefined {
    const last = this.#hosts.get(host)?.get(poller)?.last;
    return last && this.#clock.monotonicMs() - last.takenAtMonotonicMs;
  }

  /** Forgets hosts that left the inventory. */
  retain(hosts: ReadonlySet<string>): void {
    for (const name of this.#hosts.keys()) if (!hosts.has(name)) this.#hosts.delete(name);
  }

  #polls(host: string): Map<keyof Samples, PollRecord<Samples[keyof Samples]>> {
    const polls = this.#hosts.get(host) ?? new Map();
    this.#hosts.set(host, polls);
    return polls;
  }
}
