// Reads one file after another of a host, each to its parser, and knows what an error means for the poll: an absent file
// is an absent part, an unreadable one a problem, and a connection that broke the end of the poll.
import { HostError } from '../core/errors.js';
import type { HostFiles, PollContext } from './poller.js';
import type { Problem, Problems } from './problems.js';

const readTimeoutMs = 8_000;
const fileBytesMax = 2 * 1024 * 1024;

export class PartReader {
  readonly #files: HostFiles;
  readonly #problems: Problems;
  readonly #signal: AbortSignal;

  constructor(files: HostFiles, problems: Problems, { signal }: PollContext) {
    this.#files = files;
    this.#problems = problems;
    this.#signal = signal;
  }

  /** Undefined when the file is absent, or unreadable (a problem). A connection that broke fails the poll. */
  async parsed<T>(path: string, parse: (text: string, problem: Problem) => T): Promise<T | undefined> {
    try {
      const text = await this.#files.read(path, {
        bytesMax: fileBytesMax,
        timeoutMs: readTimeoutMs,
        signal: this.#signal,
      });
      return parse(text, this.#problems.of(path));
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      if (error.code === 'FILE_MISSING') return undefined;
      if (error.code !== 'FILE_ERROR') throw error;
      this.#problems.add(error.message);
      return undefined;
    }
  }
}
