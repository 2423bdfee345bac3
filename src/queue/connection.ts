// Connections to the store, of two kinds. A worker waits for the store as long as it takes; a producer answers at once
// when the store is away, so that nobody who asked over HTTP waits for it. Every connection is counted here, because
// BullMQ duplicates some and can hang while closing them: `disconnectAll` ends them all, whatever state they are in.
// It refuses options hidden in the URL's query, and never prints a password.
import { isIP } from 'node:net';
import { Redis, type RedisOptions } from 'ioredis';
import { fullJitterMs } from '../core/backoff.js';
import { batchWrites } from '../core/batched-writes.js';
import { HostError } from '../core/errors.js';
import { Secret } from '../core/secret.js';
import type { Shard } from '../core/shard.js';
import { type StoreNames, storeNames } from './store-names.js';

const connectTimeoutMs = 5_000;
/** A producer's call that the store took and does not answer. */
const producerCallTimeoutMs = 5_000;
/** Silence with a call in flight that counts as a dead connection; longer than BullMQ's blocking read (10 s). */
const silenceMs = 15_000;
const keepAliveMs = 10_000;
const redisPort = 6379;
const reconnectFloorMs = 50;
const reconnect = { baseMs: 100, capMs: 2_000, factor: 2 };

/** Where the store is: the embedded one's socket, or AGENT_REDIS_URL; and which part of it is ours. */
export type StoreAddress = ({ kind: 'socket'; path: string } | { kind: 'url'; url: Secret }) & {
  /** Whose queues and keys on it are ours; absent: the fleet is not divided. */
  readonly shard?: Shard;
};

export type ClientKind = 'worker' | 'producer';
export type ClientOptions = Omit<RedisOptions, 'replyMapping'>;

export function urlAddress(url: string | Secret): StoreAddress {
  return { kind: 'url', url: typeof url === 'string' ? new Secret(url) : url };
}

/** The address for people and logs: no user, no password. */
export function printableAddress(address: StoreAddress): string {
  if (address.kind === 'socket') return address.path;
  const { tls, host, port, db } = endpoint(address);
  return `${tls ? 'rediss' : 'redis'}://${isIP(host ?? '') === 6 ? `[${host}]` : host}:${port}${db ? `/${db}` : ''}`;
}

/**
 * Options for ioredis.
 * @throws HostError SETTINGS when AGENT_REDIS_URL is not a redis:// or rediss:// URL.
 */
export function clientOptions(address: StoreAddress, kind: ClientKind): ClientOptions {
  return {
    ...endpoint(address),
    connectTimeout: connectTimeoutMs,
    socketTimeout: silenceMs,
    keepAlive: keepAliveMs,
    disconnectTimeout: 500,
    retryStrategy: (attempt) => reconnectFloorMs + fullJitterMs(reconnect, attempt),
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(kind === 'worker'
      ? { maxRetriesPerRequest: null, enableOfflineQueue: true }
      : { maxRetriesPerRequest: 1, enableOfflineQueue: false, commandTimeout: producerCallTimeoutMs }),
  };
}

function endpoint(address: StoreAddress): ClientOptions {
  if (address.kind === 'socket') return { path: address.path };
  let url: URL;
  try {
    url = new URL(address.url.expose());
  } catch {
    throw badUrl('it is not a URL');
  }
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') throw badUrl(`not ${url.protocol}//`);
  if (!url.hostname) throw badUrl('it names no host');
  const database = url.pathname.replace(/^\//, '');
  if (!/^\d{0,4}$/.test(database)) throw badUrl(`${JSON.stringify(database)} is not a database number`);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    host,
    port: url.port ? Number(url.port) : redisPort,
    db: Number(database),
    ...(url.username && { username: decodeURIComponent(url.username) }),
    ...(url.password && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:' && { tls: isIP(host) ? {} : { servername: host } }),
  };
}

function badUrl(why: string): HostError {
  return new HostError('SETTINGS', {
    message: `AGENT_REDIS_URL must be redis://[user:password@]host[:port][/database] or rediss://…: ${why}`,
    hint: 'Set AGENT_REDIS_URL to such a URL, or unset it to use the embedded store.',
  });
}

class CountedRedis extends Redis {
  readonly #open: Set<Redis>;

  constructor(options: ClientOptions, open: Set<Redis>) {
    super(options);
    this.#open = open;
    open.add(this);
    this.on('error', () => undefined);
    // Polls end many at a time: their calls need not be a system call each.
    this.on('connect', () => batchWrites(this.stream));
  }

  override duplicate(override?: ClientOptions): Redis {
    const { replyMapping: _, ...options } = this.options;
    return new CountedRedis({ ...options, ...override }, this.#open);
  }
}

/** Makes and counts the connections of one service to one store. */
export class StoreClients {
  readonly address: StoreAddress;
  readonly names: StoreNames;
  readonly #open = new Set<Redis>();

  constructor(address: StoreAddress) {
    clientOptions(address, 'producer');
    this.address = address;
    this.names = storeNames(address.shard);
  }

  create(kind: ClientKind, connectionName?: string): Redis {
    const options = clientOptions(this.address, kind);
    return new CountedRedis({ ...options, ...(connectionName && { connectionName }) }, this.#open);
  }

  /** Ends every connection now: calls in flight are rejected, nothing reconnects. */
  disconnectAll(): void {
    for (const client of this.#open) client.disconnect();
    this.#open.clear();
  }
}
