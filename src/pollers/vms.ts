// Polls a host's VMs in one call. It refuses to ask a VM twice: one that is busy is reported as busy, with the figures
// that libvirt has without it.
import type { DomainStats, StatRecord } from '../libvirt/stats.js';
import type { Poller } from './poller.js';

/** `busy`: the VM runs, but libvirt could not ask its QEMU process, so that the figures which come from there are missing. */
export type VmSample = DomainStats & { busy: boolean };

/** `takenAtMs`: wall milliseconds when the answer was complete. */
export type VmsSample = { takenAtMs: number; vms: VmSample[] };

const pollTimeoutMs = 12_000;
const callTimeoutMs = 10_000;

export const vmsPoller: Poller<VmsSample> = {
  name: 'vms',
  part: 'libvirt',
  judgesPart: true,
  followsEvents: true,
  intervalMs: ({ poll }) => poll.intervalMs,
  timeoutMs: pollTimeoutMs,
  async poll(readers, { clock }) {
    // One call, which ends before the poll's time is up: no need to be told so.
    const stats = await readers.libvirt().domainStats({ timeoutMs: callTimeoutMs });
    // Nobody else has them yet; a copy would be of their own properties only.
    const vms = stats as VmSample[];
    for (const vm of vms) vm.busy = isBusy(vm);
    return { takenAtMs: clock.wallMs(), vms };
  },
};

/**
 * With NOWAIT libvirt answers for a VM whose job lock is taken, leaving out everything that needs QEMU's monitor. It gives
 * no flag for that, so it is told from what is missing:
 * - an active domain has an id; a stopped one never needs its monitor;
 * - a driver that reports memory at all gives `balloon.maximum` with or without the monitor (the test driver gives neither);
 * - with the monitor come at least one of: memory figures of the guest or `rss`, requests of a disk, dirty-rate or
 *   I/O-thread figures. None of them means that the monitor was not asked, or did not answer.
 */
export function isBusy(stats: DomainStats): boolean {
  const { domain, fields } = stats;
  if (domain.id < 0) return false;
  if (fields === undefined) return lacksMonitor(stats);
  let busy = busyByFields.get(fields);
  if (busy === undefined) {
    busy = lacksMonitor(stats);
    busyByFields.set(fields, busy);
  }
  return busy;
}

/** Most VMs have the fields that they had at the last poll, and that others have. */
const busyByFields = new WeakMap<object, boolean>();

function lacksMonitor({ balloon, blocks, iothreads, dirtyrate }: DomainStats): boolean {
  if (balloon.maximum === undefined) return false;
  const asked =
    hasOther(balloon, balloonWithoutMonitor) ||
    blocks.some((block) => block !== undefined && hasOther(block, blockWithoutMonitor)) ||
    iothreads.length > 0 ||
    hasOther(dirtyrate, none);
  return !asked;
}

const balloonWithoutMonitor: ReadonlySet<string> = new Set(['current', 'maximum']);
const blockWithoutMonitor: ReadonlySet<string> = new Set(['name', 'path', 'backingIndex']);
const none: ReadonlySet<string> = new Set();

function hasOther(record: StatRecord, known: ReadonlySet<string>): boolean {
  for (const field in record) if (!known.has(field) && record[field] !== undefined) return true;
  return false;
}
