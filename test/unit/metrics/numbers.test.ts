import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { numberBytesMax, writeNumber } from '../../../src/metrics/numbers.js';

const bytes = Buffer.alloc(3 + numberBytesMax);
const written = (value: number) => bytes.toString('latin1', 3, writeNumber(bytes, 3, value));

describe('a number is written as String() writes it', () => {
  it.each([
    0,
    -0,
    1,
    9,
    10,
    99_999,
    999_999_999,
    1e9,
    1_000_000_001,
    999_999_999_999_999,
    1e15,
    2 ** 53,
    1e21,
    1e300,
    -1,
    -1.5,
    0.1,
    0.3,
    1e-6,
    1.5e-6,
    1e-7,
    0.000_000_001,
    5e-324,
    0.1 + 0.2,
    1.000_000_001,
    12_345.678_901_234,
    999_999.999_999_999,
    1_000_000.000_000_001,
    28.79,
    4.35,
    1.797_693_134_862_315_7e308,
    -2.225_073_858_507_201_4e-308,
  ])('%d', (value) => {
    expect(written(value)).toBe(String(value));
  });

  it.each([
    ['any', fc.double({ noNaN: true, noDefaultInfinity: true })],
    ['whole', fc.maxSafeNat()],
    ['nanoseconds as seconds', fc.maxSafeNat().map((ns) => ns / 1e9)],
    ['a part of a day, in nanoseconds', fc.nat({ max: 2 ** 31 - 1 }).map((ns) => (ns * 40_000) / 1e9)],
    ['hundredths', fc.nat().map((hundredths) => hundredths / 100)],
    ['percents', fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => a / ((b + 1) / 100))],
  ])('%s', (_, numbers) => {
    fc.assert(
      fc.property(numbers, (value) => {
        expect(written(value)).toBe(String(value));
      }),
      { numRuns: 20_000 },
    );
  });
});
