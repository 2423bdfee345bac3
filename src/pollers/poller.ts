// What a poller is: a function from what one host lets us read to a typed sample. It keeps nothing between polls but what
// its last sample says, never connects, and knows neither Prometheus nor the backend.
import type { Clock } from '../core/clock.js';
import type { OpsLibvirt } from '../fleet/ops-for-polls.js';
import type { Host } from '../inventory/host.js';
import type { LibvirtClient } from '../libvirt/client.js';
import type { DomainStats } from '../libvirt/stats.js';
import type { FileReader } from '../ssh/file-reader.js';

/** The part of a host's files that pollers need. */
export type HostFiles = Pick<FileReader, 'read' | 'parsed' | 'readAll' | 'list' | 'readlink' | 'statvfs'>;

/** The part of a host's libvirt that pollers need. `domainStats`: all domains, without waiting for busy ones. */
export type HostLibvirt = Pick<LibvirtClient, 'domainStats' | 'listDomains' | 'call'>;

/** `libvirt` and `files` throw HOST_DOWN at once, with the reason, while the host is not connected. */
export interface HostReaders {
  libvirt(): HostLibvirt;
  files(): HostFiles;
  /** Opened with the jobs key when it is not open; rejects where the inventory does not let polls use that. */
  opsLibvirt?(signal: AbortSignal): Promise<OpsLibvirt>;
}

export type PollContext<S = unknown> = {
  host: Host;
  /** Made when it is asked for. */
  readonly signal: AbortSignal;
  clock: Clock;
  /** The newest sample that this poller took of this host since the service started. */
  previous?: S | undefined;
  /** UUIDs of the domains that events named: the only ones to read anew. Absent: read everything. */
  changed?: ReadonlySet<string> | undefined;
  /** As the newest poll of the VMs found them: for a poller that runs after that one. */
  vms?: readonly Pick<DomainStats, 'domain'>[] | undefined;
  /** For a poll that found less than there must be: the whole of it is polled once more, an interval of the host later. */
  again?: () => void;
};

export interface Poller<S> {
  readonly name: string;
  /** What it reads; when the session loses that, the samples are no longer news. */
  readonly part: 'libvirt' | 'files';
  /** Whether its failure means that this part does not work; one poller a part does. */
  readonly judgesPart: boolean;
  /** Whether an event of a VM is a reason to poll. */
  readonly followsEvents: boolean;
  /** Instead of by a schedule of its own, it runs after each scheduled poll of this one that went well. */
  readonly after?: 'vms';
  /** The whole poll, milliseconds. */
  readonly timeoutMs: number;
  /** Between polls, that of `after` for one that runs after another; undefined where the inventory does not want this poller. */
  intervalMs(host: Host): number | undefined;
  poll(readers: HostReaders, context: PollContext<S>): Promise<S>;
}
