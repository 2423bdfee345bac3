import { expect, it } from 'vitest';
import { count, painter, printable, table } from '../../../src/cli/output.js';

it('lines columns up, colours not counted, nothing left at the end of a line', () => {
  const rows = [
    ['', 'HOST', 'TIME'],
    ['\x1b[32mok\x1b[39m', 'kvm-1', '0.3 s'],
    ['ERROR', 'a', ''],
  ];
  expect(table(rows)).toBe('       HOST   TIME\n\x1b[32mok\x1b[39m     kvm-1  0.3 s\nERROR  a\n');
});

it('shows control characters of a host instead of obeying them', () => {
  expect(printable('web\x1b[2J\n\u2028')).toBe('web\\x1b[2J\\x0a\\x2028');
});

it('colours a terminal only', () => {
  const stream = (isTTY: boolean) => ({ isTTY }) as NodeJS.WriteStream;
  expect(painter(stream(false))('red', 'x')).toBe('x');
});

it('counts in words', () => {
  expect([count(0, 'host'), count(1, 'host'), count(2, 'host')]).toEqual(['0 hosts', '1 host', '2 hosts']);
});
