// Which shard takes a host: the published vectors, an even spread, and what somebody is told who asks the wrong one.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { otherShardHint, shardOf, takesHost } from '../../../src/core/shard.js';

const names = (count: number) => Array.from({ length: count }, (_, n) => `kvm-${n + 1}`);

describe('the shard of a host', () => {
  it('is what docs/operations.md says', () => {
    const text = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
    const counts = [...(/^\| host \| first four bytes (.*)$/m.exec(text)?.[1] ?? '').matchAll(/n = (\d+)/g)];
    const rows = [...text.matchAll(/^\| `([a-z0-9.-]+)` \| `[0-9a-f]{8}` \|(.*)\|$/gm)];
    expect([counts.length, rows.length]).toEqual([5, 6]);
    for (const [, host = '', cells = ''] of rows) {
      expect([host, ...counts.map(([, count]) => shardOf(host, Number(count)))]).toEqual([
        host,
        ...cells.split('|').map(Number),
      ]);
    }
  });

  it('never changes: these are promised to whoever wrote a backend', () => {
    expect(['kvm-01', 'kvm-03', 'a'].map((host) => shardOf(host, 4))).toEqual([2, 1, 3]);
    expect(shardOf('kvm-01', 1_000)).toBe((0x22f35d1d % 1_000) + 1);
  });

  it('is one of n, and each takes about as many as the others', () => {
    for (const count of [1, 2, 3, 7, 16]) {
      const taken = Array.from({ length: count }, (_, n) =>
        names(2_000).filter((host) => takesHost({ index: n + 1, count }, host)),
      );
      expect(new Set(taken.flat()).size).toBe(2_000);
      expect(taken.flat()).toHaveLength(2_000);
      const fair = 2_000 / count;
      for (const hosts of taken) expect(Math.abs(hosts.length - fair)).toBeLessThan(4 * Math.sqrt(fair));
    }
  });

  it('is every shard where the fleet is not divided', () => {
    expect(names(100).every((host) => takesHost(undefined, host))).toBe(true);
  });
});

describe('the hint', () => {
  it('names the other shard, for a host of that one alone', () => {
    expect(otherShardHint({ index: 1, count: 4 }, 'kvm-01')).toBe(
      'This is shard 1/4; a host of this name is in shard 2/4, if the inventory has it.',
    );
    expect(otherShardHint({ index: 2, count: 4 }, 'kvm-01')).toBeUndefined();
    expect(otherShardHint(undefined, 'kvm-01')).toBeUndefined();
  });
});
