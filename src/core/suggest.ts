// "Did you mean": the nearest of the words that are allowed. It refuses to guess when nothing is near.

/** Words longer than this are not compared. */
const wordCharsMax = 64;

/** The candidate with the smallest edit distance to `word`, if it is near enough to be a slip of the hand. */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > wordCharsMax) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = distanceBetween(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `Did you mean port?`, or undefined when nothing is near. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const near = suggest(word, candidates);
  return near === undefined ? undefined : `Did you mean ${near}?`;
}

/** A beginning of three letters or more (`warn`, `maint`) is as near as one slip. */
function distanceBetween(word: string, candidate: string): number {
  if (word.length >= 3 && word !== candidate && candidate.startsWith(word)) return 1;
  return editDistance(word, candidate);
}

/** Insertions, deletions, substitutions and swaps of neighbours that turn `from` into `to`. */
function editDistance(from: string, to: string): number {
  let before: number[] = [];
  let above = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const cost = from[row - 1] === to[column - 1] ? 0 : 1;
      let least = Math.min(at(above, column) + 1, at(current, column - 1) + 1, at(above, column - 1) + cost);
      const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (row > 1 && column > 1 && swapped) least = Math.min(least, at(before, column - 2) + 1);
      current.push(least);
    }
    before = above;
    above = current;
  }
  return at(above, to.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY;
}
