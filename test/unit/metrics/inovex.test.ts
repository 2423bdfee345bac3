// Whoever comes from inovex's exporter finds every series of it, with the labels that it has there.
import { describe, expect, it } from 'vitest';
import { families } from '../../../src/metrics/families.js';
import { inovexSeries } from './inovex-series.js';

const ours: ReadonlyMap<string, { labels: readonly string[]; type: string }> = families;

describe.each(Object.entries(inovexSeries))('%s', (name, labels) => {
  it('is ours, with its labels; more of them only where they tell who it is', () => {
    const family = ours.get(name);
    if (name.endsWith('_info')) expect(family?.labels).toEqual(expect.arrayContaining([...labels]));
    else expect([...(family?.labels ?? ['missing'])].sort()).toEqual([...labels].sort());
    expect(family?.type).toBe(name.endsWith('_total') ? 'counter' : 'gauge');
  });
});
