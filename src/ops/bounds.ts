// How long an operation may wait for each kind of answer, and never longer than the job's deadline.
import type { CallOptions } from '../libvirt/client.js';
import type { JobContext } from './operation.js';

export const readTimeoutMs = 15_000;
/** For acts that libvirt does at once. */
export const actTimeoutMs = 30_000;
/** For acts that write or read a guest's memory: start from a saved state, snapshots. */
export const longActTimeoutMs = 10 * 60_000;
/** The guest agent is inside the guest: it may be gone, or lie. */
export const agentTimeoutMs = 6_000;

export function bounded(ctx: Pick<JobContext, 'remainingMs' | 'signal'>, timeoutMs: number): CallOptions {
  return { timeoutMs: Math.max(1, Math.min(timeoutMs, ctx.remainingMs())), signal: ctx.signal };
}
