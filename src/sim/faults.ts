// Faults as data: which request of which host goes wrong, and how. The same faults and seed go wrong in the same way. It only
// decides: whoever serves the request does what it says. What no fault names is served well.
import { seededRandom, seedOf } from './random.js';

/**
 * What a fault can be on: `ssh.connect` (a new TCP connection), `ssh.auth` (a key offered), `ssh.channel` (a socket or session asked
 * for), `sftp /path` (opening, listing or measuring it), or a libvirt procedure by its name; `*` is every libvirt procedure.
 */
export type FaultPoint = string;

export type Fault = {
  /** A host's name; `*` = each host. */
  host: string;
  procedure: FaultPoint;
  /** Only the nth such request of a host, from 1; absent: each. */
  nth?: number;
  /** Only so many of them, 0 to 1, drawn from the seed. */
  share?: number;
} & FaultAction;

/**
 * `drop`: this request has no answer. `hang`: nothing on this connection has an answer from now on. `close`: the connection is
 * cut. `error`: refused, with libvirt's `code` where it is libvirt. `garbage`: an answer that makes no sense. `wrong-key`, on
 * ssh.connect: another host key than the one in known_hosts.
 */
export type FaultAction =
  | { action: 'delay'; delayMs: number }
  | { action: 'error'; code?: number; message?: string }
  | { action: 'drop' | 'garbage' | 'hang' | 'close' | 'wrong-key' };

type Armed = { fault: Fault; seen: number; random: () => number };

/** One host's faults, with how often each point was met. */
export class Faults {
  readonly #armed: Armed[];
  /** How many requests a fault has met. */
  struck = 0;

  constructor(host: string, faults: readonly Fault[], seed: number) {
    this.#armed = faults
      .filter((fault) => fault.host === '*' || fault.host === host)
      .map((fault, index) => ({
        fault,
        seen: 0,
        random: seededRandom(seedOf(seed, `${host} fault ${index}`)),
      }));
  }

  /** Counts the request; the first fault that it meets. */
  at(point: FaultPoint): FaultAction | undefined {
    if (this.#armed.length === 0) return undefined;
    let met: FaultAction | undefined;
    for (const armed of this.#armed) {
      if (!covers(armed.fault.procedure, point)) continue;
      armed.seen++;
      const { nth, share } = armed.fault;
      if (nth !== undefined && armed.seen !== nth) continue;
      if (share !== undefined && armed.random() >= share) continue;
      met ??= armed.fault;
    }
    if (met) this.struck++;
    return met;
  }
}

function covers(named: FaultPoint, point: FaultPoint): boolean {
  if (named === point) return true;
  return named === '*' && !point.startsWith('ssh.') && !point.startsWith('sftp ');
}
