import { describe, expect, it } from 'vitest';
import { Problems } from '../../../src/pollers/problems.js';
import { parseArp } from '../../../src/pollers/proc/arp.js';
import { parseConntrackStat } from '../../../src/pollers/proc/conntrack.js';
import { parseCpuinfo } from '../../../src/pollers/proc/cpuinfo.js';
import { parseDiskstats } from '../../../src/pollers/proc/diskstats.js';
import { parseLoadavg, parseUptime } from '../../../src/pollers/proc/load.js';
import { parseMdstat } from '../../../src/pollers/proc/mdstat.js';
import { parseMeminfo } from '../../../src/pollers/proc/meminfo.js';
import { parseMounts } from '../../../src/pollers/proc/mounts.js';
import { parseNetDev } from '../../../src/pollers/proc/netdev.js';
import { parseNetstat, parseSnmp6, parseSockstat } from '../../../src/pollers/proc/netstat.js';
import { parseOsRelease } from '../../../src/pollers/proc/os-release.js';
import { parsePressure } from '../../../src/pollers/proc/pressure.js';
import { parseSchedstat } from '../../../src/pollers/proc/schedstat.js';
import { parseSoftnet } from '../../../src/pollers/proc/softnet.js';
import { parseStat } from '../../../src/pollers/proc/stat.js';
import { parseCpuList, parseTextLine, parseUnsignedLine } from '../../../src/pollers/proc/text.js';
import { parseUdpQueues } from '../../../src/pollers/proc/udp.js';
import { parseVmstat } from '../../../src/pollers/proc/vmstat.js';
import { parseUdev } from '../../../src/pollers/sys/identity.js';
import { parsePowerSupply } from '../../../src/pollers/sys/power.js';
import { cpuWatch } from '../../support/cpu-time.js';
import { plain, plainRows } from '../../support/plain-rows.js';

/** The result, and the problems. */
function parsed<T>(parse: (text: string, problem: (what: string) => void) => T, text: string) {
  const problems = new Problems();
  return { value: parse(text, problems.of('file')), problems: problems.list };
}

describe('/proc/stat', () => {
  const text = [
    'cpu  6756 0 3400 117137 1028 0 58 19 0 0',
    'cpu0 2884 0 1568 59427 300 0 9 7 5 1',
    'cpu12 3871 0 1831 57709',
    'intr 240642 0 0 0 1',
    'ctxt 663768',
    'btime 1795221422',
    'processes 8497',
    'procs_running 1',
    'procs_blocked 0',
    'softirq 140731 0 16074 4',
    '',
  ].join('\n');

  it('gives seconds, and leaves out what an old kernel does not count', () => {
    const { value, problems } = parsed(parseStat, text);
    expect(problems).toEqual([]);
    expect({ ...value, cpus: plainRows(value.cpus) }).toEqual({
      cpus: [
        {
          cpu: 0,
          user: 28.84,
          nice: 0,
          system: 15.68,
          idle: 594.27,
          iowait: 3,
          irq: 0,
          softirq: 0.09,
          steal: 0.07,
          guest: 0.05,
          guestNice: 0.01,
        },
        { cpu: 12, user: 38.71, nice: 0, system: 18.31, idle: 577.09 },
      ],
      interrupts: 240_642,
      contextSwitches: 663_768,
      bootTime: 1_795_221_422,
      forks: 8497,
      processesRunning: 1,
      processesBlocked: 0,
    });
  });

  it('keeps the rest when a line is bad', () => {
    const { value, problems } = parsed(
      parseStat,
      'cpu0 1 2 x 4\ncpu1 1 2 3 4\ncpu1 9 9 9 9\nctxt -5\nbtime 7\n',
    );
    expect({ ...value, cpus: plainRows(value.cpus) }).toEqual({
      cpus: [{ cpu: 1, user: 0.01, nice: 0.02, system: 0.03, idle: 0.04 }],
      bootTime: 7,
    });
    expect(problems).toEqual([
      'file: bad line cpu0 1 2 x 4',
      'file: bad line cpu1 9 9 9 9',
      'file: bad line ctxt -5',
    ]);
  });

  it('reads an interrupt line of thousands of vectors', () => {
    const { value, problems } = parsed(parseStat, `cpu0 1 1 1 1\nintr 77${' 0'.repeat(100_000)}\nctxt 5\n`);
    expect(value.interrupts).toBe(77);
    expect(value.contextSwitches).toBe(5);
    expect(problems).toEqual([]);
  });
});

describe('/proc/meminfo', () => {
  it('gives bytes, and counts of huge pages', () => {
    const { value, problems } = parsed(
      parseMeminfo,
      'MemTotal:       24684096 kB\nActive(anon):       4096 kB\nHugePages_Total:       3\n',
    );
    expect(plain(value)).toEqual({ MemTotal: 25_276_514_304, 'Active(anon)': 4_194_304, HugePages_Total: 3 });
    expect(problems).toEqual([]);
  });

  it('is not confused by names of the language', () => {
    const { value, problems } = parsed(
      parseMeminfo,
      'MemTotal: 1 kB\n__proto__: 5\nconstructor: 6\nbad line\n',
    );
    expect(Object.keys(plain(value))).toEqual(['MemTotal']);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect(problems).toEqual(['file: bad line bad line']);
  });
});

describe('/proc/loadavg and /proc/uptime', () => {
  it('are read', () => {
    expect(parsed(parseLoadavg, '0.04 0.10 12.08 1/91 8497\n').value).toEqual({
      one: 0.04,
      five: 0.1,
      fifteen: 12.08,
    });
    expect(parsed(parseUptime, '644.53 1171.37\n').value).toBe(644.53);
  });

  it('are absent when bad', () => {
    expect(parsed(parseLoadavg, 'a b c')).toEqual({
      value: undefined,
      problems: ['file: not three load averages'],
    });
    expect(parsed(parseUptime, '')).toEqual({ value: undefined, problems: ['file: not an uptime'] });
    expect(parsed(parseUptime, '1e5').value).toBeUndefined();
  });
});

describe('/proc/diskstats', () => {
  const current =
    ' 254       0 vda 37247 10273 2824554 24416 14261 20861 2353168 25362 0 13692 50749 5072 38 216264 613 2270 357';

  it('gives bytes and seconds', () => {
    expect(parsed(parseDiskstats, current).value).toEqual([
      {
        device: 'vda',
        major: 254,
        minor: 0,
        reads: 37_247,
        readsMerged: 10_273,
        readBytes: 2_824_554 * 512,
        readSeconds: 24.416,
        writes: 14_261,
        writesMerged: 20_861,
        writtenBytes: 2_353_168 * 512,
        writeSeconds: 25.362,
        ioNow: 0,
        ioSeconds: 13.692,
        ioWeightedSeconds: 50.749,
        discards: 5072,
        discardsMerged: 38,
        discardedSectors: 216_264,
        discardSeconds: 0.613,
        flushes: 2270,
        flushSeconds: 0.357,
      },
    ]);
  });

  it('leaves out what an old kernel does not count', () => {
    const [disk] = parsed(parseDiskstats, '8 0 sda 1 2 3 4 5 6 7 8 9 10 11').value;
    expect(disk).toMatchObject({ device: 'sda', reads: 1, ioWeightedSeconds: 0.011 });
    expect(disk).not.toHaveProperty('discards');
    expect(disk).not.toHaveProperty('flushes');
  });

  it('keeps the rest when a line is bad', () => {
    const { value, problems } = parsed(parseDiskstats, `8 0 sda 1 2\n${current}\n${current}\n8 1 sdb x\n`);
    expect(value.map(({ device }) => device)).toEqual(['vda']);
    expect(problems).toHaveLength(3);
  });
});

describe('/proc/self/mounts', () => {
  it('unescapes, and lets a later mount hide an earlier one', () => {
    const text = [
      '/dev/vda / ext4 rw,relatime 0 0',
      'tmpfs /srv/with\\040blank\\134 tmpfs ro,nosuid 0 0',
      '/dev/vdb /data xfs rw 0 0',
      '/dev/vdc /data ext4 rw,errors=remount-ro 0 0',
      'nonsense',
      'dev relative ext4 rw 0 0',
    ].join('\n');
    const { value, problems } = parsed(parseMounts, text);
    expect(value).toEqual([
      { device: '/dev/vda', mountpoint: '/', fstype: 'ext4', readOnly: false },
      { device: 'tmpfs', mountpoint: '/srv/with blank\\', fstype: 'tmpfs', readOnly: true },
      { device: '/dev/vdc', mountpoint: '/data', fstype: 'ext4', readOnly: false },
    ]);
    expect(problems).toHaveLength(2);
  });
});

describe('/proc/net/dev', () => {
  const head =
    'Inter-|   Receive                            |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n';

  it('is read, also where the kernel leaves no blank after the colon', () => {
    const { value, problems } = parsed(
      parseNetDev,
      `${head}    lo:   62918      62    0    0    0     0          0         0    62918      62    0    0    0     0       0          0\n  eth0:306418193 8907 1 2 3 4 5 6 623574 5306 7 8 9 10 11 12\n`,
    );
    expect(problems).toEqual([]);
    expect(value.map(({ device }) => device)).toEqual(['lo', 'eth0']);
    expect(plainRows(value)[1]).toEqual({
      device: 'eth0',
      receiveBytes: 306_418_193,
      receivePackets: 8907,
      receiveErrs: 1,
      receiveDrop: 2,
      receiveFifo: 3,
      receiveFrame: 4,
      receiveCompressed: 5,
      receiveMulticast: 6,
      transmitBytes: 623_574,
      transmitPackets: 5306,
      transmitErrs: 7,
      transmitDrop: 8,
      transmitFifo: 9,
      transmitColls: 10,
      transmitCarrier: 11,
      transmitCompressed: 12,
    });
  });

  it('keeps the rest when a line is bad', () => {
    const { value, problems } = parsed(
      parseNetDev,
      `${head}eth0: 1 2 3\neth1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n`,
    );
    expect(value.map(({ device }) => device)).toEqual(['eth1']);
    expect(problems).toEqual(['file: bad line eth0: 1 2 3']);
  });
});

describe('the small ones', () => {
  it('pressure', () => {
    const text =
      'some avg10=0.24 avg60=0.65 avg300=0.94 total=13744207\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n';
    expect(parsed(parsePressure, text)).toEqual({ value: { some: 13.744207, full: 0.000005 }, problems: [] });
    expect(parsed(parsePressure, 'some total=x\n').problems).toHaveLength(1);
  });

  it('vmstat', () => {
    const { value, problems } = parsed(parseVmstat, 'nr_free_pages 5\npgfault 7\npswpin oops\noom_kill 0\n');
    expect(plain(value)).toEqual({ pgfault: 7, oom_kill: 0 });
    expect(problems).toEqual(['file: bad line pswpin oops']);
  });

  it('netstat', () => {
    const text =
      'Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: MaxConn InSegs Evil\nTcp: -1 8839 1\nUdp: InDatagrams\nUdp: 1 2\nIpExt: InOctets\nIpExt: 5\n';
    const { value, problems } = parsed(parseNetstat, text);
    expect(plain(value)).toEqual({ Ip_Forwarding: 2, Tcp_InSegs: 8839, IpExt_InOctets: 5 });
    expect(problems).toEqual(['file: bad line Udp: 1 2']);
    expect(
      plain(parsed(parseSnmp6, 'Ip6InOctets   \t128\nUdp6NoPorts 1\nUdpLite6InErrors 2\nOther 1\n').value),
    ).toEqual({
      Ip6_InOctets: 128,
      Udp6_NoPorts: 1,
      UdpLite6_InErrors: 2,
    });
    expect(
      plain(parsed(parseSockstat, 'sockets: used 21\nTCP: inuse 4 orphan 0 tw 1 alloc 5 mem 136\n').value),
    ).toEqual({
      sockets_used: 21,
      TCP_inuse: 4,
      TCP_orphan: 0,
      TCP_tw: 1,
      TCP_alloc: 5,
      TCP_mem: 136,
    });
  });

  it('cpuinfo', () => {
    const cpu = (n: number) =>
      `processor\t: ${n}\ncpu MHz\t\t: 2596.130\nphysical id\t: 0\ncore id\t\t: ${n}\n\n`;
    expect(parsed(parseCpuinfo, cpu(0) + cpu(1)).value).toEqual([
      { cpu: 0, hertz: 2_596_130_000, package: '0', core: '0' },
      { cpu: 1, hertz: 2_596_130_000, package: '0', core: '1' },
    ]);
    expect(parsed(parseCpuinfo, 'processor\t: 0\nBogoMIPS\t: 48.00\n').value).toEqual([]);
  });

  it('os-release', () => {
    const text = `PRETTY_NAME="Debian \\"12\\""\nID=debian\n# note\n\nVERSION='12 (bookworm)'\nodd line\n`;
    const { value, problems } = parsed(parseOsRelease, text);
    expect({ ...value }).toEqual({ PRETTY_NAME: 'Debian "12"', ID: 'debian', VERSION: '12 (bookworm)' });
    expect(problems).toEqual(['file: bad line odd line']);
  });

  it('single lines', () => {
    expect(parseTextLine('kvm-01\nmore')).toBe('kvm-01');
    expect(parseTextLine('a\u0000\u001bb')).toBe('ab');
    expect(parseTextLine('\n')).toBeUndefined();
    expect(parsed(parseUnsignedLine, '42\n').value).toBe(42);
    expect(parsed(parseUnsignedLine, '<unknown>\n').problems).toEqual(['file: not a number']);
  });
});

describe('hostile text', () => {
  const parsers: Record<string, (text: string, problem: (what: string) => void) => unknown> = {
    parseStat,
    parseMeminfo,
    parseLoadavg,
    parseUptime,
    parseDiskstats,
    parseMounts,
    parseNetDev,
    parseNetstat,
    parseSnmp6,
    parseSockstat,
    parseOsRelease,
    parsePressure,
    parseVmstat,
    parseCpuinfo,
    parseUnsignedLine,
    parseTextLine,
    parseArp,
    parseConntrackStat,
    parseMdstat,
    parseSchedstat,
    parseSoftnet,
    parseUdpQueues,
    parseUdev,
    parseCpuList,
    parsePowerSupply: (text) => parsePowerSupply('BAT0', text),
  };

  const words = [
    ...[
      'cpu0',
      'cpu',
      'intr',
      'MemTotal:',
      'eth0:',
      'Ip:',
      'TCP:',
      'some',
      'total=',
      'processor\t:',
      'ID=',
      '/dev/vda',
      'md0 : active',
      'E:ID_MODEL=',
      'POWER_SUPPLY_ONLINE=',
      '1-3,',
    ],
    ...[
      '1',
      '-1',
      '0x10',
      '1e9',
      'NaN',
      '99999999999999999999',
      '999999999999999999999',
      '18446744073709551615',
    ],
    ...[
      '__proto__',
      'constructor',
      '"',
      '\\040',
      '\\777',
      '\0',
      '\n',
      '\n\n',
      '\r\n',
      '\t',
      ' ',
      ':',
      '|',
      '=',
      'é',
      '\ud800',
    ],
  ];

  function random(seed: number): () => number {
    let state = seed;
    return () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
  }

  it.each(Object.entries(parsers))('makes %s yield problems at most', (_name, parse) => {
    const next = random(42);
    for (let round = 0; round < 300; round++) {
      const count = Math.floor(next() * 60);
      const text = Array.from({ length: count }, () => words[Math.floor(next() * words.length)]).join(
        next() < 0.5 ? ' ' : '',
      );
      const { value, problems } = parsed(parse, text);
      expectFinite(value);
      expect(problems.length).toBeLessThanOrEqual(40);
      for (const problem of problems) expect(problem).toMatch(/^[\x20-\x7e]{1,200}…?$/);
    }
  });

  it.each(Object.entries(parsers))('of two megabytes keeps %s quick and small', (_name, parse) => {
    const megabytes2 = 2 * 1024 * 1024;
    for (const unit of [
      '1 ',
      'x',
      '\n',
      'cpu1 1 1 1 1\n',
      'a: 1 kB\n',
      'some ',
      'processor\t: 1\n',
      '\\',
      'Tcp: 1\n',
      'cpu1 0 0 0 0 0 0 1 1 1\n',
      'md0 : active raid1 sda[0]\n',
      '1 2 3 4 5 eth0\n',
      '1:1 ',
      'E:ID_MODEL=x\n',
      '0-9,',
      '"',
      ' ',
    ]) {
      const cpuMs = cpuWatch();
      const { value, problems } = parsed(parse, unit.repeat(megabytes2 / unit.length));
      expect(cpuMs()).toBeLessThan(2000);
      expect(JSON.stringify(value ?? null).length).toBeLessThan(megabytes2);
      expect(problems.length).toBeLessThanOrEqual(40);
    }
  });
});

function expectFinite(value: unknown): void {
  if (typeof value === 'number') expect(Number.isFinite(value)).toBe(true);
  else if (value !== null && typeof value === 'object')
    for (const inner of Object.values(value)) expectFinite(inner);
}
