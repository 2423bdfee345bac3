// The files that every poll of a host reads, each with its parser. They are asked for together, before anybody wants one of them.
// Hosts that are alike have one list between them. It refuses to change: a poll that wanted other files makes another list.
import type { Problem } from './problems.js';

/** Undefined where it makes nothing of the text. */
export type Parse<T> = (text: string, problem: Problem) => T;

/** By what they list. */
const lists = new Map<string, Often>();
const listsMax = 256;

export class Often {
  static readonly nothing = new Often(new Map());
  readonly paths: readonly string[];
  readonly parses: readonly Parse<unknown>[];
  readonly #places: ReadonlyMap<string, number>;

  private constructor(parses: ReadonlyMap<string, Parse<unknown>>) {
    this.paths = [...parses.keys()];
    this.parses = [...parses.values()];
    this.#places = new Map(this.paths.map((path, place) => [path, place]));
  }

  /** By path; a path has the same parser, whoever wants it. */
  static of(parses: ReadonlyMap<string, Parse<unknown>>): Often {
    const paths = [...parses.keys()].sort();
    const key = paths.join('\n');
    const known = lists.get(key);
    if (known) return known;
    if (lists.size >= listsMax) lists.clear();
    const list = new Often(new Map(paths.map((path) => [path, parses.get(path) as Parse<unknown>])));
    lists.set(key, list);
    return list;
  }

  placeOf(path: string): number | undefined {
    return this.#places.get(path);
  }
}
