// What is sent to a host or to the store is small and much: what is written at one time leaves together, in one system call. It
// refuses to hold anything longer than a turn of the event loop.
import type { Socket } from 'node:net';

/** Once all that a packet from there has set off has run: what is asked of a host is mostly asked because it answered. */
export const afterAnswer = (flush: () => void): void => queueMicrotask(() => process.nextTick(flush));

/** Returns the same socket, which from now on writes when `later` calls back: by default at the end of each turn. */
export function batchWrites(socket: Socket, later: (flush: () => void) => void = setImmediate): Socket {
  const write = socket.write.bind(socket) as Socket['write'];
  let waits = false;
  const flush = () => {
    waits = false;
    socket.uncork();
  };
  socket.write = ((...packet: Parameters<Socket['write']>) => {
    if (!waits) {
      waits = true;
      socket.cork();
      later(flush);
    }
    return write(...packet);
  }) as Socket['write'];
  return socket;
}
