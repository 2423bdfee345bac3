// How the statistics of a domain are kept and looked at: all numbers of a reply in one array, and a record of a group, such as
// `vm.blocks[0]`, as a view of some of them, made when somebody asks. 1,000 hosts have millions of figures, and objects with a
// property each would be four times as large and keep the garbage collector busy. It refuses to let anybody write: a view has
// getters only. They are enumerable but not own properties: `for in` and JSON find them, a spread and Object.keys do not.

/** Key = what follows the group (and index) in libvirt's field name. Booleans are 0 and 1. */
export type StatRecord = Record<string, number | string | undefined>;

/** Where among a domain's figures, or texts, the value of a field is. */
export type Slot = { kind: 'figures' | 'texts'; slot: number };

/** A record of a layout: its shape, and where its first figure and text are among the domain's. */
export type RecordView = { shape: Shape; figuresAt: number; textsAt: number };

type Shape = new (...of: ConstructorParameters<typeof View>) => View;

/** Shapes that recur: there are about as many as libvirt has groups. */
const shapesSharedMax = 1_024;

class View {
  readonly #figures: Float64Array;
  readonly #figuresAt: number;
  readonly #texts: readonly string[];
  readonly #textsAt: number;

  constructor(view: RecordView, figures: Float64Array, figuresAt: number, texts: readonly string[]) {
    this.#figures = figures;
    this.#figuresAt = figuresAt + view.figuresAt;
    this.#texts = texts;
    this.#textsAt = view.textsAt;
  }

  /** With properties of its own. */
  toJSON(): StatRecord {
    const record = this as unknown as StatRecord;
    const own: StatRecord = {};
    for (const key in record) own[key] = record[key];
    return own;
  }

  static figureAt(index: number): (this: View) => number | undefined {
    return function () {
      return this.#figures[this.#figuresAt + index];
    };
  }

  static textAt(index: number): (this: View) => string | undefined {
    return function () {
      return this.#texts[this.#textsAt + index];
    };
  }
}

const noFigures = new Float64Array(0);
/** Each with one of its records: see `keepOne`. */
const shapes = new Map<string, { shape: Shape; one: View }>();

/** `slots`: of the record's fields, by key. */
export function viewOf(slots: ReadonlyMap<string, Slot>): RecordView {
  const figuresAt = firstOf(slots, 'figures');
  const textsAt = firstOf(slots, 'texts');
  const fields = [...slots].map(([key, { kind, slot }]) => {
    return { key, kind, index: slot - (kind === 'figures' ? figuresAt : textsAt) };
  });
  const name = fields.map(({ key, kind, index }) => `${kind}${index} ${key}`).join('\n');
  const known = shapes.get(name);
  if (known) return { shape: known.shape, figuresAt, textsAt };
  const shape = shapeOf(fields);
  const view = { shape, figuresAt, textsAt };
  if (shapes.size >= shapesSharedMax) shapes.clear();
  shapes.set(name, { shape, one: new shape(view, noFigures, 0, []) });
  return view;
}

/** `figuresAt`: where in `figures` those of the domain begin. `texts`: the domain's. */
export function recordOf(
  view: RecordView,
  figures: Float64Array,
  figuresAt: number,
  texts: readonly string[],
): StatRecord {
  return new view.shape(view, figures, figuresAt, texts) as unknown as StatRecord;
}

function firstOf(slots: ReadonlyMap<string, Slot>, wanted: Slot['kind']): number {
  let first = Number.POSITIVE_INFINITY;
  for (const { kind, slot } of slots.values()) if (kind === wanted) first = Math.min(first, slot);
  return Number.isFinite(first) ? first : 0;
}

function shapeOf(fields: readonly ({ key: string; index: number } & Pick<Slot, 'kind'>)[]): Shape {
  const shape = class extends View {};
  Object.defineProperty(shape.prototype, 'constructor', { value: Object, configurable: true });
  for (const { key, kind, index } of fields) {
    if (key === '__proto__') continue;
    const get = kind === 'figures' ? View.figureAt(index) : View.textAt(index);
    Object.defineProperty(shape.prototype, key, { get, enumerable: true, configurable: true });
  }
  return shape;
}
