// Calls to the backend in the name of an agent: its token, tries with backoff and full jitter, Retry-After, and what a 401 or a
// 404 asks for. It remembers whether the backend can be reached, and refuses to insist while it cannot: one try a call then.
import { type Backoff, fullJitterMs } from '../core/backoff.js';
import { type Clock, sleep } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { Secret } from '../core/secret.js';
import {
  type CallName,
  calls,
  type HeartbeatAnswer,
  idempotencyHeader,
  type RegisterRequest,
  type Tokens,
} from './api.js';
import { BackendError, classOf } from './backend-error.js';
import type { BackendHttp } from './http.js';
import { type Agent, AgentTokens, orAborted } from './tokens.js';

const backoffBaseMs = 1_000;
const backoffCapMs = 60_000;
/** A longer Retry-After is not waited for within a call: the call fails, and the agent's next ones until then do too. */
export const waitWithinCallMsMax = 60_000;

export type ClientOptions = {
  http: BackendHttp;
  /** For tokens: made 0700 when missing. */
  folder: string;
  /** AGENT_BACKEND_URL. */
  backend: string;
  /** Bootstrap token. */
  token: Secret | undefined;
  /** AGENT_RETRY_ATTEMPTS: tries of a call; 0 is one, too. */
  tries: number;
  /** AGENT_RETRY_BACKOFF: growth of the pause. */
  factor: number;
  /** What an agent is registered with. Rejects when it may not be registered. */
  registration: (agent: Agent) => Promise<RegisterRequest>;
  /** Each request: `result` is 2xx, 4xx, 5xx, unreachable, tls, answer or aborted. */
  onCall?: (call: CallName, result: string, durationMs: number) => void;
  clock: Clock;
  log: Log;
  random?: () => number;
};

type AgentCall = Exclude<CallName, 'register' | 'token_refresh'>;

export type CallOptions = {
  /** Of an event or a result. */
  idempotencyKey?: string | undefined;
  /** For a job's result. */
  jobId?: string;
  /** Tries beyond this many milliseconds from now are not made. */
  withinMs?: number;
  signal?: AbortSignal | undefined;
};

export type Reachability = {
  /** Undefined until something is known. */
  reachable: boolean | undefined;
  /** Why not. */
  cause: HostError | undefined;
  /** Since when, wall milliseconds. */
  sinceMs: number;
};

export class BackendClient {
  readonly #options: ClientOptions;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  /** By agent: no call before this monotonic moment. */
  readonly #notBefore = new Map<string, { atMs: number; because: BackendError }>();
  #tokens: AgentTokens | undefined;
  #reachability: Reachability;
  /** When that changed, monotonic. */
  #movedAtMs: number;

  private constructor(options: ClientOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#backoff = { baseMs: backoffBaseMs, capMs: backoffCapMs, factor: options.factor };
    this.#movedAtMs = options.clock.monotonicMs();
    this.#reachability = { reachable: undefined, cause: undefined, sinceMs: options.clock.wallMs() };
  }

  /** Throws HostError STORE when tokens cannot be kept. */
  static async open(options: ClientOptions): Promise<BackendClient> {
    const client = new BackendClient(options);
    const { folder, backend, clock, log } = options;
    const tokenCalls = {
      refresh: (refreshToken: Secret) => client.#refresh(refreshToken),
      register: (agent: Agent) => client.#register(agent),
    };
    client.#tokens = await AgentTokens.open({ folder, backend, clock, log, calls: tokenCalls });
    return client;
  }

  get tokens(): AgentTokens {
    if (!this.#tokens) throw new HostError('INTERNAL', { message: 'the backend client is not open' });
    return this.#tokens;
  }

  get reachability(): Reachability {
    return this.#reachability;
  }

  /** The agent has a token afterwards. Rejects with BackendError. */
  async register(agent: Agent, options: CallOptions = {}): Promise<void> {
    await this.#tried(agent, options, () => orAborted(this.tokens.get(agent), options.signal));
  }

  heartbeat(agent: Agent, body: () => unknown, options: CallOptions = {}): Promise<HeartbeatAnswer> {
    return this.call(agent, 'heartbeat', body, options).then((answer) => (answer ?? {}) as HeartbeatAnswer);
  }

  /** `body` is asked again at each try: only the newest matters. Rejects with BackendError or ABORTED. */
  call(agent: Agent, call: AgentCall, body: () => unknown, options: CallOptions = {}): Promise<unknown> {
    return this.#tried(agent, options, () => this.#once(agent, call, body(), options));
  }

  /** Resolves when the tokens are on disk. */
  async close(): Promise<void> {
    await this.tokens.close();
  }

  async #tried<T>(agent: Agent, options: CallOptions, once: () => Promise<T>): Promise<T> {
    const { withinMs = Number.POSITIVE_INFINITY, signal } = options;
    const endMs = this.#clock.monotonicMs() + withinMs;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#heldBack(agent, endMs, signal);
        return await once();
      } catch (error) {
        this.#holdBack(agent, error);
        const delayMs = fullJitterMs(this.#backoff, attempt, this.#options.random);
        const left = attempt < this.#tries();
        const late = this.#clock.monotonicMs() + delayMs >= endMs;
        if (!left || late || !(error instanceof BackendError) || !error.retrySoon) throw error;
        await orAborted(sleep(this.#clock, delayMs, signal), signal);
      }
    }
  }

  /** While the backend is away, insisting helps nobody: the next report comes soon enough. */
  #tries(): number {
    return this.#reachability.reachable === false && this.#wasAway ? 1 : Math.max(1, this.#options.tries);
  }

  /** The backend was away already when a whole call had failed. */
  get #wasAway(): boolean {
    return this.#clock.monotonicMs() - this.#movedAtMs > backoffCapMs;
  }

  async #heldBack(agent: Agent, endMs: number, signal: AbortSignal | undefined): Promise<void> {
    const held = this.#notBefore.get(agent.id);
    if (!held) return;
    const waitMs = held.atMs - this.#clock.monotonicMs();
    if (waitMs <= 0) {
      this.#notBefore.delete(agent.id);
      return;
    }
    if (waitMs <= waitWithinCallMsMax && held.atMs < endMs) {
      await orAborted(sleep(this.#clock, waitMs, signal), signal);
      return;
    }
    throw new BackendError('BACKEND_REFUSED', {
      host: agent.name,
      message: 'the backend asked to be left alone for a while',
      outcome: 'not-sent',
      retrySoon: false,
      retryAfterMs: waitMs,
      ...(held.because.status !== undefined && { status: held.because.status }),
      cause: held.because,
    });
  }

  #holdBack(agent: Agent, error: unknown): void {
    if (!(error instanceof BackendError) || error.retryAfterMs === undefined || error.outcome === 'not-sent')
      return;
    const atMs = this.#clock.monotonicMs() + error.retryAfterMs;
    if (atMs > (this.#notBefore.get(agent.id)?.atMs ?? 0))
      this.#notBefore.set(agent.id, { atMs, because: error });
  }

  /** One try, with what a 401 (refresh, then register) and a 404 (register) ask for. */
  async #once(agent: Agent, call: AgentCall, body: unknown, options: CallOptions): Promise<unknown> {
    const { signal } = options;
    let token = await orAborted(this.tokens.get(agent), signal);
    let refreshed = false;
    let registered = false;
    for (;;) {
      try {
        return await this.#request(call, { agent, token, body, options });
      } catch (error) {
        const status = error instanceof BackendError ? error.status : undefined;
        if (status === 401 && !refreshed) {
          refreshed = true;
          token = await orAborted(this.tokens.renew(agent, token), signal);
        } else if ((status === 401 || status === 404) && !registered) {
          registered = true;
          refreshed = true;
          token = await orAborted(this.tokens.register(agent, token), signal);
        } else if (status === 404 && call === 'job_result') {
          throw gone(error as BackendError);
        } else {
          throw error;
        }
      }
    }
  }

  async #refresh(refreshToken: Secret): Promise<Tokens> {
    const body = { refresh_token: refreshToken.expose() };
    return (await this.#request('token_refresh', { body })) as Tokens;
  }

  async #register(agent: Agent): Promise<Tokens> {
    const { token, registration, log } = this.#options;
    if (!token) {
      throw new BackendError('BACKEND_REFUSED', {
        host: agent.name,
        message: 'the host cannot be registered with the backend without a bootstrap token',
        hint: 'Set AGENT_TOKEN or AGENT_TOKEN_FILE.',
        outcome: 'not-sent',
        retrySoon: false,
      });
    }
    const body = await registration(agent);
    const tokens = (await this.#request('register', { agent, token, body })) as Tokens;
    log.info({ host: agent.name, agentId: agent.id }, 'registered with the backend');
    return tokens;
  }

  /** One HTTP request, judged by its schemas. */
  async #request(call: CallName, given: Given): Promise<unknown> {
    const { http, onCall } = this.#options;
    const body = sendable(call, given);
    const startedMs = this.#clock.monotonicMs();
    const done = (result: string) => onCall?.(call, result, this.#clock.monotonicMs() - startedMs);
    try {
      const answer = await http.post({
        path: pathOf(call, given),
        body,
        token: given.token,
        signal: given.options?.signal,
        headers: given.options?.idempotencyKey ? { [idempotencyHeader]: given.options.idempotencyKey } : {},
      });
      const parsed = calls[call].answer.safeParse(answer ?? (call === 'heartbeat' ? {} : undefined));
      if (!parsed.success) {
        const field = parsed.error.issues[0]?.path.map(String).join('.') || 'the whole of it';
        throw new BackendError('BACKEND_ANSWER', {
          message: `the backend's answer to ${call} is not what it should be: ${field.slice(0, 100)}`,
          hint: 'Compare it with docs/backend-openapi.yaml.',
          outcome: 'unknown',
          retrySoon: false,
        });
      }
      this.#reached(undefined);
      done('2xx');
      return parsed.data;
    } catch (error) {
      this.#reached(error);
      done(classOf(error));
      throw error;
    }
  }

  /** Any answer of the backend's own says that it is there. */
  #reached(error: unknown): void {
    const away = error instanceof BackendError && error.code !== 'BACKEND_REFUSED';
    if (error !== undefined && !(error instanceof BackendError)) return;
    const before = this.#reachability;
    const cause = away ? error : undefined;
    const moved = before.reachable !== !away;
    if (moved) this.#movedAtMs = this.#clock.monotonicMs();
    const sinceMs = moved ? this.#clock.wallMs() : before.sinceMs;
    this.#reachability = { reachable: !away, cause, sinceMs };
    if (cause && (moved || before.cause?.message !== cause.message)) {
      this.#options.log.warn({ error: cause }, 'the backend cannot be used');
    } else if (moved && before.reachable === false) {
      this.#options.log.info(
        { awayMs: this.#clock.wallMs() - before.sinceMs },
        'the backend can be used again',
      );
    }
  }
}

type Given = { agent?: Agent; token?: Secret; body: unknown; options?: CallOptions };

function pathOf(call: CallName, { agent, options }: Given): string {
  return calls[call].path
    .replace('{id}', encodeURIComponent(agent?.id ?? ''))
    .replace('{job_id}', encodeURIComponent(options?.jobId ?? ''));
}

/** Throws BACKEND_REFUSED, for good: what the form does not allow is our fault, and no try will change it. */
function sendable(call: CallName, { agent, body }: Given): unknown {
  const parsed = calls[call].body.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new BackendError('BACKEND_REFUSED', {
    ...(agent && { host: agent.name }),
    message: `our ${call} is not what the interface says: ${issue?.path.map(String).join('.')}: ${issue?.message}`,
    outcome: 'not-sent',
    retryable: false,
  });
}

/** The agent is known, so it is the job that is not: nobody waits for this result. */
function gone(error: BackendError): BackendError {
  return new BackendError('BACKEND_REFUSED', {
    message: 'the backend does not know the job of this result',
    status: 404,
    retryable: false,
    cause: error,
  });
}
