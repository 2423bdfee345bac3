import { stripVTControlCharacters } from 'node:util';
import stringWidth from 'string-width';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  age,
  bytes,
  type Column,
  count,
  cut,
  fittedTable,
  painter,
  printable,
  widthOf,
} from '../../../src/cli/output.js';

afterEach(() => vi.unstubAllEnvs());

const plain = (_style: string, text: string) => text;
const red = (_style: string, text: string) => `\x1b[31m${text}\x1b[39m`;

describe('a table', () => {
  const columns: Column[] = [
    { title: 'HOST', shrinkTo: 6 },
    { title: 'VMS', right: true },
    { title: 'ADDRESS', drop: 2 },
    { title: 'WHY', drop: 1, shrinkTo: 8 },
  ];
  const rows = [
    ['kvm-1', '3', '192.0.2.1', ''],
    ['a-host-with-a-long-name', '12', '192.0.2.200', 'the host refuses the key'],
  ];
  const at = (width: number) => fittedTable(columns, rows, { width, paint: plain });

  it('lines columns up, numbers to the right, nothing left at the end of a line', () => {
    expect(at(Number.POSITIVE_INFINITY)).toBe(
      [
        'HOST                     VMS  ADDRESS      WHY',
        'kvm-1                      3  192.0.2.1',
        'a-host-with-a-long-name   12  192.0.2.200  the host refuses the key',
        '',
      ].join('\n'),
    );
  });

  it.each([200, 80, 60, 40, 24, 12])('fits %i columns', (width) => {
    const lines = at(width).trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(width);
  });

  it('cuts long cells first, then drops columns, the least wanted first', () => {
    expect(at(60)).toContain('…');
    expect(at(60)).toContain('ADDRESS');
    expect(at(30)).not.toContain('ADDRESS');
    expect(at(30)).toContain('WHY');
    expect(at(14)).toContain('HOST');
  });

  it('does not count colours, and counts wide characters twice', () => {
    const table = fittedTable(
      [{ title: 'A' }, { title: 'B' }],
      [
        ['日本', 'x'],
        [red('red', 'ab'), 'y'],
      ],
      { width: 80, paint: plain },
    );
    expect(stripVTControlCharacters(table)).toBe('A     B\n日本  x\nab    y\n');
  });

  it('has no head when no column has a title', () => {
    expect(fittedTable([{ title: '' }], [['x']], { width: 80, paint: red })).toBe('x\n');
  });
});

it('cuts a coloured line so that the colour ends', () => {
  const short = cut(red('red', 'abcdefghij'), 5);
  expect(stripVTControlCharacters(short)).toBe('abcd…');
  expect(short.endsWith('\x1b[39m') || short.includes('\x1b[39m')).toBe(true);
});

it('shows control characters and direction marks of a host instead of obeying them', () => {
  expect(printable('web\x1b[2J\n\u2028\u202e')).toBe('web\\x1b[2J\\x0a\\x2028\\x202e');
});

describe('colour', () => {
  it('is for a terminal only', () => {
    vi.stubEnv('NO_COLOR', undefined);
    vi.stubEnv('FORCE_COLOR', undefined);
    expect(painter({ isTTY: false })('red', 'x')).toBe('x');
    expect(painter({ isTTY: true })('red', 'x')).toBe('\x1b[31mx\x1b[39m');
  });

  it('goes by NO_COLOR and FORCE_COLOR', () => {
    vi.stubEnv('FORCE_COLOR', undefined);
    vi.stubEnv('NO_COLOR', '1');
    expect(painter({ isTTY: true })('red', 'x')).toBe('x');
    vi.stubEnv('FORCE_COLOR', '1');
    expect(painter({ isTTY: false })('red', 'x')).toBe('\x1b[31mx\x1b[39m');
  });
});

it('takes the width of a terminal, and none of a pipe', () => {
  expect(widthOf({ isTTY: true, columns: 80 })).toBe(80);
  expect(widthOf({ columns: 80 })).toBe(Number.POSITIVE_INFINITY);
});

it('counts in words', () => {
  expect([count(0, 'host'), count(1, 'host'), count(2, 'host')]).toEqual(['0 hosts', '1 host', '2 hosts']);
});

it('writes sizes and ages short, and what is not known as -', () => {
  expect([0, 1023, 1024, 3.4 * 1024 ** 3, 512 * 1024 ** 2].map(bytes)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '3.4 GiB',
    '512 MiB',
  ]);
  expect([3, 99, 100, 6_000, 172_800].map(age)).toEqual(['3s', '99s', '2m', '2h', '2d']);
  expect([bytes(undefined), age(undefined)]).toEqual(['-', '-']);
});
