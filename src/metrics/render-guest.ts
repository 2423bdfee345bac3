// Renders what guests' agents tell. The words come from whoever is root in the guest: they are labels of *_info series and
// mount points, bounded in number by the poller. It refuses to write a series twice.

import type { GuestSample } from '../pollers/guest.js';
import type { GuestFigures } from '../pollers/guest-figures.js';
import { type Lines, label } from './exposition.js';

export function renderGuest(lines: Lines, instance: string, { vms }: GuestSample): void {
  const host = lines.host(instance);
  const seen = new Set<string>();
  for (const { domain, agent, figures } of vms) {
    if (agent === 'none' || agent === 'unknown') continue;
    const labels = `${host},${label('domain', domain.name)}`;
    if (seen.has(labels)) continue;
    seen.add(labels);
    lines.add('outrigger_domain_guest_agent_up', labels, agent === 'up' ? 1 : 0);
    if (figures) renderFigures(lines, labels, figures);
  }
}

function renderFigures(lines: Lines, labels: string, figures: GuestFigures): void {
  const { os, hostname, timezone, users, filesystems } = figures;
  if (os || hostname !== undefined) {
    const info = [
      label('os_id', os?.id ?? ''),
      label('os_version', os?.versionId ?? ''),
      label('os_pretty_name', os?.prettyName ?? ''),
      label('kernel', os?.kernelRelease ?? ''),
      label('machine', os?.machine ?? ''),
      label('hostname', hostname ?? ''),
      label('timezone', timezone ?? ''),
    ];
    lines.add('outrigger_domain_guest_info', `${labels},${info.join(',')}`, 1);
  }
  lines.add('outrigger_domain_guest_users', labels, users);
  const seen = new Set<string>();
  for (const { mountpoint, device, fstype, sizeBytes, usedBytes } of filesystems) {
    const place = `${labels},${label('mountpoint', mountpoint)}`;
    if (seen.has(place)) continue;
    seen.add(place);
    lines.add('outrigger_domain_guest_filesystem_size_bytes', place, sizeBytes);
    lines.add('outrigger_domain_guest_filesystem_used_bytes', place, usedBytes);
    const identity = `${label('device', device ?? '')},${label('fstype', fstype ?? '')}`;
    lines.add('outrigger_domain_guest_filesystem_info', `${place},${identity}`, 1);
  }
}
