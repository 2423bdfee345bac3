// What the agents inside VMs tell. Only for hosts whose inventory entry sets poll.guest. Beside the agent's own state,
// a VM whose agent does not answer has none of these.
import { gauge } from './family.js';

export const guestFamilies = {
  outrigger_domain_guest_agent_up: gauge(
    '1 while the agent in the running VM answers, 0 while it does not; absent for a VM without one.',
    'domain',
  ),
  outrigger_domain_guest_info: gauge(
    'The operating system in the VM, as its agent tells; always 1.',
    'domain',
    'os_id',
    'os_version',
    'os_pretty_name',
    'kernel',
    'machine',
    'hostname',
    'timezone',
  ),
  outrigger_domain_guest_users: gauge('Users logged in inside the VM.', 'domain'),
  outrigger_domain_guest_filesystem_size_bytes: gauge(
    'Size of a filesystem inside the VM.',
    'domain',
    'mountpoint',
  ),
  outrigger_domain_guest_filesystem_used_bytes: gauge(
    'Space in use on a filesystem inside the VM.',
    'domain',
    'mountpoint',
  ),
  outrigger_domain_guest_filesystem_info: gauge(
    'A filesystem mounted inside the VM; always 1.',
    'domain',
    'mountpoint',
    'device',
    'fstype',
  ),
} as const;
