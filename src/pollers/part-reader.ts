// Reads the files of a host for one collector, each to its parser, and knows what an error means for the poll: an absent file
// is an absent part, an unreadable one a problem, and a connection that broke the end of the poll. A file that several
// collectors want is read once a poll.
import { HostError } from '../core/errors.js';
import type { HostFiles } from './poller.js';
import type { Problem, Problems } from './problems.js';

const readTimeoutMs = 8_000;
const fileBytesMax = 2 * 1024 * 1024;
/** Attributes of /sys are a page at the most. */
const attributeBytesMax = 4096;
/** Entries of one directory that are looked at. */
const entriesMax = 4096;

type Parse<T> = (text: string, problem: Problem) => T;

type Parsed<T> = { value: T | undefined; troubled: boolean };

/** What all collectors of one poll share. */
export type PollReads = {
  files: HostFiles;
  problems: Problems;
  signal: AbortSignal;
  /** By path: a path has one parser. */
  read: Map<string, Promise<Parsed<unknown>>>;
};

export class PartReader {
  readonly #poll: PollReads;
  #troubled = false;

  constructor(poll: PollReads) {
    this.#poll = poll;
  }

  /** Whether something that this collector asked for could not be read or understood. */
  get troubled(): boolean {
    return this.#troubled;
  }

  /** Undefined when the file is absent, or unreadable (a problem). A connection that broke fails the poll. */
  async parsed<T>(path: string, parse: Parse<T>): Promise<T | undefined> {
    const before = this.#poll.read.get(path) as Promise<Parsed<T>> | undefined;
    const reading = before ?? this.#parsed(path, parse);
    this.#poll.read.set(path, reading);
    const { value, troubled } = await reading;
    if (troubled) this.#troubled = true;
    return value;
  }

  async #parsed<T>(path: string, parse: Parse<T>): Promise<Parsed<T>> {
    const { files, signal, problems } = this.#poll;
    let troubled = false;
    const complain = (problem: string) => {
      troubled = true;
      problems.add(problem);
    };
    const value = await this.#orAbsent(async () => {
      const text = await files.read(path, { bytesMax: fileBytesMax, timeoutMs: readTimeoutMs, signal });
      return parse(text, (what) => complain(`${path}: ${what}`));
    }, complain);
    return { value, troubled };
  }

  /**
   * One line of /sys, without its newline; undefined when it cannot be had, whatever the reason: drivers answer with an error
   * for what their device does not have. `often`: its file is kept open for the next poll.
   */
  attribute(path: string, { often = false } = {}): Promise<string | undefined> {
    const { files, signal } = this.#poll;
    return this.#orAbsent(async () => {
      const options = { bytesMax: attributeBytesMax, timeoutMs: readTimeoutMs, signal, once: !often };
      return (await files.read(path, options)).replace(/\n$/, '');
    });
  }

  /** Those of the names in a directory that match, in their order; undefined when there is no such directory. */
  async names(path: string, pattern: RegExp): Promise<string[] | undefined> {
    const { files, signal } = this.#poll;
    const names = await this.#orAbsent(() => files.list(path, { timeoutMs: readTimeoutMs, signal }));
    return names
      ?.filter((name) => pattern.test(name))
      .slice(0, entriesMax)
      .sort(byNumber.compare);
  }

  /** Where a symbolic link points, as written. */
  link(path: string): Promise<string | undefined> {
    const { files, signal } = this.#poll;
    return this.#orAbsent(() => files.readlink(path, { timeoutMs: readTimeoutMs, signal }));
  }

  async #orAbsent<T>(read: () => Promise<T>, complain?: (message: string) => void): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      if (error.code === 'FILE_ERROR') complain?.(error.message);
      else if (error.code !== 'FILE_MISSING') throw error;
      return undefined;
    }
  }
}

/** cpu2 before cpu10. */
const byNumber = new Intl.Collator('en', { numeric: true });
