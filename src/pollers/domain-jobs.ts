// Polls what libvirt does with each running VM: migration, save, dump, backup. Such a job neither tells of its beginning by
// an event nor makes the VM busy for the poll of the VMs, because libvirt lets figures be asked beside it, so each running
// VM is asked for it: one that has a job at each interval, the others some at a time, each within a minute or so on a large
// host. Without a job libvirt answers at once, from memory. It refuses to wait for one that is stuck: that one has no figures.
import { inTurns } from '../core/in-turns.js';
import { listDomainsFlag, procedures } from '../libvirt/procedures.js';
import type { Poller } from './poller.js';
import { VmCalls, vmCallsAtATime } from './vm-calls.js';

const pollTimeoutMs = 20_000;
const budgetMs = 12_000;
const listTimeoutMs = 5_000;

/** Milliseconds and bytes. */
export type DomainJob = {
  type: number;
  timeElapsed: number;
  timeRemaining: number;
  dataTotal: number;
  dataProcessed: number;
  dataRemaining: number;
  memTotal: number;
  memProcessed: number;
  memRemaining: number;
  fileTotal: number;
  fileProcessed: number;
  fileRemaining: number;
};

export type DomainJobsSample = {
  takenAtMs: number;
  domains: { name: string; job: DomainJob }[];
  /** How many polls came before: whose turn it is. */
  round?: number;
};

/** VMs without a job that are asked in one poll: these many, or a fourth of them when that is more. */
const idleAskedMin = 16;
const idleRounds = 4;
const noJob = 0;

export const domainJobsPoller: Poller<DomainJobsSample> = {
  name: 'domain-jobs',
  part: 'libvirt',
  judgesPart: false,
  followsEvents: false,
  intervalMs: ({ poll }) => poll.intervalMs,
  timeoutMs: pollTimeoutMs,
  async poll(readers, { signal, clock, previous }) {
    const libvirt = readers.libvirt();
    const { domains } = await libvirt.call(
      procedures.connectListAllDomains,
      { needResults: 1, flags: listDomainsFlag.active },
      { timeoutMs: listTimeoutMs, signal },
    );
    const known = new Map(previous?.domains.map(({ name, job }) => [name, job]));
    const round = (previous?.round ?? -1) + 1;
    const isTurn = turns(domains.length, round);
    const calls = new VmCalls({ libvirt, signal, clock, budgetMs });
    const answers = await inTurns(
      domains,
      async (dom, index) => {
        const before = known.get(dom.name);
        if (before?.type === noJob && !isTurn(index)) return [{ name: dom.name, job: before }];
        const answer = await calls.ask(procedures.domainGetJobInfo, { dom });
        return typeof answer === 'string' ? [] : [{ name: dom.name, job: answer.value }];
      },
      vmCallsAtATime,
    );
    return { takenAtMs: clock.wallMs(), domains: answers.flat(), round };
  },
};

/** Which of so many VMs have their turn: all of them within `idleRounds` polls. */
function turns(count: number, round: number): (index: number) => boolean {
  const atATime = Math.max(idleAskedMin, Math.ceil(count / idleRounds));
  const from = (round * atATime) % Math.max(1, count);
  return (index) => (index - from + count) % count < atATime;
}
