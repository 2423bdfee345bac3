import { Writable } from 'node:stream';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { ErrorGate } from '../../../src/queue/error-gate.js';

function gate() {
  const lines: { level: number; why: string; unsaid?: number }[] = [];
  const log = pino(
    { level: 'debug' },
    new Writable({
      write(chunk, _encoding, done) {
        lines.push(JSON.parse(String(chunk)));
        done();
      },
    }),
  );
  let nowMs = 0;
  const clock = { ...systemClock, monotonicMs: () => nowMs };
  return { gate: new ErrorGate(clock, log), lines, wait: (ms: number) => (nowMs += ms) };
}

describe('ErrorGate', () => {
  it('keeps a flood of lost connections to debug', () => {
    const { gate: it, lines } = gate();
    for (let n = 0; n < 50; n++) {
      it.report(Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:6379')));
      it.report(new Error('Connection is closed.'));
      it.report(new Error(`Missing lock for job repeat:a_vms:${n}. moveToFinished`));
    }
    expect(lines.every(({ level }) => level === 20)).toBe(true);
  });

  it('tells anything else once a minute, with how often it was left out', () => {
    const { gate: it, lines, wait } = gate();
    for (let n = 0; n < 10; n++) it.report(new Error(`OOM command not allowed, job repeat:a_vms:${n}`));
    expect(lines).toHaveLength(1);
    wait(61_000);
    it.report(new Error('OOM command not allowed, job repeat:a_vms:99'));
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatchObject({ level: 40, unsaid: 9 });
  });
});
