import { describe, expect, it } from 'vitest';
import { fitted, moveRow, Rows } from '../../../src/core/rows.js';

describe('rows', () => {
  it('stay close and keep their keys when others go, whichever they are', () => {
    for (const gone of [['a'], ['d'], ['a', 'd'], ['b', 'c'], ['a', 'b', 'c', 'd'], []]) {
      const rows = new Rows();
      let numbers = new Float64Array(0);
      for (const [index, key] of ['a', 'b', 'c', 'd'].entries()) {
        const row = rows.add(key);
        numbers = fitted(numbers, 2, rows.count, Number.NaN);
        numbers.set([index, index + 10], row * 2);
      }
      const kept = new Set(['a', 'b', 'c', 'd'].filter((key) => !gone.includes(key)));
      rows.retain(kept, (from, to) => moveRow(numbers, 2, from, to));
      numbers = fitted(numbers, 2, rows.count, Number.NaN);
      expect(rows.count).toBe(kept.size);
      for (const [index, key] of ['a', 'b', 'c', 'd'].entries()) {
        const row = rows.of(key);
        const found = row === undefined ? undefined : [...numbers.subarray(row * 2, row * 2 + 2)];
        expect(found).toEqual(kept.has(key) ? [index, index + 10] : undefined);
      }
    }
  });

  it('are found whether they are few or many, in whatever order they are asked for', () => {
    for (const most of [40, 255, 256, 257, 600]) {
      const rows = new Rows();
      const rowOf = new Map<string, number>();
      for (let round = 0; round < 12; round++) {
        const keys = Array.from({ length: most }, (_, index) => `${(index * 7 + round * 13) % (most + 20)}`);
        for (const key of keys) if (rows.of(key) === undefined) rowOf.set(key, rows.add(key));
        for (const key of [...keys, ...keys.toReversed(), 'absent'])
          expect(rows.of(key)).toBe(rowOf.get(key));
        const kept = new Set(keys.filter((_, index) => index % (round + 2) > 0));
        rows.retain(kept, (from, to) => {
          for (const [key, row] of rowOf) if (row === from && kept.has(key)) rowOf.set(key, to);
        });
        for (const key of rowOf.keys()) if (!kept.has(key)) rowOf.delete(key);
        expect(rows.count).toBe(kept.size);
        for (const key of keys) expect(rows.of(key)).toBe(rowOf.get(key));
      }
    }
  });

  it('take no more room than twice what they need, and are not copied at each new one', () => {
    const first = fitted(new Uint16Array(0), 3, 1_000, 7);
    expect(first).toHaveLength(3_000);
    expect(first[2_999]).toBe(7);
    const many = fitted(first, 3, 1_001, 7);
    expect(many.length).toBeLessThanOrEqual(3 * 1_127);
    expect(fitted(many, 3, 1_002, 7) === many).toBe(true);
    expect(fitted(many, 3, 400, 7).length).toBeLessThanOrEqual(3 * 450);
    expect(fitted(many, 3, 0, 7)).toHaveLength(0);
  });
});
