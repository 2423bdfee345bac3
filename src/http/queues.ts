// /queues: bull-board over our three queues, for on-call. Everybody who may read may look; what an admin may do is a short list:
// try a failed poll or delivery again, and take an ended one away. It refuses everything else, whoever asks, because bull-board's
// buttons know nothing of our rules:
//
//   outrigger-polls      retry failed · remove completed, failed
//   outrigger-outbox     retry failed (what the backend refused) · remove failed
//   outrigger-vm-jobs    nothing: a retry gives the old answer while its request is remembered, and does the old work anew after
//                        that; a job that was removed is missing when its request is asked again
//   pausing, emptying, editing, adding, promoting, schedulers, whole queues: nothing, anywhere
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import { Queue } from 'bullmq';
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { type StoreAddress, StoreClients } from '../queue/connection.js';
import { keyPrefix, type StoreNames } from '../queue/store-names.js';
import { isWrite } from './auth/csrf.js';
import type {} from './auth/request.js';
import { masked } from './mask.js';
import { HttpProblem, problemBody, problemMediaType, sendProblem } from './problem.js';

export const queuesPath = '/queues';
const answerTimeoutMs = 5_000;
const retryAfterSeconds = 5;
/** How often an open board asks, seconds. */
const pollingSeconds = 10;

type Act = 'retry' | 'clean';
type Board = {
  name: string;
  description: string;
  /** On jobs in which states. Absent: nothing is done there. */
  mayAct?: Readonly<Record<Act, readonly string[]>>;
};

function boardsOf(names: StoreNames): Board[] {
  return [
    {
      name: names.polls,
      description: 'Polls of hosts. BullMQ schedules them; a failed one says why.',
      mayAct: { retry: ['failed'], clean: ['completed', 'failed'] },
    },
    { name: names.jobs, description: 'VM jobs. Cancel one through the API; a new try is a new job.' },
    {
      name: names.outbox,
      description: 'What must reach the backend. Failed: the backend refused it for good.',
      mayAct: { retry: ['failed'], clean: ['failed'] },
    },
  ];
}

export type QueueBoardOptions = {
  store: StoreAddress;
  log: Log;
  /** Texts that must never be shown, whatever they look like. */
  secrets?: () => readonly string[];
};

export class QueueBoard {
  readonly #log: Log;
  readonly #secrets: () => readonly string[];
  #clients: StoreClients | undefined;
  #boards: readonly Board[] = [];
  #queues = new Map<string, Queue>();
  #isUp = () => false;
  readonly #adapter = new FastifyAdapter();
  readonly #board: ReturnType<typeof createBullBoard>;

  constructor({ log, secrets = () => [] }: Omit<QueueBoardOptions, 'store'>) {
    this.#log = log;
    this.#secrets = secrets;
    this.#adapter.setBasePath(queuesPath);
    this.#board = createBullBoard({
      queues: [],
      serverAdapter: this.#adapter,
      options: {
        uiConfig: {
          boardTitle: 'Outrigger queues',
          miscLinks: [{ text: 'Fleet', url: '/' }],
          pollingInterval: { showSetting: true, forceInterval: pollingSeconds },
          hideRedisDetails: true,
        },
      },
    });
    this.#adapter.setErrorHandler((error) => this.#failed(error));
  }

  /** Until then, and while the store is away, the page answers 503 at once. */
  connect(store: StoreAddress): void {
    const clients = new StoreClients(store);
    this.#clients = clients;
    this.#boards = boardsOf(clients.names);
    const connection = clients.create('producer', 'outrigger:board');
    this.#isUp = () => connection.status === 'ready';
    connection.once('ready', () => {
      for (const { name } of this.#boards) {
        const queue = new Queue(name, { connection, prefix: keyPrefix, skipMetasUpdate: true });
        queue.on('error', (error) =>
          this.#log.debug({ error }, 'the queue page has a problem with the store'),
        );
        this.#queues.set(name, queue);
      }
      this.#board.setQueues(this.#boards.map((board) => this.#adapterOf(board)));
    });
  }

  close(): void {
    for (const queue of this.#queues.values()) queue.close().catch(() => undefined);
    this.#clients?.disconnectAll();
  }

  /** Adds the page's routes. */
  async addRoutes(app: FastifyInstance): Promise<void> {
    await app.register(async (scope) => {
      scope.addHook('onRoute', (route) => {
        route.config = { ...configOf(route), ...route.config };
      });
      scope.addHook('onRequest', async (request, reply) => {
        const problem = this.#whyNot(request);
        if (!problem) return undefined;
        // bull-board answers errors for its own script; whoever opens the page gets what our pages give
        if (request.routeOptions.config.page) return sendProblem(reply, problem.type, problem.details);
        throw problem;
      });
      scope.addHook('preValidation', async (request) => {
        if (isWrite(request)) await this.#admit(request);
      });
      scope.addHook('preSerialization', async ({ principal }, reply, payload) => {
        const { statusCode } = reply;
        if (statusCode >= 400) reply.header('content-type', problemMediaType);
        if (statusCode === 503) reply.header('retry-after', retryAfterSeconds);
        const shown =
          statusCode >= 400
            ? asProblem(statusCode, payload)
            : withButtons(payload, principal?.role === 'admin');
        return masked(shown, this.#secrets());
      });
      scope.addHook('onSend', async (_request, reply, payload) => {
        const type = String(reply.getHeader('content-type') ?? '');
        if (typeof payload !== 'string' || !type.startsWith('text/html')) return payload;
        return payload.replace(elsewhere, '');
      });
      await scope.register(this.#adapter.registerPlugin(), { prefix: queuesPath });
    });
  }

  #whyNot({ principal, routeOptions }: FastifyRequest): HttpProblem | undefined {
    if (principal?.confined)
      return new HttpProblem('forbidden', 'the queues show every host, and you are confined to some');
    if (isStatic(routeOptions.url) || this.#isUp()) return undefined;
    return new HttpProblem('store-away', { detail: 'the store is away', retryAfterSeconds });
  }

  #adapterOf({ name, description, mayAct }: Board): BullMQAdapter {
    const queue = this.#queues.get(name);
    if (!queue) throw new Error(`no queue ${name}`);
    return new BullMQAdapter(queue, { description, readOnlyMode: !mayAct });
  }

  /** Throws HttpProblem for all that is not on the list. */
  async #admit(request: FastifyRequest): Promise<void> {
    const { queueName = '', jobId } = request.params as { queueName?: string; jobId?: string };
    const act = /\/:jobId\/(retry|clean)$/.exec(request.routeOptions.url ?? '')?.[1] as Act | undefined;
    const board = this.#boards.find(({ name }) => name === queueName);
    const states = act && board?.mayAct?.[act];
    const queue = this.#queues.get(queueName);
    if (!jobId || !states || !queue) throw refused(request, reasonFor(board));
    const state = await withDeadline(() => queue.getJobState(jobId), {
      timeoutMs: answerTimeoutMs,
      onTimeout: () => new HostError('STORE', { message: 'the store does not answer' }),
    });
    if (states.includes(state)) return;
    throw refused(
      request,
      `the job is ${state}: only a job that is ${states.join(' or ')} may be touched here`,
    );
  }

  #failed(error: Error & { statusCode?: number }): { status: 500; body: { error: string } } {
    const known = error instanceof HttpProblem ? error : undefined;
    const status =
      known?.statusCode ?? (error.statusCode && error.statusCode < 500 ? error.statusCode : undefined);
    if (status === undefined) this.#log.warn({ error }, 'the queue page failed');
    const problem = known
      ? problemBody(known.type, known.details)
      : status !== undefined || isOddness(error)
        ? problemBody('bad-request', { detail: 'the queue page cannot show what was asked for' })
        : problemBody('store-away', { detail: 'the store did not answer' });
    // bull-board types its error answers narrowly; what it does with them is to send them.
    return { status: problem.status, body: { ...problem, error: problem.detail } } as never;
  }
}

/** The page would load a font from another site, which its policy forbids. */
const elsewhere = /<link href="https?:\/\/[^>]*>/g;

function configOf({ method, url }: RouteOptions): RouteOptions['config'] {
  const reads = [method].flat().every((one) => one === 'GET' || one === 'HEAD');
  const page = reads && !url.includes('/api/') && !isStatic(url);
  return { need: reads ? 'read' : 'admin', csp: 'queues', csrf: 'origin', page };
}

function isStatic(url: string | undefined): boolean {
  return url?.startsWith(`${queuesPath}/static`) ?? false;
}

/** bull-board takes what it is asked for as it comes, and trips over it; what the store has to say is no such error. */
function isOddness(error: Error): boolean {
  return [TypeError, RangeError, URIError].some((kind) => error instanceof kind);
}

/** bull-board's page shows `error`; its own errors have nothing else. */
function asProblem(status: number, payload: unknown): unknown {
  const { error = 'this cannot be done', type } = (payload ?? {}) as { error?: unknown; type?: unknown };
  if (typeof type === 'string') return payload;
  const ours = ({ 403: 'forbidden', 404: 'not-found', 405: 'method-not-allowed' } as const)[status];
  return { ...problemBody(ours ?? 'bad-request', { detail: String(error) }), status, error };
}

/** The page shows the buttons that these flags allow. */
function withButtons(payload: unknown, admin: boolean): unknown {
  const { queues, ...more } = (payload ?? {}) as { queues?: unknown };
  if (!Array.isArray(queues)) return payload;
  const flags = { allowCompletedRetries: false, ...(!admin && { readOnlyMode: true, allowRetries: false }) };
  return { ...more, queues: queues.map((queue: object) => ({ ...queue, ...flags })) };
}

function refused(request: FastifyRequest, detail: string): HttpProblem {
  request.refusal = detail;
  return new HttpProblem('refused', detail);
}

function reasonFor(board: Board | undefined): string {
  if (board && !board.mayAct)
    return 'VM jobs are not run again or taken away here: add a new job, or cancel this one, through the API';
  return 'this is not done here: only single jobs that have ended may be retried or removed';
}
