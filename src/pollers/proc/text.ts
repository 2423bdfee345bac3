// What every parser of /proc needs: bounded lines and strict numbers. Parsers are pure, never throw, and report what they
// could not read instead of guessing.
import type { Problem } from '../problems.js';

/** At most `linesMax` non-empty lines; more are reported once and left out. */
export function* boundedLines(text: string, linesMax: number, problem: Problem): Generator<string> {
  let start = 0;
  let count = 0;
  while (start < text.length) {
    let end = text.indexOf('\n', start);
    if (end === -1) end = text.length;
    if (end > start) {
      if (count === linesMax) return problem(`more than ${linesMax} lines`);
      count += 1;
      yield text.slice(start, end);
    }
    start = end + 1;
  }
}

const fieldCharsMax = 4096;

/** Fields between blanks; of an overlong line only the beginning. */
export function fields(line: string): string[] {
  return line
    .slice(0, fieldCharsMax)
    .trim()
    .split(/[ \t]+/);
}

/** An unsigned decimal integer as the kernel prints it; undefined for anything else. */
export function unsigned(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text) ? Number(text) : undefined;
}

/** An unsigned decimal with an optional fraction. */
export function decimal(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}(\.\d{1,20})?$/.test(text) ? Number(text) : undefined;
}

/** All of them, or undefined when one is not an unsigned integer. */
export function unsignedAll(texts: readonly string[]): number[] | undefined {
  const numbers: number[] = [];
  for (const text of texts) {
    const value = unsigned(text);
    if (value === undefined) return undefined;
    numbers.push(value);
  }
  return numbers;
}

/** Exactly one line that holds one unsigned integer. */
export function parseUnsignedLine(text: string, problem: Problem): number | undefined {
  const value = unsigned(text.trim());
  if (value === undefined) problem('not a number');
  return value;
}

const lineCharsMax = 256;

/** The first line, without control characters; undefined when nothing is left. */
export function parseTextLine(text: string): string | undefined {
  const end = text.indexOf('\n');
  const line = (end === -1 ? text : text.slice(0, end)).slice(0, lineCharsMax);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
  return line.replaceAll(/[\u0000-\u001f\u007f]/g, '').trim() || undefined;
}

/** A record whose keys come from a host: without a prototype, so that no name is special. */
export function hostileRecord<V>(): Record<string, V> {
  return Object.create(null);
}
