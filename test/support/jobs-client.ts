// A backend as the contract knows it: any BullMQ client that adds jobs to the queue and reads what became of them.
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { until } from './until.js';

export type Ended = {
  state: 'completed' | 'failed';
  result: Record<string, unknown> | undefined;
  failure: string | undefined;
};

export class JobsClient {
  readonly #connection: Redis;
  readonly queue: Queue;
  #requests = 0;

  /** `store` is the path of the store's socket, or a URL. */
  constructor(store: string, queueName = 'outrigger-vm-jobs') {
    this.#connection = new Redis(store, { maxRetriesPerRequest: null });
    this.#connection.on('error', () => undefined);
    this.queue = new Queue(queueName, { connection: this.#connection });
    this.queue.on('error', () => undefined);
  }

  /** Adds a job with a requestId of its own, unless `data` has one, and returns its id. */
  async add(op: string, data: Record<string, unknown>): Promise<string> {
    const requestId = `test-${process.pid}-${Date.now()}-${this.#requests++}`;
    const { id } = await this.queue.add(op, { requestId, requestedBy: 'test', ...data });
    if (!id) throw new Error('the job got no id');
    return id;
  }

  async ended(id: string, timeoutMs = 60_000): Promise<Ended> {
    return until(`job ${id} to end`, () => this.#end(id), { timeoutMs, everyMs: 50 });
  }

  /** Adds a job and waits for its end. */
  async run(op: string, data: Record<string, unknown>, timeoutMs?: number): Promise<Ended> {
    return this.ended(await this.add(op, data), timeoutMs);
  }

  /** Jobs that have neither ended nor wait: what a killed service leaves behind. */
  active(): Promise<number> {
    return this.queue.getActiveCount();
  }

  async close(): Promise<void> {
    await this.queue.close();
    this.#connection.disconnect();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(id: string): Promise<Ended | undefined> {
    const state = await this.queue.getJobState(id);
    if (state !== 'completed' && state !== 'failed') return undefined;
    const job = await this.queue.getJob(id);
    if (!job) return undefined;
    return { state, result: job.returnvalue ?? undefined, failure: job.failedReason || undefined };
  }
}
