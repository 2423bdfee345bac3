// Which store the service works on: its own child, or the one that AGENT_REDIS_URL names. Either way the data directory is
// locked for this service alone. It refuses to wait for a store of yours: what uses it waits.
import type { Clock } from '../core/clock.js';
import type { Log } from '../core/log.js';
import type { Secret } from '../core/secret.js';
import type { Shard } from '../core/shard.js';
import { type StoreAddress, urlAddress } from './connection.js';
import { DataDirLock } from './data-dir-lock.js';
import { EmbeddedStore } from './embedded-store.js';

export type OpenStoreOptions = {
  redisUrl: Secret | undefined;
  dataDir: string;
  shard: Shard | undefined;
  log: Log;
  clock: Clock;
};

export type OpenStore = { address: StoreAddress; close: () => Promise<void> };

/** @throws HostError STORE */
export async function openStore({
  redisUrl,
  dataDir,
  shard,
  log,
  clock,
}: OpenStoreOptions): Promise<OpenStore> {
  const ours = shard && { shard };
  if (redisUrl) {
    const lock = await DataDirLock.acquire(dataDir, '');
    return { address: { ...urlAddress(redisUrl), ...ours }, close: () => lock.release() };
  }
  const store = await EmbeddedStore.start({ dataDir, log, clock });
  return { address: { ...store.address, ...ours }, close: () => store.stop() };
}
