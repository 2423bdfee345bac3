// Runs polls: takes the host's readers, gives the poller a deadline and a turn on the host, stores the sample, and reports
// how it went. It never connects: a poll of a host that is down fails at once with the reason. Each poller runs once at a
// time on a host:
//
//   asked for                  while a poll runs                 while one waits for its turn
//   a whole poll               gets that one, if it is whole     makes that one whole
//   again after an event       a poll after it                   adds its VM to that one
//
// What a poll that failed was to read, the next one reads; of a poller with an interval of its own that is longer than the host's,
// the next one comes an interval of the host later. A poll that found less than there must be asks for another of the kind. A host
// that is down is asked for all of it when its libvirt is back.
//
// A poller may run after another (`after`) in place of a schedule of its own: when a scheduled poll of that one went well, it
// gets a turn like any other, which nobody waits for. It refuses to run beside itself: then it is skipped until the next time.
import type { Clock, Timer } from '../core/clock.js';
import { Ending, within } from '../core/deadline.js';
import { asHostError, HostError } from '../core/errors.js';
import type { Fleet } from '../fleet/fleet.js';
import type { OpsLibvirt } from '../fleet/ops-for-polls.js';
import type { SampleStore } from '../fleet/samples.js';
import type { Host } from '../inventory/host.js';
import { type DetailsSample, detailsPoller } from './details.js';
import { type DomainJobsSample, domainJobsPoller } from './domain-jobs.js';
import { type GuestSample, guestPoller } from './guest.js';
import type { HostReaders, Poller } from './poller.js';
import { type StartsSample, startsPoller } from './starts.js';
import { type SystemSample, systemPoller } from './system.js';
import { type VmsSample, vmsPoller } from './vms.js';

export type Samples = {
  vms: VmsSample;
  system: SystemSample;
  details: DetailsSample;
  'domain-jobs': DomainJobsSample;
  starts: StartsSample;
  guest: GuestSample;
};
export type PollerName = keyof Samples;
export type PollOutcome = 'ok' | 'failed' | 'host-down';

type Pollers = { readonly [P in PollerName]: Poller<Samples[P]> };

export const pollers: Pollers = {
  vms: vmsPoller,
  system: systemPoller,
  details: detailsPoller,
  'domain-jobs': domainJobsPoller,
  starts: startsPoller,
  guest: guestPoller,
};
export const pollerNames = Object.keys(pollers) as PollerName[];

/** Between an event and the poll that it asks for: several events in a row are one poll. */
const eventSettleMs = 250;

export type HostPollsOptions = {
  fleet: Fleet;
  samples: SampleStore<Samples>;
  opsLibvirt(host: Host, signal: AbortSignal): Promise<OpsLibvirt>;
  clock: Clock;
  onSample<P extends PollerName>(host: string, poller: P, sample: Samples[P]): void;
  onDone(poller: PollerName, outcome: PollOutcome, durationMs: number): void;
  /** It was to run after another, and the poll before was still running. */
  onSkip(poller: PollerName): void;
};

/** UUIDs of VMs; undefined: any VM may have changed. */
type Changed = Set<string> | undefined;

/** `scheduled`: those that run after this poller have their turn when it went well. */
type Turn = { begun: boolean; changed: Changed; scheduled: boolean; done: Promise<void> };

export class HostPolls {
  readonly #options: HostPollsOptions;
  /** The last turn that was asked for, by host and poller; at most one is begun and one waits. */
  readonly #turns = new Map<string, Turn>();
  /** By host: what events said within `eventSettleMs`. */
  readonly #news = new Map<string, { changed: Changed }>();
  /** By host and poller: what a poll that failed was to read, and no other has begun to read since. */
  readonly #owed = new Map<string, { changed: Changed; timer: Timer }>();

  constructor(options: HostPollsOptions) {
    this.#options = options;
  }

  /** Throws the HostError that the poll failed with. `scheduled`: its turn in the interval has come. */
  run(host: string, poller: string, { scheduled = false } = {}): Promise<void> {
    if (isPoller(poller)) return this.#turn(host, poller, undefined, scheduled);
    return Promise.reject(new HostError('BAD_REQUEST', { host, message: `no poller ${poller}` }));
  }

  /** An event says that this VM changed, or, without one, that any may have: whatever follows events is polled, soon. */
  lookAgain(host: string, uuid?: string): void {
    const news = this.#news.get(host);
    if (news) {
      news.changed = together(news.changed, uuid === undefined ? undefined : new Set([uuid]));
      return;
    }
    const fresh = { changed: uuid === undefined ? undefined : new Set([uuid]) };
    this.#news.set(host, fresh);
    this.#options.clock.after(eventSettleMs, () => {
      this.#news.delete(host);
      const { host: wanted } = this.#options.fleet.find(host) ?? {};
      for (const poller of pollerNames) {
        const { followsEvents, intervalMs } = pollers[poller];
        if (wanted && followsEvents && intervalMs(wanted) !== undefined)
          this.#turn(host, poller, fresh.changed).catch(() => undefined);
      }
    });
  }

  #turn(host: string, poller: PollerName, changed: Changed, scheduled = false): Promise<void> {
    const key = turnKey(host, poller);
    const last = this.#turns.get(key);
    if (last && !last.begun) {
      last.changed = together(last.changed, changed);
      last.scheduled ||= scheduled;
      return last.done;
    }
    if (last && last.changed === undefined && changed === undefined) {
      last.scheduled ||= scheduled;
      return last.done;
    }
    const turn = { begun: false, changed: changed && new Set(changed), scheduled, done: Promise.resolve() };
    turn.done = this.#take(host, poller, turn, last).finally(() => {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    });
    this.#turns.set(key, turn);
    return turn.done;
  }

  async #take(host: string, poller: PollerName, turn: Turn, before: Turn | undefined): Promise<void> {
    await before?.done.catch(() => undefined);
    this.#begin(turnKey(host, poller), turn);
    const { clock, fleet, samples, onDone } = this.#options;
    const { part, judgesPart } = pollers[poller];
    const startedMs = clock.monotonicMs();
    let more = false;
    const again = () => {
      more = true;
    };
    try {
      await this.#poll(host, poller, turn.changed, again);
      if (more) this.#owe(host, poller, undefined);
      if (judgesPart) fleet.find(host)?.observe(part, undefined);
      onDone(poller, 'ok', clock.monotonicMs() - startedMs);
      if (turn.scheduled) this.#runAfter(host, poller);
    } catch (error) {
      const failure = asHostError(error, { host, message: `the ${poller} poll broke` });
      samples.fail(host, poller, failure);
      if (judgesPart) fleet.find(host)?.observe(part, failure);
      onDone(poller, failure.code === 'HOST_DOWN' ? 'host-down' : 'failed', clock.monotonicMs() - startedMs);
      const isDown = failure.code === 'HOST_DOWN' && !fleet.find(host)?.has('libvirt');
      if (!isDown) this.#owe(host, poller, turn.changed);
      throw failure;
    }
  }

  #begin(key: string, turn: Turn): void {
    turn.begun = true;
    const owed = this.#owed.get(key);
    if (!owed) return;
    owed.timer.cancel();
    this.#owed.delete(key);
    turn.changed = together(turn.changed, owed.changed);
  }

  #owe(host: string, poller: PollerName, changed: Changed): void {
    const { clock, fleet } = this.#options;
    const { host: wanted } = fleet.find(host) ?? {};
    const everyMs = wanted && pollers[poller].intervalMs(wanted);
    if (!wanted || everyMs === undefined || everyMs <= wanted.poll.intervalMs) return;
    const key = turnKey(host, poller);
    const timer = clock.after(wanted.poll.intervalMs, () => {
      if (fleet.find(host)) this.#turn(host, poller, changed).catch(() => undefined);
      else this.#owed.delete(key);
    });
    this.#owed.set(key, { changed, timer });
  }

  #runAfter(host: string, done: PollerName): void {
    const { host: wanted } = this.#options.fleet.find(host) ?? {};
    for (const poller of pollerNames) {
      const { after, intervalMs } = pollers[poller];
      if (after !== done || !wanted || intervalMs(wanted) === undefined) continue;
      if (this.#turns.has(turnKey(host, poller))) this.#options.onSkip(poller);
      else this.#turn(host, poller, undefined).catch(() => undefined);
    }
  }

  async #poll<P extends PollerName>(
    host: string,
    name: P,
    changed: Changed,
    again: () => void,
  ): Promise<void> {
    const { clock, fleet, samples, onSample } = this.#options;
    const session = fleet.get(host);
    const poller: Pollers[P] = pollers[name];
    const readers: HostReaders = {
      libvirt: () => session.libvirt(),
      files: () => session.files(),
      opsLibvirt: (signal) => this.#options.opsLibvirt(session.host, signal),
    };
    const previous = samples.get(host, name)?.last?.sample;
    const vms = poller.after && samples.get(host, poller.after)?.last?.sample.vms;
    const ending = new Ending();
    const context = {
      host: session.host,
      clock,
      previous,
      changed,
      vms,
      again,
      get signal() {
        return ending.signal;
      },
    };
    const onTimeout = () =>
      new HostError('TIMEOUT', {
        host,
        message: `the ${name} poll took more than ${poller.timeoutMs / 1000} s`,
      });
    const poll = () => {
      ending.check();
      return poller.poll(readers, context);
    };
    const wait = { timeoutMs: poller.timeoutMs, clock, onTimeout };
    const sample = await within(
      () => session.queue.add(poll),
      wait,
      (error) => ending.end(error),
    );
    if (fleet.find(host) !== session) return;
    samples.put(host, name, sample);
    onSample(host, name, sample);
  }
}

function turnKey(host: string, poller: PollerName): string {
  return `${host}/${poller}`;
}

function together(some: Changed, more: Changed): Changed {
  return some && more && new Set([...some, ...more]);
}

function isPoller(name: string): name is PollerName {
  return Object.hasOwn(pollers, name);
}

/** What is polled of these hosts by a schedule of its own, and how often. */
export function schedulesOf(
  hosts: readonly Host[],
): { host: string; poller: PollerName; intervalMs: number }[] {
  return hosts.flatMap((host) =>
    pollerNames.flatMap((poller) => {
      const { after, intervalMs: every } = pollers[poller];
      const intervalMs = every(host);
      return after || intervalMs === undefined ? [] : [{ host: host.name, poller, intervalMs }];
    }),
  );
}
