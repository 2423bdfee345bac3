// What one host's agent says of it, from what the house knows now: heartbeat and metrics. It keeps the samples of the last
// report, for the rates, and nothing else. Stale figures are left out, never repeated.
import type { Clock } from '../core/clock.js';
import { domainStates } from '../libvirt/procedures.js';
import type { SystemSample } from '../pollers/system.js';
import type { VmsSample } from '../pollers/vms.js';
import type { AgentStatus, HeartbeatRequest, LastError, MetricsRequest } from './api.js';
import { systemFigures, type Timed, vmFigures } from './rates.js';

export type HostStatus = {
  /** Undefined while it is not known yet: nothing is said then. */
  status: AgentStatus | undefined;
  lastError?: LastError | undefined;
};

export type HostSamples = { vms: Timed<VmsSample> | undefined; system: Timed<SystemSample> | undefined };

const secondMs = 1_000;

export function heartbeatOf(
  { status, lastError }: HostStatus & { status: AgentStatus },
  { vms }: HostSamples,
  clock: Clock,
): HeartbeatRequest {
  return {
    status,
    at: isoTime(clock.wallMs()),
    ...(vms && {
      sample_age_seconds: Math.max(0, clock.monotonicMs() - vms.takenAtMonotonicMs) / secondMs,
      vms: countVms(vms.sample),
    }),
    ...(lastError && { last_error: lastError }),
  };
}

function countVms({ vms }: VmsSample): NonNullable<HeartbeatRequest['vms']> {
  const counts = new Map<string, number>();
  for (const { state } of vms) {
    const name = (state.state !== undefined && domainStates[state.state]) || 'unknown';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return { total: vms.length, by_state: Object.fromEntries(counts) };
}

/** The samples of a host's last report that arrived. */
export class LastReport {
  #last: HostSamples = { vms: undefined, system: undefined };

  /** Undefined when nothing is newer than what was told. `told` is to be called when it has arrived. */
  next({ vms, system }: HostSamples, clock: Clock): { body: MetricsRequest; told: () => void } | undefined {
    const last = this.#last;
    const newVms = isNews(vms, last.vms) ? vms : undefined;
    const newSystem = isNews(system, last.system) ? system : undefined;
    if (!newVms && !newSystem) return undefined;
    const body: MetricsRequest = {
      at: isoTime(clock.wallMs()),
      ...(newSystem && { system: part(newSystem, systemFigures(newSystem, last.system)) }),
      ...(newVms && { vms: part(newVms, vmFigures(newVms, last.vms)) }),
    };
    const told = () => {
      this.#last = { vms: newVms ?? last.vms, system: newSystem ?? last.system };
    };
    return { body, told };
  }
}

function isNews<S>(now: Timed<S> | undefined, told: Timed<S> | undefined): now is Timed<S> {
  return now !== undefined && now.takenAtMonotonicMs !== told?.takenAtMonotonicMs;
}

function part<F>(
  { takenAtMs }: Timed<unknown>,
  { figures, intervalS }: { figures: F; intervalS: number | undefined },
): { at: string; figures: F; interval_seconds?: number } {
  return { at: isoTime(takenAtMs), ...(intervalS !== undefined && { interval_seconds: intervalS }), figures };
}

export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
