// Reads the files of a host for one collector, each to its parser, and knows what an error means for the poll: an absent file
// is an absent part, an unreadable one a problem, and a connection that broke the end of the poll. A file that several
// collectors want is read once a poll; attributes that the last poll read are asked for at once, before anybody wants them.
import { HostError } from '../core/errors.js';
import type { ReadOptions } from '../ssh/file-reader.js';
import type { HostFiles } from './poller.js';
import type { Problem, Problems } from './problems.js';

const readTimeoutMs = 8_000;
const fileBytesMax = 2 * 1024 * 1024;
/** Attributes of /sys are a page at the most. */
const attributeBytesMax = 4096;
/** Entries of one directory that are looked at. */
const entriesMax = 4096;

type Parse<T> = (text: string, problem: Problem) => T;

/** A file of this poll; `troubled` is known when it has been read. */
type Shared = { reading: Promise<unknown>; troubled: boolean };

/** An attribute of this poll; `isWanted` when a collector has asked for it. */
type SharedAttribute = { reading: Promise<string | undefined>; isWanted: boolean };

/** What all collectors of one poll share. */
export class PollReads {
  readonly files: HostFiles;
  readonly problems: Problems;
  /** By path: a path has one parser. */
  readonly read = new Map<string, Shared>();
  readonly file: ReadOptions;
  /** Attributes that are read in each poll, and others. */
  readonly often: ReadOptions;
  readonly once: ReadOptions;
  /** Of those that are read in each poll, by path. */
  readonly #attributes = new Map<string, SharedAttribute>();

  constructor(files: HostFiles, problems: Problems, signal: AbortSignal) {
    this.files = files;
    this.problems = problems;
    this.file = { bytesMax: fileBytesMax, timeoutMs: readTimeoutMs, signal };
    this.often = { bytesMax: attributeBytesMax, timeoutMs: readTimeoutMs, signal };
    this.once = { ...this.often, once: true };
  }

  /** Asks for attributes that will be wanted, so that they come with what is asked for first. */
  ahead(paths: Iterable<string>): void {
    // Who wants one hears of its error.
    for (const path of paths) this.#attribute(path).reading.catch(() => undefined);
  }

  attribute(path: string): Promise<string | undefined> {
    const shared = this.#attribute(path);
    shared.isWanted = true;
    return shared.reading;
  }

  /** Attributes that were wanted in this poll, and will be in the next. */
  *wanted(): Generator<string, void, void> {
    for (const [path, { isWanted }] of this.#attributes) if (isWanted) yield path;
  }

  #attribute(path: string): SharedAttribute {
    const known = this.#attributes.get(path);
    if (known) return known;
    const reading = this.files.parsed(path, this.often, withoutNewline).catch(absent);
    const shared = { reading, isWanted: false };
    this.#attributes.set(path, shared);
    return shared;
  }
}

export class PartReader {
  readonly #poll: PollReads;
  #shared: Shared[] | undefined;

  constructor(poll: PollReads) {
    this.#poll = poll;
  }

  /** Whether something that this collector asked for could not be read or understood. */
  get troubled(): boolean {
    return this.#shared?.some(({ troubled }) => troubled) ?? false;
  }

  /** Undefined when the file is absent, or unreadable (a problem). A connection that broke fails the poll. */
  parsed<T>(path: string, parse: Parse<T>): Promise<T | undefined> {
    let shared = this.#poll.read.get(path);
    if (!shared) {
      shared = this.#parsed(path, parse);
      this.#poll.read.set(path, shared);
    }
    if (this.#shared) this.#shared.push(shared);
    else this.#shared = [shared];
    return shared.reading as Promise<T | undefined>;
  }

  #parsed<T>(path: string, parse: Parse<T>): Shared {
    const complain = (problem: string) => {
      shared.troubled = true;
      this.#poll.problems.add(problem);
    };
    const reading = this.#poll.files
      .parsed(path, this.#poll.file, (text) => parse(text, (what) => complain(`${path}: ${what}`)))
      .catch((error: unknown) => absent(error, complain));
    const shared: Shared = { reading, troubled: false };
    return shared;
  }

  /**
   * One line of /sys, without its newline; undefined when it cannot be had, whatever the reason: drivers answer with an error
   * for what their device does not have. `often`: its file is kept open for the next poll.
   */
  attribute(path: string, { often = false } = {}): Promise<string | undefined> {
    if (often) return this.#poll.attribute(path);
    return this.#poll.files.parsed(path, this.#poll.once, withoutNewline).catch(absent);
  }

  /** Those of the names in a directory that match, in their order; undefined when there is no such directory. */
  async names(path: string, pattern: RegExp): Promise<string[] | undefined> {
    const names = await this.#poll.files.list(path, this.#poll.file).catch(absent);
    return names
      ?.filter((name) => pattern.test(name))
      .slice(0, entriesMax)
      .sort(byNumber.compare);
  }

  /** Where a symbolic link points, as written. */
  link(path: string): Promise<string | undefined> {
    return this.#poll.files.readlink(path, this.#poll.file).catch(absent);
  }
}

function withoutNewline(text: string): string {
  return text.endsWith('\n') ? text.slice(0, -1) : text;
}

/** Undefined for what an absent file throws; an unreadable one is a problem as well. */
function absent(error: unknown, complain?: (message: string) => void): undefined {
  if (!(error instanceof HostError)) throw error;
  if (error.code === 'FILE_ERROR') complain?.(error.message);
  else if (error.code !== 'FILE_MISSING') throw error;
  return undefined;
}

/** cpu2 before cpu10. */
const byNumber = new Intl.Collator('en', { numeric: true });
