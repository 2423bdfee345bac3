// Ends a run that does not end by itself: after its signal aborted, or after so long that something must be wrong. It refuses
// to stop the operation, which it cannot: the run's gate lets nothing of it through any more.
import { setMaxListeners } from 'node:events';
import type { Clock } from '../core/clock.js';
import { describe } from '../core/errors.js';
import { JobError } from '../ops/job.js';
import type { JobRun } from './jobs-run.js';

/** Once its signal has aborted, an operation has so long to end by itself. */
const abortGraceMs = 20_000;
/** Backstop for a job without a deadline; every operation has deadlines of its own, much shorter. */
const runMaxMs = 7_200_000;

export type BoundedOptions = {
  clock: Clock;
  /** Aborts when the service cannot wait any longer. */
  ending: AbortSignal;
  graceMs?: number | undefined;
};

export function boundedRun<T>(
  run: JobRun,
  work: () => Promise<T>,
  { clock, ending, graceMs = abortGraceMs }: BoundedOptions,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const settle = () => {
      timer.cancel();
      run.signal.removeEventListener('abort', onAbort);
      ending.removeEventListener('abort', onEnding);
    };
    const end = (reason: unknown) => {
      settle();
      run.end();
      reject(
        run.hasBegun ? new JobError('OUTCOME_UNKNOWN', unending(run, reason), { cause: reason }) : reason,
      );
    };
    const onAbort = () => {
      timer.cancel();
      timer = clock.after(graceMs, () => end(run.signal.reason));
    };
    const onEnding = () => end(ending.reason);
    let timer = clock.after(runMaxMs, () => {
      run.abandon(new JobError('DEADLINE_EXPIRED', `it did not end in ${runMaxMs / 60_000} minutes`));
    });
    run.signal.addEventListener('abort', onAbort, { once: true });
    setMaxListeners(0, ending); // one for each run
    ending.addEventListener('abort', onEnding, { once: true });
    if (run.signal.aborted) onAbort();
    work().then(
      (value) => {
        settle();
        resolve(value);
      },
      (error) => {
        settle();
        reject(error);
      },
    );
  });
}

function unending(run: JobRun, reason: unknown): string {
  const acts = [...run.begun, ...run.acts].map(({ act }) => act).join(', ');
  return `${describe(reason)}; begun: ${acts}; it does not end`;
}
