// What is sent to a host or to the store is small and much: those packets of one turn of the event loop leave together, in one system
// call. It refuses to hold anything longer than that turn.
import type { Socket } from 'node:net';

/** Returns the same socket, which from now on writes at the end of each turn. */
export function batchWrites(socket: Socket): Socket {
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
      setImmediate(flush);
    }
    return write(...packet);
  }) as Socket['write'];
  return socket;
}
