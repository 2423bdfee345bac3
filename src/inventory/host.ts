// What the rest of the house knows of a host: the inventory with precedence applied, plain data that can be compared.
// It refuses to hold secrets: keys and passphrases are paths of files.
import type { Shard } from '../core/shard.js';
import type { CollectorName } from './collectors.js';

export type Host = {
  /** Unique; the `instance` label. */
  readonly name: string;
  /** The agent id the backend knows the host by, when the operator chose one. */
  readonly id?: string;
  readonly connection: 'ssh' | 'local';
  /** DNS name or IP address, IPv6 without brackets; `localhost` for a local host. */
  readonly address: string;
  readonly groups: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly ssh: HostSsh;
  readonly libvirt: HostLibvirt;
  readonly poll: HostPoll;
  /** False: the host is only watched. */
  readonly ops: boolean;
  /** True: watched, but jobs are refused and alerts told. */
  readonly maintenance: boolean;
};

/** Milliseconds between polls. */
export type HostPoll = {
  readonly intervalMs: number;
  readonly detailsMs: number;
  /** Absent: agents in VMs are not asked. */
  readonly guestMs?: number;
  /** Seconds. Absent: the balloons of VMs are left as they are. */
  readonly balloonPeriodS?: number;
  /** Which of the host's own figures are read; absent: all that there are. */
  readonly collectors?: readonly CollectorName[];
};

export type HostSsh = {
  readonly user: string;
  readonly port: number;
  readonly keyFile?: string;
  readonly keyPassphraseFile?: string;
  readonly knownHostsFile?: string;
  /** True: the agent of SSH_AUTH_SOCK; text: the path of an agent's socket. */
  readonly agent: boolean | string;
  /** In order, the first one dialled first. */
  readonly jump: readonly JumpHost[];
  readonly opsUser?: string;
  readonly opsKeyFile?: string;
};

export type JumpHost = { readonly user?: string; readonly address: string; readonly port: number };

export type HostLibvirt = {
  /** The daemon's URI as seen on the host: `qemu:///system`. */
  readonly uri: string;
  /** `auto`, or the path of libvirt's socket on the host. */
  readonly socket: string;
  readonly transport: LibvirtTransport;
};

export const libvirtTransports = ['auto', 'socket', 'helper'] as const;
type LibvirtTransport = (typeof libvirtTransports)[number];

export type Inventory = { readonly hosts: readonly Host[] };

/** What stands in for keys that neither a host nor its groups nor the defaults give. */
export type InventoryDefaults = {
  /** Daemon URI, from AGENT_LIBVIRT_URI. */
  libvirtUri: string;
  /** From AGENT_POLL_INTERVAL. */
  pollIntervalMs: number;
  /** From AGENT_SHARD: hosts of the others are judged, and left out. */
  shard?: Shard | undefined;
};

/** Whether the inventory gives us what VM jobs need over SSH: a key of their own, or another user of the agent's keys. */
export function hasJobsKey({ ssh }: Pick<Host, 'ssh'>): boolean {
  return ssh.opsKeyFile !== undefined || (ssh.agent !== false && ssh.opsUser !== undefined);
}
