// When figures of a host stop being news. It refuses to guess: age is the monotonic clock's.
import type { SampleStore } from '../fleet/samples.js';
import type { HostSession } from '../fleet/session.js';
import type { Samples } from '../pollers/runner.js';

/** A sample older than this many poll intervals is no longer news, though the host is connected. */
const staleAfterIntervals = 3;
/** The least age at which a sample is stale: short intervals forgive one slow poll. */
const staleAfterMsMin = 30_000;

const partOf = { vms: 'libvirt', system: 'files' } as const;

/** False too while there is no sample at all. */
export function isNews(
  session: HostSession,
  samples: SampleStore<Samples>,
  poller: keyof typeof partOf,
): boolean {
  const { name, poll } = session.host;
  const ageMs = samples.ageMs(name, poller);
  const staleMs = Math.max(staleAfterIntervals * poll.intervalMs, staleAfterMsMin);
  return session.has(partOf[poller]) && ageMs !== undefined && ageMs <= staleMs;
}
