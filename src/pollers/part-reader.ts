// Reads the files of a host for one collector, each to its parser, and knows what an error means for the poll: an absent file
// is an absent part, an unreadable one a problem, and a connection that broke the end of the poll. A file that several
// collectors want is read once a poll; files that the last poll wanted are read before the collectors run, so that nothing of them
// waits for the host one by one.
import type { HostError } from '../core/errors.js';
import { isMissing, isOfFile, type ReadOptions, type Taker } from '../ssh/file-reader.js';
import { Often, type Parse } from './often.js';
import type { HostFiles } from './poller.js';
import type { Problems } from './problems.js';
import type { OftenWanted } from './rare.js';

const readTimeoutMs = 8_000;
const fileBytesMax = 2 * 1024 * 1024;
/** Attributes of /sys are a page at the most. */
const attributeBytesMax = 4096;
/** Entries of one directory that are looked at. */
const entriesMax = 4096;

/** Undefined: absent, or unreadable. What the last poll wanted, too, is there without a wait. */
export type Read<T> = Promise<T | undefined> | T | undefined;

/** Something is wrong with this file. */
type Complain = (path: string, problem: string) => void;

/** Files of one kind, in one poll. */
class FilesOfKind implements Taker {
  readonly #files: HostFiles;
  readonly #options: ReadOptions;
  readonly #complain: Complain;
  #often = Often.nothing;
  /** By place in that list. */
  #values: unknown[] = [];
  #wanted: boolean[] = [];
  /** Those that are not in it, by path. */
  readonly #more = new Map<string, { parse: Parse<unknown>; reading: Promise<unknown> }>();

  constructor(files: HostFiles, options: ReadOptions, complain: Complain) {
    this.#files = files;
    this.#options = options;
    this.#complain = complain;
  }

  /** Reads what will be wanted. Rejects when a connection broke. */
  async ahead(often: Often): Promise<void> {
    const { length } = often.paths;
    this.#often = often;
    this.#values = new Array(length);
    await this.#files.readAll(often.paths, this.#options, this);
    this.#wanted = new Array(length).fill(false);
  }

  take(place: number, text: string): void {
    const { paths, parses } = this.#often;
    this.#values[place] = this.#parsed(paths[place] as string, parses[place] as Parse<unknown>, text);
  }

  lack(place: number, error?: HostError): void {
    if (error) this.#complain(this.#often.paths[place] as string, error.message);
  }

  /** A file of each poll. */
  get<T>(path: string, parse: Parse<T>): Read<T> {
    const place = this.#often.placeOf(path);
    if (place !== undefined) {
      this.#wanted[place] = true;
      return this.#values[place] as T | undefined;
    }
    const known = this.#more.get(path);
    if (known) return known.reading as Promise<T | undefined>;
    const reading = this.#read(path, this.#options, parse);
    this.#more.set(path, { parse, reading });
    return reading;
  }

  /** A file that is seldom read. */
  once<T>(path: string, parse: Parse<T>): Promise<T | undefined> {
    return this.#read(path, { ...this.#options, once: true }, parse);
  }

  /** For the next poll: the files of each poll that were wanted in this one. */
  wanted(): Often {
    if (this.#more.size === 0 && !this.#wanted.includes(false)) return this.#often;
    const { paths, parses } = this.#often;
    const wanted = new Map<string, Parse<unknown>>();
    for (const [place, path] of paths.entries())
      if (this.#wanted[place]) wanted.set(path, parses[place] as Parse<unknown>);
    for (const [path, { parse }] of this.#more) wanted.set(path, parse);
    return Often.of(wanted);
  }

  async #read<T>(path: string, options: ReadOptions, parse: Parse<T>): Promise<T | undefined> {
    try {
      return await this.#files.parsed(path, options, (text) => this.#parsed(path, parse, text));
    } catch (error) {
      if (!isOfFile(error)) throw error;
      if (!isMissing(error)) this.#complain(path, error.message);
      return undefined;
    }
  }

  #parsed<T>(path: string, parse: Parse<T>, text: string): T {
    return parse(text, (what) => this.#complain(path, `${path}: ${what}`));
  }
}

/** What all collectors of one poll share. */
export class PollReads {
  readonly files: HostFiles;
  readonly problems: Problems;
  /** Of directories and links. */
  readonly options: ReadOptions;
  readonly whole: FilesOfKind;
  /** What is wrong with one of these is nothing to tell: drivers answer with an error for what their device does not have. */
  readonly attributes: FilesOfKind;
  /** Paths of the others that had something wrong. */
  readonly troubled = new Set<string>();

  constructor(files: HostFiles, problems: Problems, signal: AbortSignal) {
    this.files = files;
    this.problems = problems;
    this.options = { timeoutMs: readTimeoutMs, signal };
    this.whole = new FilesOfKind(files, { ...this.options, bytesMax: fileBytesMax }, (path, problem) => {
      this.troubled.add(path);
      problems.add(problem);
    });
    this.attributes = new FilesOfKind(files, { ...this.options, bytesMax: attributeBytesMax }, () => {});
  }

  /** Reads what will be wanted, so that it waits for the host once. */
  async ahead({ whole, attributes }: OftenWanted): Promise<void> {
    await Promise.all([this.whole.ahead(whole), this.attributes.ahead(attributes)]);
  }

  wanted(): OftenWanted {
    return { whole: this.whole.wanted(), attributes: this.attributes.wanted() };
  }
}

export class PartReader {
  readonly #poll: PollReads;
  #asked: string[] | undefined;

  constructor(poll: PollReads) {
    this.#poll = poll;
  }

  /** Whether something that this collector asked for could not be read or understood. */
  get troubled(): boolean {
    const { troubled } = this.#poll;
    return troubled.size > 0 && this.#asked?.some((path) => troubled.has(path)) === true;
  }

  /**
   * Undefined when the file is absent, or unreadable (a problem). A connection that broke fails the poll. `once`: no file of each
   * poll.
   */
  parsed<T>(path: string, parse: Parse<T>, { once = false } = {}): Read<T> {
    if (this.#asked) this.#asked.push(path);
    else this.#asked = [path];
    return once ? this.#poll.whole.once(path, parse) : this.#poll.whole.get(path, parse);
  }

  /** One line of /sys, without its newline; undefined when it cannot be had, whatever the reason. `often`: in each poll. */
  attribute(path: string, { often = false } = {}): Read<string> {
    const { attributes } = this.#poll;
    return often ? attributes.get(path, withoutNewline) : attributes.once(path, withoutNewline);
  }

  /** Those of the names in a directory that match, in their order; undefined when there is no such directory. */
  async names(path: string, pattern: RegExp): Promise<string[] | undefined> {
    const names = await this.#poll.files.list(path, this.#poll.options).catch(absent);
    return names
      ?.filter((name) => pattern.test(name))
      .slice(0, entriesMax)
      .sort(byNumber.compare);
  }

  /** Where a symbolic link points, as written. */
  link(path: string): Promise<string | undefined> {
    return this.#poll.files.readlink(path, this.#poll.options).catch(absent);
  }
}

function withoutNewline(text: string): string {
  return text.endsWith('\n') ? text.slice(0, -1) : text;
}

function absent(error: unknown): undefined {
  if (!isOfFile(error)) throw error;
}

/** cpu2 before cpu10. */
const byNumber = new Intl.Collator('en', { numeric: true });
