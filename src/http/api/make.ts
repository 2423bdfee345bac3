// Puts the parts of the API together for the service: the view, the feed of changes, and where jobs and the audit log are read.
import { readAudit } from '../../audit/read.js';
import type { Clock } from '../../core/clock.js';
import type { Shard } from '../../core/shard.js';
import type { Fleet } from '../../fleet/fleet.js';
import type { SampleStore } from '../../fleet/samples.js';
import type { Samples } from '../../pollers/runner.js';
import { ChangeFeed } from '../changes.js';
import { type ApiDeps, queueOf } from './context.js';
import { jobOf } from './job-view.js';
import { FleetView } from './views.js';

export type ApiOptions = {
  fleet: Fleet;
  samples: SampleStore<Samples>;
  clock: Clock;
  /** Undefined until the service has begun to take jobs. */
  jobs: ApiDeps['jobs'];
  auditDir: string;
  /** Which part of a divided fleet is here. */
  shard?: Shard | undefined;
};

export function makeApi({ fleet, samples, clock, jobs, auditDir, shard }: ApiOptions): ApiDeps {
  const view = new FleetView({ fleet, samples, clock });
  const job = async (id: string) => {
    const found = await queueOf({ jobs }).get(id);
    return found && jobOf(found, 'listed');
  };
  const changes = new ChangeFeed({ view, job, clock });
  return { view, jobs, changes, clock, shard, audit: (query) => readAudit(auditDir, query) };
}
