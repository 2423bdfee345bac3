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

it.each([
  { later: 25, begins: 25, why: 'at once when it comes alone' },
  { later: 7, begins: 10, why: 'a gap after the last beginning, not after the asking' },
])('begins $why', async ({ later, begins }) => {
  const { clock, begun, ask } = paced(10);
  ask('a');
  await clock.advance(later);
  ask('b');
  await clock.advance(begins - later);
  expect(begun).toEqual([
    ['a', 0],
    ['b', begins],
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

it('lets go what waits when there is no gap any more', async () => {
  const { clock, pace, begun, ask } = paced(10);
  for (const name of ['a', 'b', 'c']) ask(name);
  pace.gapMs = 0;
  await clock.advance(10);
  expect(begun).toEqual([
    ['a', 0],
    ['b', 10],
    ['c', 10],
  ]);
});
