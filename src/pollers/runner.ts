// Runs one poll: takes the host's readers, gives the poller a deadline and a turn on the host, stores the sample, and
// reports how it went. It never connects: a poll of a host that is down fails at once with the reason. Whoever asks for a
// poll that runs already gets that one.
import type { Clock } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { asHostError, HostError } from '../core/errors.js';
import type { Fleet } from '../fleet/fleet.js';
import type { SampleStore } from '../fleet/samples.js';
import type { Poller } from './poller.js';
import { type SystemSample, systemPoller } from './system.js';
import { type VmsSample, vmsPoller } from './vms.js';

export type Samples = { vms: VmsSample; system: SystemSample };
export type PollerName = keyof Samples;
export type PollOutcome = 'ok' | 'failed' | 'host-down';

type Pollers = { [P in PollerName]: Poller<Samples[P]> };

const pollers: Pollers = { vms: vmsPoller, system: systemPoller };
export const pollerNames = Object.keys(pollers) as PollerName[];

/** What a poller needs of the session; when it is lost, its samples are no longer news. */
export const partOf = { vms: 'libvirt', system: 'files' } as const;

export type HostPollsOptions = {
  fleet: Fleet;
  samples: SampleStore<Samples>;
  clock: Clock;
  onSample(): void;
  onDone(poller: PollerName, outcome: PollOutcome, durationMs: number): void;
};

export class HostPolls {
  readonly #options: HostPollsOptions;
  readonly #running = new Map<string, Promise<void>>();

  constructor(options: HostPollsOptions) {
    this.#options = options;
  }

  /** Throws the HostError that the poll failed with. */
  run(host: string, poller: string): Promise<void> {
    const key = `${host}/${poller}`;
    const running =
      this.#running.get(key) ?? this.#run(host, poller).finally(() => this.#running.delete(key));
    this.#running.set(key, running);
    return running;
  }

  async #run(host: string, poller: string): Promise<void> {
    if (!isPoller(poller)) throw new HostError('BAD_REQUEST', { host, message: `no poller ${poller}` });
    const { clock, fleet, samples, onDone } = this.#options;
    const startedMs = clock.monotonicMs();
    try {
      await this.#poll(host, poller);
      fleet.find(host)?.observe(partOf[poller], undefined);
      onDone(poller, 'ok', clock.monotonicMs() - startedMs);
    } catch (error) {
      const failure = asHostError(error, { host, message: `the ${poller} poll broke` });
      samples.fail(host, poller, failure);
      fleet.find(host)?.observe(partOf[poller], failure);
      onDone(poller, failure.code === 'HOST_DOWN' ? 'host-down' : 'failed', clock.monotonicMs() - startedMs);
      throw failure;
    }
  }

  async #poll<P extends PollerName>(host: string, name: P): Promise<void> {
    const { clock, fleet, samples, onSample } = this.#options;
    const session = fleet.get(host);
    const poller: Pollers[P] = pollers[name];
    const sample = await withDeadline(
      (signal) => session.queue.add(() => poller.poll(session, { signal, clock })),
      {
        timeoutMs: poller.timeoutMs,
        clock,
        onTimeout: () =>
          new HostError('TIMEOUT', {
            host,
            message: `the ${name} poll took more than ${poller.timeoutMs / 1000} s`,
          }),
      },
    );
    if (fleet.find(host) !== session) return;
    samples.put(host, name, sample);
    onSample();
  }
}

function isPoller(name: string): name is PollerName {
  return Object.hasOwn(pollers, name);
}
