// The access tokens of all agents: handed out while good, renewed in the background at 70 % of their life, and once for
// everybody who waits. A refresh token that is refused leads to a new registration. It refuses to log a token.
//
//   none ──register──► good ──70 %──► good, renewed in the background ──expired or 401──► refresh ──refused──► register
import type { Clock } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { Secret } from '../core/secret.js';
import type { Tokens } from './api.js';
import { BackendError } from './backend-error.js';
import { type StoredToken, TokenFile } from './token-file.js';

const renewAtShare = 0.7;
/** Between attempts to renew a token that is still good. */
const renewGapMs = 10_000;
const secondMs = 1_000;
/** Agents whose tokens are kept, those that left the inventory included. */
const agentsMax = 20_000;

/** `id`: to the backend; `name`: in the inventory. */
export type Agent = { readonly id: string; readonly name: string };

/** Each is one request; both reject with BackendError. */
export type TokenCalls = {
  refresh(refreshToken: Secret): Promise<Tokens>;
  register(agent: Agent): Promise<Tokens>;
};

export type AgentTokensOptions = {
  folder: string;
  /** URL of the backend: tokens of another one are not used. */
  backend: string;
  calls: TokenCalls;
  clock: Clock;
  log: Log;
};

/** What one registration gave. Agents to which the backend gave the same refresh token share one. */
type Credentials = {
  access: Secret;
  refresh: Secret | undefined;
  lifeMs: number;
  /** Monotonic: the wall clock may jump. */
  expiresAtMs: number;
  triedAtMs: number;
  refreshing: Promise<void> | undefined;
};

export class AgentTokens {
  readonly #options: AgentTokensOptions;
  readonly #clock: Clock;
  readonly #file: TokenFile;
  readonly #agents = new Map<string, { name: string; credentials: Credentials }>();
  readonly #registering = new Map<string, Promise<Credentials>>();

  private constructor(options: AgentTokensOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#file = new TokenFile(options.folder, options.backend, options.log);
  }

  /** Throws HostError STORE when the folder cannot be made. */
  static async open(options: AgentTokensOptions): Promise<AgentTokens> {
    const tokens = new AgentTokens(options);
    const byRefresh = new Map<string, Credentials>();
    for (const stored of await tokens.#file.load()) tokens.#takeStored(stored, byRefresh);
    return tokens;
  }

  has(agentId: string): boolean {
    return this.#agents.has(agentId);
  }

  /** The id under which a host of this name is known, also when it left the inventory. */
  idOf(name: string): string | undefined {
    for (const [id, agent] of this.#agents) if (agent.name === name) return id;
    return undefined;
  }

  /** Until the agent's access token expires; negative when it has; undefined without one. */
  expiresInMs(agentId: string): number | undefined {
    const credentials = this.#agents.get(agentId)?.credentials;
    return credentials && credentials.expiresAtMs - this.#clock.monotonicMs();
  }

  /** Registers an agent that has no token. Rejects with what the backend, or the way there, said. */
  async get(agent: Agent): Promise<Secret> {
    const credentials = this.#agents.get(agent.id)?.credentials;
    if (!credentials) return (await this.#register(agent)).access;
    const leftMs = credentials.expiresAtMs - this.#clock.monotonicMs();
    if (leftMs <= 0) return this.renew(agent, credentials.access);
    if (leftMs <= credentials.lifeMs * (1 - renewAtShare)) this.#renewSoon(agent, credentials);
    return credentials.access;
  }

  /** After a 401 for `used`: the token that took its place, or a refreshed one, or one of a new registration. */
  async renew(agent: Agent, used: Secret): Promise<Secret> {
    const credentials = this.#agents.get(agent.id)?.credentials;
    if (!credentials) return (await this.#register(agent)).access;
    if (credentials.access !== used) return credentials.access;
    if (credentials.refresh) {
      try {
        await this.#refresh(credentials);
        return credentials.access;
      } catch (error) {
        if (!isRefused(error)) throw error;
        this.#options.log.info({ host: agent.name, error }, 'the backend refuses the refresh token');
      }
    }
    return this.register(agent, used);
  }

  /** A new registration, unless `used` was replaced meanwhile: for an agent that the backend has forgotten. */
  async register(agent: Agent, used: Secret): Promise<Secret> {
    const credentials = this.#agents.get(agent.id)?.credentials;
    if (credentials && credentials.access !== used) return credentials.access;
    return (await this.#register(agent)).access;
  }

  /** Resolves when all tokens are on disk. */
  async close(): Promise<void> {
    await this.#save();
  }

  #renewSoon(agent: Agent, credentials: Credentials): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - credentials.triedAtMs < renewGapMs) return;
    credentials.triedAtMs = nowMs;
    this.renew(agent, credentials.access).catch((error) =>
      this.#options.log.debug({ host: agent.name, error }, 'a token was not renewed yet'),
    );
  }

  #refresh(credentials: Credentials): Promise<void> {
    credentials.refreshing ??= this.#refreshNow(credentials).finally(() => {
      credentials.refreshing = undefined;
    });
    return credentials.refreshing;
  }

  async #refreshNow(credentials: Credentials): Promise<void> {
    const { refresh } = credentials;
    if (!refresh) return;
    try {
      const askedAtMs = this.#clock.monotonicMs();
      const tokens = await this.#options.calls.refresh(refresh);
      Object.assign(credentials, this.#credentials(tokens, askedAtMs), {
        refresh: tokens.refresh_token ? new Secret(tokens.refresh_token) : refresh,
        refreshing: credentials.refreshing,
      });
      void this.#save();
    } catch (error) {
      // Asking again with it cannot help anybody.
      if (isRefused(error)) credentials.refresh = undefined;
      throw error;
    }
  }

  #register(agent: Agent): Promise<Credentials> {
    const running =
      this.#registering.get(agent.id) ??
      this.#registerNow(agent).finally(() => this.#registering.delete(agent.id));
    this.#registering.set(agent.id, running);
    return running;
  }

  async #registerNow(agent: Agent): Promise<Credentials> {
    const askedAtMs = this.#clock.monotonicMs();
    const tokens = await this.#options.calls.register(agent);
    if (tokens.agent_id !== undefined && tokens.agent_id !== agent.id) {
      throw new BackendError('BACKEND_ANSWER', {
        host: agent.name,
        message: 'the backend registered the host under another id than it was asked to',
        hint: 'Let the backend keep agent_id as it is given; an inventory’s `id` sets it for a host.',
        retrySoon: false,
      });
    }
    const made = this.#credentials(tokens, askedAtMs);
    const credentials = this.#sharing(made.refresh) ?? made;
    Object.assign(credentials, { ...made, refreshing: credentials.refreshing });
    this.#put(agent, credentials);
    void this.#save();
    return credentials;
  }

  #credentials(tokens: Tokens, askedAtMs: number): Credentials {
    const lifeMs = tokens.expires_in * secondMs;
    return {
      access: new Secret(tokens.access_token),
      refresh: tokens.refresh_token ? new Secret(tokens.refresh_token) : undefined,
      lifeMs,
      expiresAtMs: askedAtMs + lifeMs,
      triedAtMs: Number.NEGATIVE_INFINITY,
      refreshing: undefined,
    };
  }

  #sharing(refresh: Secret | undefined): Credentials | undefined {
    if (!refresh) return undefined;
    for (const { credentials } of this.#agents.values()) {
      if (credentials.refresh?.expose() === refresh.expose()) return credentials;
    }
    return undefined;
  }

  #takeStored(stored: StoredToken, byRefresh: Map<string, Credentials>): void {
    const { id, name, access, refresh, lifeMs } = stored;
    const leftMs = Math.min(lifeMs, stored.expiresAtMs - this.#clock.wallMs());
    const credentials = byRefresh.get(refresh?.expose() ?? '') ?? {
      ...{ access, refresh, lifeMs, expiresAtMs: this.#clock.monotonicMs() + leftMs },
      ...{ triedAtMs: Number.NEGATIVE_INFINITY, refreshing: undefined },
    };
    if (refresh) byRefresh.set(refresh.expose(), credentials);
    this.#put({ id, name }, credentials);
  }

  #put({ id, name }: Agent, credentials: Credentials): void {
    this.#agents.delete(id);
    this.#agents.set(id, { name, credentials });
    for (const oldest of this.#agents.keys()) {
      if (this.#agents.size <= agentsMax) break;
      this.#agents.delete(oldest);
    }
  }

  #save(): Promise<void> {
    return this.#file.save(() => {
      const aheadMs = this.#clock.wallMs() - this.#clock.monotonicMs();
      return [...this.#agents].map(([id, { name, credentials }]) => ({
        ...{ id, name, access: credentials.access, refresh: credentials.refresh },
        ...{ expiresAtMs: credentials.expiresAtMs + aheadMs, lifeMs: credentials.lifeMs },
      }));
    });
  }
}

/** The refresh token itself is at fault, not the way to the backend. */
function isRefused(error: unknown): boolean {
  const status = error instanceof BackendError && error.code === 'BACKEND_REFUSED' ? error.status : undefined;
  return status !== undefined && [400, 401, 403, 404, 410, 422].includes(status);
}

/** For who waits for something shared, which goes on without them. */
export function orAborted<T>(shared: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return shared;
  return new Promise((resolve, reject) => {
    const onAbort = () =>
      reject(
        signal.reason instanceof HostError
          ? signal.reason
          : new HostError('ABORTED', { message: 'stopped before it was done', cause: signal.reason }),
      );
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
