// What is sent to a host or to the store is small and much: what is written at one time leaves together, in one packet of SSH, in
// one system call. It refuses to hold anything longer than a turn of the event loop.
import type { Writable } from 'node:stream';

/** Once all that a packet from there has set off has run: what is asked of a host is mostly asked because it answered. */
export const afterAnswer = (flush: () => void): void => queueMicrotask(() => process.nextTick(flush));

/** Returns the same stream, which from now on writes when `later` calls back: by default at the end of each turn. */
export function batchWrites<W extends Writable>(
  stream: W,
  later: (flush: () => void) => void = setImmediate,
): W {
  const write = stream.write.bind(stream) as Writable['write'];
  let waits = false;
  const flush = () => {
    waits = false;
    stream.uncork();
  };
  stream.write = ((...packet: Parameters<Writable['write']>) => {
    if (!waits) {
      waits = true;
      stream.cork();
      later(flush);
    }
    return write(...packet);
  }) as W['write'];
  return stream;
}
