import { describe, expect, it } from 'vitest';
import {
  encode,
  MalformedSftp,
  packetBytesMax,
  replyType,
  SftpReplies,
  type SftpReply,
} from '../../../src/ssh/sftp-wire.js';

const word = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const text = (value: string | Buffer) => Buffer.concat([word(Buffer.byteLength(value)), Buffer.from(value)]);

function reply(type: number, id: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.from([type]), word(id), ...parts]);
  return Buffer.concat([word(body.length), body]);
}

function only(bytes: Buffer): SftpReply {
  const [first, ...others] = [...new SftpReplies().push(bytes)];
  if (!first || others.length > 0) throw new Error('not one reply');
  return first;
}

describe('requests of SFTP', () => {
  it('are as the protocol has them', () => {
    expect(encode.init().toString('hex')).toBe('000000050100000003');
    expect(encode.open(7, '/ä').toString('hex')).toBe(
      '0000001403000000070000' + '00032fc3a40000000100000000',
    );
    expect(encode.read(1, '\x00\xff', 2 ** 33 + 5, 512).toString('hex')).toBe(
      '00000017050000000100000002' + '00ff' + '0000000200000005' + '00000200',
    );
    expect(encode.close(2, 'h').toString('hex')).toBe('0000000a04000000020000000168');
  });
});

describe('replies of SFTP', () => {
  const stream = Buffer.concat([
    reply(replyType.handle, 1, text(Buffer.from([0, 255, 128]))),
    reply(replyType.data, 2, text('x'.repeat(300))),
    reply(replyType.status, 3, word(2), text('No such file'), text('')),
    reply(replyType.status, 4, word(1)),
  ]);

  it.each([1, 2, 3, 7, 100, stream.length])('come out whole of chunks of %i bytes', (size) => {
    const replies = new SftpReplies();
    const said: unknown[] = [];
    for (let at = 0; at < stream.length; at += size) {
      for (const one of replies.push(stream.subarray(at, at + size))) {
        if (one.type === replyType.handle) said.push([one.id, one.handle()]);
        else if (one.type === replyType.data) said.push([one.id, one.text().length]);
        else said.push([one.id, one.status()]);
      }
    }
    expect(said).toEqual([
      [1, '\x00\xff\x80'],
      [2, 300],
      [3, { code: 2, message: 'No such file' }],
      [4, { code: 1, message: '' }],
    ]);
  });

  it('tell names and rights, whatever attributes lie between', () => {
    const everything = Buffer.concat([
      word(0x8000000f),
      Buffer.alloc(8),
      Buffer.alloc(8),
      word(0o100644),
      Buffer.alloc(8),
      word(1),
      text('acl'),
      text('none'),
    ]);
    expect(only(reply(replyType.attrs, 1, everything)).mode()).toBe(0o100644);
    expect(only(reply(replyType.attrs, 1, word(0))).mode()).toBe(0);
    const names = reply(
      replyType.name,
      1,
      word(2),
      text('a'),
      text('-rw a'),
      everything,
      text('ö'),
      text(''),
      word(0),
    );
    expect(only(names).names()).toEqual(['a', 'ö']);
    expect(only(reply(replyType.extended, 1, word(1), word(2))).uint64()).toBe(2 ** 32 + 2);
  });

  it.each([
    ['a text longer than its packet', reply(replyType.data, 1, word(9), Buffer.from('short'))],
    ['more names than there are', reply(replyType.name, 1, word(0xffffffff), text('a'), text('a'), word(0))],
    ['a handle out of bounds', reply(replyType.handle, 1, text('h'.repeat(257)))],
  ])('are refused: %s', (_, bytes) => {
    const one = only(bytes);
    const read = {
      [replyType.data]: 'text',
      [replyType.name]: 'names',
      [replyType.handle]: 'handle',
    } as const;
    expect(() => one[read[one.type as keyof typeof read]]()).toThrow(MalformedSftp);
  });

  it.each([0, 4, packetBytesMax + 1, 0xffffffff])('are refused: a packet of %i bytes', (length) => {
    expect(() => [...new SftpReplies().push(word(length))]).toThrow(MalformedSftp);
    const bytewise = new SftpReplies();
    expect(() => [...word(length)].map((byte) => [...bytewise.push(Buffer.from([byte]))])).toThrow(
      MalformedSftp,
    );
  });
});
