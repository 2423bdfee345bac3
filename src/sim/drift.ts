// How figures move: each is a function of a seed and of the time, computed when it is asked for, so that a fleet that nobody
// asks costs nothing. A counter is the integral of a rate that swings and stays positive, so it never goes back.
import { randomAt } from './random.js';

export type Drift = { perS: number; periodMs: number; phase: number };

const swing = 0.6;
const periodMinMs = 3 * 60_000;
const periodSpanMs = 20 * 60_000;

/** Rates between a half and one and a half of `perS`, each with a rhythm of its own. */
export function driftOf(seed: number, perS: number): Drift {
  return {
    perS: perS * (0.5 + randomAt(seed, 0)),
    periodMs: periodMinMs + randomAt(seed, 1) * periodSpanMs,
    phase: randomAt(seed, 2) * 2 * Math.PI,
  };
}

/** What has come together after `ms`, whole. */
export function totalOf({ perS, periodMs, phase }: Drift, ms: number): number {
  const angular = (2 * Math.PI) / periodMs;
  const swung = (swing / angular) * (Math.cos(phase) - Math.cos(angular * ms + phase));
  return Math.max(0, Math.floor((perS / 1000) * (ms + swung)));
}

/** The rate at this moment, in units of its mean: between 0.4 and 1.6. */
export function levelOf({ periodMs, phase }: Drift, ms: number): number {
  return 1 + swing * Math.sin(((2 * Math.PI) / periodMs) * ms + phase);
}
