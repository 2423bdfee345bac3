// Reads the audit log from its newest line backwards, a bounded piece at a time, for people who ask who did what. A place is
// a file and an offset in it: lines are only ever added, so it stays good. It shows lines whose own hash is right and refuses
// to judge the chain: `outrigger audit verify` does.
import { type FileHandle, open } from 'node:fs/promises';
import { logFiles } from './files.js';
import { type AuditLine, lineBytesMax, parseLine } from './line.js';

/** Lines that end at or before `offset` of the file come next. */
export type AuditPlace = { file: number; offset: number };

export type AuditQuery = {
  limit: number;
  before?: AuditPlace | undefined;
  matches: (line: AuditLine) => boolean;
};

/** `next` is absent when the beginning of the log was reached. */
export type AuditSlice = { lines: AuditLine[]; next: AuditPlace | undefined };

const chunkBytes = 256 * 1024;
/** Bytes that are read for one slice; then it is short and says where to go on. */
export const auditScannedBytesMax = 16 * 1024 * 1024;

/** The newest first; none before there is a log. Rejects when the directory cannot be read. */
export async function readAudit(dir: string, { limit, before, matches }: AuditQuery): Promise<AuditSlice> {
  const lines: AuditLine[] = [];
  let scannedBytes = 0;
  const files = await logFiles(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  for (const file of files.reverse()) {
    if (before && file.number > before.file) continue;
    const until = before?.file === file.number ? before.offset : Number.POSITIVE_INFINITY;
    for await (const { bytes, offset } of linesBackwards(file.path, until)) {
      scannedBytes += bytes.length + 1;
      const line = parseLine(bytes);
      if (line && matches(line)) lines.push(line);
      if (lines.length === limit || scannedBytes >= auditScannedBytesMax) {
        return { lines, next: { file: file.number, offset } };
      }
    }
  }
  return { lines, next: undefined };
}

type Line = { bytes: Buffer; offset: number };

/** Whole lines that end at or before `until`, the last one first. One that is longer than any of ours comes cut. */
async function* linesBackwards(path: string, until: number): AsyncGenerator<Line, void, void> {
  const handle = await open(path, 'r');
  try {
    let at = Math.min(until, (await handle.stat()).size);
    /** What is known of the line whose beginning was not reached yet. */
    let rest: Buffer = Buffer.alloc(0);
    while (at > 0) {
      const from = Math.max(0, at - chunkBytes);
      const chunk = await readRange(handle, from, at);
      let end = chunk.length;
      for (
        let nl = chunk.lastIndexOf(10, end - 1);
        nl !== -1 && end > 0;
        nl = chunk.lastIndexOf(10, end - 1)
      ) {
        const bytes = Buffer.concat([chunk.subarray(nl + 1, end), rest]);
        rest = Buffer.alloc(0);
        if (bytes.length > 0) yield { bytes, offset: from + nl + 1 };
        end = nl;
        if (end === 0) break;
      }
      rest = Buffer.concat([chunk.subarray(0, end), rest]).subarray(0, 2 * lineBytesMax);
      at = from;
    }
    if (rest.length > 0) yield { bytes: rest, offset: 0 };
  } finally {
    await handle.close();
  }
}

async function readRange(handle: FileHandle, from: number, to: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(to - from);
  let read = 0;
  while (read < buffer.length) {
    const { bytesRead } = await handle.read(buffer, read, buffer.length - read, from + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return buffer.subarray(0, read);
}
