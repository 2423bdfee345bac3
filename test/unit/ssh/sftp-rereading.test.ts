import { describe, expect, it } from 'vitest';
import { type KeptHandle, Rereading, type Wanted } from '../../../src/ssh/sftp-rereading.js';
import { MalformedSftp } from '../../../src/ssh/sftp-wire.js';
import { dataReply, endReply } from './sftp-replies.js';

function rereading(path: string, layout: number[], bytesMax = 1_000_000) {
  const handle: KeptHandle = { id: 'h', layout, inUse: true, usedAt: 1 };
  const reader = { done: () => {}, failed: () => {} };
  const ends: unknown[] = [];
  const told: Wanted[] = [];
  const keeper = {
    onReread: (wanted: Wanted, text: string | undefined, error?: Error) => {
      told.push({ ...wanted });
      ends.push(error ?? text);
    },
  };
  const asked: [number, number][] = [];
  const one = Rereading.of(keeper, path, handle, layout, bytesMax, reader, 5);
  one.ask({ askRead: (_request, _handle, offset, length) => 7 + asked.push([offset, length]) - 1 });
  return { one, handle, reader, ends, told, asked };
}

describe('a file that is read again', () => {
  it('takes one request when half a page is left behind its end, and may grow a little', () => {
    const { one, asked, ends, handle } = rereading('/proc/loadavg', [600]);
    expect(asked).toEqual([[0, 856]]);
    one.settle(dataReply(7, 'x'.repeat(700)));
    expect(ends).toEqual(['x'.repeat(700)]);
    expect(handle.layout).toEqual([700]);
  });

  it('takes its pieces and its end in any order', () => {
    const { one, asked, ends } = rereading('/proc/stat', [4000, 3000]);
    expect(asked.map(([offset]) => offset)).toEqual([0, 4000, 7000]);
    one.settle(endReply(9));
    one.settle(dataReply(8, 'b'.repeat(3000)));
    expect(ends).toEqual([]);
    one.settle(dataReply(7, 'a'.repeat(4000)));
    expect(ends).toEqual(['a'.repeat(4000) + 'b'.repeat(3000)]);
  });

  it.each([
    ['a piece is shorter', ['a'.repeat(3990), 'b'.repeat(3000), '']],
    ['the end has moved', ['a'.repeat(4000), 'b'.repeat(3000), 'c']],
  ])('is dropped when %s: it may be of two moments', (_, texts) => {
    const { one, ends } = rereading('/proc/stat', [4000, 3000]);
    for (const [index, text] of texts.entries()) one.settle(dataReply(7 + index, text));
    expect(ends).toEqual([undefined]);
  });

  it('is dropped when it is larger than it may be', () => {
    const { one, ends } = rereading('/proc/loadavg', [600], 650);
    one.settle(dataReply(7, 'x'.repeat(700)));
    expect(ends).toEqual([undefined]);
  });

  it('fails once, whatever comes after', () => {
    const { one, ends } = rereading('/proc/stat', [4000, 3000]);
    const error = new Error('gone');
    one.reject(error);
    one.reject(new Error('again'));
    one.settle(dataReply(8, 'late'));
    expect(ends).toEqual([error]);
  });

  it('says what was read and for whom, and then holds on to nothing', () => {
    const { one, handle, reader, told } = rereading('/proc/loadavg', [600]);
    one.settle(dataReply(7, 'x'));
    expect(told).toEqual([{ path: '/proc/loadavg', handle, bytesMax: 1_000_000, reader, place: 5 }]);
    expect(one.reader).not.toBe(reader);
    expect(one.handle).not.toBe(handle);
  });

  it('is used again when all its answers have come, and not when some may still come', () => {
    const ended = rereading('/proc/loadavg', [600]);
    ended.one.settle(dataReply(7, 'x'));
    const failed = rereading('/proc/stat', [4000, 3000]);
    expect(failed.one).toBe(ended.one);
    failed.one.reject(new Error('gone'));
    expect(rereading('/proc/stat', [10]).one).not.toBe(failed.one);
    failed.one.settle(dataReply(8, 'late'));
    expect(failed.ends).toHaveLength(1);
  });

  it('refuses more than it asked for', () => {
    const { one } = rereading('/proc/loadavg', [10]);
    expect(() => one.settle(dataReply(7, 'x'.repeat(513)))).toThrow(MalformedSftp);
  });
});
