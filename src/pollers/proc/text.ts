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

/** Beyond these digits a sum of digits would not be the nearest number any more. */
const exactDigits = 15;
const digitsMax = 20;
const [blank, tab, zero, nine] = [32, 9, 48, 57];

/** The unsigned integers between blanks from `from` on, at most `most`; undefined when one of them is something else. */
export function unsignedAll(line: string, from = 0, most = Number.POSITIVE_INFINITY): number[] | undefined {
  const numbers: number[] = [];
  const end = Math.min(line.length, from + fieldCharsMax);
  let at = from;
  while (numbers.length < most) {
    while (at < end && isBlank(line.charCodeAt(at))) at += 1;
    if (at === end) break;
    const start = at;
    let value = 0;
    for (; at < end; at += 1) {
      const code = line.charCodeAt(at);
      if (code < zero || code > nine) break;
      value = value * 10 + (code - zero);
    }
    const digits = at - start;
    if (digits === 0 || digits > digitsMax || (at < end && !isBlank(line.charCodeAt(at)))) return undefined;
    numbers.push(digits <= exactDigits ? value : Number(line.slice(start, at)));
  }
  return numbers;
}

function isBlank(code: number): boolean {
  return code === blank || code === tab;
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

/** The hexadecimal numbers between blanks, as `hex` reads them; undefined when one of them is something else. */
export function hexAll(line: string): number[] | undefined {
  const numbers: number[] = [];
  for (const text of fields(line)) {
    const value = /^[\da-f]{8}$/.test(text) ? Number.parseInt(text, 16) : hex(text);
    if (value === undefined) return undefined;
    numbers.push(value);
  }
  return numbers;
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
