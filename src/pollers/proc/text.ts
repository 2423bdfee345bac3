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

/** A signed decimal integer. */
export function integer(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,20}$/.test(text) ? Number(text) : undefined;
}

/** Hexadecimal digits, with or without 0x. */
export function hex(text: string | undefined): number | undefined {
  const digits = /^(?:0x)?([\da-f]{1,16})$/i.exec(text ?? '')?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

/** All of them, or undefined when one is not hexadecimal. */
export function hexAll(texts: readonly string[]): number[] | undefined {
  const numbers = texts.map(hex);
  return numbers.every((value) => value !== undefined) ? numbers : undefined;
}

const listedMax = 8192;

/** A list of CPUs as the kernel writes it: `0-3,8`. What is not one is left out. */
export function parseCpuList(text: string): number[] {
  const cpus = new Set<number>();
  for (const piece of text.slice(0, fieldCharsMax).trim().split(',')) {
    const [, first, last = first] = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(piece) ?? [];
    if (first === undefined) continue;
    for (let cpu = Number(first); cpu <= Number(last) && cpus.size < listedMax; cpu++) cpus.add(cpu);
  }
  return [...cpus];
}
