// When figures of a host stop being news. It refuses to guess: age is the monotonic clock's.
import type { SampleStore } from '../fleet/samples.js';
import type { HostSession } from '../fleet/session.js';
import { type PollerName, pollers, type Samples } from '../pollers/runner.js';

/** A sample older than this many poll intervals is no longer news, though the host is connected. */
const staleAfterIntervals = 3;
/** The least age at which a sample is stale: short intervals forgive one slow poll. */
const staleAfterMsMin = 30_000;

/** False too while there is no sample at all, and for a poller that the host does not have. */
export function isNews(session: HostSession, samples: SampleStore<Samples>, poller: PollerName): boolean {
  const { part, intervalMs } = pollers[poller];
  const everyMs = intervalMs(session.host);
  const ageMs = samples.ageMs(session.host.name, poller);
  if (everyMs === undefined || ageMs === undefined || !session.has(part)) return false;
  return ageMs <= Math.max(staleAfterIntervals * everyMs, staleAfterMsMin);
}
