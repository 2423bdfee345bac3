// Parsers of /proc that have to do with the network, the scheduler and RAID; hostile text for each is in proc.test.ts.
import { describe, expect, it } from 'vitest';
import { Problems } from '../../../src/pollers/problems.js';
import { parseArp } from '../../../src/pollers/proc/arp.js';
import { parseConntrackStat } from '../../../src/pollers/proc/conntrack.js';
import { parseMdstat } from '../../../src/pollers/proc/mdstat.js';
import { parseSchedstat } from '../../../src/pollers/proc/schedstat.js';
import { parseSoftnet } from '../../../src/pollers/proc/softnet.js';
import { hex, integer, parseCpuList } from '../../../src/pollers/proc/text.js';
import { parseUdpQueues } from '../../../src/pollers/proc/udp.js';
import { pageBytes } from '../../../src/pollers/proc/vmstat.js';
import { plainRows } from '../../support/plain-rows.js';

function parsed<T>(parse: (text: string, problem: (what: string) => void) => T, text: string) {
  const problems = new Problems();
  return { value: parse(text, problems.of('file')), problems: problems.list };
}

describe('the network', () => {
  it('counts neighbours by device', () => {
    const head = 'IP address       HW type     Flags       HW address            Mask     Device\n';
    const entry = (device: string) =>
      `192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        ${device}\n`;
    const { value, problems } = parsed(
      parseArp,
      `${head}${entry('eth0')}${entry('br0')}${entry('eth0')}odd\n`,
    );
    expect({ ...value }).toEqual({ eth0: 2, br0: 1 });
    expect(problems).toEqual(['file: bad line odd']);
    expect({ ...parsed(parseArp, `${head}${entry('__proto__')}`).value }).toEqual(
      Object.fromEntries([['__proto__', 1]]),
    );
  });

  it('reads softnet of old and new kernels, and whose line it is where CPUs are off', () => {
    const old = '0000000a 00000001 00000002 0 0 0 0 0 00000003';
    expect(plainRows(parsed(parseSoftnet, `${old}\n${old}`).value)).toEqual([
      { cpu: 0, processed: 10, dropped: 1, timesSqueezed: 2, cpuCollision: 3 },
      { cpu: 1, processed: 10, dropped: 1, timesSqueezed: 2, cpuCollision: 3 },
    ]);
    const { value, problems } = parsed(parseSoftnet, `${old} 4 5 6 00000007 0 0\nrubbish\n1 2\n`);
    expect(plainRows(value)).toEqual([
      {
        cpu: 7,
        processed: 10,
        dropped: 1,
        timesSqueezed: 2,
        cpuCollision: 3,
        receivedRps: 4,
        flowLimitCount: 5,
        backlogLength: 6,
      },
    ]);
    expect(problems).toEqual(['file: bad line rubbish', 'file: bad line 1 2']);
    // A line says nothing of what only the one before it has.
    expect(plainRows(parsed(parseSoftnet, `${old} 4 5 6 00000007 0 0\n${old}`).value)[1]).toEqual({
      cpu: 1,
      processed: 10,
      dropped: 1,
      timesSqueezed: 2,
      cpuCollision: 3,
    });
  });

  it('sums connection tracking over the CPUs, whatever columns there are', () => {
    const text =
      'entries found new invalid drop search_restart\n5 a 0 1 2 3\n5 1 0 1 2 3\n5 1\nx 1 0 1 2 3\n';
    const { value, problems } = parsed(parseConntrackStat, text);
    expect({ ...value }).toEqual({ found: 11, invalid: 2, drop: 4, search_restart: 6 });
    expect(problems).toEqual(['file: bad line 5 1', 'file: bad line x 1 0 1 2 3']);
  });

  it('sums the queues of UDP sockets', () => {
    const line = (queues: string) =>
      ` 12: 00000000:0035 00000000:0000 07 ${queues} 00:00000000 0 0 0 1 2 0 0\n`;
    const text = `sl local_address rem_address st tx_queue rx_queue\n${line('00000010:00000100')}${line('1:2')}${line('zz:1')}bad\n`;
    const { value, problems } = parsed(parseUdpQueues, text);
    expect(value).toEqual({ tx: 17, rx: 258 });
    expect(problems).toHaveLength(2);
  });
});

describe('the scheduler', () => {
  it('tells running and waiting time of each CPU', () => {
    const text =
      'version 15\ntimestamp 1\ncpu0 0 0 0 0 0 0 2000000000 1500000000 42\ndomain0 03 0 0\ncpu1 1 2\n';
    const { value, problems } = parsed(parseSchedstat, text);
    expect(plainRows(value)).toEqual([{ cpu: 0, runningSeconds: 2, waitingSeconds: 1.5, timeslices: 42 }]);
    expect(problems).toEqual(['file: bad line cpu1 1 2']);
  });
});

describe('software RAID', () => {
  const text = [
    'Personalities : [raid1] [raid6] [raid5] [raid4] [raid0]',
    'md0 : active raid1 sdb1[1] sda1[0]',
    '      976630464 blocks super 1.2 [2/2] [UU]',
    '      bitmap: 3/8 pages [12KB], 65536KB chunk',
    '',
    'md1 : active raid5 sdd1[4](S) sdc1[3](F) sdb1[1] sda1[0]',
    '      292945152 blocks level 5, 64k chunk, algorithm 2 [3/2] [UU_]',
    '      [==>..................]  recovery = 12.6% (37043392/292945152) finish=127.5min speed=33440K/sec',
    '',
    'md2 : active raid0 sda2[0] sdb2[1]',
    '      20960768 blocks super 1.2 512k chunks',
    '',
    'md3 : inactive sdz1[2](S)',
    '      7932 blocks super 1.2',
    '',
    'md4 : active (auto-read-only) raid1 sda3[0] sdb3[1]',
    '      100 blocks [2/2] [UU]',
    '      \tresync=PENDING',
    '',
    'unused devices: <none>',
  ].join('\n');

  it('is read as node_exporter reads it', () => {
    const { value, problems } = parsed(parseMdstat, text);
    expect(problems).toEqual([]);
    const row = (array: (typeof value)[number]) => Object.values(array);
    expect(value.map(row)).toEqual([
      ['md0', 'active', 2, 2, 0, 0, 976_630_464, 976_630_464],
      ['md1', 'recovering', 3, 2, 1, 1, 292_945_152, 37_043_392],
      ['md2', 'active', 2, 2, 0, 0, 20_960_768, 20_960_768],
      ['md3', 'inactive', 0, 0, 0, 1, 7932, 7932],
      ['md4', 'resync', 2, 2, 0, 0, 100, 0],
    ]);
  });

  it('keeps the rest when a line is bad', () => {
    const { value, problems } = parsed(parseMdstat, 'garbage\n      5 blocks\nmd0 : active raid1\n   junk\n');
    expect(value).toEqual([expect.objectContaining({ device: 'md0', blocks: 0 })]);
    expect(problems).toEqual(['file: bad line garbage']);
  });
});

describe('small things', () => {
  it('numbers', () => {
    expect([integer('-5'), integer('7'), integer('1.5'), integer(''), integer(undefined)]).toEqual([
      ...[-5, 7, undefined, undefined, undefined],
    ]);
    expect([hex('0x1003'), hex('ff'), hex('0x'), hex('fg'), hex('f'.repeat(17))]).toEqual([
      ...[4099, 255, undefined, undefined, undefined],
    ]);
  });

  it('lists of CPUs', () => {
    expect(parseCpuList('0-2,8\n')).toEqual([0, 1, 2, 8]);
    expect(parseCpuList('')).toEqual([]);
    expect(parseCpuList('3-1,x,5')).toEqual([5]);
    expect(parseCpuList('0-999999').length).toBe(8192);
  });

  it('the size of a page', () => {
    const pages = (each: number) =>
      Object.fromEntries(
        ['nr_active_anon', 'nr_inactive_anon', 'nr_active_file', 'nr_inactive_file'].map((name) => [
          name,
          each,
        ]),
      );
    const memory = (each: number) =>
      Object.fromEntries(
        ['Active(anon)', 'Inactive(anon)', 'Active(file)', 'Inactive(file)'].map((name) => [name, each]),
      );
    expect(pageBytes(memory(4_096_000), pages(1000))).toBe(4096);
    expect(pageBytes(memory(4_500_000), pages(1000))).toBe(4096);
    expect(pageBytes(memory(65_000_000), pages(1000))).toBe(65_536);
    expect(pageBytes(memory(24_000_000), pages(1000))).toBeUndefined();
    expect(pageBytes(memory(0), pages(0))).toBeUndefined();
    expect(pageBytes({}, pages(1))).toBeUndefined();
    expect(pageBytes(undefined, undefined)).toBeUndefined();
  });
});
