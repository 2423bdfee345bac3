// Renders what happened to a host's VMs, beside the newest poll of them: only VMs that it shows have lines. It refuses to
// make up a time: one that nobody saw is absent.
import type { DomainEvents } from '../fleet/domain-events.js';
import type { StartsSample } from '../pollers/starts.js';
import type { VmsSample } from '../pollers/vms.js';
import { eachOnce, type Lines } from './exposition.js';

const msPerSecond = 1000;

/** Counts stay while the host is down, as `libvirt_up` does: a counter that vanishes loses what happened meanwhile. */
export function renderEvents(lines: Lines, instance: string, events: DomainEvents): void {
  const told = events.counts(instance);
  if (!told) return;
  const host = lines.host(instance);
  for (const { event, detail, count } of told.events) {
    const labels = lines.label(lines.label(host, 'event', event), 'detail', detail);
    lines.add('outrigger_domain_events_total', labels, count);
  }
  lines.add('outrigger_domain_events_lost_total', host, told.gaps);
}

export function renderChanges(
  lines: Lines,
  instance: string,
  { vms }: VmsSample,
  events: DomainEvents,
  starts: StartsSample | undefined,
): void {
  const host = lines.host(instance);
  const started = new Map(starts?.vms.map((vm) => [vm.uuid, vm]));
  for (const { domain } of eachOnce(vms, (vm) => vm.domain.name)) {
    const labels = lines.label(host, 'domain', domain.name);
    const start = started.get(domain.uuid);
    const process = start?.id === domain.id ? start.startedAtMs : undefined;
    const startedAtMs = process ?? events.startedAtMs(instance, domain);
    const change = events.change(instance, domain.uuid);
    if (domain.id >= 0) lines.add('outrigger_domain_start_time_seconds', labels, seconds(startedAtMs));
    if (!change) continue;
    const { state, reason } = change;
    // What has been running since it booted came into that state when it was started, whatever gap there was since.
    const sinceBoot = state === 'running' && reason === 'booted' ? startedAtMs : undefined;
    const sinceMs = sinceBoot ?? change.sinceMs;
    lines.add('outrigger_domain_state_change_timestamp_seconds', labels, seconds(sinceMs));
    const why = lines.label(lines.label(labels, 'state', state), 'reason', reason);
    lines.add('outrigger_domain_state_reason_info', why, 1);
  }
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / msPerSecond;
}
