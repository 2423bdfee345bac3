// A file that is opened, read to its end and closed: one that is seldom read, or is replaced by renaming, where an open handle shows
// the old one. A poll reads dozens of small ones, so nothing of it is a promise: what waits for the host is one object. It refuses
// to leave the file open, however the reading ends.
import { fileTooLarge } from './file-reader.js';
import { type Request, type SftpRequests, unlessEof, wanted } from './sftp-requests.js';
import { isLast } from './sftp-rereading.js';
import { encode, MalformedSftp, replyType, type SftpReply } from './sftp-wire.js';

/** Who waits for texts; `place`: which of them this is, for one who waits for several. */
export type Reader = {
  done: (text: string, place: number) => void;
  failed: (error: unknown, place: number) => void;
};

/** Of one request. */
export const readBytes = 32 * 1024;

type Requests = Pick<SftpRequests, 'host' | 'post' | 'askRead' | 'tell'>;

export class OnceReading implements Request {
  readonly path: string;
  readonly #requests: Requests;
  readonly #bytesMax: number;
  readonly #reader: Reader;
  #handle: string | undefined;
  /** Those before the one that is asked for now, of a file that has several. */
  #pieces: Buffer[] | undefined;
  #bytes = 0;

  constructor(requests: Requests, path: string, bytesMax: number, reader: Reader) {
    this.#requests = requests;
    this.path = path;
    this.#bytesMax = bytesMax;
    this.#reader = reader;
  }

  /** The session must not have ended. */
  begin(): void {
    this.#requests.post(this, (id) => encode.open(id, this.path));
  }

  settle(reply: SftpReply): void {
    if (this.#handle === undefined) {
      this.#handle = wanted(reply, replyType.handle).handle();
      this.#ask(this.#handle);
      return;
    }
    const data = unlessEof(reply, replyType.data);
    const bytes = data?.dataBytes ?? 0;
    if (bytes > readBytes) throw new MalformedSftp('more data than was asked for');
    this.#bytes += bytes;
    if (this.#bytes > this.#bytesMax)
      this.reject(fileTooLarge(this.#requests.host, this.path, this.#bytesMax));
    else if (!isLast(this.path, bytes, readBytes)) this.#goOn(this.#handle, data);
    else if (this.#pieces === undefined) this.#end(data?.text() ?? '');
    else {
      if (data) this.#pieces.push(data.data());
      this.#end(Buffer.concat(this.#pieces).toString('utf8'));
    }
  }

  reject(error: Error): void {
    this.#close();
    this.#reader.failed(error, 0);
  }

  #ask(handle: string): void {
    this.#requests.askRead(this, handle, this.#bytes, readBytes);
  }

  #goOn(handle: string, data: SftpReply | undefined): void {
    this.#pieces ??= [];
    if (data) this.#pieces.push(data.data());
    this.#ask(handle);
  }

  #end(text: string): void {
    this.#close();
    this.#reader.done(text, 0);
  }

  #close(): void {
    const handle = this.#handle;
    if (handle !== undefined) this.#requests.tell((id) => encode.close(id, handle));
  }
}
