// How long the decoder takes for one poll of a host with 40 guests, against the straightforward way in the same run. The
// bytes are a real answer of libvirt 9.0 for two guests, repeated under other names and UUIDs; counters move between polls.
import { readFileSync } from 'node:fs';
import { domainStatsRecords } from '../src/libvirt/procedures.js';
import { DomainStatsDecoder } from '../src/libvirt/stats-decoder.js';
import { XdrReader, XdrWriter } from '../src/libvirt/wire/xdr.js';
import { fieldsOf } from '../test/support/domstats.js';

const guests = 40;
const rounds = 7;
const pollsPerRound = 400;

const recorded = readFileSync(new URL('../test/unit/libvirt/fixtures/domain-stats.bin', import.meta.url));
const polls = Array.from({ length: 8 }, (_, poll) => reply(poll));

function reply(poll: number): Buffer {
  const real = domainStatsRecords.read(new XdrReader(recorded));
  const records = Array.from({ length: guests }, (_, guest) => {
    const { dom, params } = real[guest % real.length] as (typeof real)[number];
    const number = String(guest).padStart(2, '0');
    const uuid = `${dom.uuid.slice(0, -2)}${number}`;
    return {
      dom: { ...dom, name: `${dom.name}-${number}`, uuid },
      params: params.map((param) => moved(param, poll)),
    };
  });
  const writer = new XdrWriter();
  domainStatsRecords.write(writer, records);
  return writer.finish();
}

function moved<P extends { type: string; value: unknown }>(param: P, poll: number): P {
  return param.type === 'ullong' ? { ...param, value: Number(param.value) + poll * 1_000_003 } : param;
}

type Params = {
  domain: { name: string; uuid: string; id: number };
  params: { field: string; value: unknown }[];
};

/** The peer: what a generic XDR binding gives (a list of new strings and BigInts), then put into the same shape by name. */
function straightforward(payload: Buffer): unknown[] {
  let at = 0;
  const take = (size: number) => {
    at += size;
    return at - size;
  };
  const uint = () => payload.readUInt32BE(take(4));
  const int = () => payload.readInt32BE(take(4));
  const string = () => {
    const length = uint();
    const text = payload.toString('utf8', at, at + length);
    at += (length + 3) & ~3;
    return text;
  };
  const uuid = () => {
    const hex = payload.toString('hex', take(16), at);
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  };
  const values: Record<number, () => unknown> = {
    1: int,
    2: uint,
    3: () => payload.readBigInt64BE(take(8)),
    4: () => payload.readBigUInt64BE(take(8)),
    5: () => payload.readDoubleBE(take(8)),
    6: () => int() !== 0,
    7: string,
  };
  const records: Params[] = [];
  for (let left = uint(); left > 0; left--) {
    const domain = { name: string(), uuid: uuid(), id: int() };
    const params: Params['params'] = [];
    for (let more = uint(); more > 0; more--) params.push({ field: string(), value: values[uint()]?.() });
    records.push({ domain, params });
  }
  return records.map(({ domain, params }) => {
    const groups: Record<string, Record<string, unknown>> = {};
    for (const { field, value } of params) {
      const [, group = 'other', key = field] = /^([a-z]+(?:\.\d+)?)\.(.+)$/.exec(field) ?? [];
      groups[group] ??= {};
      groups[group][key] = typeof value === 'bigint' ? Number(value) : value;
    }
    return { domain, ...groups };
  });
}

/** Microseconds a poll: the best round, which other work on the machine disturbed least. */
function measure(decode: (payload: Buffer) => unknown[]): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    for (let poll = 0; poll < pollsPerRound; poll++) decode(polls[poll % polls.length] as Buffer);
    best = Math.min(best, ((performance.now() - start) * 1000) / pollsPerRound);
  }
  return best;
}

const decoder = new DomainStatsDecoder();
const fields = decoder.decode(polls[0] as Buffer).reduce((sum, stats) => sum + fieldsOf(stats).size, 0);
const ours = measure((payload) => decoder.decode(payload));
const theirs = measure(straightforward);
const cold = measure((payload) => new DomainStatsDecoder().decode(payload));
console.log(
  `${guests} guests, ${fields} fields, ${polls[0]?.length} bytes a poll (best of ${rounds} rounds)`,
);
console.log(`DomainStatsDecoder, steady:         ${ours.toFixed(0)} µs`);
console.log(`DomainStatsDecoder, first poll:     ${cold.toFixed(0)} µs`);
console.log(`strings + BigInt + names by regexp: ${theirs.toFixed(0)} µs`);
console.log(`ratio: ${(theirs / ours).toFixed(1)} times as fast`);
