// The HTTP side with every group of routes that the service has, over an empty fleet and without a store. A group that the service
// gets belongs here too.
import { tmpdir } from 'node:os';
import { silentLog } from '../../src/core/log.js';
import { Fleet } from '../../src/fleet/fleet.js';
import { SampleStore } from '../../src/fleet/samples.js';
import { makeApi } from '../../src/http/api/make.js';
import { apiRoutes } from '../../src/http/api/routes.js';
import { makePages } from '../../src/http/pages/make.js';
import { QueueBoard } from '../../src/http/queues.js';
import type { RouteGroup } from '../../src/http/server.js';
import type { Samples } from '../../src/pollers/runner.js';
import { FakeClock } from './fake-clock.js';

export function wholeGroups(): RouteGroup[] {
  const clock = new FakeClock();
  const log = silentLog;
  const fleet = new Fleet({ clock, log, knownHostsFile: '/kh', connector: undefined as never });
  const samples = new SampleStore<Samples>(clock);
  const api = makeApi({ fleet, samples, clock, jobs: () => undefined, auditDir: tmpdir() });
  const collector = () => ({ store: { up: false, detail: 'starting' }, inventory: { problems: [] } });
  const pages = makePages({ api, collector, clock });
  const board = new QueueBoard({ log });
  return [(app) => pages.addRoutes(app), (app) => board.addRoutes(app), apiRoutes(api)];
}
