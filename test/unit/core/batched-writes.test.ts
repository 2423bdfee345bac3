import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { afterAnswer, batchWrites } from '../../../src/core/batched-writes.js';

/** A socket that keeps what each system call would have written. */
function socketOf(...later: [] | [typeof afterAnswer]): { socket: Socket; calls: string[] } {
  const calls: string[] = [];
  const sink = new Writable({
    decodeStrings: false,
    write: (chunk, _encoding, done) => {
      calls.push(chunk);
      done();
    },
    writev: (chunks, done) => {
      calls.push(chunks.map(({ chunk }) => chunk).join(''));
      done();
    },
  });
  return { socket: batchWrites(sink as unknown as Socket, ...later), calls };
}

/** As a host is asked: at once, then by what waited for an answer, and what waited for that. */
async function ask(socket: Socket): Promise<void> {
  socket.write('a');
  for (const packet of ['b', 'c', 'd']) {
    await undefined;
    socket.write(packet);
  }
}

describe('batched writes', () => {
  it('leave together once what an answer set off has run, before the turn ends', async () => {
    const { socket, calls } = socketOf(afterAnswer);
    await ask(socket);
    expect(calls).toEqual([]);
    await new Promise((resolve) => process.nextTick(() => process.nextTick(resolve)));
    expect(calls).toEqual(['abcd']);
    socket.write('e');
    await turn();
    expect(calls).toEqual(['abcd', 'e']);
  });

  it('leave together at the end of the turn when nothing else is said', async () => {
    const { socket, calls } = socketOf();
    await ask(socket);
    await new Promise((resolve) => process.nextTick(resolve));
    expect(calls).toEqual([]);
    socket.write('e');
    await turn();
    expect(calls).toEqual(['abcde']);
  });
});
