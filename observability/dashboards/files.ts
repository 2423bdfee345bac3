// All dashboards and the files they go to. It refuses to write them: main.ts does.
import { collector } from './collector.js';
import { fleet } from './fleet.js';
import { dashboardJson } from './grafana.js';
import { host } from './host.js';
import { vmDashboard } from './vm.js';

export const dashboards = [fleet, host, vmDashboard, collector];

/** File name and JSON text of each. */
export function dashboardFiles(): [file: string, text: string][] {
  return dashboards.map((dashboard) => [
    `${dashboard.uid}.json`,
    `${JSON.stringify(dashboardJson(dashboard), null, 2)}\n`,
  ]);
}
