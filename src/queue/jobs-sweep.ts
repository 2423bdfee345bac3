// Finds jobs that lie in the active list and that nobody works on, because a process was killed or the store forgot a
// lock, and brings each to its end. It looks at the start, regularly, and when told. It refuses to touch a job whose
// owner lives, and gives the owner's next life, which has the audit log, time to come first.
import type { Job, Queue } from 'bullmq';
import type { Clock, Timer } from '../core/clock.js';
import type { Log } from '../core/log.js';
import type { JobEngine } from './jobs-engine.js';
import type { JobRecords } from './jobs-records.js';
import { deliveryOf, endFound, lifeOf } from './jobs-worker.js';

const everyMs = 15_000;
const soonMs = 250;
/** Jobs looked at in one sweep. */
const lookedAtMax = 1_000;
/** How long the job of another instance, which may come back, is left lying. */
const strangerGraceMs = 30_000;
const strangersMax = 10_000;

export type JobSweepOptions = {
  queue: () => Queue | undefined;
  records: JobRecords;
  engine: JobEngine;
  instanceId: string;
  clock: Clock;
  log: Log;
  onError: (error: unknown) => void;
  everyMs?: number;
  strangerGraceMs?: number;
};

export class JobSweep {
  readonly #options: JobSweepOptions;
  readonly #strangers = new Map<string, number>();
  #timer: Timer | undefined;
  #sweeping = false;
  #again = false;
  #stopped = false;

  constructor(options: JobSweepOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** A job lies, as far as can be seen from here. */
  soon(): void {
    this.#again = true;
    this.#plan(soonMs);
  }

  /** Sweeps now and then regularly. Never rejects. */
  async sweep(): Promise<void> {
    if (this.#sweeping || this.#stopped) return;
    this.#sweeping = true;
    this.#again = false;
    try {
      await this.#sweepOnce();
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#sweeping = false;
      this.#plan(this.#again ? soonMs : (this.#options.everyMs ?? everyMs));
    }
  }

  #plan(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(delayMs, () => void this.sweep());
  }

  async #sweepOnce(): Promise<void> {
    const queue = this.#options.queue();
    if (!queue) return;
    const jobs = await queue.getJobs(['active'], 0, lookedAtMax - 1);
    const lying = await Promise.all(jobs.map(async (job) => ({ job, found: await this.#found(job) })));
    if (this.#strangers.size > strangersMax) this.#strangers.clear();
    for (const { job, found } of lying) if (found) void this.#end(job, found);
  }

  async #found(job: Job | undefined): Promise<'own' | 'dead' | undefined> {
    const { engine, records, instanceId, clock } = this.#options;
    if (!job?.id || engine.has(job.id)) return undefined;
    const life = lifeOf(job);
    if (life === records.life) return (await records.isLocked(job.id)) ? undefined : 'own';
    if (life !== undefined && (await records.isAlive(life))) return undefined;
    if (job.processedBy?.startsWith(`outrigger ${instanceId} `)) return 'dead';
    const sinceMs = this.#strangers.get(job.id) ?? clock.monotonicMs();
    this.#strangers.set(job.id, sinceMs);
    const graceMs = this.#options.strangerGraceMs ?? strangerGraceMs;
    if (clock.monotonicMs() - sinceMs >= graceMs) return 'dead';
    return undefined;
  }

  async #end(job: Job, found: 'own' | 'dead'): Promise<void> {
    const { engine, log, onError } = this.#options;
    try {
      const ending = await engine.handle(deliveryOf(job, onError, found));
      await endFound(job, ending);
      if (ending.kind !== 'left')
        log.warn({ jobId: job.id, op: job.name, end: ending.kind }, 'job found lying');
    } catch (error) {
      onError(error);
    }
  }
}
