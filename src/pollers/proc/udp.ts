// /proc/net/udp and udp6: how much waits in the queues of all UDP sockets together.
import type { Problem } from '../problems.js';
import { boundedLines, fields, hexAll } from './text.js';

/** Bytes. */
export type UdpQueues = { tx: number; rx: number };

const linesMax = 65_536;
/** `tx_queue:rx_queue` */
const queuesColumn = 4;

export function parseUdpQueues(text: string, problem: Problem): UdpQueues {
  const sums: UdpQueues = { tx: 0, rx: 0 };
  const queues: number[] = [];
  let heading = true;
  for (const line of boundedLines(text, linesMax, problem)) {
    if (heading) {
      heading = false;
      continue;
    }
    const count = hexAll((fields(line)[queuesColumn] ?? '').replace(':', ' '), queues);
    const [tx = 0, rx = 0] = queues;
    if (count < 2) problem(`bad line ${line}`);
    else {
      sums.tx += tx;
      sums.rx += rx;
    }
  }
  return sums;
}
