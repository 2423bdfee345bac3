import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { OnceReading, readBytes } from '../../../src/ssh/sftp-once.js';
import { MalformedSftp } from '../../../src/ssh/sftp-wire.js';
import { dataReply, endReply, handleReply } from './sftp-replies.js';

function reading(path: string, bytesMax = 1_000_000) {
  const asked: string[] = [];
  const ends: unknown[] = [];
  const requests = {
    host: 'kvm-01',
    post: () => void asked.push('open'),
    askRead: (_: unknown, handle: string, offset: number) => asked.push(`read ${handle} ${offset}`),
    tell: () => void asked.push('close'),
  };
  const reader = { done: (text: string) => ends.push(text), failed: (error: unknown) => ends.push(error) };
  const one = new OnceReading(requests, path, bytesMax, reader);
  one.begin();
  return { one, asked, ends };
}

describe('a file that is read once', () => {
  it('is opened, read and closed: one request each where its end is known', () => {
    const { one, asked, ends } = reading('/sys/class/net/vnet0/mtu');
    one.settle(handleReply(1, 'h'));
    one.settle(dataReply(2, '1500\n'));
    expect(asked).toEqual(['open', 'read h 0', 'close']);
    expect(ends).toEqual(['1500\n']);
  });

  it('is read to its end, piece by piece', () => {
    const { one, asked, ends } = reading('/etc/os-release');
    one.settle(handleReply(1, 'h'));
    one.settle(dataReply(2, 'a'.repeat(readBytes)));
    one.settle(dataReply(3, 'b'.repeat(3000)));
    expect(ends).toEqual([]);
    one.settle(endReply(4));
    expect(asked).toEqual(['open', 'read h 0', `read h ${readBytes}`, `read h ${readBytes + 3000}`, 'close']);
    expect(ends).toEqual(['a'.repeat(readBytes) + 'b'.repeat(3000)]);
  });

  it('is empty when its end is all there is', () => {
    const { one, ends } = reading('/etc/empty');
    one.settle(handleReply(1, 'h'));
    one.settle(endReply(2));
    expect(ends).toEqual(['']);
  });

  it('is closed when it is larger than it may be, and when reading it fails', () => {
    const large = reading('/etc/large', 100);
    large.one.settle(handleReply(1, 'h'));
    large.one.settle(dataReply(2, 'x'.repeat(101)));
    expect(large.asked.at(-1)).toBe('close');
    expect(large.ends).toEqual([expect.any(HostError)]);
    expect(String(large.ends[0])).toContain('/etc/large: larger than 100 bytes');
    const failing = reading('/etc/torn');
    failing.one.settle(handleReply(1, 'h'));
    failing.one.reject(new Error('torn'));
    expect([failing.asked.at(-1), failing.ends]).toEqual(['close', [new Error('torn')]]);
  });

  it('that was never opened is not closed', () => {
    const { one, asked, ends } = reading('/etc/none');
    one.reject(new Error('missing'));
    expect([asked, ends]).toEqual([['open'], [new Error('missing')]]);
  });

  it('believes no server that sends more than was asked for', () => {
    const { one } = reading('/etc/large');
    one.settle(handleReply(1, 'h'));
    expect(() => one.settle(dataReply(2, 'x'.repeat(readBytes + 1)))).toThrow(MalformedSftp);
  });
});
