import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { Link, type LinkOptions, type Opened, stableAfterMs } from '../../../src/fleet/link.js';
import { FakeClock, settle } from '../../support/fake-clock.js';

type Line = { fail(code?: 'CLOSED'): void; closedCalls: number };

function rig(options: Partial<LinkOptions<string>> = {}, refused?: HostError) {
  const clock = new FakeClock();
  const lines: Line[] = [];
  const failures: string[] = [];
  let refuse = refused;
  let attempts = 0;
  const link = new Link<string>({
    clock,
    random: () => 1,
    backoff: { baseMs: 1_000, capMs: 8_000, factor: 2 },
    onChange: () => undefined,
    onFailure: (cause) => failures.push(cause.code),
    open: async (): Promise<Opened<string>> => {
      attempts++;
      if (refuse) throw refuse;
      const line: Line = { fail: () => undefined, closedCalls: 0 };
      const closed = new Promise<HostError>((resolve) => {
        line.fail = (code = 'CLOSED') => resolve(new HostError(code));
      });
      lines.push(line);
      return { value: `line ${lines.length}`, closed, close: async () => void line.closedCalls++ };
    },
    ...options,
  });
  const stop = new AbortController();
  return {
    clock,
    lines,
    failures,
    link,
    stop,
    attempts: () => attempts,
    refuse: (error: HostError | undefined) => {
      refuse = error;
    },
    running: link.run(stop.signal),
  };
}

describe('Link', () => {
  it('opens at once and holds the value', async () => {
    const { link, stop, running, lines } = rig();
    expect(link.state).toEqual({ status: 'opening' });
    await settle();
    expect(link.state).toEqual({ status: 'open', value: 'line 1' });
    stop.abort();
    await running;
    expect(lines[0]?.closedCalls).toBe(1);
  });

  it('backs off exponentially up to the cap while it is refused, and says failed throughout', async () => {
    const at = rig({}, new HostError('REFUSED'));
    await settle();
    const seen: number[] = [];
    for (let ms = 0; ms < 40_000; ms += 500) {
      const before = at.attempts();
      await at.clock.advance(500);
      if (at.attempts() > before) seen.push(at.clock.monotonicMs());
      expect(at.link.state.status).toBe('failed');
    }
    expect(seen).toEqual([1_000, 3_000, 7_000, 15_000, 23_000, 31_000, 39_000]);
    at.stop.abort();
    await at.running;
    expect(at.clock.pending).toBe(0);
  });

  it('closes what broke, and opens anew after the delay', async () => {
    const at = rig();
    await settle();
    at.lines[0]?.fail();
    await settle();
    expect(at.link.state).toMatchObject({ status: 'failed', cause: { code: 'CLOSED' } });
    expect(at.lines[0]?.closedCalls).toBe(1);
    await at.clock.advance(1_000);
    expect(at.link.state).toEqual({ status: 'open', value: 'line 2' });
    at.stop.abort();
    await at.running;
  });

  it('goes on backing off when a connection breaks soon after it opened, and forgives a long one', async () => {
    const at = rig();
    await settle();
    at.lines[0]?.fail();
    await at.clock.advance(1_000);
    at.lines[1]?.fail();
    await at.clock.advance(1_999);
    expect(at.lines).toHaveLength(2);
    await at.clock.advance(1);
    expect(at.lines).toHaveLength(3);
    await at.clock.advance(stableAfterMs);
    at.lines[2]?.fail();
    await at.clock.advance(1_000);
    expect(at.lines).toHaveLength(4);
    at.stop.abort();
    await at.running;
  });

  it('adds the floor that a failure demands, and retryNow cuts it short', async () => {
    const floor = (cause: HostError) => (cause.code === 'AUTH_FAILED' ? 600_000 : 0);
    const at = rig({ retryFloorMs: floor }, new HostError('AUTH_FAILED'));
    await at.clock.advance(600_999);
    expect(at.attempts()).toBe(1);
    await at.clock.advance(1);
    expect(at.attempts()).toBe(2);
    at.refuse(undefined);
    at.link.retryNow();
    await settle();
    expect(at.link.state.status).toBe('open');
    at.stop.abort();
    await at.running;
  });

  it('ends what runs beside it before it opens again', async () => {
    const told: string[] = [];
    const at = rig({
      whileOpen: async (value, signal) => {
        told.push(`begin ${value}`);
        await new Promise<void>((resolve) =>
          signal.addEventListener('abort', () => resolve(), { once: true }),
        );
        told.push(`end ${value}`);
      },
    });
    await settle();
    at.lines[0]?.fail();
    await at.clock.advance(1_000);
    at.stop.abort();
    await at.running;
    expect(told).toEqual(['begin line 1', 'end line 1', 'begin line 2', 'end line 2']);
  });

  it('counts each failure once', async () => {
    const at = rig();
    await settle();
    at.lines[0]?.fail();
    await settle();
    at.refuse(new HostError('REFUSED'));
    await at.clock.advance(1_000);
    at.stop.abort();
    await at.running;
    expect(at.failures).toEqual(['CLOSED', 'REFUSED']);
  });
});
