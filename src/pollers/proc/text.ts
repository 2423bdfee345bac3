// What every parser of /proc needs: bounded lines and strict numbers. Parsers are pure, never throw, and report what they
// could not read instead of guessing.
import { keepOne } from '../../core/keep-one.js';
import type { Problem } from '../problems.js';

/** Whether the line of `text` that begins at `start` is wanted. */
type IsWanted = (text: string, start: number) => boolean;
const anyLine: IsWanted = () => true;

/** At most `linesMax` non-empty lines; more are reported once and left out. A line that is not wanted is counted, and not made. */
export function boundedLines(
  text: string,
  linesMax: number,
  problem: Problem,
  isWanted = anyLine,
): Iterable<string> {
  return new Lines(text, linesMax, problem, isWanted);
}

/** Its own iterator and each of its results: a poll goes through a thousand lines, and a generator makes an object for each. */
class Lines {
  done = false;
  value = '';
  readonly #text: string;
  readonly #problem: Problem;
  readonly #linesMax: number;
  readonly #isWanted: IsWanted;
  #left: number;
  #start = 0;

  constructor(text: string, linesMax: number, problem: Problem, isWanted: IsWanted) {
    this.#text = text;
    this.#problem = problem;
    this.#linesMax = linesMax;
    this.#isWanted = isWanted;
    this.#left = linesMax;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): this {
    const text = this.#text;
    let start = this.#start;
    for (;;) {
      while (start < text.length && text.charCodeAt(start) === newline) start += 1;
      if (start >= text.length) return this.#finish();
      if (this.#left === 0) {
        this.#problem(`more than ${this.#linesMax} lines`);
        return this.#finish();
      }
      this.#left -= 1;
      const found = text.indexOf('\n', start);
      const end = found === -1 ? text.length : found;
      if (this.#isWanted(text, start)) {
        this.#start = end + 1;
        this.value = text.slice(start, end);
        return this;
      }
      start = end + 1;
    }
  }

  #finish(): this {
    this.#start = this.#text.length;
    this.done = true;
    return this;
  }
}

keepOne(new Lines('', 1, () => {}, anyLine));

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
const [newline, blank, tab, zero, nine] = [10, 32, 9, 48, 57];

/**
 * The unsigned integers between blanks, one by one. Taken so, the small ones stay small in memory: of a list that holds a large
 * one, each would come as a number in a box of its own, and a fleet keeps millions of them.
 */
export class Unsigneds {
  readonly #line: string;
  readonly #end: number;
  #at: number;
  #isSound = true;

  constructor(line: string, from = 0) {
    this.#line = line;
    this.#at = from;
    this.#end = Math.min(line.length, from + fieldCharsMax);
  }

  /** Whether another field follows. */
  get hasNext(): boolean {
    while (this.#at < this.#end && isBlank(this.#line.charCodeAt(this.#at))) this.#at += 1;
    return this.#at < this.#end;
  }

  /** Whether each that was asked for was there and a number. */
  get isSound(): boolean {
    return this.#isSound;
  }

  /** The same, and there were no more. */
  get wereAll(): boolean {
    return this.#isSound && !this.hasNext;
  }

  /** The next one; 0 when there is none, or no such number: `isSound` is then false. */
  next(): number {
    const line = this.#line;
    const end = this.#end;
    let at = this.#at;
    while (at < end && isBlank(line.charCodeAt(at))) at += 1;
    const start = at;
    let value = 0;
    for (; at < end; at += 1) {
      const code = line.charCodeAt(at);
      if (code < zero || code > nine) break;
      value = value * 10 + (code - zero);
    }
    this.#at = at;
    const digits = at - start;
    const ends = at === end || isBlank(line.charCodeAt(at));
    if (digits === 0 || digits > digitsMax || !ends) return this.#fail();
    return digits <= exactDigits ? value : Number(line.slice(start, at));
  }

  #fail(): 0 {
    this.#isSound = false;
    return 0;
  }
}

keepOne(new Unsigneds(''));

/** The unsigned integers between blanks from `from` on, at most `most`; undefined when one of them is something else. */
export function unsignedAll(line: string, from = 0, most = Number.POSITIVE_INFINITY): number[] | undefined {
  const reader = new Unsigneds(line, from);
  const numbers: number[] = [];
  while (numbers.length < most && reader.hasNext) numbers.push(reader.next());
  return reader.isSound ? numbers : undefined;
}

export function isBlank(code: number): boolean {
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

/** Of one hexadecimal number. */
const hexDigitsMax = 16;
const exactHexDigits = 13;
const [x, a, f, lower] = [120, 97, 102, 32];

/**
 * Writes the hexadecimal numbers between blanks, with or without 0x, to the beginning of `into`. How many they are; 0 when one of them is
 * something else.
 */
export function hexAll(line: string, into: number[]): number {
  let count = 0;
  const end = Math.min(line.length, fieldCharsMax);
  let at = 0;
  for (;;) {
    while (at < end && isBlank(line.charCodeAt(at))) at += 1;
    if (at === end) return count;
    if (line.charCodeAt(at) === zero && (line.charCodeAt(at + 1) | lower) === x) at += 2;
    const start = at;
    let value = 0;
    for (; at < end && !isBlank(line.charCodeAt(at)); at += 1) {
      const digit = hexDigit(line.charCodeAt(at));
      if (digit === undefined) return 0;
      value = value * 16 + digit;
    }
    const digits = at - start;
    if (digits === 0 || digits > hexDigitsMax) return 0;
    into[count++] = digits <= exactHexDigits ? value : Number.parseInt(line.slice(start, at), 16);
  }
}

function hexDigit(code: number): number | undefined {
  if (code >= zero && code <= nine) return code - zero;
  const letter = code | lower;
  return letter >= a && letter <= f ? letter - a + 10 : undefined;
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
