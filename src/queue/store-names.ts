// What our queues and keys in the store are called. Each shard of a divided fleet has its own, so that several may share one
// store without seeing each other's work. The outbox's keys go by data directory and need no shard. It refuses to hold a value:
// these are names.
import type { Shard } from '../core/shard.js';

/** BullMQ's own. */
export const keyPrefix = 'bull';

export type StoreNames = ReturnType<typeof storeNames>;

export function storeNames(shard?: Shard) {
  const end = shard ? `-${shard.index}` : '';
  const jobs = `outrigger-vm-jobs${end}`;
  return {
    polls: `outrigger-polls${end}`,
    jobs,
    outbox: `outrigger-outbox${end}`,
    /** BullMQ's key of a VM job begins with it. */
    jobPrefix: `${keyPrefix}:${jobs}:`,
    /** What the job engine keeps beside BullMQ begins with it: requests, locks of VMs, cancels. */
    keys: shard ? `outrigger:${shard.index}:` : 'outrigger:',
  };
}
