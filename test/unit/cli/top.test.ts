import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import { type Seen, screenLines, typed, type View } from '../../../src/cli/top.js';
import type { Host } from '../../../src/http/api/schemas.js';

const plain = (_style: string, text: string) => text;

function host(name: string, more: Partial<Host> = {}): Host {
  return {
    name,
    address: '192.0.2.1',
    groups: [],
    labels: {},
    state: 'up',
    since: '2026-11-21T03:00:00.000Z',
    maintenance: false,
    ops: { allowed: true },
    ssh: true,
    libvirt: true,
    files: true,
    stale: false,
    ...more,
  };
}

const seen: Seen = {
  hosts: [
    host('kvm-10', { load: { one: 5, five: 1, fifteen: 1 } }),
    host('kvm-2', { labels: { dc: 'ams1' } }),
    host('kvm-3', {
      state: 'down',
      cause: { code: 'TIMEOUT', message: 'does not answer\x1b[2J' },
    }),
  ],
  queue: undefined,
  jobs: [],
  trouble: undefined,
  atMs: 0,
};
const view: View = { sort: 'worst', filter: '', typing: false };
const size = { width: 100, height: 20, paint: plain };

function names(lines: readonly string[]): string[] {
  return lines.flatMap((line) => /^kvm-\d+/.exec(line)?.[0] ?? []);
}

describe('the screen', () => {
  it('has the worst first, then the names in their order', () => {
    expect(names(screenLines(seen, view, size))).toEqual(['kvm-3', 'kvm-2', 'kvm-10']);
  });

  it('sorts by load, and filters by what is shown', () => {
    expect(names(screenLines(seen, { ...view, sort: 'load' }, size))[0]).toBe('kvm-10');
    expect(names(screenLines(seen, { ...view, filter: 'DC=ams' }, size))).toEqual(['kvm-2']);
  });

  it.each([
    [40, 8],
    [80, 24],
    [200, 60],
  ])('fits %i x %i', (width, height) => {
    const many = { ...seen, hosts: Array.from({ length: 300 }, (_, at) => host(`kvm-${at}`)) };
    const lines = screenLines(many, view, { width, height, paint: plain });
    expect(lines.length).toBeLessThanOrEqual(height);
    for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(width);
    expect(lines.join('\n')).toMatch(/… \d+ more/);
    expect(lines.at(-1)).toContain('q quit');
  });

  it('keeps the last figures when the service goes away, and says so', () => {
    const lines = screenLines({ ...seen, trouble: 'cannot reach the service' }, view, size);
    expect(names(lines)).toHaveLength(3);
    expect(lines[1]).toBe('cannot reach the service');
  });

  it('does not obey what a host sends', () => {
    expect(screenLines(seen, view, size).join('')).not.toContain('\x1b');
  });
});

it('takes the keys of a filter', () => {
  const typing = { ...view, typing: true };
  const after = [...'ab'].reduce((v, key) => typed(v, key, key), typing);
  expect(after.filter).toBe('ab');
  expect(typed(after, '\x7f', 'backspace').filter).toBe('a');
  expect(typed(after, '\r', 'return')).toEqual({ ...view, filter: 'ab' });
  expect(typed(after, undefined, 'escape')).toEqual(view);
  expect(typed(after, '\x1b[A', 'up').filter).toBe('ab');
});
