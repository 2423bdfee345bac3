// The audit log's files: their names, their lines, and the head file that remembers how far the log had come. It reads
// what is there, whoever wrote it, and refuses to judge the chain.
import { createHash } from 'node:crypto';
import { open, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type Link, lineBytesMax } from './line.js';

export type LogFile = { number: number; name: string; path: string };

/** How far the log had come when this was written: at most `headDelayMs` behind. */
export type Head = Link & { file: number };

export type RawLine = {
  /** From 1. */
  number: number;
  /** Of its first byte in the file. */
  offset: number;
  /** Without the line break; cut when it is `lineReadBytesMax` long. */
  bytes: Buffer;
  /** Offset of the line after. */
  end: number;
};

/** Longer than any line that is ours. */
const lineReadBytesMax = 2 * lineBytesMax;
const chunkBytes = 256 * 1024;
const headBytesMax = 1024;

const fileName = /^audit-(\d{6,12})\.jsonl$/;
const headName = 'head.json';

export function logFile(dir: string, number: number): LogFile {
  const name = `audit-${String(number).padStart(6, '0')}.jsonl`;
  return { number, name, path: join(dir, name) };
}

/** In the order they were written. */
export async function logFiles(dir: string): Promise<LogFile[]> {
  return (await readdir(dir))
    .flatMap((name) => {
      const number = fileName.exec(name)?.[1];
      return number === undefined ? [] : [{ number: Number(number), name, path: join(dir, name) }];
    })
    .sort((a, b) => a.number - b.number);
}

/** Every line of the file, the last one also without a line break. */
export async function* readLines(path: string): AsyncGenerator<RawLine, void, void> {
  const handle = await open(path, 'r');
  try {
    let number = 1;
    let offset = 0;
    let read = 0;
    let parts: Buffer[] = [];
    let partsBytes = 0;
    const keep = (part: Buffer) => {
      const room = lineReadBytesMax - partsBytes;
      if (room <= 0) return;
      parts.push(Buffer.from(part.subarray(0, room)));
      partsBytes += Math.min(part.length, room);
    };
    const chunk = Buffer.allocUnsafe(chunkBytes);
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, read);
      if (bytesRead === 0) break;
      const view = chunk.subarray(0, bytesRead);
      let from = 0;
      for (let at = view.indexOf(10); at !== -1; at = view.indexOf(10, from)) {
        keep(view.subarray(from, at));
        const end = read + at + 1;
        yield { number, offset, bytes: Buffer.concat(parts), end };
        number++;
        offset = end;
        parts = [];
        partsBytes = 0;
        from = at + 1;
      }
      if (from < bytesRead) keep(view.subarray(from));
      read += bytesRead;
    }
    if (offset < read) yield { number, offset, bytes: Buffer.concat(parts), end: read };
  } finally {
    await handle.close();
  }
}

/** SHA-256 of `bytes` bytes from `offset` on; undefined when the file ends before. */
export async function hashRange(path: string, offset: number, bytes: number): Promise<string | undefined> {
  const handle = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    const chunk = Buffer.allocUnsafe(chunkBytes);
    for (let done = 0; done < bytes; ) {
      const wanted = Math.min(chunk.length, bytes - done);
      const { bytesRead } = await handle.read(chunk, 0, wanted, offset + done);
      if (bytesRead === 0) return undefined;
      hash.update(chunk.subarray(0, bytesRead));
      done += bytesRead;
    }
    return hash.digest('hex');
  } finally {
    await handle.close();
  }
}

/** `absent`: there is none; `broken`: there is one that is not ours. */
export async function readHead(dir: string): Promise<Head | 'absent' | 'broken'> {
  let text: string;
  try {
    text = await readFile(join(dir, headName), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'absent';
    throw error;
  }
  try {
    if (text.length > headBytesMax) return 'broken';
    const { seq, hash, file } = JSON.parse(text) as Partial<Head>;
    const numbers = [seq, file].every((value) => Number.isSafeInteger(value) && Number(value) >= 0);
    if (!numbers || !/^[0-9a-f]{64}$/.test(String(hash))) return 'broken';
    return { seq: Number(seq), hash: String(hash), file: Number(file) };
  } catch {
    return 'broken';
  }
}

/** In one piece: whoever reads it sees the old one or the new one, also after a loss of power. */
export async function writeHead(dir: string, { seq, hash, file }: Head): Promise<void> {
  const draft = join(dir, `${headName}.new`);
  const handle = await open(draft, 'w', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify({ seq, hash, file })}\n`);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(draft, join(dir, headName));
}

/** Makes a new or renamed file in it survive a loss of power. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
