// What a VM operation is, and what it is given to work with. An operation reads, decides (a pure function), acts and
// verifies; it knows nothing of BullMQ, HTTP or the store. Before each act it passes the gate `beforeAct`, and it refuses to
// answer a lost reply by sending again.
import type { z } from 'zod';
import type { Clock } from '../core/clock.js';
import type { Log } from '../core/log.js';
import type { Host } from '../inventory/host.js';
import type { LibvirtClient } from '../libvirt/client.js';
import type { JobCode, OperationName, VmIdentity } from './job.js';

/** An act that an earlier life of the job is known to have begun. */
export type BegunAct = {
  readonly act: string;
  /** ISO time. */
  readonly at: string;
  readonly vm?: VmIdentity | undefined;
  /** What `beforeAct` was given as `before`. */
  readonly before?: unknown;
};

export type ActFacts = { vm?: VmIdentity; before: unknown };

/** The host's own figures, from a poll that was made for this. Bytes; absent where the host does not tell. */
export type HostResources = {
  load?: { one: number; five: number; fifteen: number };
  cpus?: number;
  memory?: { totalBytes: number; availableBytes: number };
  filesystems: readonly { mountpoint: string; sizeBytes: number; availableBytes: number }[];
  problems: readonly string[];
};

export type HostState = {
  /** The session's state: up, degraded, down, … */
  state: string;
  /** Why it is not up, for people. */
  cause?: string;
  /** ISO time. */
  since: string;
  ssh: boolean;
  libvirt: boolean;
  files: boolean;
  /** What carries libvirt: a socket or a helper. */
  via?: string;
};

export type OperationAllowed = { operation: OperationName; allowed: boolean; why?: string };

/** The polling session and what the service knows, as far as operations that only read need it. */
export type JobReaders = {
  /** The polling session's read-only libvirt. Throws HostError HOST_DOWN. */
  libvirt(): LibvirtClient;
  hostState(): HostState;
  /** Runs a poller now and resolves with its sample (plain data). Throws HostError. */
  pollNow(poller: 'vms' | 'system', signal: AbortSignal): Promise<unknown>;
  /** A fresh look at the host's figures over its files. Throws HostError. */
  resources(signal: AbortSignal): Promise<HostResources>;
  /** Each operation: whether this host takes it now, and if not, why not. */
  allowed(): readonly OperationAllowed[];
  /** Of Outrigger itself. */
  version: string;
};

export type JobContext<P = unknown> = {
  readonly op: OperationName;
  readonly host: Host;
  /** As asked for: a name or a UUID. */
  readonly vm: string | undefined;
  readonly expectedUuid: string | undefined;
  readonly params: P;
  readonly requestId: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Read-write, with the jobs key. Opened when first asked for; asked again after the connection ended: a new one. */
  libvirt(): Promise<LibvirtClient>;
  readonly readers: JobReaders;
  /** Aborts at the deadline, and on cancel before the first act; the reason is a JobError. */
  readonly signal: AbortSignal;
  /** Until the deadline; Infinity without one. */
  remainingMs(): number;
  /** Progress, seen while the job runs. `runOperation` records it in the result. */
  step(text: string, facts?: object): void;
  /**
   * The gate before each act that changes anything. Resolves when the act is recorded and may be sent; rejects with a
   * JobError, and then nothing may be sent. `act` is a stable name: `destroy`, `undefine`, `volDelete /path`.
   */
  beforeAct(act: string, facts: ActFacts): Promise<void>;
  readonly begun: readonly BegunAct[];
  /**
   * Told which VM is meant, once, before anything is decided: the place to take the VM's lock. What it throws is thrown on as
   * it is. The VM is read again afterwards.
   */
  resolved?(vm: VmIdentity): Promise<void>;
};

/** Every operation's facts: which VM, and what of it stands in the result's `before`. */
export type Facts = { readonly vm: VmIdentity | null; readonly summary: unknown };

export type Decision =
  | { kind: 'unchanged'; data?: unknown }
  | { kind: 'refuse'; code: JobCode; message: string }
  | { kind: 'act'; plan: readonly string[] };

export type Verified = { after: unknown; data?: unknown };

/** `resume`: a part is done and recorded, and the rest may follow now. */
export type Settled = 'done' | 'not-done' | 'unknown' | 'resume';

export interface Operation<P = unknown, F extends Facts = Facts, D = unknown> {
  readonly name: OperationName;
  readonly needsVm: boolean;
  /** `expectedUuid` must be given. */
  readonly needsUuid?: boolean;
  /** False: it only reads, and needs no jobs key, no lock and no audit. */
  readonly acts: boolean;
  readonly params: z.ZodType<P>;
  /** Throws JobError VM_NOT_FOUND for a VM that is not there. */
  read(ctx: JobContext<P>): Promise<F>;
  /** Pure. */
  decide(facts: F, params: P): Decision;
  act(ctx: JobContext<P>, facts: F, plan: readonly string[]): Promise<D>;
  /** What is true now; `done` is what `act` returned, absent when its end was not seen. */
  verify(ctx: JobContext<P>, facts: F, done?: D): Promise<Verified>;
  /** Pure: was it done, from what libvirt says now and from the acts that were begun? */
  settle(now: F | 'missing', begun: readonly BegunAct[], params: P): Settled;
  /** How long a lost reply is worth looking for, when it is more than `truthWaitMs`: a guest that was asked takes its time. */
  guestWaitMs?(params: P): number;
  /** Goes on after a crash at the step that is recorded. Only for operations whose `settle` says `resume`. */
  resume?(ctx: JobContext<P>, now: F | 'missing'): Promise<D>;
}

export type Operations = ReadonlyMap<OperationName, Operation>;
