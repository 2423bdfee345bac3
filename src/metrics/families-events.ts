// What happened to VMs, as libvirt's events tell, and since when each is as it is.
import { counter, gauge } from './family.js';

export const eventFamilies = {
  outrigger_domain_events_total: counter(
    "Events of the host's VMs since the collector began to watch it, by libvirt's words for kind and reason.",
    'event',
    'detail',
  ),
  outrigger_domain_events_lost_total: counter(
    'Times that events may have been missed: the connection was away, or they came faster than they were read.',
  ),
  outrigger_domain_state_change_timestamp_seconds: gauge(
    'When the VM came into its present state, seconds since the epoch; absent when that was not seen.',
    'domain',
  ),
  outrigger_domain_state_reason_info: gauge(
    "The VM's state and why it is in it, in libvirt's words; always 1.",
    'domain',
    'state',
    'reason',
  ),
  outrigger_domain_start_time_seconds: gauge(
    'When the VM was started on this host, seconds since the epoch; absent when that is not known, or when it is off.',
    'domain',
  ),
} as const;
