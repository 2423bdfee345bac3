// Polls what libvirt does with each running VM: migration, save, dump, backup. Such a job neither tells of its beginning by
// an event nor makes the VM busy for the poll of the VMs, because libvirt lets figures be asked beside it, so each running
// VM is asked at each interval; without a job libvirt answers at once, from memory. It refuses to wait for one that is
// stuck: that one has no figures.
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

export type DomainJobsSample = { takenAtMs: number; domains: { name: string; job: DomainJob }[] };

export const domainJobsPoller: Poller<DomainJobsSample> = {
  name: 'domain-jobs',
  part: 'libvirt',
  judgesPart: false,
  followsEvents: false,
  intervalMs: ({ poll }) => poll.intervalMs,
  timeoutMs: pollTimeoutMs,
  async poll(readers, { signal, clock }) {
    const libvirt = readers.libvirt();
    const { domains } = await libvirt.call(
      procedures.connectListAllDomains,
      { needResults: 1, flags: listDomainsFlag.active },
      { timeoutMs: listTimeoutMs, signal },
    );
    const calls = new VmCalls({ libvirt, signal, clock, budgetMs });
    const answers = await inTurns(
      domains,
      async (dom) => {
        const answer = await calls.ask(procedures.domainGetJobInfo, { dom });
        return typeof answer === 'string' ? [] : [{ name: dom.name, job: answer.value }];
      },
      vmCallsAtATime,
    );
    return { takenAtMs: clock.wallMs(), domains: answers.flat() };
  },
};
