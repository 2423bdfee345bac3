// A host's files in memory. A value that is an error is thrown; a filesystem without an answer times out.
import { HostError } from '../../../src/core/errors.js';
import type { HostFiles } from '../../../src/pollers/poller.js';
import {
  type FilesystemStats,
  isMissing,
  isOfFile,
  type ReadOptions,
  type Taker,
} from '../../../src/ssh/file-reader.js';

export class FakeFiles implements HostFiles {
  readonly texts: Map<string, string | HostError>;
  readonly links = new Map<string, string>();
  readonly filesystems = new Map<string, FilesystemStats | HostError>();
  readonly statted: string[] = [];
  readonly asked: string[] = [];

  constructor(texts: Record<string, string | HostError>) {
    this.texts = new Map(Object.entries(texts));
  }

  async read(path: string, _options?: ReadOptions): Promise<string> {
    this.asked.push(path);
    return answer(this.texts.get(path) ?? missing(path));
  }

  async parsed<T>(path: string, options: ReadOptions, parse: (text: string) => T): Promise<T | undefined> {
    try {
      return parse(await this.read(path, options));
    } catch (error) {
      if (error instanceof HostError && error.code === 'FILE_MISSING') return undefined;
      throw error;
    }
  }

  async readAll(paths: readonly string[], options: ReadOptions, taker: Taker): Promise<void> {
    for (const [place, path] of paths.entries()) {
      try {
        taker.take(place, await this.read(path, options));
      } catch (error) {
        if (!isOfFile(error)) throw error;
        taker.lack(place, isMissing(error) ? undefined : error);
      }
    }
  }

  async list(path: string): Promise<string[]> {
    const names = [...this.texts.keys()]
      .filter((file) => file.startsWith(`${path}/`))
      .map((file) => file.slice(path.length + 1).split('/')[0] ?? '');
    if (names.length === 0) throw missing(path);
    return [...new Set(names)];
  }

  async readlink(path: string): Promise<string> {
    return answer(this.links.get(path) ?? missing(path));
  }

  async statvfs(path: string, { timeoutMs }: ReadOptions = {}): Promise<FilesystemStats> {
    this.statted.push(path);
    const late = new HostError('TIMEOUT', { message: `${path}: no answer within ${timeoutMs} ms` });
    return answer(this.filesystems.get(path) ?? late);
  }
}

function missing(path: string): HostError {
  return new HostError('FILE_MISSING', { message: `${path} does not exist` });
}

function answer<T>(value: T | HostError): T {
  if (value instanceof HostError) throw value;
  return value;
}
