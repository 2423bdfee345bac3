import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { domainStatsRecords, procedures } from '../../../src/libvirt/procedures.js';
import {
  array,
  bool,
  type Codec,
  double,
  fixedChars,
  hyper,
  int,
  optional,
  string,
  struct,
  typedParams,
  uhyper,
  uint,
  uuid,
} from '../../../src/libvirt/wire/codec.js';
import {
  encodeFrame,
  type Frame,
  FrameReader,
  frameBytesMax,
  headerBytes,
} from '../../../src/libvirt/wire/frame.js';
import { stringBytesMax, XdrReader, XdrWriter } from '../../../src/libvirt/wire/xdr.js';
import { cpuWatch } from '../../support/cpu-time.js';
import { seededRandom } from '../../support/libvirt-peer.js';

/** What a real libvirtd 9.0 sent during one session: opening, facts, errors, stats, goodbye. */
const session = readFileSync(new URL('fixtures/session.bin', import.meta.url));
const header = { program: 1, version: 1, procedure: 2, type: 1, serial: 3, status: 0 };

function framesOf(reader: FrameReader, chunk: Buffer): Frame[] {
  const frames: Frame[] = [];
  reader.push(chunk, (frame) => frames.push(frame));
  return frames;
}

describe('FrameReader', () => {
  const whole = framesOf(new FrameReader(), session);

  it('cuts a recorded session into its frames', () => {
    expect(whole.length).toBeGreaterThan(8);
    expect(whole.map(({ procedure }) => procedure)).toContain(procedures.connectGetAllDomainStats.number);
    expect(whole.at(-1)?.procedure).toBe(procedures.connectClose.number);
    expect(Buffer.concat(whole.map((frame) => encodeFrame(frame, frame.payload)))).toEqual(session);
  });

  it('gives the same frames a byte at a time', () => {
    const reader = new FrameReader();
    const frames: Frame[] = [];
    for (let at = 0; at < session.length; at++)
      frames.push(...framesOf(reader, session.subarray(at, at + 1)));
    expect(frames).toEqual(whole);
  });

  it('gives the same frames however the stream is cut', () => {
    const random = seededRandom(7);
    for (let round = 0; round < 200; round++) {
      const reader = new FrameReader();
      const frames: Frame[] = [];
      for (let at = 0; at < session.length; ) {
        const size = 1 + Math.floor(random() ** 3 * 3000);
        frames.push(...framesOf(reader, session.subarray(at, at + size)));
        at += size;
      }
      expect(frames).toEqual(whole);
    }
  });

  it('lends room to frames of many connections at once, and none sees the bytes of another', () => {
    const random = seededRandom(9);
    const sent = Array.from({ length: 20 }, (_, index) =>
      Buffer.concat(
        Array.from({ length: 6 }, (_, frame) =>
          encodeFrame(header, Buffer.alloc(Math.floor(random() * 300_000), index * 8 + frame)),
        ),
      ),
    );
    const readers = sent.map((bytes) => ({ reader: new FrameReader({ lend: true }), bytes, at: 0 }));
    const got = readers.map((): Buffer[] => []);
    for (let open = [...readers.keys()]; open.length > 0; ) {
      const index = open[Math.floor(random() * open.length)] as number;
      const one = readers[index] as (typeof readers)[number];
      const size = 1 + Math.floor(random() * 65_536);
      one.reader.push(one.bytes.subarray(one.at, one.at + size), (frame) =>
        got[index]?.push(encodeFrame(frame, frame.payload)),
      );
      one.at += size;
      if (one.at >= one.bytes.length) open = open.filter((other) => other !== index);
    }
    for (const [index, frames] of got.entries())
      expect(Buffer.concat(frames).equals(sent[index] as Buffer)).toBe(true);
  });

  it.each([0, 27, frameBytesMax + 1, 0xffff_ffff])(
    'refuses a length of %i, then and ever after',
    (length) => {
      const reader = new FrameReader();
      const good = encodeFrame(header, Buffer.alloc(4));
      const bad = Buffer.alloc(4);
      bad.writeUInt32BE(length);
      const frames: Frame[] = [];
      const push = (chunk: Buffer) => reader.push(chunk, (frame) => frames.push(frame));
      expect(() => push(Buffer.concat([good, bad]))).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
      );
      expect(frames).toHaveLength(1);
      expect(() => push(good)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
      expect(frames).toHaveLength(1);
    },
  );

  it('takes the shortest and the longest packet', () => {
    for (const size of [0, frameBytesMax - headerBytes]) {
      const bytes = encodeFrame(header, Buffer.alloc(size));
      const reader = new FrameReader();
      const frames = [bytes.subarray(0, 10), bytes.subarray(10)].flatMap((chunk) => framesOf(reader, chunk));
      expect(frames.map(({ payload }) => payload.length)).toEqual([size]);
    }
  });

  it('reserves what has come, not what is announced', () => {
    const announced = Buffer.alloc(4);
    announced.writeUInt32BE(frameBytesMax);
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 100 }, () => {
      const reader = new FrameReader();
      expect([announced, Buffer.alloc(1000)].flatMap((chunk) => framesOf(reader, chunk))).toEqual([]);
      return reader;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(readers.length * 64 * 1024);
  });

  it('takes a large packet in small pieces in linear time', () => {
    const bytes = encodeFrame(header, Buffer.alloc(8 * 1024 * 1024));
    const reader = new FrameReader();
    const frames: Frame[] = [];
    const cpuMs = cpuWatch();
    for (let at = 0; at < bytes.length; at += 512)
      frames.push(...framesOf(reader, bytes.subarray(at, at + 512)));
    expect(frames).toHaveLength(1);
    expect(cpuMs()).toBeLessThan(3_000);
  });
});

describe('codecs', () => {
  const everything = struct({
    int,
    uint,
    hyper,
    uhyper,
    double,
    bool,
    string,
    none: optional(string),
    some: optional(string),
    uuid,
    list: array(struct({ a: int, b: string }), 10),
    model: fixedChars(8),
    params: typedParams(10),
  });

  it('reads back what it wrote', () => {
    const value = {
      int: -5,
      uint: 0xffff_fffe,
      hyper: -(2 ** 40) - 1,
      uhyper: 2 ** 53 - 1,
      double: Math.PI,
      bool: true,
      string: 'größe',
      none: null,
      some: '',
      uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f',
      list: [
        { a: 1, b: 'x' },
        { a: 2, b: 'four' },
      ],
      model: 'x86_64',
      params: [
        { field: 'a', type: 'int' as const, value: -1 },
        { field: 'b', type: 'uint' as const, value: 1 },
        { field: 'c', type: 'llong' as const, value: -(2 ** 33) },
        { field: 'd', type: 'ullong' as const, value: 2 ** 63 },
        { field: 'e', type: 'double' as const, value: 0.1 },
        { field: 'f', type: 'boolean' as const, value: true },
        { field: 'g', type: 'string' as const, value: 'text' },
      ],
    };
    const bytes = written(everything, value);
    expect(bytes.length % 4).toBe(0);
    expect(everything.read(new XdrReader(bytes))).toEqual(value);
    for (let size = 0; size < bytes.length; size += 4) {
      expect(() => everything.read(new XdrReader(bytes.subarray(0, size)))).toThrow(HostError);
    }
  });

  it('rounds 64-bit integers to the nearest double', () => {
    const random = seededRandom(3);
    const samples = [0n, 1n, 2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 1025n];
    for (let index = 0; index < 2_000; index++) {
      const high = BigInt(Math.floor(random() * 2 ** 32));
      samples.push((high << 32n) | BigInt(Math.floor(random() * 2 ** 32)));
    }
    const bytes = Buffer.alloc(8);
    for (const sample of samples) {
      bytes.writeBigUInt64BE(sample);
      expect(new XdrReader(bytes).uhyper()).toBe(Number(sample));
      expect(new XdrReader(bytes).hyper()).toBe(Number(BigInt.asIntN(64, sample)));
    }
  });

  it('writes more than its first buffer holds', () => {
    const list = array(string, 10_000);
    const value = Array.from({ length: 5_000 }, (_, index) => `value ${index}`);
    expect(list.read(new XdrReader(written(list, value)))).toEqual(value);
  });

  it.each([
    ['a string longer than the limit', string, [stringBytesMax + 1]],
    ['a string longer than the message', string, [5, 0x61616161]],
    ['a list longer than its limit', array(int, 3), [4, 0, 0, 0, 0]],
    ['a list longer than the message', array(uuid, 1_000_000), [999_999, 0, 0, 0, 0]],
    ['an unknown type of value', typedParams(3), [1, 0, 8, 0, 0, 0]],
  ])('refuses %s', (_, codec: Codec<unknown>, words) => {
    const bytes = Buffer.alloc(words.length * 4);
    words.forEach((word, index) => {
      bytes.writeUInt32BE(word, index * 4);
    });
    expect(() => codec.read(new XdrReader(bytes))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
    );
  });

  it('never fails with anything but PROTOCOL_ERROR on random bytes', () => {
    const random = seededRandom(11);
    const codecs: Codec<unknown>[] = [
      everything,
      domainStatsRecords,
      procedures.connectListAllDomains.result,
    ];
    for (let round = 0; round < 3_000; round++) {
      const bytes = Buffer.alloc(Math.floor(random() * 200));
      for (let at = 0; at < bytes.length; at++) bytes[at] = random() < 0.6 ? 0 : Math.floor(random() * 256);
      for (const codec of codecs) expectProtocolError(() => codec.read(new XdrReader(bytes)));
    }
  });
});

function written<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter();
  codec.write(writer, value);
  return writer.finish();
}

function expectProtocolError(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    expect(error).toMatchObject({ code: 'PROTOCOL_ERROR' });
  }
}
