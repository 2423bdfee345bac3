// Ends a BullMQ worker. It refuses to wait for a store that is away, or goes away meanwhile: BullMQ itself would.
import type { Worker } from 'bullmq';
import type { Redis } from 'ioredis';

/** Resolves when the worker's jobs have ended, or when `client`, a connection to the same store, has lost it. */
export async function closeWorker(worker: Worker | undefined, client: Redis): Promise<void> {
  if (client.status !== 'ready') return worker?.close(true);
  const lost = new Promise<void>((resolve) => client.once('close', () => resolve()));
  await Promise.race([worker?.close(), lost]);
}
