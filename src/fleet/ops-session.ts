// The connections that jobs act over: at most one a host, read-write, with the jobs key, opened when a job first needs it,
// shared by the host's jobs, and closed when none has needed it for a while. The power to act is not held longer than
// that. It refuses to reconnect by itself, and to knock again soon where our key was refused.
//
//   none ──get──► opening ──ok──► held ──last release──► idle ──idleMs──► none
//     ▲              └──error──► none      └──lost──► none ◄──lost──┘
//   retired: the host changed or left the inventory; who holds it may finish, nobody else gets it
import type { Timer } from '../core/clock.js';
import { abortError, withDeadline } from '../core/deadline.js';
import { asHostError, HostError, hintOf } from '../core/errors.js';
import type { Host } from '../inventory/host.js';
import type { LibvirtClient } from '../libvirt/client.js';
import { sameConnection } from './fleet.js';
import { authRetryFloorMs } from './session.js';
import { openTransport, type Transport, type TransportDeps } from './transport.js';

/** A connection that no job holds is closed after this. */
export const opsIdleMs = 60_000;
/** For the whole way: SSH, jump hosts, libvirt. */
export const opsOpenTimeoutMs = 30_000;
/** Jobs that come in a burst to a host whose key is not the one we know are one attempt. */
const hostKeyRetryFloorMs = 10_000;
const closeTimeoutMs = 5_000;

export type OpsSessionsDeps = TransportDeps & {
  openTransport?: typeof openTransport;
  /** Default `opsIdleMs`. */
  idleMs?: number;
};

/** One job's use of a host's connection; without it the connection may be closed as idle. */
export interface OpsHold {
  /**
   * The connection, opened when it is not; a new one when the last one broke. Throws HostError with outcome `not-sent`.
   * `signal` ends this wait, not the opening that others may share. One that has aborted before does not: who asks then
   * has been told, and wants to see what is true.
   */
  libvirt(signal?: AbortSignal): Promise<LibvirtClient>;
  /** Once, when the job has ended. Connections that it got must not be used any more. */
  release(): void;
}

type Refusal = { host: Host; cause: HostError; atMs: number; floorMs: number };

export class OpsSessions {
  readonly #deps: OpsSessionsDeps;
  readonly #connections = new Map<string, OpsConnection>();
  /** Also the retired ones. */
  readonly #living = new Set<OpsConnection>();
  readonly #refusals = new Map<string, Refusal>();
  #inventory: ReadonlyMap<string, Host> | undefined;
  #closing: Promise<void> | undefined;

  constructor(deps: OpsSessionsDeps) {
    this.#deps = deps;
  }

  /** Connections that are open or being opened. */
  get size(): number {
    return this.#living.size;
  }

  hold(host: Host): OpsHold {
    const held = new Set<OpsConnection>();
    let released = false;
    return {
      libvirt: async (signal) => {
        if (released) throw notSent(host.name, 'ABORTED', 'the job has ended');
        // A job may finish over the connection that it began with, also when the inventory knows a better one.
        const connection = [...held].find(({ ended }) => !ended) ?? this.#connection(host);
        if (!held.has(connection)) {
          held.add(connection);
          connection.users++;
        }
        return await this.#opened(connection, signal);
      },
      release: () => {
        released = true;
        for (const connection of held) this.#leave(connection);
        held.clear();
      },
    };
  }

  /** The connection without a hold on it: it stays for `opsIdleMs` at least. Throws HostError with outcome `not-sent`. */
  async get(host: Host, signal?: AbortSignal): Promise<LibvirtClient> {
    const connection = this.#connection(host);
    connection.users++;
    try {
      return await this.#opened(connection, signal);
    } finally {
      this.#leave(connection);
    }
  }

  /** Follows the inventory: what leads to a host that changed or went is given to nobody any more. */
  apply(hosts: readonly Host[]): void {
    const wanted = new Map(hosts.map((host) => [host.name, host]));
    const gone = (host: Host) => !isIn(wanted, host);
    this.#inventory = wanted;
    for (const connection of this.#connections.values()) if (gone(connection.host)) this.#retire(connection);
    for (const [name, { host }] of this.#refusals) if (gone(host)) this.#refusals.delete(name);
  }

  /** For an operator who has just mended a key: the next job may try at once. */
  retryNow(): void {
    this.#refusals.clear();
  }

  /** Closes everything, whoever holds it; resolves within its deadline, whatever hangs. */
  close(): Promise<void> {
    this.#closing ??= Promise.all(
      [...this.#living].map((connection) => this.#end(connection, closedError(connection.host.name))),
    ).then(() => undefined);
    return this.#closing;
  }

  #connection(host: Host): OpsConnection {
    if (this.#closing) throw closedError(host.name);
    if (this.#inventory && !isIn(this.#inventory, host)) {
      const message = 'the host was changed in the inventory, or left it, while the job ran';
      throw notSent(host.name, 'INVENTORY', message);
    }
    const known = this.#connections.get(host.name);
    if (known && sameConnection(known.host, host)) return known;
    if (known) this.#retire(known);
    this.#refuseSoon(host);
    const connection = new OpsConnection(host, this.#deps);
    this.#connections.set(host.name, connection);
    this.#living.add(connection);
    this.#follow(connection);
    return connection;
  }

  async #follow(connection: OpsConnection): Promise<void> {
    const { host } = connection;
    let cause: HostError;
    try {
      const client = await connection.opening;
      this.#deps.log.info({ host: host.name, via: connection.via }, 'connection for jobs opened');
      cause = await Promise.race([client.closed, connection.lost]);
    } catch (error) {
      cause = asHostError(error, { host: host.name });
      const floorMs = retryFloorMs(cause);
      const atMs = this.#deps.clock.monotonicMs();
      if (floorMs > 0) this.#refusals.set(host.name, { host, cause, atMs, floorMs });
    }
    await this.#end(connection, cause);
  }

  async #opened(connection: OpsConnection, signal: AbortSignal | undefined): Promise<LibvirtClient> {
    connection.idle?.cancel();
    if (!signal || signal.aborted) return await connection.opening;
    let stop: () => void = () => undefined;
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(abortError(signal));
      signal.addEventListener('abort', stop, { once: true });
    });
    try {
      return await Promise.race([connection.opening, aborted]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  #leave(connection: OpsConnection): void {
    connection.users--;
    this.#idle(connection);
  }

  #idle(connection: OpsConnection): void {
    connection.idle?.cancel();
    if (connection.users > 0 || connection.ended) return;
    const retired = this.#connections.get(connection.host.name) !== connection;
    connection.idle = this.#deps.clock.after(retired ? 0 : (this.#deps.idleMs ?? opsIdleMs), () => {
      this.#end(connection, notSent(connection.host.name, 'ABORTED', 'no job needs it'));
    });
  }

  #retire(connection: OpsConnection): void {
    this.#connections.delete(connection.host.name);
    this.#idle(connection);
  }

  async #end(connection: OpsConnection, cause: HostError): Promise<void> {
    const { name } = connection.host;
    if (this.#connections.get(name) === connection) this.#connections.delete(name);
    connection.ended = true;
    connection.idle?.cancel();
    try {
      await connection.close(cause);
    } catch (error) {
      this.#deps.log.debug({ host: name, error }, 'connection for jobs did not close well');
    }
    if (this.#living.delete(connection))
      this.#deps.log.info({ host: name, why: cause.message }, 'connection for jobs closed');
  }

  #refuseSoon(host: Host): void {
    const refusal = this.#refusals.get(host.name);
    if (!refusal) return;
    const { cause, atMs, floorMs } = refusal;
    const sinceMs = this.#deps.clock.monotonicMs() - atMs;
    if (sinceMs >= floorMs || !sameConnection(refusal.host, host)) {
      this.#refusals.delete(host.name);
      return;
    }
    throw new HostError(cause.code, {
      host: host.name,
      outcome: 'not-sent',
      message: `failed ${spoken(sinceMs)} ago, and not tried again for ${spoken(floorMs - sinceMs)}, because sshd bans who fails often`,
      hint: `${hintOf(cause)?.replace(/\.$/, '') ?? 'mend that'}; then send SIGHUP to try at once`,
      cause,
    });
  }
}

/** One life of a connection. */
class OpsConnection {
  readonly host: Host;
  /** Rejects with a HostError. */
  readonly opening: Promise<LibvirtClient>;
  /** Resolves when the way to the host is lost. */
  readonly lost: Promise<HostError>;
  users = 0;
  ended = false;
  idle: Timer | undefined;
  via: string | undefined;
  readonly #deps: OpsSessionsDeps;
  readonly #stop = new AbortController();
  #transport: Transport | undefined;
  #client: LibvirtClient | undefined;
  #resolveLost: (cause: HostError) => void = () => undefined;

  constructor(host: Host, deps: OpsSessionsDeps) {
    this.host = host;
    this.#deps = deps;
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
    this.opening = withDeadline((signal) => this.#open(signal), {
      timeoutMs: opsOpenTimeoutMs,
      signal: this.#stop.signal,
      clock: deps.clock,
      onTimeout: () =>
        new HostError('TIMEOUT', {
          host: host.name,
          outcome: 'not-sent',
          message: `no connection for jobs within ${opsOpenTimeoutMs} ms`,
        }),
    }).catch((error) => {
      throw beforeAnything(host.name, error);
    });
  }

  async #open(signal: AbortSignal): Promise<LibvirtClient> {
    const open = this.#deps.openTransport ?? openTransport;
    const transport = await open(this.host, this.#deps, { purpose: 'ops', signal });
    if (signal.aborted) {
      await transport.close();
      throw abortError(signal);
    }
    this.#transport = transport;
    transport.closed.then(this.#resolveLost);
    const { client, via } = await transport.openLibvirt({ readOnly: false, signal });
    this.#client = client;
    this.via = via;
    return client;
  }

  async close(cause: HostError): Promise<void> {
    this.#stop.abort(cause);
    const both = async () => {
      await this.#client?.close();
      await this.#transport?.close();
    };
    const onTimeout = () => new HostError('TIMEOUT', { host: this.host.name, message: 'it does not close' });
    await withDeadline(both, { timeoutMs: closeTimeoutMs, clock: this.#deps.clock, onTimeout });
  }
}

/** Nothing of a job has been sent before there is a connection, whatever the cause says of its own request. */
function beforeAnything(host: string, error: unknown): HostError {
  const cause = asHostError(error, { host });
  if (cause.outcome === 'not-sent') return cause;
  const hint = hintOf(cause);
  return new HostError(cause.code, {
    host,
    outcome: 'not-sent',
    message: 'no connection for jobs',
    cause,
    ...(hint && { hint }),
  });
}

function closedError(host: string): HostError {
  return notSent(host, 'ABORTED', 'the service is stopping');
}

function notSent(host: string, code: 'ABORTED' | 'INVENTORY', message: string): HostError {
  return new HostError(code, { host, outcome: 'not-sent', message });
}

function isIn(inventory: ReadonlyMap<string, Host>, host: Host): boolean {
  const found = inventory.get(host.name);
  return found !== undefined && sameConnection(found, host);
}

function retryFloorMs({ code }: HostError): number {
  if (code === 'AUTH_FAILED') return authRetryFloorMs;
  return code.startsWith('HOST_KEY_') ? hostKeyRetryFloorMs : 0;
}

function spoken(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}
