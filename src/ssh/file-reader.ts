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

/** Who is told of files that are read together: `place` is that of the path. */
export type Taker = {
  readonly take: (place: number, text: string) => void;
  /** There is no such file, or, with a FILE_ERROR, it cannot be read. */
  readonly lack: (place: number, error?: HostError) => void;
};

/** Errors: FILE_MISSING, FILE_ERROR, TIMEOUT, and those of the connection. */
export interface FileReader {
  /** The whole file from its beginning, as UTF-8. */
  read(path: string, o?: ReadOptions): Promise<string>;
  /** What `parse` makes of it, at once: the text is kept nowhere. Undefined when there is no such file. */
  parsed<T>(path: string, o: ReadOptions, parse: (text: string) => T): Promise<T | undefined>;
  /**
   * All of these files of /proc and /sys, with one wait: `taker` is told each as it comes. Resolves when it was told all of them. Rejects, and tells
   * nothing more, with what ends a reading but FILE_MISSING and FILE_ERROR, and with what `taker` throws.
   */
  readAll(paths: readonly string[], o: ReadOptions, taker: Taker): Promise<void>;
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

/** What ends the reading of this file only: FILE_MISSING or FILE_ERROR. */
export function isOfFile(error: unknown): error is HostError {
  return isMissing(error) || (error instanceof HostError && error.code === 'FILE_ERROR');
}

export function tooManyEntries(host: string, path: string): HostError {
  return new HostError('FILE_ERROR', {
    host,
    message: `${path}: more than ${fileLimits.listEntriesMax} entries`,
  });
}
