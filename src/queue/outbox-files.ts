// The journal's files: segments of lines, each write synced before it counts, writes that come together synced together;
// and the last numbers of events, written down before the lines that show them go away. It refuses to look into lines.
import { type FileHandle, mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../audit/files.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';

const segmentBytesMax = 1024 * 1024;
const segmentName = /^journal-(\d{8,12})\.jsonl$/;
const sequencesName = 'sequences.json';

type Segment = {
  readonly number: number;
  readonly path: string;
  bytes: number;
  /** Order of its last line. */
  lastOrder: number;
};

type Write = { record: string; order: number; done: () => void; failed: (error: unknown) => void };

export class OutboxFiles {
  readonly #directory: string;
  readonly #log: Log;
  /** In order; the last one may be open. */
  #segments: Segment[] = [];
  #nextNumber = 1;
  #handle: FileHandle | undefined;
  #writes: Write[] = [];
  /** Everything that touches the files, one after another. */
  #chain: Promise<unknown> = Promise.resolve();
  #failing = false;
  #closed = false;
  #sequencesWritten = '';

  constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
  }

  get bytes(): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Resolves with the last numbers of events, by host. */
  async open(): Promise<Map<string, number>> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const numbers = (await readdir(this.#directory))
      .map((name) => Number(segmentName.exec(name)?.[1]))
      .filter((number) => Number.isSafeInteger(number))
      .sort((a, b) => a - b);
    this.#segments = numbers.map((number) => this.#segment(number));
    this.#nextNumber = (numbers.at(-1) ?? 0) + 1;
    return this.#readSequences();
  }

  async *read(): AsyncGenerator<{ segment: { lastOrder: number }; texts: string[] }, void, void> {
    for (const segment of this.#segments) {
      const whole = await readFile(segment.path, 'utf8');
      segment.bytes = Buffer.byteLength(whole);
      const texts = whole.split('\n');
      // what has no line break was not yet acknowledged
      texts.pop();
      yield { segment, texts: texts.filter(Boolean) };
    }
  }

  /** Resolves when the record is on disk; rejects with HostError STORE when it cannot be written. */
  write(record: string, order: number): Promise<void> {
    return new Promise((done, failed) => {
      this.#writes.push({ record, order, done, failed });
      if (this.#writes.length === 1) void this.#exclusively(() => this.#flush());
    });
  }

  /** Deletes the segments whose lines all come before `oldestOrder`. */
  retire(oldestOrder: number, sequences: ReadonlyMap<string, number>): Promise<void> {
    return this.#exclusively(async () => {
      for (let first = this.#segments[0]; first && first.lastOrder < oldestOrder; first = this.#segments[0]) {
        await this.#writeSequences(sequences);
        await this.#delete(first);
      }
    });
  }

  /** Puts these lines in the place of all that is there. */
  rewrite(lines: readonly { record: string; order: number }[]): Promise<void> {
    return this.#exclusively(async () => {
      const before = [...this.#segments];
      const waiting = new Set(this.#writes.map(({ order }) => order));
      const kept = lines.filter(({ order }) => !waiting.has(order));
      await this.#closeHandle();
      if (kept.length > 0)
        await this.#append(kept.map(({ record }) => record).join(''), kept.at(-1)?.order ?? 0);
      await this.#closeHandle();
      for (const segment of before) await this.#delete(segment);
    });
  }

  async close(sequences: ReadonlyMap<string, number>): Promise<void> {
    await this.#exclusively(async () => {
      this.#closed = true;
      await this.#closeHandle();
      await this.#writeSequences(sequences).catch(() => undefined);
    });
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#chain.then(work);
    this.#chain = done.catch(() => undefined);
    return done;
  }

  async #flush(): Promise<void> {
    const writes = this.#writes;
    this.#writes = [];
    try {
      if (this.#closed) throw new Error('the outbox is closed');
      await this.#append(writes.map(({ record }) => record).join(''), writes.at(-1)?.order ?? 0);
      if (this.#failing)
        this.#log.info({ directory: this.#directory }, 'outbox journal can be written again');
      this.#failing = false;
      for (const { done } of writes) done();
    } catch (cause) {
      const error = new HostError('STORE', {
        message: `the outbox in ${this.#directory} cannot be written`,
        cause,
      });
      if (!this.#failing) this.#log.error({ error }, 'outbox journal cannot be written');
      this.#failing = true;
      await this.#abandonSegment();
      for (const { failed } of writes) failed(error);
    }
  }

  async #append(text: string, lastOrder: number): Promise<void> {
    const segment = this.#handle ? this.#segments.at(-1) : undefined;
    const into = segment ?? (await this.#begin());
    await this.#handle?.appendFile(text);
    await this.#handle?.datasync();
    into.bytes += Buffer.byteLength(text);
    into.lastOrder = lastOrder;
    if (into.bytes >= segmentBytesMax) await this.#closeHandle();
  }

  async #begin(): Promise<Segment> {
    const segment = this.#segment(this.#nextNumber);
    this.#handle = await open(segment.path, 'ax', 0o600);
    this.#nextNumber++;
    this.#segments.push(segment);
    await syncDirectory(this.#directory);
    return segment;
  }

  /** A segment in which a write failed is never written to again: its last line may be torn. */
  async #abandonSegment(): Promise<void> {
    const segment = this.#handle && this.#segments.at(-1);
    await this.#closeHandle();
    if (segment?.bytes === 0) await this.#delete(segment).catch(() => undefined);
  }

  async #closeHandle(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close().catch(() => undefined);
  }

  async #delete(segment: Segment): Promise<void> {
    if (segment === this.#segments.at(-1)) await this.#closeHandle();
    await unlink(segment.path);
    this.#segments = this.#segments.filter((other) => other !== segment);
  }

  #segment(number: number): Segment {
    const path = join(this.#directory, `journal-${String(number).padStart(8, '0')}.jsonl`);
    return { number, path, bytes: 0, lastOrder: 0 };
  }

  async #readSequences(): Promise<Map<string, number>> {
    try {
      const text = await readFile(join(this.#directory, sequencesName), 'utf8');
      const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
      return new Map(
        entries.flatMap(([host, last]) => (Number.isSafeInteger(last) ? [[host, Number(last)]] : [])),
      );
    } catch (error) {
      // without them numbers begin at the clock, which is ahead of any that was given
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#log.error({ error }, 'outbox numbers cannot be read');
      return new Map();
    }
  }

  async #writeSequences(sequences: ReadonlyMap<string, number>): Promise<void> {
    const text = `${JSON.stringify(Object.fromEntries(sequences))}\n`;
    if (text === this.#sequencesWritten) return;
    const path = join(this.#directory, sequencesName);
    const handle = await open(`${path}.new`, 'w', 0o600);
    try {
      await handle.writeFile(text);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(`${path}.new`, path);
    await syncDirectory(this.#directory);
    this.#sequencesWritten = text;
  }
}
