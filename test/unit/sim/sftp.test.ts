// The file side alone, byte by byte: pieces of one reading, and what lies beyond a file's end.
import { duplexPair } from 'node:stream';
import { expect, it } from 'vitest';
import { Faults } from '../../../src/sim/faults.js';
import { SimHost } from '../../../src/sim/host.js';
import { procFiles } from '../../../src/sim/proc.js';
import { serveSftp } from '../../../src/sim/sftp.js';
import { FakeClock } from '../../support/fake-clock.js';
import { until } from '../../support/until.js';

const words = (...values: number[]) => {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value, index * 4);
  });
  return bytes;
};
const packet = (type: number, ...parts: Buffer[]) => {
  const body = Buffer.concat([Buffer.of(type), ...parts]);
  return Buffer.concat([words(body.length), body]);
};
const open = (path: string) => packet(3, words(1, path.length), Buffer.from(path), words(1, 0));
const read = (id: number, offset: number, length: number) => packet(5, words(id, 4, 1, 0, offset, length));

it('answers a turn at once: pieces of one text, then its end; a new reading is a new text', async () => {
  const clock = new FakeClock();
  const host = new SimHost({ name: 'kvm-01', seed: 1, vms: 2, clock });
  const text = () => procFiles['/proc/stat']?.(host, host.nowMs()) ?? '';
  const [client, server] = duplexPair();
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  serveSftp(server, host, new Faults('kvm-01', [], 1));
  const first = text();
  client.write(Buffer.concat([open('/proc/stat'), read(2, 0, 1_000)]));
  await until('the first piece', () => chunks.length > 0);
  expect(chunks).toHaveLength(1);
  expect(replies(chunks)).toEqual([
    [102, 1, ''],
    [103, 2, first.slice(0, 1_000)],
  ]);

  chunks.length = 0;
  await clock.advance(15_000);
  client.write(Buffer.concat([read(3, 1_000, 60_000), read(4, first.length, 100), read(5, 0, 60_000)]));
  await until('the rest', () => chunks.length > 0);
  expect(text()).not.toBe(first);
  expect(replies(chunks)).toEqual([
    [103, 3, first.slice(1_000)],
    [101, 4, ''],
    [103, 5, text()],
  ]);
});

/** Type, id, and the text where there is one. */
function replies(chunks: readonly Buffer[]): [number, number, string][] {
  const found: [number, number, string][] = [];
  let bytes = Buffer.concat(chunks);
  while (bytes.length > 0) {
    const end = 4 + bytes.readUInt32BE(0);
    const type = bytes.readUInt8(4);
    found.push([type, bytes.readUInt32BE(5), type === 103 ? bytes.toString('utf8', 13, end) : '']);
    bytes = bytes.subarray(end);
  }
  return found;
}
