// Asks whatever listens on a unix socket whether it is a store that answers. Raw bytes on purpose: it must work before
// any client exists and say "hung" apart from "absent". It refuses to send anything but PING.
import { createConnection } from 'node:net';

/** `up`: answered. `loading`: reading its files. `hung`: took the connection, no answer in time. `absent`: nobody there. */
export type PingAnswer = 'up' | 'loading' | 'hung' | 'absent';

const answerBytesMax = 1024;

export function pingSocket(socketPath: string, timeoutMs: number): Promise<PingAnswer> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = createConnection({ path: socketPath });
    const end = (result: PingAnswer) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end('hung'), timeoutMs);
    socket.on('connect', () => socket.write('PING\r\n'));
    socket.on('error', () => end('absent'));
    socket.on('close', () => end('absent'));
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      if (!answer.includes('\n') && answer.length < answerBytesMax) return;
      end(answer.startsWith('-LOADING') ? 'loading' : 'up');
    });
  });
}
