// Polls what libvirt does with each running VM: migration, save, dump, backup. Such a job neither tells of its beginning by
// an event nor makes the VM busy for the poll of the VMs, because libvirt lets figures be asked beside it, so each VM that
// this poll has just found running is asked for it: one that has a job at each interval, the others some at a time, each
// within two minutes or so on a large host. Without a job libvirt answers at once, from memory. It refuses to wait for one
// that is stuck: that one has no figures.
import { inTurns } from '../core/in-turns.js';
import { type DomainRef, procedures } from '../libvirt/procedures.js';
import type { PollContext, Poller } from './poller.js';
import { VmCalls, vmCallsAtATime } from './vm-calls.js';

const pollTimeoutMs = 20_000;
const budgetMs = 12_000;

/** Milliseconds and bytes. */
export type DomainJob = Readonly<{
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
}>;

type Entry = Readonly<{ name: string; job: DomainJob }>;

export type DomainJobsSample = {
  takenAtMs: number;
  domains: Entry[];
  /** How many polls came before: whose turn it is. */
  round?: number;
};

/** VMs without a job that are asked in one poll: these many, twice what may be under way, or a ninth of them when that is more. */
const idleAskedMin = 6;
const idleRounds = 9;
const noJob = 0;
/** For all that have none: what libvirt says beside its kind are figures of nothing. */
const idle: DomainJob = Object.freeze({
  type: noJob,
  timeElapsed: 0,
  timeRemaining: 0,
  dataTotal: 0,
  dataProcessed: 0,
  dataRemaining: 0,
  memTotal: 0,
  memProcessed: 0,
  memRemaining: 0,
  fileTotal: 0,
  fileProcessed: 0,
  fileRemaining: 0,
});

export const domainJobsPoller: Poller<DomainJobsSample> = {
  name: 'domain-jobs',
  part: 'libvirt',
  judgesPart: false,
  followsEvents: false,
  after: 'vms',
  intervalMs: ({ poll }) => poll.intervalMs,
  timeoutMs: pollTimeoutMs,
  async poll(readers, { signal, clock, previous, vms = [] }) {
    const libvirt = readers.libvirt();
    const domains = running(vms);
    const round = (previous?.round ?? -1) + 1;
    const isTurn = turns(domains.length, round);
    const entries = entriesOf(domains, previous?.domains ?? []);
    const asked: number[] = [];
    entries.forEach((entry, index) => {
      if (entry?.job.type !== noJob || isTurn(index)) asked.push(index);
    });
    const calls = new VmCalls({ libvirt, signal, clock, budgetMs });
    const ask = (index: number) =>
      calls.ask(procedures.domainGetJobInfo, { dom: domains[index] as DomainRef });
    const answers = await inTurns(asked, ask, vmCallsAtATime);
    asked.forEach((index, nth) => {
      const answer = answers[nth] as (typeof answers)[number];
      const { name } = domains[index] as DomainRef;
      entries[index] = typeof answer === 'string' ? undefined : entryOf(name, answer.value, entries[index]);
    });
    return {
      takenAtMs: clock.wallMs(),
      domains: entries.filter((entry) => entry !== undefined),
      round,
    };
  },
};

function running(vms: NonNullable<PollContext['vms']>): DomainRef[] {
  const domains: DomainRef[] = [];
  for (const { domain } of vms) if (domain.id >= 0) domains.push(domain);
  return domains;
}

/** What the last poll had of each: as lists rarely change, nearly always the one that followed. */
function entriesOf(domains: readonly DomainRef[], before: readonly Entry[]): (Entry | undefined)[] {
  let byName: Map<string, number> | undefined;
  let next = 0;
  return domains.map(({ name }) => {
    if (before[next]?.name !== name) {
      byName ??= new Map(before.map((entry, index) => [entry.name, index]));
      next = byName.get(name) ?? before.length;
    }
    return before[next++];
  });
}

function entryOf(name: string, job: DomainJob, before: Entry | undefined): Entry {
  if (job.type !== noJob) return { name, job };
  return before?.job.type === noJob ? before : { name, job: idle };
}

/** Which of so many VMs have their turn: all of them within `idleRounds` polls. */
function turns(count: number, round: number): (index: number) => boolean {
  const atATime = Math.max(idleAskedMin, Math.ceil(count / idleRounds));
  const from = (round * atATime) % Math.max(1, count);
  return (index) => (index - from + count) % count < atATime;
}
