import { describe, expect, it } from 'vitest';
import { Waits } from '../../../src/core/waits.js';
import { FakeClock } from '../../support/fake-clock.js';

function set() {
  const clock = new FakeClock();
  const waits = new Waits(clock);
  const told: string[] = [];
  const wait = (name: string, dueMs: number, signal?: AbortSignal) => {
    const made = {
      dueMs,
      signal,
      place: 0,
      onDue: () => told.push(`${name} due`),
      onAbort: () => told.push(`${name} aborted`),
    };
    waits.add(made);
    return made;
  };
  return { clock, waits, told, wait };
}

describe('many waits', () => {
  it('are told when they are due, each once, whatever their order', async () => {
    const { clock, told, wait, waits } = set();
    const start = clock.monotonicMs();
    wait('late', start + 300);
    wait('early', start + 100);
    const dropped = wait('dropped', start + 200);
    waits.delete(dropped);
    await clock.advance(99);
    expect(told).toEqual([]);
    await clock.advance(1);
    expect(told).toEqual(['early due']);
    await clock.advance(1_000);
    expect(told).toEqual(['early due', 'late due']);
    wait('after', clock.monotonicMs() + 10);
    await clock.advance(10);
    expect(told.at(-1)).toBe('after due');
  });

  it('hear of their signal alone, and are still due', async () => {
    const { clock, told, wait, waits } = set();
    const start = clock.monotonicMs();
    const [one, other] = [new AbortController(), new AbortController()];
    wait('a', start + 100, one.signal);
    wait('b', start + 100, one.signal);
    wait('c', start + 100, other.signal);
    waits.delete(wait('gone', start + 100, one.signal));
    one.abort();
    expect(told).toEqual(['a aborted', 'b aborted']);
    await clock.advance(100);
    expect(told.slice(2)).toEqual(['a due', 'b due', 'c due']);
  });

  it('are not told when another, due at the same time, has ended them all', async () => {
    const { clock, told, wait, waits } = set();
    const start = clock.monotonicMs();
    waits.add({ dueMs: start + 100, place: 0, onDue: () => waits.clear(), onAbort: () => undefined });
    wait('same time', start + 100);
    wait('later', start + 200);
    await clock.advance(300);
    expect(told).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('leave no listener behind', () => {
    const { wait, waits } = set();
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = ((...a: Parameters<typeof add>) => {
      listeners++;
      add(...a);
    }) as typeof signal.addEventListener;
    signal.removeEventListener = ((...a: Parameters<typeof remove>) => {
      listeners--;
      remove(...a);
    }) as typeof signal.removeEventListener;
    const made = [wait('a', 100, signal), wait('b', 100, signal)];
    expect(listeners).toBe(1);
    for (const one of made) waits.delete(one);
    expect(listeners).toBe(0);
  });
});
