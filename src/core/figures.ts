// Figures by name, where the names are known beforehand: what is shown of /proc/meminfo, the counters of TCP. Those of one reading
// lie in one array, and who asks is given a view of it: a record that is filled name by name becomes a table of several times
// that size, with a box for each large number, and a fleet makes several of them a host and poll. It refuses to let anybody write.
// Names are enumerable but not own properties: `for in` and JSON find them, a spread and Object.keys do not.

/** A name that was not told is undefined. */
export type Figures = Readonly<Partial<Record<string, number | undefined>>>;

type Viewed = { numbersOf: (figures: Figures) => readonly number[]; of: (numbers: number[]) => Figures };

export class FigureList {
  readonly #places: ReadonlyMap<string, number>;
  readonly #blank: readonly number[];
  readonly #viewed: Viewed;

  constructor(names: readonly string[]) {
    this.#places = new Map(names.map((name, place) => [name, place]));
    this.#blank = names.map(() => Number.NaN);
    this.#viewed = viewOf(names);
  }

  /** One number a name, NaN for what is not told. */
  blank(): number[] {
    return this.#blank.slice();
  }

  /** Where the number of that name is; undefined for a name that is not in the list. */
  placeOf(name: string): number | undefined {
    return this.#places.get(name);
  }

  /** A view of `numbers`, which `blank` or `together` made: what its maker still writes there shows in it. */
  figures(numbers: number[]): Figures {
    return this.#viewed.of(numbers);
  }

  /** The numbers of several readings of this list; of a name that more than one tells, the last. */
  together(readings: readonly (Figures | undefined)[]): number[] {
    const numbers = this.blank();
    for (const reading of readings) {
      if (!reading) continue;
      const told = this.#viewed.numbersOf(reading);
      for (let place = 0; place < told.length; place += 1) {
        const number = told[place] ?? Number.NaN;
        if (!Number.isNaN(number)) numbers[place] = number;
      }
    }
    return numbers;
  }
}

function viewOf(names: readonly string[]): Viewed {
  class View {
    readonly #numbers: readonly number[];

    constructor(numbers: readonly number[]) {
      this.#numbers = numbers;
    }

    /** With properties of its own. */
    toJSON(): Figures {
      const told = names.map((name, place) => [name, View.at(place).call(this)] as const);
      return Object.fromEntries(told.filter(([, number]) => number !== undefined));
    }

    static at(place: number): (this: View) => number | undefined {
      return function () {
        const number = this.#numbers[place];
        return Number.isNaN(number) ? undefined : number;
      };
    }

    static numbersOf(view: View): readonly number[] {
      return view.#numbers;
    }
  }
  for (const [place, name] of names.entries())
    Object.defineProperty(View.prototype, name, { get: View.at(place), enumerable: true });
  return {
    numbersOf: (figures) => View.numbersOf(figures as unknown as View),
    of: (numbers) => new View(numbers) as unknown as Figures,
  };
}
