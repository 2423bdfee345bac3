// Prometheus' text format 0.0.4: label escaping, numbers, lines. Label values come from hosts: they are bounded, and what
// the format cannot carry is replaced. It refuses to write a figure that is not there: no NaN, no invented 0.
import type { FamilyName } from './families.js';
import type { Family } from './family.js';

const labelCharsMax = 1024;

/** A label value as it stands between the quotes. */
export function escapeLabel(value: string): string {
  // Almost all names need nothing: one test instead of four passes.
  if (value.length <= labelCharsMax && /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(value)) return value;
  const bounded = value.length > labelCharsMax ? `${value.slice(0, labelCharsMax - 1)}…` : value;
  return (
    bounded
      .replaceAll('\\', '\\\\')
      .replaceAll('"', '\\"')
      .replaceAll('\n', '\\n')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
      .replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f\p{Surrogate}]/gu, '\ufffd')
  );
}

/** `name="value"`, escaped. */
export function label(name: string, value: string): string {
  return `${name}="${escapeLabel(value)}"`;
}

/** `# HELP` and `# TYPE`, each with its newline. */
export function familyHead(name: string, { help, type }: Family): string {
  return `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`;
}

/** Collects lines by family: of all families, or of those that a pass over the fleet wants. */
export class Lines {
  readonly #texts = new Map<FamilyName, string>();

  constructor(private readonly wanted?: ReadonlySet<FamilyName>) {}

  /** Adds nothing when the value is not a finite number. `labels` are escaped already, `instance` the first. */
  add(family: FamilyName, labels: string, value: unknown): void {
    if (typeof value !== 'number' || !Number.isFinite(value)) return;
    if (this.wanted && !this.wanted.has(family)) return;
    const text = this.#texts.get(family);
    const line = `${family}{${labels}} ${value}\n`;
    this.#texts.set(family, text === undefined ? line : text + line);
  }

  /** Complete lines of each family that has any. */
  texts(): ReadonlyMap<FamilyName, string> {
    return this.#texts;
  }
}
