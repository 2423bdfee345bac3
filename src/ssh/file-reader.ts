// What a poller sees of a host's files, wherever they are. Read-only by construction: there is no way to write in it.
import { HostError, stackless } from '../core/errors.js';
import type { WaitOptions } from './target.js';

export type ReadOptions = WaitOptions & {
  /** A larger file is a FILE_ERROR. */
  bytesMax?: number;
  /** Not to be read again soon: its handle is not kept. */
  once?: boolean;
};

/** statvfs(3): sizes in bytes, blocks in units of `fragmentSize`. */
export type FilesystemStats = {
  blockSize: number;
  fragmentSize: number;
  blocks: number;
  blocksFree: number;
  /** Free for others than root. */
  blocksAvailable: number;
  files: number;
  filesFree: number;
  filesAvailable: number;
  readOnly: boolean;
  nameMax: number;
};

/** Errors: FILE_MISSING, FILE_ERROR, TIMEOUT, and those of the connection. */
export interface FileReader {
  /** The whole file from its beginning, as UTF-8. */
  read(path: string, o?: ReadOptions): Promise<string>;
  /** What `parse` makes of it, at once: the text is kept nowhere. Undefined when there is no such file. */
  parsed<T>(path: string, o: ReadOptions, parse: (text: string) => T): Promise<T | undefined>;
  /** Names in a directory, without `.` and `..`, in no order. */
  list(path: string, o?: WaitOptions): Promise<string[]>;
  readlink(path: string, o?: WaitOptions): Promise<string>;
  statvfs(path: string, o?: WaitOptions): Promise<FilesystemStats>;
  /** Resolves, never rejects, when it can be used no more, with why. */
  readonly closed: Promise<HostError>;
  close(): Promise<void>;
}

export const fileLimits = {
  readBytesMax: 1024 * 1024,
  fileTimeoutMs: 10_000,
  listEntriesMax: 65_536,
} as const;

export function readerClosed(host: string): HostError {
  return new HostError('CLOSED', { host, message: 'the file reader was closed' });
}

export function fileMissing(host: string, path: string): HostError {
  return stackless(() => new HostError('FILE_MISSING', { host, message: `${path}: no such file` }));
}

export function isMissing(error: unknown): boolean {
  return error instanceof HostError && error.code === 'FILE_MISSING';
}

export function fileTooLarge(host: string, path: string, bytesMax: number): HostError {
  return new HostError('FILE_ERROR', { host, message: `${path}: larger than ${bytesMax} bytes` });
}

export function tooManyEntries(host: string, path: string): HostError {
  return new HostError('FILE_ERROR', {
    host,
    message: `${path}: more than ${fileLimits.listEntriesMax} entries`,
  });
}
