// Connects to hosts: one deadline over the whole way, a bounded number of handshakes at a time, jump hosts shared by all
// who pass through them. Whatever it opened for an attempt that failed is closed again. It refuses to retry: who holds
// the session decides when, because sshd may ban a source that fails too often.
import type { Duplex } from 'node:stream';
import PQueue from 'p-queue';
import { type Clock, systemClock } from '../core/clock.js';
import { abortError, withDeadline } from '../core/deadline.js';
import { asHostError, HostError, hintOf } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import { hostKeyError, timeoutError } from './connect-errors.js';
import { SshConnection } from './connection.js';
import { handshake, loadCredentials, openTcp, type Progress } from './handshake.js';
import { algorithmsFor } from './host-key.js';
import { KnownHosts } from './known-hosts.js';
import { endpoint, limits, type SshTarget, type WaitOptions } from './target.js';

export type { SshTarget } from './target.js';

export type SshConnectorOptions = {
  handshakesMax?: number;
  /** Socket of the agent that `agent: true` means. */
  agentSocket?: string | undefined;
  clock?: Clock;
  log?: Log;
};

/** A way to reach an address: a jump host, held until released. */
export type Via = { connection: SshConnection; release: () => void };

type Jump = { connecting: Promise<SshConnection>; users: number; stop: AbortController };

export class SshConnector {
  readonly #handshakes: PQueue;
  readonly #jumps = new Map<string, Jump>();
  readonly #agentSocket: string | undefined;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(o: SshConnectorOptions = {}) {
    this.#handshakes = new PQueue({ concurrency: o.handshakesMax ?? limits.handshakesMax });
    this.#agentSocket = o.agentSocket ?? process.env.SSH_AUTH_SOCK;
    this.#clock = o.clock ?? systemClock;
    this.#log = o.log ?? silentLog;
  }

  /** Connections to jump hosts that are open or being opened. */
  get jumpsOpen(): number {
    return this.#jumps.size;
  }

  /** Handshakes that wait for their turn. */
  get handshakesWaiting(): number {
    return this.#handshakes.size;
  }

  /** `timeoutMs` counts from the turn at the handshakes, not from the call. Throws the codes of connect-errors.ts. */
  async connect(target: SshTarget, o: WaitOptions = {}): Promise<SshConnection> {
    const { timeoutMs = limits.connectTimeoutMs, signal } = o;
    const progress: Progress = { stage: 'connecting' };
    return await this.inTurn(signal, () =>
      withDeadline(
        async (ended) => {
          const connection = await this.#dial(target, target.jump ?? [], ended, progress);
          if (!ended.aborted) return connection;
          connection.destroy();
          throw abortError(ended);
        },
        { timeoutMs, signal, clock: this.#clock, onTimeout: () => timeoutError(target, progress.stage) },
      ),
    );
  }

  /** Runs work that makes handshakes when its turn comes. Throws ABORTED when the signal comes first. */
  async inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (signal?.aborted) throw abortError(signal);
    let started = false;
    const turn = this.#handshakes.add(
      () => {
        started = true;
        return work();
      },
      signal ? { signal } : {},
    );
    return await turn.catch((error: unknown) => {
      throw signal?.aborted && !started ? abortError(signal) : error;
    });
  }

  async #dial(
    target: SshTarget,
    jumps: readonly SshTarget[],
    signal: AbortSignal,
    progress: Progress,
  ): Promise<SshConnection> {
    const known = await KnownHosts.load(target.knownHostsFiles);
    progress.stage = 'the ssh agent';
    const credentials = await loadCredentials(target, this.#agentSocket, signal);
    progress.stage = 'the way over the jump host';
    const via = await this.openVia(target.host, jumps, signal);
    try {
      progress.stage = 'TCP connection';
      const transport = await openTransport(target, via, signal);
      const handshaken = await handshake(target, transport, {
        credentials,
        hostKeyAlgorithms: algorithmsFor(known.algorithms(target.address, target.port)),
        verify: (key) => hostKeyError(target, key, known.check(target.address, target.port, key.blob), known),
        signal,
        progress,
      });
      const { type, fingerprint } = handshaken.hostKey;
      this.#log.debug({ host: target.host, address: target.address, type, fingerprint }, 'ssh connected');
      return new SshConnection(handshaken, {
        target,
        clock: this.#clock,
        log: this.#log,
        onClosed: () => via?.release(),
      });
    } catch (error) {
      via?.release();
      throw error;
    }
  }

  /** The last jump host of the chain, connected; undefined without jumps. Errors are told as the host's, with the jump named. */
  async openVia(host: string, jumps: readonly SshTarget[], signal: AbortSignal): Promise<Via | undefined> {
    const last = jumps.at(-1);
    if (!last) return undefined;
    const key = JSON.stringify(jumps.map(({ host: _, ...rest }) => rest));
    const jump = this.#jumps.get(key) ?? this.#openJump(key, last, jumps.slice(0, -1));
    jump.users++;
    const release = once(() => this.#releaseJump(key, jump));
    try {
      return { connection: await orAborted(jump.connecting, signal), release };
    } catch (error) {
      release();
      if (signal.aborted) throw error;
      const why = asHostError(error);
      throw new HostError(why.code, {
        host,
        message: `jump host ${endpoint(last)}`,
        outcome: 'not-sent',
        hint: hintOf(why) ?? 'Mend the way to the jump host first.',
        cause: why,
      });
    }
  }

  #openJump(key: string, target: SshTarget, before: readonly SshTarget[]): Jump {
    const stop = new AbortController();
    const progress: Progress = { stage: 'connecting' };
    const connecting = withDeadline(
      async (ended) => {
        const connection = await this.#dial(target, before, ended, progress);
        if (ended.aborted) connection.destroy();
        return connection;
      },
      {
        timeoutMs: limits.connectTimeoutMs,
        signal: stop.signal,
        clock: this.#clock,
        onTimeout: () => timeoutError(target, progress.stage),
      },
    );
    const jump: Jump = { connecting, users: 0, stop };
    this.#jumps.set(key, jump);
    const forget = () => {
      if (this.#jumps.get(key) === jump) this.#jumps.delete(key);
    };
    connecting.then((connection) => connection.closed.then(forget), forget);
    return jump;
  }

  #releaseJump(key: string, jump: Jump): void {
    if (--jump.users > 0) return;
    if (this.#jumps.get(key) === jump) this.#jumps.delete(key);
    jump.stop.abort(new HostError('ABORTED', { message: 'nobody needs the jump host any more' }));
    jump.connecting.then(
      (connection) => void connection.end(),
      () => {},
    );
  }
}

/** A stream to the host's sshd, directly or through a jump host. */
export function openTransport(target: SshTarget, via: Via | undefined, signal: AbortSignal): Promise<Duplex> {
  if (!via) return openTcp(target, signal);
  return via.connection.openTcp(target.address, target.port, { signal });
}

function once(run: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    run();
  };
}

/** Settles with the work, or as soon as the signal aborts; the work itself is shared and goes on. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError(signal));
    const onAbort = () => reject(abortError(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
