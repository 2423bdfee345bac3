// Starts polls, whoever asks: a job from the store or the watchdog. It keeps when each was last started, never runs one
// beside itself, bounds each run, and turns failures into one line. It refuses to know what a poll does.
import type { Clock } from '../core/clock.js';
import { Ending, within } from '../core/deadline.js';
import { asHostError, describe, HostError } from '../core/errors.js';
import { Pace } from '../core/pace.js';
import { offsetMs, type PollSchedule, scheduleId } from './schedules.js';
import type { Watched } from './watchdog.js';

/** Pollers have deadlines of their own; this one frees the place of a poll whose deadline failed. */
const runTimeoutMs = 120_000;
const failureCharsMax = 500;
/**
 * Polls begin at most this many times as fast as their intervals ask for. What has piled up, because the store, this process or the
 * machine stood still, would otherwise begin all at once: no poll would end soon, and all that they hold would be moved about by V8.
 */
const catchUp = 2;
/** Between two polls of a small fleet. */
const gapMsMax = 10;

export type PollRun = (host: string, poller: string) => Promise<void>;
export type PollOutcome = 'done' | 'skipped' | 'unknown';
export type SkipCause = 'still running' | 'unknown host';

/** A poll's failure as a job shows it: `CODE: text`, no stack. */
export class PollFailure extends Error {
  override readonly name = 'PollFailure';
  constructor(error: unknown) {
    const { code } = asHostError(error);
    super(`${code}: ${describe(error)}`.slice(0, failureCharsMax));
    this.stack = '';
  }
}

export type PollRunnerOptions = {
  clock: Clock;
  run: PollRun;
  onSkip?: ((host: string, poller: string, cause: SkipCause) => void) | undefined;
  runTimeoutMs?: number;
};

export class PollRunner {
  readonly #options: PollRunnerOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #inFlight = new Set<Promise<void>>();
  readonly #pace: Pace;
  #skipped = 0;
  #direct = 0;

  constructor(options: PollRunnerOptions) {
    this.#options = options;
    this.#pace = new Pace(options.clock);
  }

  /** Replaces what is polled; what stays keeps its history. */
  setSchedules(wanted: ReadonlyMap<string, PollSchedule>): void {
    for (const id of this.#watched.keys()) if (!wanted.has(id)) this.#watched.delete(id);
    for (const [id, schedule] of wanted) {
      const known = this.#watched.get(id);
      if (known?.schedule.intervalMs === schedule.intervalMs) continue;
      const sinceMs = this.#options.clock.monotonicMs();
      const fresh = { schedule, offsetMs: offsetMs(schedule), sinceMs };
      this.#watched.set(id, known ? { ...known, ...fresh } : { ...fresh, running: false });
    }
    let perMs = 0;
    for (const { intervalMs } of wanted.values()) perMs += 1 / intervalMs;
    this.#pace.gapMs = Math.min(gapMsMax, 1 / (catchUp * perMs));
  }

  watched(): Iterable<Watched> {
    return this.#watched.values();
  }

  lastStartedMs(host: string, poller: string): number | undefined {
    return this.#watched.get(scheduleId({ host, poller }))?.startedMs;
  }

  get skipped(): number {
    return this.#skipped;
  }

  /** Polls that the watchdog started and that still run. */
  get direct(): number {
    return this.#direct;
  }

  /** Resolves when every poll that runs now has ended. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#inFlight);
  }

  /**
   * Runs a poll that a job asked for.
   * @throws PollFailure
   */
  async runJob(host: string, poller: string): Promise<PollOutcome> {
    const entry = this.#watched.get(scheduleId({ host, poller }));
    if (!entry) return this.#skip(host, poller, 'unknown host');
    entry.scheduledMs = this.#options.clock.monotonicMs();
    if (entry.running) return this.#skip(host, poller, 'still running');
    await this.#start(entry);
    return 'done';
  }

  /** Starts a poll on the watchdog's word; its failure is the session's to tell. */
  startDirect(entry: Watched): void {
    if (entry.running) return;
    this.#direct++;
    this.#start(entry).then(
      () => this.#direct--,
      () => this.#direct--,
    );
  }

  #skip(host: string, poller: string, cause: SkipCause): PollOutcome {
    this.#skipped++;
    this.#options.onSkip?.(host, poller, cause);
    return cause === 'unknown host' ? 'unknown' : 'skipped';
  }

  #start(entry: Watched): Promise<void> {
    const running = this.#bounded(entry);
    this.#inFlight.add(running);
    const settle = () => void this.#inFlight.delete(running);
    running.then(settle, settle);
    return running;
  }

  async #bounded({ schedule: { host, poller } }: Watched): Promise<void> {
    const id = scheduleId({ host, poller });
    const mark = (running: boolean) => {
      const entry = this.#watched.get(id);
      if (entry) entry.running = running;
      return entry;
    };
    const entry = mark(true);
    const { clock, run, runTimeoutMs: timeoutMs = runTimeoutMs } = this.#options;
    if (entry) entry.startedMs = clock.monotonicMs();
    const ending = new Ending();
    const onTimeout = () =>
      new HostError('TIMEOUT', { host, message: `the poll did not end in ${timeoutMs} ms` });
    const begin = async () => {
      await this.#pace.turn();
      ending.check();
      return run(host, poller);
    };
    try {
      await within(begin, { timeoutMs, clock, onTimeout }, (error) => ending.end(error));
    } catch (error) {
      throw new PollFailure(error);
    } finally {
      mark(false);
    }
  }
}
