import { expect, it } from 'vitest';
import { Closers } from '../../../src/core/closers.js';

it('closes in reverse order, all of them, and tells of each that failed', async () => {
  const closed: string[] = [];
  const errors: unknown[] = [];
  const closers = new Closers();
  for (const name of ['a', 'b', 'c']) {
    closers.add(async () => {
      closed.push(name);
      if (name === 'b') throw new Error('b is stuck');
    });
  }
  await closers.close((error) => errors.push(error));
  await closers.close((error) => errors.push(error));
  expect(closed).toEqual(['c', 'b', 'a']);
  expect(errors).toEqual([new Error('b is stuck')]);
});
