// The sample backend on a real TCP or TLS port, with faults on request, and a record of what it was asked. It can go away
// and come back on the same port with what it knew. It refuses to answer for the sample: a fault stands in front of it.
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type CallName, callNames, calls } from '../../src/backend/api.js';
import { type Backend, type BackendOptions, createBackend } from '../../src/sim/backend/server.js';
import { BackendState, type KeptEvent, type KeptResult } from '../../src/sim/backend/state.js';
import { TokenDesk } from '../../src/sim/backend/tokens.js';

export type Fault =
  | { kind: 'status'; status: number; retryAfter?: string; body?: string; type?: string }
  | { kind: 'redirect'; to: string }
  /** Takes the request and never answers. */
  | { kind: 'hang' }
  | { kind: 'html' }
  | { kind: 'broken json' }
  /** A JSON text of so many bytes, as fast as it is read. */
  | { kind: 'huge'; bytes: number }
  /** Begins an answer, and cuts the connection in the middle. */
  | { kind: 'cut' }
  /** Cuts the connection at once. */
  | { kind: 'reset' }
  /** Does what was asked, and cuts the connection instead of answering. */
  | { kind: 'lost answer' }
  | { kind: 'slow'; delayMs: number };

export type Asked = {
  call: CallName | 'other';
  agentId: string | undefined;
  method: string;
  url: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  atMs: number;
  /** Of the answer; undefined while there is none. */
  status: number | undefined;
};

type Rule = { fault: Fault; call: CallName | undefined; agentId: string | undefined; left: number };

const askedMax = 100_000;
const paths = callNames.map((name) => ({
  name,
  path: new RegExp(`^${calls[name].path.replaceAll(/\{[a-z_]+\}/g, '([^/]+)')}$`),
}));

export type TestBackendOptions = Partial<BackendOptions> & { port?: number; host?: string };

export class TestBackend implements AsyncDisposable {
  readonly options: BackendOptions;
  readonly state = new BackendState();
  readonly tokens: TokenDesk;
  /** Every request, in order. */
  readonly asked: Asked[] = [];
  /** Connections that were ever taken. */
  connections = 0;
  readonly #host: string;
  readonly #rules = new Set<Rule>();
  readonly #held = new Set<FastifyReply>();
  readonly #sockets = new Set<Socket>();
  #port: number;
  #backend: Backend | undefined;

  private constructor({ port = 0, host = '127.0.0.1', ...options }: TestBackendOptions) {
    this.#port = port;
    this.#host = host;
    this.options = { bootstrapToken: 'bootstrap-token', ...options };
    this.tokens = new TokenDesk(this.options.bootstrapToken, this.options.tokenSeconds);
  }

  static async start(options: TestBackendOptions = {}): Promise<TestBackend> {
    const backend = new TestBackend(options);
    await backend.up();
    return backend;
  }

  get url(): string {
    return `${this.options.tls ? 'https' : 'http'}://${this.#host}:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  get bootstrapToken(): string {
    return this.options.bootstrapToken;
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  get events(): readonly KeptEvent[] {
    return this.state.events;
  }

  get results(): readonly KeptResult[] {
    return [...this.state.results.values()];
  }

  /** Listens, on the port it had before; `tls` takes the place of the certificate so far. */
  async up(tls = this.options.tls): Promise<void> {
    if (tls) this.options.tls = tls;
    const backend = createBackend(this.options, this.state, this.tokens);
    this.#backend = backend;
    this.#watch(backend);
    await backend.app.listen({ host: this.#host, port: this.#port });
    const [bound] = backend.app.addresses();
    if (typeof bound === 'object') this.#port = bound.port;
  }

  /** Refuses connections from now on, and cuts those that are there. */
  async down(): Promise<void> {
    for (const reply of this.#held) reply.raw.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await this.#backend?.app.close();
    this.#backend = undefined;
  }

  /** The next `times` requests (all, unless said) of this call and agent fail so. Call what it returns to end it. */
  fault(
    fault: Fault,
    {
      call,
      agentId,
      times = Number.POSITIVE_INFINITY,
    }: { call?: CallName; agentId?: string; times?: number } = {},
  ): () => void {
    const rule = { fault, call, agentId, left: times };
    this.#rules.add(rule);
    return () => void this.#rules.delete(rule);
  }

  clearFaults(): void {
    this.#rules.clear();
  }

  revokeRefreshTokens(): void {
    this.tokens.revokeRefreshTokens();
  }

  /** Access tokens that are out are refused with 401 from now on. */
  revokeAccessTokens(): void {
    this.tokens.revokeAccessTokens();
  }

  /** Answers 404 until they register again. */
  forgetAgents(): void {
    for (const id of this.state.agents.keys()) this.state.forget(id);
  }

  count(call: CallName, agentId?: string): number {
    return this.asked.filter((asked) => asked.call === call && (!agentId || asked.agentId === agentId))
      .length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.clearFaults();
    await this.down();
  }

  #watch({ app }: Backend): void {
    app.server.on(this.options.tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    app.addHook('onRequest', async (request, reply) => {
      const asked = askedOf(request);
      if (this.asked.push(asked) > askedMax) this.asked.shift();
      reply.raw.once('finish', () => {
        asked.status = reply.raw.statusCode;
      });
      const fault = this.#faultFor(asked);
      if (fault) await this.#apply(fault, reply);
      return reply.sent ? reply : undefined;
    });
    app.addHook('onSend', async (_request, reply) => {
      if (losing.has(reply)) reply.raw.destroy();
    });
  }

  #faultFor({ call, agentId }: Asked): Fault | undefined {
    for (const rule of this.#rules) {
      if (rule.call && rule.call !== call) continue;
      if (rule.agentId && rule.agentId !== agentId) continue;
      if (--rule.left <= 0) this.#rules.delete(rule);
      return rule.fault;
    }
    return undefined;
  }

  async #apply(fault: Fault, reply: FastifyReply): Promise<void> {
    switch (fault.kind) {
      case 'status':
        if (fault.retryAfter !== undefined) reply.header('retry-after', fault.retryAfter);
        reply.code(fault.status).type(fault.type ?? 'application/problem+json');
        await reply.send(
          fault.body ?? JSON.stringify({ type: 'about:blank', status: fault.status, detail: 'fault' }),
        );
        return;
      case 'redirect':
        await reply.redirect(fault.to, 307);
        return;
      case 'html':
        await reply.type('text/html').send('<!doctype html><title>Sign in</title><p>Welcome to the portal');
        return;
      case 'broken json':
        await reply.type('application/json').send('{"access_token": "a');
        return;
      case 'hang':
        reply.hijack();
        this.#held.add(reply);
        reply.raw.once('close', () => this.#held.delete(reply));
        return;
      case 'huge':
        return stream(reply, fault.bytes);
      case 'cut':
        reply.hijack();
        reply.raw.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
        reply.raw.write('{"jobs": [', () => reply.raw.destroy());
        return;
      case 'reset':
        reply.hijack();
        reply.raw.destroy();
        return;
      case 'lost answer':
        losing.add(reply);
        return;
      case 'slow':
        return new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    }
  }
}

const losing = new WeakSet<FastifyReply>();

function askedOf({ method, url, headers }: FastifyRequest): Asked {
  const path = url.split('?')[0] ?? '';
  for (const { name, path: pattern } of paths) {
    const found = pattern.exec(path);
    if (found)
      return {
        call: name,
        agentId: found[1],
        method,
        url,
        headers,
        atMs: performance.now(),
        status: undefined,
      };
  }
  return {
    call: 'other',
    agentId: undefined,
    method,
    url,
    headers,
    atMs: performance.now(),
    status: undefined,
  };
}

/** Waits for whoever reads; ends when the connection does. */
async function stream(reply: FastifyReply, bytes: number): Promise<void> {
  reply.hijack();
  reply.raw.writeHead(200, { 'content-type': 'application/json' });
  await pipeline(filler(bytes), reply.raw).catch(() => undefined);
}

function* filler(bytes: number): Generator<string> {
  const chunk = 'x'.repeat(64 * 1024);
  yield '{"filler": "';
  for (let sent = 0; sent < bytes; sent += chunk.length) yield chunk;
  yield '"}';
}
