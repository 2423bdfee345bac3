// Follows a job to its end: one line that moves on a terminal, a line a step elsewhere. It refuses to end the job when it
// is interrupted: the job goes on, and its id is said.
import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from '../http/api/schemas.js';
import type { ApiClient } from './api-client.js';
import { cut, printable, widthOf } from './output.js';

const lookEveryMs = 300;
const frames = ['|', '/', '-', '\\'];
const eraseLine = '\r\x1b[K';

type Terminal = { isTTY?: boolean; columns?: number; write(text: string): unknown };

/** Resolves with the job when it has ended; with what was last seen of it when `signal` ends the waiting. */
export async function followJob(
  api: ApiClient,
  given: Job,
  signal: AbortSignal,
  out: Terminal = process.stderr,
): Promise<Job> {
  let job = given;
  let told = 0;
  for (let turn = 0; ; turn++) {
    const steps = job.steps.slice(told);
    told = job.steps.length;
    if (out.isTTY)
      out.write(eraseLine + cut(`${frames[turn % frames.length]} ${nowDoing(job)}`, widthOf(out)));
    else for (const { at, step } of steps) out.write(`${at}  ${printable(step)}\n`);
    if (hasEnded(job) || signal.aborted) break;
    await delay(lookEveryMs, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted) job = await api.get<Job>(`/jobs/${encodeURIComponent(given.id)}`);
  }
  if (out.isTTY) out.write(eraseLine);
  return job;
}

export function hasEnded({ state }: Job): boolean {
  return state === 'completed' || state === 'failed';
}

function nowDoing({ op, host, vm, state, steps }: Job): string {
  const what = printable([op, vm ? `${host}/${vm}` : host].join(' '));
  const step = steps.at(-1)?.step;
  return `${what}: ${step ? printable(step) : state}`;
}
