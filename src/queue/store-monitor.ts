// Is the store there? One small connection that PINGs, so that a store which is dead, hung, loading or refusing us is told
// apart, logged once per change with its reason, and seen by /readyz and the metrics. It also looks, at each connect to
// a store that is not ours, whether it is fit for BullMQ. It refuses to act on what it sees: others listen.
import type { Redis } from 'ioredis';
import type { Clock, Timer } from '../core/clock.js';
import { describe } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { printableAddress, type StoreClients } from './connection.js';

const pingEveryMs = 1_000;
const pingTimeoutMs = 3_000;
const infoTimeoutMs = 3_000;

export type StoreState = {
  state: 'up' | 'down';
  /** Wall clock, milliseconds. */
  sinceMs: number;
  /** Why it is down, for people. */
  why: string | undefined;
};

export type StoreMonitorOptions = {
  clients: StoreClients;
  clock: Clock;
  log: Log;
  onChange: (state: StoreState) => void;
  pingEveryMs?: number;
  pingTimeoutMs?: number;
};

export class StoreMonitor {
  readonly #options: StoreMonitorOptions;
  /** Shared with producers, so that what follows on `up` finds the connection ready. */
  readonly client: Redis;
  readonly #where: string;
  readonly #told = new Set<string>();
  #state: StoreState;
  #lastError: string | undefined;
  #timer: Timer | undefined;
  #pinging = false;
  #stopped = false;

  constructor(options: StoreMonitorOptions) {
    this.#options = options;
    this.#where = printableAddress(options.clients.address);
    this.#state = { state: 'down', sinceMs: options.clock.wallMs(), why: 'not connected yet' };
    this.client = options.clients.create('producer', 'outrigger:producer');
    this.client.on('error', (error) => {
      this.#lastError = reasonOf(error);
    });
    this.client.on('ready', () => void this.#onReady());
    this.client.on('close', () => this.#down(this.#lastError ?? 'the connection was closed'));
    this.#planPing();
  }

  state(): StoreState {
    return { ...this.#state };
  }

  isUp(): boolean {
    return this.#state.state === 'up';
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.client.disconnect();
  }

  async #onReady(): Promise<void> {
    this.#lastError = undefined;
    if (this.#options.clients.address.kind === 'url') await this.#checkFitness();
    await this.#ping();
  }

  #planPing(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.after(this.#options.pingEveryMs ?? pingEveryMs, () => {
      void this.#ping().finally(() => this.#planPing());
    });
  }

  async #ping(): Promise<void> {
    if (this.#pinging || this.client.status !== 'ready') {
      if (this.client.status !== 'ready' && this.#lastError) this.#down(this.#lastError);
      return;
    }
    this.#pinging = true;
    const timeoutMs = this.#options.pingTimeoutMs ?? pingTimeoutMs;
    let late: Timer | undefined;
    try {
      const answer = this.client.ping();
      late = this.#options.clock.after(timeoutMs, () => this.#down(`no answer for ${timeoutMs} ms`));
      await answer;
      this.#up();
    } catch (error) {
      this.#down(this.#lastError ?? reasonOf(error));
    } finally {
      late?.cancel();
      this.#pinging = false;
    }
  }

  #up(): void {
    if (this.#stopped || this.#state.state === 'up') return;
    this.#state = { state: 'up', sinceMs: this.#options.clock.wallMs(), why: undefined };
    this.#options.log.info({ store: this.#where }, 'store reached');
    this.#options.onChange(this.state());
  }

  #down(why: string): void {
    if (this.#stopped) return;
    const first = this.#state.state === 'up' || this.#state.why === 'not connected yet';
    if (!first) {
      this.#state.why = why;
      return;
    }
    this.#state = { state: 'down', sinceMs: this.#options.clock.wallMs(), why };
    this.#options.log.error({ store: this.#where, why }, 'store away, polls go on without it');
    this.#options.onChange(this.state());
  }

  async #checkFitness(): Promise<void> {
    const { clock, log } = this.#options;
    let late: Timer | undefined;
    try {
      const timeout = new Promise<undefined>((resolve) => {
        late = clock.after(infoTimeoutMs, () => resolve(undefined));
      });
      const info = await Promise.race([this.client.info(), timeout]);
      for (const warning of info === undefined ? [] : unfitness(info)) {
        if (this.#told.has(warning)) continue;
        this.#told.add(warning);
        log.warn({ store: this.#where, why: warning }, 'store is not fit for jobs');
      }
    } catch (error) {
      log.debug({ store: this.#where, error }, 'store does not show its settings');
    } finally {
      late?.cancel();
    }
  }
}

/** What in the answer to INFO makes a store unfit for BullMQ, a sentence each with the mend. */
export function unfitness(info: string): string[] {
  const field = (name: string) => new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim();
  const warnings: string[] = [];
  const version = field('redis_version') ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (
    version &&
    !field('valkey_version') &&
    !field('dragonfly_version') &&
    (major < 6 || (major === 6 && minor < 2))
  ) {
    warnings.push(
      `it is version ${version}; BullMQ wants 6.2 or newer: upgrade it, or use the embedded store`,
    );
  }
  const policy = field('maxmemory_policy');
  if (policy && policy !== 'noeviction') {
    warnings.push(
      `its maxmemory-policy is ${policy}, so it may throw jobs away: set maxmemory-policy noeviction`,
    );
  }
  return warnings;
}

function reasonOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED') return 'the connection was refused (ECONNREFUSED)';
  if (code === 'ENOENT') return 'its socket is missing';
  const text = describe(error);
  if (/^(WRONGPASS|NOAUTH)/.test(text)) return `it refuses the user or password of AGENT_REDIS_URL (${text})`;
  return text || (code ?? 'unknown reason');
}
