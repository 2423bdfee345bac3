// Delays between attempts: exponential with full jitter, so that a fleet that fell together does not rise together.

export type Backoff = {
  /** Ceiling of the first delay, milliseconds. */
  baseMs: number;
  /** Ceiling of every delay, milliseconds. */
  capMs: number;
  /** Growth of the ceiling per attempt. */
  factor: number;
};

/** Delay before attempt `attempt` (1 = the first retry): uniform in [0, min(cap, base * factor^(attempt-1))]. */
export function fullJitterMs(
  { baseMs, capMs, factor }: Backoff,
  attempt: number,
  random = Math.random,
): number {
  const ceilingMs = Math.min(capMs, baseMs * factor ** Math.max(0, attempt - 1));
  return random() * ceilingMs;
}
