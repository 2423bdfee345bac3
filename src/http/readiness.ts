// What /readyz says, from what the service knows of its parts. Pure. A backend that is away, or a file that is not taken, is told
// and makes nothing unready: the service goes on with what it has.
import { type Shard, shardText } from '../core/shard.js';
import type { Inventory } from '../inventory/host.js';
import { formatProblem, type Problem } from '../inventory/problem.js';
import type { Check, Readiness } from './server.js';

export type ReadinessInput = {
  store: { state: string; why?: string | undefined } | undefined;
  inventory: Inventory;
  shard: Shard | undefined;
  /** Of the inventory file as it is now. */
  problems: readonly Problem[];
  backend: { detail: string } | undefined;
  tokens: string | undefined;
  /** At least one poll has succeeded. */
  polled: boolean;
};

export function readinessOf({
  store,
  inventory,
  shard,
  problems,
  backend,
  tokens,
  polled,
}: ReadinessInput): Readiness {
  const checks = {
    ...(backend && { backend: { ok: true, detail: backend.detail } }),
    ...(tokens && { tokens: { ok: true, detail: tokens } }),
    store: { ok: store?.state === 'up', detail: store?.why ?? store?.state ?? 'starting' },
    inventory: { ok: true, detail: inventoryDetail(inventory, problems) },
    ...(shard && { shard: { ok: true, detail: `${shardText(shard)} of the inventory's hosts` } }),
    polls: pollsCheck(polled, inventory.hosts.length === 0),
  };
  return { ready: Object.values(checks).every(({ ok }) => ok), checks };
}

function pollsCheck(polled: boolean, empty: boolean): Check {
  if (polled) return { ok: true, detail: 'at least one has succeeded' };
  return { ok: empty, detail: empty ? 'no hosts to poll' : 'none has succeeded yet' };
}

function inventoryDetail({ hosts }: Inventory, [first, ...more]: readonly Problem[]): string {
  const inForce = `${hosts.length} ${hosts.length === 1 ? 'host' : 'hosts'}`;
  if (!first) return inForce;
  const others = more.length > 0 ? ` (and ${more.length} more)` : '';
  return `${inForce}; the file now has a problem and is not taken: ${formatProblem(first)}${others}`;
}
