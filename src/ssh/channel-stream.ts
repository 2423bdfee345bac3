// An SSH channel as a Duplex that keeps Node's promises: destroy() destroys, `close` always comes, a write that can no
// longer be delivered fails, and the reason of the end is an error. ssh2's own channel does none of these when its
// connection dies. Refuses to interpret bytes; `endedWith` may turn the end into an error.
import { Duplex } from 'node:stream';
import type { ClientChannel } from 'ssh2';

type WriteCallback = (error?: Error | null) => void;

export type ChannelStreamOptions = {
  /** Asked when the channel has closed: an error when that was not a proper end. */
  endedWith?: (exit: { code: number | null; receivedBytes: number }) => Error | undefined;
  /** End of data waits for the close, which says how a command ended. */
  endAtClose?: boolean;
  /** Shown the first bytes when they are printable text where a binary protocol is due: the reason to give up. */
  looksWrong?: (text: string) => Error | undefined;
};

const firstPrintable = 0x20;

const readBufferBytes = 256 * 1024;

export class ChannelStream extends Duplex {
  readonly #channel: ClientChannel;
  readonly #endedWith: ChannelStreamOptions['endedWith'];
  #receivedBytes = 0;
  #writing: WriteCallback | undefined;
  #channelClosed = false;

  constructor(channel: ClientChannel, o: ChannelStreamOptions = {}) {
    super({ allowHalfOpen: false, readableHighWaterMark: readBufferBytes });
    this.#channel = channel;
    this.#endedWith = o.endedWith;
    // An error may come before the owner listens; the owner then finds the stream destroyed.
    this.on('error', () => {});
    channel.on('data', (chunk: Buffer) => {
      if (this.destroyed) return;
      if (this.#receivedBytes === 0 && o.looksWrong && (chunk[0] ?? 0) >= firstPrintable) {
        const error = o.looksWrong(chunk.toString('latin1'));
        if (error) return void this.destroy(error);
      }
      this.#receivedBytes += chunk.length;
      if (!this.push(chunk)) channel.pause();
    });
    channel.on('error', (error: Error) => this.destroy(error));
    // The close repeats what 'exit' said, which may have come before anybody listened.
    channel.on('close', (code: number | null = null) => this.#onClose(code));
    channel.stderr.resume();
    channel.on('end', () => {
      if (!o.endAtClose && !this.destroyed) this.push(null);
    });
  }

  #onClose(code: number | null): void {
    this.#channelClosed = true;
    if (this.destroyed) return;
    const error = this.#endedWith?.({ code, receivedBytes: this.#receivedBytes });
    if (error) this.destroy(error);
    else if (this.readableEnded) this.destroy();
    else {
      this.push(null);
      this.once('end', () => this.destroy());
    }
  }

  override _read(): void {
    this.#channel.resume();
  }

  /** What the channel does not take fails when this stream is destroyed, and so after the reason of the end is known. */
  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.#writing = callback;
    if (this.#channelClosed) return;
    this.#channel.write(chunk, (error) => {
      if (error || this.#writing !== callback) return;
      this.#writing = undefined;
      callback();
    });
  }

  /** What was written while it was corked leaves as one: SSH makes a packet of each write. */
  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], callback: WriteCallback): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', callback);
  }

  override _final(callback: WriteCallback): void {
    if (!this.#channelClosed) this.#channel.end();
    callback();
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    this.#writing?.(writeAfterClose());
    this.#writing = undefined;
    if (!this.#channelClosed) {
      this.#channel.resume();
      this.#channel.destroy();
    }
    callback(error);
  }
}

function writeAfterClose(): Error {
  return Object.assign(new Error('the SSH channel has closed'), { code: 'EPIPE' });
}
