import { expect, it } from 'vitest';
import { Pace } from '../../../src/core/pace.js';
import { FakeClock } from '../../support/fake-clock.js';

function paced(gapMs: number) {
  const clock = new FakeClock();
  const pace = new Pace(clock);
  pace.gapMs = gapMs;
  const begun: [string, number][] = [];
  const ask = (name: string) => void pace.turn().then(() => begun.push([name, clock.monotonicMs()]));
  return { clock, pace, begun, ask };
}

it('begins at once what comes alone', async () => {
  const { clock, begun, ask } = paced(10);
  ask('a');
  await clock.advance(25);
  ask('b');
  await clock.advance(0);
  expect(begun).toEqual([
    ['a', 0],
    ['b', 25],
  ]);
});

it('begins what comes together in the order of asking, a gap apart', async () => {
  const { clock, begun, ask } = paced(10);
  for (const name of ['a', 'b', 'c']) ask(name);
  await clock.advance(15);
  ask('d');
  await clock.advance(100);
  expect(begun).toEqual([
    ['a', 0],
    ['b', 10],
    ['c', 20],
    ['d', 30],
  ]);
  expect(clock.pending).toBe(0);
});

it('takes a gap from the last beginning, not from the asking', async () => {
  const { clock, begun, ask } = paced(10);
  ask('a');
  await clock.advance(7);
  ask('b');
  await clock.advance(50);
  expect(begun[1]).toEqual(['b', 10]);
});

it('makes up for a few gaps when the thread was late, and no more', async () => {
  const { clock, begun, ask } = paced(10);
  const late = clock.after;
  clock.after = (delayMs, run) => late.call(clock, delayMs + 50, run);
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  for (const name of names) ask(name);
  await clock.advance(200);
  expect(begun.map(([name]) => name)).toEqual(names);
  expect(begun.map(([, atMs]) => atMs)).toEqual([0, 60, 60, 60, 60, 120]);
});

it('has no gap unless it is told', async () => {
  const { clock, begun, ask } = paced(0);
  for (const name of ['a', 'b']) ask(name);
  await clock.advance(0);
  expect(begun).toHaveLength(2);
});
