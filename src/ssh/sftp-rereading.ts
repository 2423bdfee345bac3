// A file that was read before, read again in one round trip: its pieces and its end are asked for together, where they lay the last
// time. A host's poll does this a hundred times, so nothing of it is a promise. It refuses to mix two moments: when a piece is not
// as long as it was, all of them are dropped.
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
};

export class Rereading implements Request {
  readonly path: string;
  readonly #handle: KeptHandle;
  readonly #layout: readonly number[];
  readonly #bytesMax: number;
  /** Undefined without an error: the guess was wrong. */
  readonly #end: (text: string | undefined, error?: Error) => void;
  readonly #endIsKnown: boolean;
  readonly #count: number;
  #left: number;
  #firstId = 0;
  #pieces: Buffer[] | undefined;
  #isAsBefore = true;
  #lastBytes = 0;

  constructor(
    path: string,
    handle: KeptHandle,
    layout: readonly number[],
    bytesMax: number,
    end: (text: string | undefined, error?: Error) => void,
  ) {
    const last = layout.at(-1);
    this.path = path;
    this.#handle = handle;
    this.#layout = layout;
    this.#bytesMax = bytesMax;
    this.#end = end;
    this.#endIsKnown = last !== undefined && isLast(path, last, asksFor(last));
    this.#count = layout.length + (this.#endIsKnown ? 0 : 1);
    this.#left = this.#count;
  }

  ask(requests: Pick<SftpRequests, 'askRead'>): void {
    let offset = 0;
    for (let index = 0; index < this.#count; index += 1) {
      const length = this.#layout[index] ?? 0;
      const id = requests.askRead(this, this.#handle.id, offset, asksFor(length));
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

  reject(error: Error): void {
    if (this.#left === 0) return;
    this.#left = 0;
    this.#end(undefined, error);
  }

  #finish(bytes: number, text: string): void {
    const isSound = this.#isAsBefore && bytes <= this.#bytesMax;
    const last = this.#layout.length - 1;
    if (isSound && this.#endIsKnown && this.#layout[last] !== this.#lastBytes) {
      this.#handle.layout = [...this.#layout.slice(0, last), this.#lastBytes];
    }
    this.#end(isSound ? text : undefined);
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
