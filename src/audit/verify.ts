// Reads the whole audit log and says where it is not what was written: lines that were changed, are missing, or stand in
// another place. A line that a crash tore is told apart from that. It changes nothing, and it cannot find what somebody
// did who wrote all later lines and the head file anew: for that, keep a hash elsewhere (`expect`).
import { hashRange, type LogFile, logFiles, type RawLine, readHead, readLines } from './files.js';
import { type AuditLine, chainStart, type Link, parseLine, tornMark } from './line.js';

export type Problem = {
  kind: 'changed' | 'missing' | 'misplaced' | 'head';
  /** Absent for what is nowhere: the head file, the end of the log. */
  file?: string;
  line?: number;
  message: string;
};

export type Torn = { file: string; line: number; bytes: number };

export type Verification = {
  dir: string;
  files: number;
  lines: number;
  /** The newest line: keep its hash elsewhere, and `expect` it later. */
  end: Link & { at?: string };
  problems: Problem[];
  /** More than are listed. */
  problemsOmitted: number;
  /** Lines that a crash tore: never acknowledged, and nothing was done on their account. */
  torn: Torn[];
};

export type VerifyOptions = {
  /** Older files were archived: the oldest one here begins the chain. */
  archived?: boolean;
  /** The hash of a line noted earlier, which must be in the log. */
  expect?: string;
};

/** Problems and torn lines that are listed, each. */
const listedMax = 200;

type Place = { file: LogFile; raw: RawLine };

/** Throws what the file system throws when the log cannot be read. */
export async function verifyAudit(dir: string, options: VerifyOptions = {}): Promise<Verification> {
  // Before the lines: what it knows of is on the disk by then, also while a service appends.
  const head = await readHead(dir);
  const files = await logFiles(dir);
  const verifier = new Verifier(dir, files, options);
  if (typeof head === 'string') {
    const what = head === 'absent' ? 'is missing' : 'is not what was written';
    verifier.problem({
      kind: 'head',
      message: `head.json ${what}: whether the last lines are missing cannot be told`,
    });
  } else {
    verifier.head = head;
  }
  for (const file of files) {
    for await (const raw of readLines(file.path)) await verifier.take({ file, raw });
    await verifier.endOfFile(file);
  }
  return verifier.result();
}

class Verifier {
  head: Link = chainStart;
  readonly #result: Verification;
  readonly #options: VerifyOptions;
  readonly #lastFile: LogFile | undefined;
  /** The newest good line and where it stands. */
  #last: (Link & { at?: string; place?: Place }) | undefined;
  /** Lines since then that are not whole. */
  #bad: Place[] = [];
  /** Of this file: where the newest good line ends. */
  #goodEnd = 0;
  #gaps: { from: number; to: number; problem: Problem }[] = [];
  #expected = false;

  constructor(dir: string, files: readonly LogFile[], options: VerifyOptions) {
    this.#result = {
      dir,
      files: files.length,
      lines: 0,
      end: chainStart,
      problems: [],
      problemsOmitted: 0,
      torn: [],
    };
    this.#options = options;
    this.#lastFile = files.at(-1);
    if (!options.archived) this.#last = chainStart;
  }

  async take(place: Place): Promise<void> {
    const line = parseLine(place.raw.bytes);
    if (!line) {
      this.#bad.push(place);
      if (this.#bad.length > listedMax) this.#changed(this.#bad.splice(0, 1));
      return;
    }
    this.#result.lines++;
    this.#expected ||= line.hash === this.#options.expect;
    if (line.seq === this.head.seq && line.hash !== this.head.hash) {
      this.problem({ ...at(place), kind: 'changed', message: 'head.json knows this line with another hash' });
    }
    await this.#follow(line, place);
    this.#goodEnd = place.raw.end;
  }

  async endOfFile(file: LogFile): Promise<void> {
    const [first] = this.#bad;
    const atEnd = file === this.#lastFile && (this.#last?.seq ?? 0) >= this.head.seq;
    if (first && atEnd) {
      const end = this.#bad.at(-1)?.raw.end ?? 0;
      this.#torn(first, end - this.#goodEnd);
      this.#bad = [];
    }
    this.#goodEnd = 0;
  }

  result(): Verification {
    const known = (this.#last?.seq ?? 0) + this.#bad.length;
    this.#changed(this.#bad.splice(0));
    if (this.head.seq > known) {
      const lines = span(known + 1, this.head.seq);
      this.problem({ kind: 'missing', message: `${lines} missing at the end: head.json knows of more` });
    }
    const { expect } = this.#options;
    if (expect && !this.#expected) {
      this.problem({ kind: 'missing', message: `no line has the expected hash ${expect}` });
    }
    if (this.#last) {
      const { seq, hash, at } = this.#last;
      this.#result.end = { seq, hash, ...(at && { at }) };
    }
    return this.#result;
  }

  problem(problem: Problem): void {
    if (this.#result.problems.length < listedMax) this.#result.problems.push(problem);
    else this.#result.problemsOmitted++;
  }

  async #follow(line: AuditLine, place: Place): Promise<void> {
    const last = this.#last ?? { seq: line.seq - 1, hash: line.prev };
    const bad = this.#bad.splice(0);
    const torn = tornMark(line);
    if (torn && bad[0] && (await this.#isTorn(bad[0], torn))) {
      this.#torn(bad[0], torn.bytes);
      bad.length = 0;
    }
    this.#changed(bad);
    if (line.seq <= last.seq) return this.#misplaced(line, place);
    const next = last.seq + bad.length + 1;
    if (line.seq > next) this.#missing(next, line.seq - 1, place);
    else if (line.seq === last.seq + 1 && line.prev !== last.hash) this.#notFollowed(place);
    this.#last = { seq: line.seq, hash: line.hash, at: line.at, place };
  }

  async #isTorn(first: Place, { bytes, sha256 }: { bytes: number; sha256: string }): Promise<boolean> {
    return (await hashRange(first.file.path, this.#goodEnd, bytes)) === sha256;
  }

  #torn({ file, raw }: Place, bytes: number): void {
    if (this.#result.torn.length < listedMax)
      this.#result.torn.push({ file: file.name, line: raw.number, bytes });
  }

  #changed(places: readonly Place[]): void {
    for (const place of places) {
      this.problem({ ...at(place), kind: 'changed', message: 'this line is not what was written' });
    }
  }

  #notFollowed(place: Place): void {
    const before = this.#last?.place;
    const which = before ? `${before.file.name}:${before.raw.number}` : 'the beginning of the log';
    this.problem({
      ...at(place),
      kind: 'changed',
      message: `this line was not written after ${which}: one of the two was changed`,
    });
  }

  #missing(from: number, to: number, place: Place): void {
    const problem: Problem = {
      ...at(place),
      kind: 'missing',
      message: `${span(from, to)} missing before this line`,
    };
    this.#gaps.push({ from, to, problem });
    if (this.#gaps.length > listedMax) this.#gaps.shift();
    this.problem(problem);
  }

  /** A line that another place misses was moved; otherwise it was put in, or is there twice. */
  #misplaced(line: AuditLine, place: Place): void {
    const gap = this.#gaps.find(({ from, to }) => from <= line.seq && line.seq <= to);
    const message = gap
      ? `line ${line.seq} was moved here: it belongs before ${gap.problem.file}:${gap.problem.line}`
      : `line ${line.seq} does not belong here: it was put in, or is there twice`;
    if (gap) this.#narrow(gap, line.seq);
    this.problem({ ...at(place), kind: 'misplaced', message });
  }

  #narrow(gap: { from: number; to: number; problem: Problem }, seq: number): void {
    this.#gaps.splice(this.#gaps.indexOf(gap), 1);
    const { problems } = this.#result;
    const listed = problems.indexOf(gap.problem);
    const rest = [
      { from: gap.from, to: seq - 1 },
      { from: seq + 1, to: gap.to },
    ].filter(({ from, to }) => from <= to);
    const split = rest.map(({ from, to }) => ({
      from,
      to,
      problem: { ...gap.problem, message: `${span(from, to)} missing before this line` },
    }));
    this.#gaps.push(...split);
    if (listed >= 0) problems.splice(listed, 1, ...split.map(({ problem }) => problem));
  }
}

function at({ file, raw }: Place): { file: string; line: number } {
  return { file: file.name, line: raw.number };
}

function span(from: number, to: number): string {
  return from === to ? `line ${from} is` : `lines ${from} to ${to} are`;
}
