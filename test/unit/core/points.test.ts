import { expect, it } from 'vitest';
import { figureOf, pointOf, unknownPoint } from '../../../src/core/points.js';

const again = (value: number) => figureOf(pointOf(value));

it('is true to one part in 2,000, from very little to very much', () => {
  for (let value = 0.000_02; value < 1e14; value *= 1.000_7) {
    const point = pointOf(value);
    expect(point).toBeLessThan(unknownPoint);
    expect(Math.abs((again(value) ?? 0) - value) / value).toBeLessThan(1 / 2_000);
  }
});

it('is exact for whole numbers up to 2,048', () => {
  for (let value = 0; value <= 2_048; value++) expect(again(value)).toBe(value);
});

it('ends at the most there is room for, and does not know what is no figure', () => {
  expect(again(1e-9)).toBe(0);
  expect(again(1e30)).toBeGreaterThan(1e14);
  expect(again(-1)).toBeUndefined();
  expect(again(Number.NaN)).toBeUndefined();
});
