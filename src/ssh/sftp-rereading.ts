// A file that was read before, read again in one round trip: its pieces and its end are asked for together, where they lay the last
// time. A host's poll does this a hundred times, so nothing of it is a promise, and what waits for the host is used again by the next
// reading of any host. It refuses to mix two moments: when a piece is not as long as it was, all of them are dropped.
import type { Reader } from './sftp-once.js';
import { type Request, type SftpRequests, unlessEof } from './sftp-requests.js';
import { MalformedSftp, replyType, type SftpReply } from './sftp-wire.js';

const readBytesMin = 512;
/** More than expected is asked for, so that growth shows in the same round trip. */
const growthBytes = 256;
const pageBytes = 4096;
const nothing = Buffer.alloc(0);

export type KeptHandle = {
  readonly id: string;
  /** Bytes of each read of the last whole reading: where to expect the pieces and the end this time. */
  layout: readonly number[] | undefined;
  inUse: boolean;
  /** Rises with each use of any of them. */
  usedAt: number;
  /** The one who waits to use it next. */
  onFree?: () => void;
};

/** Whose handle it is. */
type Keeper = {
  readonly onReread: (wanted: Wanted, text: string | undefined, error?: Error) => void;
};

/** What is read again, and for whom: `place` is the reader's word for it. */
export type Wanted = Readonly<Pick<Rereading, 'path' | 'handle' | 'bytesMax' | 'reader' | 'place'>>;

const nobody: Reader = { done: () => {}, failed: () => {} };
const noHandle: KeptHandle = { id: '', layout: undefined, inUse: false, usedAt: 0 };
const noKeeper: Keeper = { onReread: () => {} };

/** Those that wait for nothing. */
const spare: Rereading[] = [];
/** What some twenty polls read at a time. */
const spareMax = 2_048;

export class Rereading implements Request {
  path = '';
  handle = noHandle;
  bytesMax = 0;
  reader = nobody;
  place = 0;
  #keeper = noKeeper;
  #layout: readonly number[] = [];
  #endIsKnown = false;
  #count = 0;
  #left = 0;
  #firstId = 0;
  #pieces: Buffer[] | undefined;
  #isAsBefore = true;
  #lastBytes = 0;

  private constructor() {}

  /** Neither text nor error tells the keeper that the guess was wrong. */
  static of(
    keeper: Keeper,
    path: string,
    handle: KeptHandle,
    layout: readonly number[],
    bytesMax: number,
    reader: Reader,
    place: number,
  ): Rereading {
    const one = spare.pop() ?? new Rereading();
    const last = layout.at(-1);
    one.path = path;
    one.handle = handle;
    one.bytesMax = bytesMax;
    one.reader = reader;
    one.place = place;
    one.#keeper = keeper;
    one.#layout = layout;
    one.#endIsKnown = last !== undefined && isLast(path, last, asksFor(last));
    one.#count = layout.length + (one.#endIsKnown ? 0 : 1);
    one.#left = one.#count;
    one.#isAsBefore = true;
    return one;
  }

  ask(requests: Pick<SftpRequests, 'askRead'>): void {
    let offset = 0;
    for (let index = 0; index < this.#count; index += 1) {
      const length = this.#layout[index] ?? 0;
      const id = requests.askRead(this, this.handle.id, offset, asksFor(length));
      if (index === 0) this.#firstId = id;
      offset += length;
    }
  }

  settle(reply: SftpReply): void {
    if (this.#left === 0) return;
    const index = (reply.id - this.#firstId) >>> 0;
    const expected = this.#layout[index] ?? 0;
    const data = unlessEof(reply, replyType.data);
    const bytes = data?.dataBytes ?? 0;
    const asked = asksFor(expected);
    if (bytes > asked) throw new MalformedSftp('more data than was asked for');
    const mayGrow = this.#endIsKnown && index === this.#count - 1;
    if (mayGrow ? !isLast(this.path, bytes, asked) : bytes !== expected) this.#isAsBefore = false;
    if (mayGrow) this.#lastBytes = bytes;
    if (this.#count === 1) {
      const text = data?.text() ?? '';
      this.#left = 0;
      this.#finish(bytes, text);
      return;
    }
    this.#pieces ??= new Array<Buffer>(this.#count).fill(nothing);
    if (data) this.#pieces[index] = data.data();
    this.#left -= 1;
    if (this.#left > 0) return;
    const whole = Buffer.concat(this.#pieces);
    this.#finish(whole.length, this.#isAsBefore ? whole.toString('utf8') : '');
  }

  /** Answers to its other pieces may still come: it is not used again. */
  reject(error: Error): void {
    if (this.#left === 0) return;
    this.#left = 0;
    this.#keeper.onReread(this, undefined, error);
  }

  #finish(bytes: number, text: string): void {
    const isSound = this.#isAsBefore && bytes <= this.bytesMax;
    const last = this.#layout.length - 1;
    if (isSound && this.#endIsKnown && this.#layout[last] !== this.#lastBytes) {
      this.handle.layout = [...this.#layout.slice(0, last), this.#lastBytes];
    }
    this.#keeper.onReread(this, isSound ? text : undefined);
    this.#forget();
  }

  #forget(): void {
    if (spare.length >= spareMax) return;
    this.handle = noHandle;
    this.reader = nobody;
    this.#keeper = noKeeper;
    this.#pieces = undefined;
    spare.push(this);
  }
}

function asksFor(expected: number): number {
  return Math.max(readBytesMin, expected + growthBytes);
}

/**
 * Whether nothing comes after this piece. Attributes of /sys and settings of /proc/sys are given whole. Other files of /proc are
 * given as many lines at a time as fit in a page, so that a short piece may have more behind it; but where half a page was left,
 * the next line would have fit.
 */
export function isLast(path: string, bytes: number, asked: number): boolean {
  if (bytes === 0 || bytes >= asked) return bytes === 0;
  return bytes < pageBytes / 2 || /^\/(sys|proc\/sys)\//.test(path);
}
