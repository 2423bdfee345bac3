import { describe, expect, it } from 'vitest';
import { FigureList } from '../../../src/core/figures.js';
import { plain } from '../../support/plain-rows.js';

const list = new FigureList(['one', 'two', '__proto__']);
function reading(told: Record<string, number>) {
  const numbers = list.blank();
  for (const [name, value] of Object.entries(told)) numbers[list.placeOf(name) ?? -1] = value;
  return list.figures(numbers);
}

describe('figures of a fixed list', () => {
  it('are read by name; what was not told is undefined, and in no JSON', () => {
    const figures = reading({ two: 2 ** 40 });
    expect([figures.one, figures.two, figures.three]).toEqual([undefined, 2 ** 40, undefined]);
    expect(JSON.stringify(figures)).toBe(`{"two":${2 ** 40}}`);
    const names: string[] = [];
    for (const name in figures) names.push(name);
    expect(names).toEqual(expect.arrayContaining(['one', 'two']));
    expect(list.placeOf('three')).toBeUndefined();
  });

  it('cannot be written, and share nothing with the next reading', () => {
    const first = reading({ one: 1 });
    expect(() => Object.assign(first, { one: 7 })).toThrow(TypeError);
    expect([first.one, reading({}).one]).toEqual([1, undefined]);
  });

  it('of several readings are put together, the last one first', () => {
    const together = list.together([reading({ one: 1, two: 2 }), undefined, reading({ two: 0 })]);
    expect(plain(list.figures(together))).toEqual({ one: 1, two: 0 });
  });
});
