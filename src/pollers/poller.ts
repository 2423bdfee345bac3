// What a poller is: a function from what one host lets us read to a typed sample. It keeps nothing between polls, never
// connects, and knows neither Prometheus nor the backend.
import type { Clock } from '../core/clock.js';
import type { DomainStats } from '../libvirt/stats.js';
import type { FileReader } from '../ssh/file-reader.js';

/** The part of a host's files that pollers need. */
export type HostFiles = Pick<FileReader, 'read' | 'list' | 'statvfs'>;

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
