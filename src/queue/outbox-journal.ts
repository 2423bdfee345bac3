// The outbox's first stop: a journal in the data directory, synced before anyone is told that an entry is safe, so that
// events and results survive with or without a store. The store takes entries over in order; a segment goes away some
// time after its last entry was taken, when the store has written it to its own disk. It also gives events their numbers.
// It refuses to lose a result; when it is full the oldest events make room.
import { randomBytes, randomUUID } from 'node:crypto';
import type { Clock } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { OutboxFiles } from './outbox-files.js';
import type { NewEntry, OutboxEntry, OutboxLimits } from './outbox-types.js';

/** A store that syncs every second has what it took on disk by then. */
const retireAfterMs = 5_000;
const batchBytesMax = 1024 * 1024;
const nothingOffered = { count: 0, bytes: 0, lastOrder: 0 };

/** An entry in the journal. `life` and `number` name it to the store: a life of the process, and rising within it. */
export type Line = {
  readonly life: string;
  readonly number: number;
  readonly id: string;
  readonly host: string;
  readonly kind: OutboxEntry['kind'];
  readonly atMs: number;
  /** The entry as JSON. */
  readonly text: string;
  readonly bytes: number;
  /** Rises over everything in this journal. */
  readonly order: number;
  /** On disk, or not to be put there: the store may have it. An event's number must not be seen before it is kept. */
  settled: boolean;
  /** Monotonic milliseconds at which the store had it. */
  takenAtMs?: number;
};

export type JournalOptions = {
  directory: string;
  limits: OutboxLimits;
  clock: Clock;
  log: Log;
  /** Events made room; they never reached the store. */
  onDropped: (host: string, count: number) => void;
};

export class OutboxJournal {
  readonly life = randomBytes(9).toString('base64url');
  readonly #files: OutboxFiles;
  readonly #options: JournalOptions;
  readonly #sequences: Map<string, number>;
  /** Those before `#taken` are in the store, but their segment has not gone away yet. */
  #lines: Line[] = [];
  #taken = 0;
  /** The batch that the store may have by now: one that both drop would be told of twice. */
  #offered = nothingOffered;
  #untakenBytes = 0;
  #number = 0;
  #order = 0;
  readonly #waiters = new Map<number, () => void>();

  private constructor(options: JournalOptions, files: OutboxFiles, sequences: Map<string, number>) {
    this.#options = options;
    this.#files = files;
    this.#sequences = sequences;
  }

  /** Reads what an earlier life left. Throws HostError STORE. */
  static async open(options: JournalOptions): Promise<OutboxJournal> {
    const { directory, log } = options;
    const files = new OutboxFiles(directory, log);
    try {
      const sequences = await files.open();
      const journal = new OutboxJournal(options, files, sequences);
      for await (const { segment, texts } of files.read()) {
        for (const text of texts) {
          const line = journal.#restored(text);
          if (line) segment.lastOrder = line.order;
        }
      }
      journal.#makeRoom();
      return journal;
    } catch (cause) {
      throw new HostError('STORE', {
        message: `the outbox in ${directory} cannot be opened`,
        hint: 'Make it readable and writable for the user that runs the service.',
        cause,
      });
    }
  }

  get untaken(): number {
    return this.#lines.length - this.#taken;
  }

  get untakenBytes(): number {
    return this.#untakenBytes;
  }

  get oldestUntakenMs(): number | undefined {
    return this.#lines[this.#taken]?.atMs;
  }

  /** Lives other than this one whose lines are still here. */
  get hasFormerLives(): boolean {
    return this.#lines.some(({ life }) => life !== this.life);
  }

  /**
   * Gives the entry its id and number at once. `durable` settles when it is on disk, or cannot be written there.
   * @throws HostError BAD_REQUEST when it is larger than `entryBytesMax`.
   */
  append({ kind, host, agentId, payload }: NewEntry): {
    entry: OutboxEntry;
    line: Line;
    durable: Promise<void>;
  } {
    const sequence = kind === 'event' ? this.#nextSequence(host) : undefined;
    const entry: OutboxEntry = {
      ...{ id: randomUUID(), kind, host, atMs: this.#options.clock.wallMs() },
      ...(agentId !== undefined && { agentId }),
      ...(sequence !== undefined && { sequence }),
      payload,
    };
    const text = JSON.stringify(entry);
    const { entryBytesMax } = this.#options.limits;
    if (Buffer.byteLength(text) > entryBytesMax) {
      throw new HostError('BAD_REQUEST', {
        host,
        message: `the ${kind} is larger than ${entryBytesMax} bytes`,
      });
    }
    if (sequence !== undefined) this.#sequences.set(host, sequence);
    const line = this.#add({ life: this.life, number: ++this.#number, settled: false }, entry, text);
    this.#makeRoom();
    const durable = this.#files.write(recordOf(line), line.order).finally(() => {
      line.settled = true;
    });
    return { entry, line, durable };
  }

  /** The next lines for the store, in order. Until `took` or `handBack` they are the store's to drop, not the journal's. */
  batch(countMax: number): Line[] {
    const lines: Line[] = [];
    let bytes = 0;
    for (let at = this.#taken; at < this.#lines.length && lines.length < countMax; at++) {
      const line = this.#lines[at];
      if (!line?.settled || (lines.length > 0 && bytes + line.bytes > batchBytesMax)) break;
      lines.push(line);
      bytes += line.bytes;
    }
    this.#offered = { count: lines.length, bytes, lastOrder: lines.at(-1)?.order ?? 0 };
    return lines;
  }

  /** The store did not say that it has the last batch. */
  handBack(): void {
    this.#offered = nothingOffered;
  }

  /** The store has everything up to and with this line. */
  took(last: Line): void {
    this.#offered = nothingOffered;
    for (
      let line = this.#lines[this.#taken];
      line && line.order <= last.order;
      line = this.#lines[this.#taken]
    ) {
      this.#taken++;
      this.#untakenBytes -= line.bytes;
      line.takenAtMs = this.#options.clock.monotonicMs();
      this.#waiters.get(line.order)?.();
      this.#waiters.delete(line.order);
    }
  }

  /** Resolves when the store has it. */
  whenTaken(line: Line): Promise<void> {
    return new Promise((resolve) => {
      if (this.#lines.indexOf(line) < this.#taken) resolve();
      else this.#waiters.set(line.order, resolve);
    });
  }

  /** The store came back, perhaps without the last seconds: what is still here is offered to it again. */
  rewind(): void {
    this.#taken = 0;
    this.#untakenBytes = this.#lines.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Deletes what the store has had for long enough, and makes files small again that hold too much that is dropped. */
  async tidy(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    const kept = this.#lines.findIndex(
      ({ takenAtMs }, index) => index >= this.#taken || nowMs - (takenAtMs ?? nowMs) < retireAfterMs,
    );
    const gone = kept === -1 ? this.#lines.length : kept;
    this.#lines.splice(0, gone);
    this.#taken -= gone;
    await this.#files.retire(this.#lines[0]?.order ?? this.#order + 1, this.#sequences);
    if (this.#files.bytes > 2 * this.#options.limits.bytesMax) {
      await this.#files.rewrite(this.#lines.map((line) => ({ record: recordOf(line), order: line.order })));
    }
  }

  async close(): Promise<void> {
    await this.#files.close(this.#sequences);
  }

  #nextSequence(host: string): number {
    return (this.#sequences.get(host) ?? this.#options.clock.wallMs()) + 1;
  }

  #add(
    named: Pick<Line, 'life' | 'number' | 'settled'>,
    { id, host, kind, atMs }: OutboxEntry,
    text: string,
  ): Line {
    const line: Line = {
      ...named,
      id,
      host,
      kind,
      atMs,
      text,
      bytes: Buffer.byteLength(text),
      order: ++this.#order,
    };
    this.#lines.push(line);
    this.#untakenBytes += line.bytes;
    return line;
  }

  #restored(text: string): Line | undefined {
    try {
      const { life, number, entry } = JSON.parse(text) as {
        life: string;
        number: number;
        entry: OutboxEntry;
      };
      const { id, host, kind, atMs, sequence } = entry;
      const strings = [life, id, host].every((value) => typeof value === 'string');
      if (!strings || !Number.isSafeInteger(number) || typeof atMs !== 'number') throw new Error('not ours');
      if (kind !== 'event' && kind !== 'result') throw new Error('not ours');
      if (sequence !== undefined && sequence > (this.#sequences.get(host) ?? 0))
        this.#sequences.set(host, sequence);
      return this.#add({ life, number, settled: true }, entry, JSON.stringify(entry));
    } catch {
      this.#options.log.error({ directory: this.#options.directory }, 'outbox journal holds a broken line');
      return undefined;
    }
  }

  #makeRoom(): void {
    const { limits, onDropped } = this.#options;
    const { count, bytes, lastOrder } = this.#offered;
    while (this.untaken - count > limits.entriesMax || this.#untakenBytes - bytes > limits.bytesMax) {
      const at = this.#lines.findIndex(
        ({ kind, order }, index) => index >= this.#taken && order > lastOrder && kind === 'event',
      );
      const [line] = at === -1 ? [] : this.#lines.splice(at, 1);
      if (!line) return;
      this.#untakenBytes -= line.bytes;
      this.#waiters.get(line.order)?.();
      this.#waiters.delete(line.order);
      onDropped(line.host, 1);
    }
  }
}

function recordOf({ life, number, text }: Line): string {
  return `{"life":${JSON.stringify(life)},"number":${number},"entry":${text}}\n`;
}
