// The fleet: one session per host of the inventory. It follows the inventory and refuses to touch a session whose
// connection settings did not change.
import { isDeepStrictEqual } from 'node:util';
import { HostError } from '../core/errors.js';
import type { Host } from '../inventory/host.js';
import { HostSession, type SessionDeps, type SessionState, sessionStates } from './session.js';

export class Fleet {
  readonly #sessions = new Map<string, HostSession>();
  readonly #deps: SessionDeps;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#sessions.size;
  }

  sessions(): IterableIterator<HostSession> {
    return this.#sessions.values();
  }

  find(name: string): HostSession | undefined {
    return this.#sessions.get(name);
  }

  /** Throws BAD_REQUEST for a name that the inventory does not have. */
  get(name: string): HostSession {
    const session = this.#sessions.get(name);
    if (session) return session;
    throw new HostError('BAD_REQUEST', {
      host: name,
      outcome: 'not-sent',
      message: `no host ${name} in the inventory`,
    });
  }

  /** Makes the fleet what the inventory says; resolves when sessions that had to go have ended. */
  async apply(hosts: readonly Host[]): Promise<void> {
    const wanted = new Map(hosts.map((host) => [host.name, host]));
    const ending: Promise<void>[] = [];
    for (const [name, session] of this.#sessions) {
      const host = wanted.get(name);
      if (host && sameConnection(session.host, host)) {
        session.update(host);
        continue;
      }
      this.#sessions.delete(name);
      ending.push(session.stop());
    }
    for (const host of hosts) {
      if (this.#sessions.has(host.name)) continue;
      const session = new HostSession(host, this.#deps);
      this.#sessions.set(host.name, session);
      session.start();
    }
    await Promise.all(ending);
  }

  retryNow(): void {
    for (const session of this.#sessions.values()) session.retryNow();
  }

  /** How many sessions are in each state; every state is named, also with 0. */
  countByState(): Record<SessionState, number> {
    const counts = Object.fromEntries(sessionStates.map((state) => [state, 0])) as Record<
      SessionState,
      number
    >;
    for (const session of this.#sessions.values()) counts[session.status.state]++;
    return counts;
  }

  async stop(): Promise<void> {
    const ending = [...this.#sessions.values()].map((session) => session.stop());
    this.#sessions.clear();
    await Promise.all(ending);
  }
}

export function sameConnection(a: Host, b: Host): boolean {
  return isDeepStrictEqual(connectionOf(a), connectionOf(b));
}

function connectionOf({ labels, groups, poll, ops, maintenance, id, ...connection }: Host): unknown {
  return connection;
}
