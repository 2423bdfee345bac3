// Which hosts an inventory adds, changes and removes, so that a reload leaves the others alone.
import { isDeepStrictEqual } from 'node:util';
import type { Host, Inventory } from './host.js';

export type InventoryDiff = { added: Host[]; changed: Host[]; removed: Host[]; unchanged: Host[] };

/** By name. `changed` and `unchanged` hold the hosts of `after`; a renamed host is one removed and one added. */
export function diffInventories(before: Inventory, after: Inventory): InventoryDiff {
  const earlier = new Map(before.hosts.map((host) => [host.name, host]));
  const diff: InventoryDiff = { added: [], changed: [], removed: [], unchanged: [] };
  for (const host of after.hosts) {
    const previous = earlier.get(host.name);
    earlier.delete(host.name);
    if (!previous) diff.added.push(host);
    else if (isDeepStrictEqual(previous, host)) diff.unchanged.push(host);
    else diff.changed.push(host);
  }
  diff.removed.push(...earlier.values());
  return diff;
}

export function isEmptyDiff({ added, changed, removed }: InventoryDiff): boolean {
  return added.length + changed.length + removed.length === 0;
}
