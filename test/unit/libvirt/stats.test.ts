import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { type DomainRef, domainStatsRecords } from '../../../src/libvirt/procedures.js';
import type { DomainStats, StatRecord } from '../../../src/libvirt/stats.js';
import { DomainStatsDecoder } from '../../../src/libvirt/stats-decoder.js';
import type { TypedParam } from '../../../src/libvirt/wire/codec.js';
import { XdrReader, XdrWriter } from '../../../src/libvirt/wire/xdr.js';
import { domstats, fieldsOf, plain } from '../../support/domstats.js';
import { seededRandom } from '../../support/libvirt-peer.js';

const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}`, import.meta.url));
/** A real answer of libvirtd 9.0 for two suspended guests, and `virsh domstats --raw` before and after it. */
const recorded = fixture('domain-stats.bin');

let decoder: DomainStatsDecoder;
beforeEach(() => {
  decoder = new DomainStatsDecoder();
});

describe('a recorded reply', () => {
  it('says what virsh domstats said', () => {
    const before = domstats(fixture('domstats-before.txt').toString());
    const after = domstats(fixture('domstats-after.txt').toString());
    const all = decoder.decode(recorded);
    expect(all.map(({ domain }) => domain.name)).toEqual([...before.keys()]);
    for (const stats of all) {
      const ours = fieldsOf(stats);
      const low = before.get(stats.domain.name) ?? new Map();
      const high = after.get(stats.domain.name) ?? new Map();
      expect([...ours.keys()].sort()).toEqual([...low.keys()].sort());
      for (const [field, value] of ours) {
        if (typeof value === 'string') expect(value, field).toBe(low.get(field));
        else expect(value >= Number(low.get(field)) && value <= Number(high.get(field)), field).toBe(true);
      }
    }
  });

  it('is decoded alike the second time, with the strings of the first', () => {
    const first = decoder.decode(recorded);
    const second = decoder.decode(recorded);
    expect(second.map(plain)).toEqual(first.map(plain));
    expect(first.map(plain)).toEqual(new DomainStatsDecoder().decode(recorded).map(plain));
    expect(second[0]?.domain).toBe(first[0]?.domain);
  });

  it('leaves the last sample as it was', () => {
    const reply = (received: number) =>
      encode([
        {
          dom: guest('a'),
          params: ['cpu.time=1', 'net.0.rx.bytes=5', `net.1.rx.bytes=${received}`].map(param),
        },
      ]);
    const samples = [6, 7, 8].flatMap((received) => decoder.decode(reply(received)));
    expect(samples.map((stats) => plain(stats).nets)).toEqual([
      [{ 'rx.bytes': 5 }, { 'rx.bytes': 6 }],
      [{ 'rx.bytes': 5 }, { 'rx.bytes': 7 }],
      [{ 'rx.bytes': 5 }, { 'rx.bytes': 8 }],
    ]);
  });

  it('is whole as JSON', () => {
    const all = decoder.decode(recorded);
    expect(JSON.parse(JSON.stringify(all))).toEqual(all.map(plain));
  });

  it('cannot be written to', () => {
    const [stats] = decoder.decode(recorded);
    expect(() => Object.assign(stats?.cpu ?? {}, { time: 0 })).toThrow(TypeError);
  });

  it('tells the new values after a reply that broke off half way', () => {
    const before = encode([{ dom: guest('a'), params: ['cpu.time=1', 'cpu.user=1'].map(param) }]);
    const after = encode([{ dom: guest('a'), params: ['cpu.time=2', 'cpu.user=1'].map(param) }]);
    decoder.decode(before);
    expect(() => decoder.decode(after.subarray(0, -8))).toThrow();
    expect(decoder.decode(after).map(plain)[0]?.cpu).toEqual({ time: 2, user: 1 });
  });

  it('does not take letters that only look like the bytes of last time', () => {
    decode(['net.0.name=Ã¼']);
    expect(decode(['net.0.name=ü'])[0]?.nets).toEqual([{ name: 'ü' }]);
  });

  it('agrees with the generic codec', () => {
    const generic = domainStatsRecords.read(new XdrReader(recorded));
    for (const [index, stats] of decoder.decode(recorded).entries()) {
      expect(stats.domain).toEqual(generic[index]?.dom);
      expect(fieldsOf(stats)).toEqual(
        new Map(generic[index]?.params.map(({ field, value }) => [field, value])),
      );
    }
  });

  it('cut short anywhere is PROTOCOL_ERROR', () => {
    for (let size = 0; size < recorded.length; size += 4) {
      expect(() => decoder.decode(recorded.subarray(0, size))).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
      );
    }
    expect(decoder.decode(recorded)).toHaveLength(2);
  });
});

describe('DomainStatsDecoder', () => {
  it('puts each field in its group', () => {
    const [stats] = decode([
      'state.state=1',
      'cpu.cache.monitor.count=0',
      'vcpu.current=2',
      'vcpu.0.time=10',
      'vcpu.2.exits.sum=5',
      'net.count=1',
      'net.0.name=vnet0',
      'block.0.rd.reqs=7',
      'iothread.1.poll-max-ns=32768',
      'perf.cmt=1',
      'memory.bandwidth.monitor.count=0',
      'dirtyrate.vcpu.0.megabytes_per_second=3',
      'vm.remote_tlb_flush.sum=4',
      'new.thing=9',
    ]);
    expect(stats).toEqual({
      domain: guest('a'),
      state: { state: 1 },
      cpu: { 'cache.monitor.count': 0 },
      balloon: {},
      vcpu: { current: 2 },
      vcpus: [{ time: 10 }, {}, { 'exits.sum': 5 }],
      nets: [{ name: 'vnet0' }],
      blocks: [{ 'rd.reqs': 7 }],
      iothreads: [{}, { 'poll-max-ns': 32768 }],
      perf: { cmt: 1 },
      memory: { 'bandwidth.monitor.count': 0 },
      dirtyrate: { 'vcpu.0.megabytes_per_second': 3 },
      other: { 'net.count': 1, 'vm.remote_tlb_flush.sum': 4, 'new.thing': 9 },
    });
  });

  it('follows a host whose VMs and devices come and go', () => {
    const random = seededRandom(5);
    const names = ['a', 'b', 'c', 'd', 'größe'];
    for (let poll = 0; poll < 300; poll++) {
      const present = names.filter(() => random() < 0.8).sort(() => random() - 0.5);
      const records = present.map((name) => {
        const nets = Math.floor(random() * 3);
        const fields = ['state.state=1', `cpu.time=${Math.floor(random() * 1e12)}`];
        for (let net = 0; net < nets; net++) {
          fields.push(`net.${net}.name=vnet${Math.floor(random() * 9)}`, `net.${net}.rx.bytes=${poll}`);
        }
        if (random() < 0.5) fields.push(`block.0.path=/var/lib/ü/${name}-${Math.floor(random() * 2)}`);
        return { dom: { ...guest(name), id: random() < 0.9 ? 1 : -1 }, params: fields.map(param) };
      });
      const payload = encode(records);
      expect(decoder.decode(payload).map(plain)).toEqual(new DomainStatsDecoder().decode(payload).map(plain));
      expect(decoder.decode(payload).map(fieldsOf)).toEqual(
        records.map(({ params }) => new Map(params.map(({ field, value }) => [field, value]))),
      );
    }
  });

  it('knows a domain again by its name, UUID and id together', () => {
    const of = (dom: DomainRef) =>
      decoder.decode(encode([{ dom, params: [param('cpu.time=1')] }]))[0]?.domain;
    for (const name of ['a', 'größe']) {
      const first = of(guest(name));
      expect(of(guest(name))).toBe(first);
      for (const uuid of ['7695eb01-f6a4-8304-79aa-97f2502e193f', '6695eb01-f6a4-8304-79aa-97f2502e193e']) {
        expect(of({ ...guest(name), uuid })).toEqual({ ...guest(name), uuid });
      }
      expect(of({ ...guest(name), id: 2 })).toEqual({ ...guest(name), id: 2 });
      expect(of(guest(`${name}b`))).toEqual(guest(`${name}b`));
    }
  });

  it('never keeps a figure that is gone', () => {
    decode(['balloon.current=1', 'balloon.rss=2']);
    expect(decode(['balloon.current=1'])[0]?.balloon).toEqual({ current: 1 });
    expect(decode([])[0]?.balloon).toEqual({});
  });

  it('takes every type of value', () => {
    const params: TypedParam[] = [
      { field: 'perf.a', type: 'int', value: -1 },
      { field: 'perf.b', type: 'uint', value: 0xffff_ffff },
      { field: 'perf.c', type: 'llong', value: -(2 ** 40) },
      { field: 'perf.d', type: 'ullong', value: 2 ** 63 },
      { field: 'perf.e', type: 'double', value: 0.5 },
      { field: 'perf.f', type: 'boolean', value: true },
      { field: 'perf.g', type: 'string', value: 'text' },
    ];
    const [stats] = decoder.decode(encode([{ dom: guest('a'), params }])).map(plain);
    expect(stats?.perf).toEqual({
      a: -1,
      b: 0xffff_ffff,
      c: -(2 ** 40),
      d: 2 ** 63,
      e: 0.5,
      f: 1,
      g: 'text',
    });
  });
});

describe('a hostile reply', () => {
  it('cannot reach a prototype, and its odd names go to `other`', () => {
    const [stats] = decode([
      '__proto__=1',
      'state.__proto__=2',
      'constructor=3',
      'vcpu.__proto__.state=4',
      'vcpu.-1.state=5',
      'vcpu.00.state=6',
      'vcpu.99999999999.state=7',
      'vcpu.16384.state=8',
      '4294967294=9',
      'state.1023=10',
      '=11',
    ]);
    expect(({} as StatRecord).state).toBeUndefined();
    expect(stats?.vcpus).toEqual([]);
    expect(stats?.other).toEqual({
      constructor: 3,
      'vcpu.16384.state': 8,
      '.4294967294': 9,
      'state.1023': 10,
      '.': 11,
    });
    expect(stats?.vcpu).toEqual({
      '__proto__.state': 4,
      '-1.state': 5,
      '00.state': 6,
      '99999999999.state': 7,
    });
  });

  it('that repeats fields and domains gives the last value', () => {
    const record = {
      dom: guest('a'),
      params: ['state.state=1', 'state.state=5', 'cpu.time=1', 'state.state=3'].map(param),
    };
    for (let poll = 0; poll < 3; poll++) {
      const all = decoder.decode(encode([record, record]));
      expect(all.map(({ state, cpu }) => [state.state, cpu.time])).toEqual([
        [3, 1],
        [3, 1],
      ]);
    }
  });

  it('with too many devices, domains or fields is PROTOCOL_ERROR', () => {
    const many = Array.from({ length: 17 }, () => ({
      dom: guest('a'),
      params: [param('net.16383.rx.bytes=1')],
    }));
    expect(decoder.decode(encode(many.slice(1)))).toHaveLength(16);
    for (const payload of [
      encode(many),
      words(20_000),
      Buffer.concat([words(1), domainBytes(), words(600_000)]),
    ]) {
      const padded = Buffer.concat([payload, Buffer.alloc(600_000 * 12)]);
      expect(() => decoder.decode(padded)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
    }
  });

  it('of random bytes is PROTOCOL_ERROR or harmless', () => {
    const random = seededRandom(23);
    for (let round = 0; round < 3_000; round++) {
      const bytes = Buffer.from(recorded.subarray(0, 4 * Math.ceil((random() * recorded.length) / 4)));
      for (let hit = 0; hit < 1 + random() * 4; hit++) {
        bytes[Math.floor(random() * bytes.length)] = random() < 0.5 ? Math.floor(random() * 256) : 0xff;
      }
      try {
        decoder.decode(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(HostError);
        expect(error).toMatchObject({ code: 'PROTOCOL_ERROR' });
      }
    }
    expect(decoder.decode(recorded).map(plain)).toEqual(new DomainStatsDecoder().decode(recorded).map(plain));
  });
});

function decode(fields: string[]): DomainStats[] {
  return decoder.decode(encode([{ dom: guest('a'), params: fields.map(param) }])).map(plain);
}

function encode(records: { dom: DomainRef; params: TypedParam[] }[]): Buffer {
  const writer = new XdrWriter();
  domainStatsRecords.write(writer, records);
  return writer.finish();
}

function guest(name: string): DomainRef {
  return { name, uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 };
}

/** `field=value`; a value of digits is an unsigned 64-bit one. */
function param(text: string): TypedParam {
  const equals = text.indexOf('=');
  const field = text.slice(0, equals);
  const value = text.slice(equals + 1);
  return /^\d+$/.test(value)
    ? { field, type: 'ullong', value: Number(value) }
    : { field, type: 'string', value };
}

function domainBytes(): Buffer {
  return encode([{ dom: guest('a'), params: [] }]).subarray(4, -4);
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value, index * 4);
  });
  return bytes;
}
