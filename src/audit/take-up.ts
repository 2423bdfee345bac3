// Reads an audit log that is there: where its chain ends, what a crash tore at its end, and which acts have begun. It
// changes nothing, and a log that somebody damaged is taken up all the same: `verify` tells of it.
import { stat } from 'node:fs/promises';
import { ActsIndex, rememberedMs } from './acts.js';
import { hashRange, type LogFile, logFiles, readHead, readLines } from './files.js';
import { type AuditLine, chainStart, type Link, parseLine, type TornMark } from './line.js';

export type TakenUp = {
  end: Link;
  /** The file to go on in. */
  file: { number: number; sizeBytes: number } | undefined;
  /** What is torn at its end. */
  torn: (TornMark & { endsLine: boolean }) | undefined;
  /** What a person should look at, as sentences. */
  damage: string[];
  acts: ActsIndex;
};

/** Read at the start at most, bytes; some 250,000 jobs. */
const readBytesMax = 512 * 1024 * 1024;

const damageMax = 20;

export async function takeUp(dir: string, nowMs: number): Promise<TakenUp> {
  const head = await readHead(dir);
  const files = await logFiles(dir);
  const acts = new ActsIndex();
  const damage: string[] = [];
  const changed = ({ name }: LogFile, line: number) => {
    if (damage.length < damageMax) damage.push(`${name}:${line} was changed`);
  };
  let end = chainStart;
  let last: { file: LogFile; good: number; size: number; bad: number } | undefined;
  for (const file of await recent(files, nowMs)) {
    last = { file, good: 0, size: 0, bad: 0 };
    for await (const raw of readLines(file.path)) {
      last.size = raw.end;
      const line = parseLine(raw.bytes);
      if (!line) {
        last.bad ||= raw.number;
        continue;
      }
      last.good = raw.end;
      if (last.bad && line.kind !== 'torn') changed(file, last.bad);
      last.bad = 0;
      if (line.seq > end.seq) end = line;
      acts.take(line);
    }
    if (last.bad && file !== files.at(-1)) changed(file, last.bad);
  }
  acts.forgetOld(nowMs);

  if (head === 'broken') damage.push('head.json is not what was written');
  if (head === 'absent' && files.length > 0) damage.push('head.json is missing');
  const remembered = typeof head === 'string' ? chainStart : head;
  const lost = remembered.seq > end.seq;
  if (lost) damage.push(`lines ${end.seq + 1} to ${remembered.seq} are missing or changed`);
  const torn = last?.bad && !lost ? await tornTail(last) : undefined;
  return {
    // What was written stays missing: going on from an older line would hide it.
    end: lost ? remembered : end,
    file: fileToGoOn(last, typeof head === 'string' ? 0 : head.file),
    torn,
    damage,
    acts,
  };
}

/** The files that may hold lines of the remembered days, and always the last good line. */
async function recent(files: readonly LogFile[], nowMs: number): Promise<readonly LogFile[]> {
  let bytes = 0;
  for (let at = files.length - 1; at > 0; at--) {
    const file = files[at];
    if (!file) break;
    bytes += (await stat(file.path)).size;
    const first = await firstLine(file.path);
    if (first && (nowMs - Date.parse(first.at) > rememberedMs || bytes > readBytesMax))
      return files.slice(at);
  }
  return files;
}

async function firstLine(path: string): Promise<AuditLine | undefined> {
  for await (const { bytes } of readLines(path)) return parseLine(bytes);
  return undefined;
}

async function tornTail({
  file,
  good,
  size,
}: {
  file: LogFile;
  good: number;
  size: number;
}): Promise<TakenUp['torn']> {
  const bytes = size - good;
  const sha256 = await hashRange(file.path, good, bytes);
  const newline = await hashRange(file.path, size - 1, 1);
  return sha256 === undefined ? undefined : { bytes, sha256, endsLine: newline === newlineHash };
}

const newlineHash = '01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b';

/** A file that the head knows and that is gone keeps its number. */
function fileToGoOn(
  last: { file: LogFile; size: number } | undefined,
  headFile: number,
): TakenUp['file'] | undefined {
  if (last && last.file.number >= headFile) return { number: last.file.number, sizeBytes: last.size };
  return headFile > 0 ? { number: headFile, sizeBytes: 0 } : undefined;
}
