// Several runs of one size as one: of each figure the median. What only some runs have (a code of failures, a part of a profile)
// counts as 0 in the others; what is no number (a file, a list) is the first run's. It refuses to judge.
import { median } from '../peers/report.js';
import type { SizeFigures } from './cases.js';

/** `median` is of each figure alone: a ratio of two of its figures need not be any run's. */
export type Runs = { all: readonly SizeFigures[]; median: SizeFigures };

/** `all`: one at least, all of the same size and cases. */
export function ofRuns(all: readonly SizeFigures[]): Runs {
  return { all, median: folded(all) as SizeFigures };
}

function folded(values: readonly unknown[]): unknown {
  const first = values.find((value) => value !== undefined);
  if (typeof first === 'number') return median(values.map((value) => (value as number | undefined) ?? 0));
  if (first instanceof Map) {
    const maps = values.map((value) => Object.fromEntries((value as Map<string, number> | undefined) ?? []));
    return new Map(Object.entries(folded(maps) as Record<string, number>));
  }
  if (typeof first !== 'object' || first === null || Array.isArray(first)) return first;
  const objects = values.map((value) => (value ?? {}) as Record<string, unknown>);
  const keys = new Set(objects.flatMap((object) => Object.keys(object)));
  return Object.fromEntries([...keys].map((key) => [key, folded(objects.map((object) => object[key]))]));
}
