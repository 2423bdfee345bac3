// Has running VMs report their memory: sets the period of balloon statistics where it is 0. It is the one thing that a
// poll changes on a host, so it refuses to without `poll.balloonPeriod` in the inventory and in maintenance, and it tries once in a VM's life.
import { withDeadline } from '../core/deadline.js';
import { HostError, summary } from '../core/errors.js';
import { inTurns } from '../core/in-turns.js';
import type { DomainEntry } from './details.js';
import type { HostReaders, PollContext } from './poller.js';
import type { Problems } from './problems.js';

/** For all VMs of a host; those that it does not reach are the next poll's. */
const timeoutMs = 10_000;
const callTimeoutMs = 4_000;
const atATime = 2;

/** Marks the entries that it asked for. */
export async function setBalloonPeriods(
  entries: readonly DomainEntry[],
  readers: HostReaders,
  { host, signal, clock }: PollContext,
  problems: Problems,
): Promise<void> {
  const { balloonPeriodS } = host.poll;
  const silent = entries.filter(isSilent);
  if (balloonPeriodS === undefined || host.maintenance || silent.length === 0) return;
  const set = async (signal: AbortSignal) => {
    const ops = await readers.opsLibvirt?.(signal);
    const one = async (entry: DomainEntry) => {
      if (signal.aborted) return;
      entry.balloonAsked = true;
      await ops
        ?.setBalloonPeriod(entry.domain, balloonPeriodS, { timeoutMs: callTimeoutMs, signal })
        .catch((error) => problems.add(`balloon of ${entry.domain.name}: ${summary(error)}`));
    };
    await inTurns(silent, one, atATime);
  };
  const onTimeout = () =>
    new HostError('TIMEOUT', { host: host.name, message: 'not all could be set in time' });
  try {
    await withDeadline(set, { timeoutMs, signal, clock, onTimeout });
  } catch (error) {
    if (signal.aborted) throw error;
    problems.add(`balloons: ${summary(error)}`);
  }
}

function isSilent({ domain, details, balloonAsked }: DomainEntry): boolean {
  return domain.id >= 0 && details?.balloon?.periodS === 0 && !balloonAsked;
}
