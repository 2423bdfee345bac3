// What a poller is: a function from what one host lets us read to a typed sample. It keeps nothing between polls, never
// connects, and knows neither Prometheus nor the backend.
import type { Clock } from '../core/clock.js';
import type { DomainStats } from '../libvirt/stats.js';

export type ReadOptions = {
  /** More than this is refused, bytes. */
  bytesMax?: number;
  timeoutMs?: number;
  signal?: AbortSignal;
};

export type FilesystemStat = {
  /** Bytes per block; `blocks…` count fragments of `fragmentSize` bytes. */
  blockSize: number;
  fragmentSize: number;
  blocks: number;
  blocksFree: number;
  blocksAvailable: number;
  files: number;
  filesFree: number;
};

/** The part of a host's files that pollers need. Errors are HostErrors whose message names the path. */
export interface HostFiles {
  read(path: string, options?: ReadOptions): Promise<string>;
  list(path: string, options?: ReadOptions): Promise<string[]>;
  statvfs(path: string, options?: ReadOptions): Promise<FilesystemStat>;
}

/** The part of a host's libvirt that pollers need. */
interface HostLibvirt {
  /** All domains, without waiting for busy ones. */
  domainStats(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<DomainStats[]>;
}

/** Both throw HOST_DOWN at once, with the reason, while the host is not connected. */
export interface HostReaders {
  libvirt(): HostLibvirt;
  files(): HostFiles;
}

export type PollContext = { signal: AbortSignal; clock: Clock };

export interface Poller<S> {
  readonly name: string;
  /** The whole poll, milliseconds. */
  readonly timeoutMs: number;
  poll(readers: HostReaders, context: PollContext): Promise<S>;
}
