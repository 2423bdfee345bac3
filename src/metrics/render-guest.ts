// Renders what guests' agents tell. The words come from whoever is root in the guest: they are labels of *_info series and
// mount points, bounded in number by the poller. It refuses to write a series twice.

import type { GuestSample } from '../pollers/guest.js';
import type { GuestFigures } from '../pollers/guest-figures.js';
import { eachOnce, type Lines } from './exposition.js';
import type { Labels } from './label-bytes.js';

export function renderGuest(lines: Lines, instance: string, { vms }: GuestSample): void {
  const host = lines.host(instance);
  const told = vms.filter(({ agent }) => agent !== 'none' && agent !== 'unknown');
  for (const { domain, agent, figures } of eachOnce(told, (vm) => vm.domain.name)) {
    const labels = lines.label(host, 'domain', domain.name);
    lines.add('outrigger_domain_guest_agent_up', labels, agent === 'up' ? 1 : 0);
    if (figures) renderFigures(lines, labels, figures);
  }
}

function renderFigures(lines: Lines, domain: Labels, figures: GuestFigures): void {
  const { os, hostname, timezone, users, filesystems } = figures;
  if (os || hostname !== undefined) {
    let info = lines.label(domain, 'os_id', os?.id ?? '');
    info = lines.label(info, 'os_version', os?.versionId ?? '');
    info = lines.label(info, 'os_pretty_name', os?.prettyName ?? '');
    info = lines.label(info, 'kernel', os?.kernelRelease ?? '');
    info = lines.label(info, 'machine', os?.machine ?? '');
    info = lines.label(info, 'hostname', hostname ?? '');
    info = lines.label(info, 'timezone', timezone ?? '');
    lines.add('outrigger_domain_guest_info', info, 1);
  }
  lines.add('outrigger_domain_guest_users', domain, users);
  for (const filesystem of eachOnce(filesystems, ({ mountpoint }) => mountpoint)) {
    const { mountpoint, device, fstype, sizeBytes, usedBytes } = filesystem;
    const place = lines.label(domain, 'mountpoint', mountpoint);
    lines.add('outrigger_domain_guest_filesystem_size_bytes', place, sizeBytes);
    lines.add('outrigger_domain_guest_filesystem_used_bytes', place, usedBytes);
    const info = lines.label(lines.label(place, 'device', device ?? ''), 'fstype', fstype ?? '');
    lines.add('outrigger_domain_guest_filesystem_info', info, 1);
  }
}
