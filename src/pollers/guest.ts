// Polls the agents inside a host's running VMs, where the inventory asks for it. Agents die, and libvirt waits for them:
//
//   agent      asked                                         shown
//   up         at each poll, two VMs at a time               its figures
//   down       after 1, 2, 4 … intervals, one VM at a time   down
//   none       every 10 minutes                              nothing
//
// so that dead agents delay neither the others, nor the poll of VMs, nor jobs: this has a connection of its own. A VM that no
// poll came to keeps what it had, for as long as that is news. It refuses to go on where libvirt waits for many agents at
// once: each holds one of libvirtd's 20 workers for as long as it hangs.
import type { Clock } from '../core/clock.js';
import { asHostError, describe } from '../core/errors.js';
import { inTurns } from '../core/in-turns.js';
import type { OpsLibvirt } from '../fleet/ops-for-polls.js';
import { type DomainRef, listDomainsFlag } from '../libvirt/procedures.js';
import { askGuest, type GuestAnswer, type GuestQuestion } from './guest-ask.js';
import type { GuestFigures } from './guest-figures.js';
import type { HostReaders, PollContext, Poller } from './poller.js';
import { Problems } from './problems.js';

export type GuestVm = {
  domain: DomainRef;
  agent: 'up' | 'down' | 'none' | 'unknown';
  /** Absent while the agent is not up, and where it answered with a refusal. */
  figures?: GuestFigures;
  question: GuestQuestion;
  /** In a row. */
  failures: number;
  /** libvirt still waited when we left. */
  hung: boolean;
  /** On the monotonic clock: when it was last judged, and when to ask again. */
  judgedAtMs: number;
  askAtMs: number;
};

export type GuestSample = { takenAtMs: number; vms: GuestVm[]; problems: string[] };

/** The way to libvirt may have to be opened first: SSH, jump hosts, libvirt. */
const pollTimeoutMs = 60_000;
const listTimeoutMs = 8_000;
/** No agent is asked any more after this; one that is being asked takes up to `agentTimeoutMs` longer, or twice that. */
const askWithinMs = 20_000;
const askedAtATime = 2;
/** VMs whose agents libvirt may wait for before only those are asked that answered the last time; and then none. */
const hungMax = 8;
const hungHardMax = 12;
const askAgainMs = 10 * 60_000;
/** What a VM had is shown for so many intervals, as samples are. */
const newsIntervals = 3;

export const guestPoller: Poller<GuestSample> = {
  name: 'guest',
  part: 'libvirt',
  judgesPart: false,
  followsEvents: true,
  timeoutMs: pollTimeoutMs,
  intervalMs: ({ poll }) => poll.guestMs,

  async poll(readers, context) {
    const round = new Round(context, await runningVms(readers, context));
    if (round.due.length > 0) await round.ask(await opsOf(readers, context));
    return { takenAtMs: context.clock.wallMs(), vms: [...round.vms.values()], problems: round.problems.list };
  },
};

/** A paused VM is left out: its agent cannot answer, and is none the worse for it. */
async function runningVms(readers: HostReaders, { signal }: PollContext): Promise<readonly DomainRef[]> {
  const options = { timeoutMs: listTimeoutMs, signal };
  return await readers.libvirt().listDomains(listDomainsFlag.running, options);
}

async function opsOf(readers: HostReaders, { signal }: PollContext): Promise<OpsLibvirt> {
  if (!readers.opsLibvirt) throw new Error('the guest poller was given no way to the agents');
  return await readers.opsLibvirt(signal);
}

class Round {
  readonly vms = new Map<string, GuestVm>();
  readonly due: GuestVm[];
  readonly problems = new Problems();
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #intervalMs: number;
  readonly #startedMs: number;
  #broken: unknown;
  #judged = 0;

  constructor(
    { clock, signal, host, previous, changed }: PollContext<GuestSample>,
    domains: readonly DomainRef[],
  ) {
    this.#clock = clock;
    this.#signal = signal;
    this.#intervalMs = host.poll.guestMs ?? askAgainMs;
    this.#startedMs = clock.monotonicMs();
    const known = new Map(previous?.vms.map((vm) => [vm.domain.uuid, vm]));
    for (const domain of domains) {
      const before = known.get(domain.uuid);
      const same = before?.domain.id === domain.id;
      this.vms.set(domain.uuid, same ? { ...this.#news(before), domain } : unknownVm(domain));
    }
    const isDue = ({ domain, agent, askAtMs }: GuestVm) =>
      changed ? agent === 'unknown' && changed.has(domain.uuid) : askAtMs <= this.#startedMs;
    // Whoever waited longest comes first: a round that ends early does not end before the same VMs each time.
    this.due = [...this.vms.values()].filter(isDue).sort((a, b) => a.judgedAtMs - b.judgedAtMs);
  }

  /** Throws what broke the connection when that left nothing to tell. */
  async ask(ops: OpsLibvirt): Promise<void> {
    const suspects = this.due.filter(({ agent }) => agent === 'down');
    const others = this.due.filter(({ agent }) => agent !== 'down');
    await Promise.all([
      inTurns(others, (vm) => this.#ask(ops, vm), askedAtATime),
      inTurns(suspects, (vm) => this.#ask(ops, vm), 1),
    ]);
    this.#signal.throwIfAborted();
    if (this.#broken === undefined) return;
    if (this.#judged === 0) throw this.#broken;
    this.problems.add(`asking ended early: ${describe(this.#broken)}`);
  }

  async #ask(ops: OpsLibvirt, vm: GuestVm): Promise<void> {
    if (this.#broken !== undefined || this.#signal.aborted || !this.#hasRoom(vm)) return;
    const dom = vm.domain;
    try {
      const answer = await askGuest({ ops, dom, signal: this.#signal }, vm.question);
      this.vms.set(dom.uuid, this.#judge(vm, answer));
      this.#judged++;
    } catch (error) {
      this.#broken ??= asHostError(error);
    }
  }

  #hasRoom({ agent, hung }: GuestVm): boolean {
    if (this.#clock.monotonicMs() - this.#startedMs > askWithinMs) {
      this.problems.add(`not all agents were asked within ${askWithinMs / 1000} s`);
      return false;
    }
    const hanging = [...this.vms.values()].filter((vm) => vm.hung).length;
    if (hung || hanging < (agent === 'up' ? hungHardMax : hungMax)) return true;
    this.problems.add(`libvirt waits for ${hanging} agents already: not all others are asked`);
    return false;
  }

  #judge(vm: GuestVm, answer: GuestAnswer): GuestVm {
    const nowMs = this.#clock.monotonicMs();
    const { domain, question } = vm;
    const judged = { domain, judgedAtMs: nowMs, question, failures: 0, hung: false };
    switch (answer.agent) {
      case 'up': {
        const { figures } = answer;
        return { ...judged, ...answer, ...(figures && { figures }), askAtMs: 0 };
      }
      case 'none':
        return { ...judged, agent: 'none', askAtMs: nowMs + askAgainMs };
      case 'unjudged':
        return { ...vm, judgedAtMs: vm.judgedAtMs };
      case 'down': {
        const failures = vm.failures + 1;
        const askAtMs = nowMs + this.#patienceMs(failures);
        return { ...judged, agent: 'down', hung: answer.hung, failures, askAtMs };
      }
    }
  }

  /** Half an interval less than so many intervals, since polls do not come on the dot. */
  #patienceMs(failures: number): number {
    const intervals = 2 ** Math.min(failures - 1, 30);
    return (
      Math.min(intervals * this.#intervalMs, Math.max(askAgainMs, this.#intervalMs)) - this.#intervalMs / 2
    );
  }

  /** What was judged too long ago is not known any more. */
  #news(vm: GuestVm): GuestVm {
    const isNews = vm.agent !== 'up' || this.#startedMs - vm.judgedAtMs <= newsIntervals * this.#intervalMs;
    if (isNews) return vm;
    const { figures, ...rest } = vm;
    return { ...rest, agent: 'unknown' };
  }
}

function unknownVm(domain: DomainRef): GuestVm {
  const question = 'ours' as const;
  return { domain, agent: 'unknown', question, failures: 0, hung: false, judgedAtMs: 0, askAtMs: 0 };
}
