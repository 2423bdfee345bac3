// Renders how the collector gets on with a host. These few lines are made when the page is asked for: ages grow by
// themselves. They stay when everything else of the host goes: a host that is down says so.
import type { Lines } from './exposition.js';
import type { Labels } from './label-bytes.js';

export type HostStateView = {
  /** Reached over SSH (or local, and open). */
  up: boolean;
  /** libvirt is connected and the last poll of VMs went well. */
  libvirtUp: boolean;
  /** The session's state, and all that there are. */
  state: string;
  states: readonly string[];
  /** Code of the error that keeps it from being up. */
  cause?: string | undefined;
  maintenance: boolean;
  heartbeatAgeMs?: number | undefined;
  /** Wall milliseconds of the newest good poll of any kind. */
  lastSuccessMs?: number | undefined;
  samples: readonly {
    poller: string;
    /** On the monotonic clock. */
    ageMs: number;
    problems?: number | undefined;
  }[];
  /** Labels of outrigger_host_info; a name that Prometheus does not allow is left out. */
  info?: Readonly<Record<string, string | undefined>>;
};

const msPerSecond = 1000;

export function renderHostState(lines: Lines, instance: string, view: HostStateView): void {
  const host = lines.host(instance);
  lines.add('libvirt_up', host, view.libvirtUp ? 1 : 0);
  lines.add('outrigger_host_up', host, view.up ? 1 : 0);
  for (const state of view.states) {
    const isIn = state === view.state ? 1 : 0;
    lines.add('outrigger_host_session_state', lines.label(host, 'state', state), isIn);
  }
  if (view.cause) lines.add('outrigger_host_cause_info', lines.label(host, 'code', view.cause), 1);
  lines.add('outrigger_host_maintenance', host, view.maintenance ? 1 : 0);
  if (view.heartbeatAgeMs !== undefined) {
    lines.add('outrigger_host_heartbeat_age_seconds', host, view.heartbeatAgeMs / msPerSecond);
  }
  if (view.lastSuccessMs !== undefined) {
    lines.add('outrigger_host_last_success_timestamp_seconds', host, view.lastSuccessMs / msPerSecond);
  }
  for (const { poller, ageMs, problems } of view.samples) {
    const labels = lines.label(host, 'poller', poller);
    lines.add('outrigger_host_sample_age_seconds', labels, Math.max(0, ageMs) / msPerSecond);
    lines.add('outrigger_host_sample_problems', labels, problems);
  }
  if (view.info) lines.add('outrigger_host_info', infoLabels(lines, host, view.info), 1);
}

function infoLabels(lines: Lines, host: Labels, info: Readonly<Record<string, string | undefined>>): Labels {
  let labels = host;
  for (const [name, value] of Object.entries(info)) {
    if (value !== undefined && /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) && name !== 'instance') {
      labels = lines.label(labels, name, value);
    }
  }
  return labels;
}
