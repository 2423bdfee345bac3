// Following the inventory file on the real file system: editors, Kubernetes, bad files, reload.
import { mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { diffInventories } from '../../../src/inventory/diff.js';
import type { Inventory } from '../../../src/inventory/host.js';
import { loadInventory } from '../../../src/inventory/load.js';
import { formatProblem, type Problem } from '../../../src/inventory/problem.js';
import { InventoryWatcher, type InventoryWatcherOptions } from '../../../src/inventory/watch.js';
import { until } from '../../support/until.js';

const defaults = { libvirtUri: 'qemu:///system', pollIntervalMs: 15_000 };

let folder: string;
let file: string;
let watcher: InventoryWatcher | undefined;
let seen: string[];
let problems: readonly Problem[];
let told: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'inventory-watch-'));
  file = join(folder, 'inventory.yaml');
  seen = [];
  problems = [];
  told = 0;
});

afterEach(async () => {
  await watcher?.close();
  watcher = undefined;
  await rm(folder, { recursive: true, force: true });
});

function yaml(...names: string[]): string {
  return `version: 1\ndefaults: { ssh: { keyFile: k } }\nhosts:\n${names.map((name) => `  - { name: ${name}, address: ${name} }\n`).join('')}`;
}

async function follow(options: Partial<InventoryWatcherOptions> = {}): Promise<InventoryWatcher> {
  const { inventory } = await loadInventory(file, defaults);
  if (!inventory) throw new Error('the first inventory must be good');
  watcher = new InventoryWatcher({
    file,
    current: inventory,
    defaults,
    settleMs: 20,
    missingGraceMs: 60,
    // Far beyond the test: only the folder's events lead to a check.
    compareEveryMs: 3_600_000,
    onChange: (_, { added, changed, removed, unchanged }) => {
      const names = (hosts: readonly { name: string }[]) => hosts.map(({ name }) => name).join(' ');
      seen.push(`+${names(added)} ~${names(changed)} -${names(removed)} =${names(unchanged)}`);
    },
    onProblem: (now) => {
      problems = now;
      told++;
    },
    ...options,
  }).start();
  // The first check has run, and the folder is watched, when a reload queued behind it is done.
  expect(await watcher.reload()).toBe('unchanged');
  return watcher;
}

test('a file written in place is taken over as a difference', async () => {
  await writeFile(file, yaml('a', 'b'));
  await follow();
  await writeFile(file, yaml('b', 'c'));
  await until('the change', () => seen.length);
  expect(seen).toEqual(['+c ~ -a =b']);
  await writeFile(file, yaml('b', 'c').replace('address: c', 'address: d'));
  await until('the second change', () => seen.length === 2);
  expect(seen[1]).toBe('+ ~c - =b');
});

test('an editor that writes beside and renames is followed, again and again', async () => {
  await writeFile(file, yaml('a'));
  await follow();
  for (const name of ['b', 'c', 'd']) {
    seen = [];
    await writeFile(`${file}.tmp`, yaml(name));
    await rename(`${file}.tmp`, file);
    await until(`host ${name}`, () => watcher?.inventory.hosts[0]?.name === name);
  }
  expect(problems).toEqual([]);
});

test('an editor that moves the file away first is followed without a problem', async () => {
  await writeFile(file, yaml('a'));
  await follow({ missingGraceMs: 60_000 });
  await rename(file, `${file}~`);
  await writeFile(file, yaml('a', 'b'));
  await until('the change', () => seen.length);
  expect(seen).toEqual(['+b ~ - =a']);
  expect(told).toBe(0);
});

test('Kubernetes swaps the ..data link: the change is seen', async () => {
  for (const [version, text] of [
    ['..v1', yaml('a')],
    ['..v2', yaml('a', 'b')],
  ] as const) {
    await mkdir(join(folder, version));
    await writeFile(join(folder, version, 'inventory.yaml'), text);
  }
  await symlink('..v1', join(folder, '..data'));
  await symlink('..data/inventory.yaml', file);
  await follow();
  await symlink('..v2', join(folder, '..data_tmp'));
  await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  await until('the change', () => seen.length);
  expect(seen).toEqual(['+b ~ - =a']);
});

test('a bad file changes nothing, is told once, and its mend is told too', async () => {
  await writeFile(file, yaml('a'));
  const { inventory } = await follow();
  await writeFile(file, yaml('a', 'B'));
  await until('the problem', () => problems.length);
  expect(problems.map((problem) => formatProblem(problem).replace(`${folder}/`, ''))).toEqual([
    expect.stringMatching(/^inventory\.yaml:5:13: host "B": name must be lower-case/),
  ]);
  expect(watcher?.inventory).toBe(inventory);
  expect(watcher?.problems).toEqual(problems);
  const since = watcher?.problemsSinceMs;
  expect(since).toBeGreaterThan(0);
  expect(await watcher?.reload()).toBe('problems');
  expect(watcher?.problemsSinceMs).toBe(since);
  expect(told).toBe(1);
  await writeFile(file, yaml('a'));
  await until('the mend', () => told === 2);
  expect([problems, watcher?.problemsSinceMs]).toEqual([[], undefined]);
  expect(seen).toEqual([]);
});

test('a file that stays away is a problem, and hosts stay', async () => {
  await writeFile(file, yaml('a'));
  await follow();
  await rm(file);
  await until('the problem', () => problems.length);
  expect(problems[0]?.message).toBe('there is no inventory file here');
  expect(watcher?.inventory.hosts).toHaveLength(1);
  await writeFile(file, yaml('b'));
  await until('the change', () => seen.length);
  expect(seen).toEqual(['+b ~ -a =']);
  expect(problems).toEqual([]);
});

test('without events the comparison finds the change', async () => {
  await mkdir(join(folder, 'elsewhere'));
  await writeFile(join(folder, 'elsewhere', 'i.yaml'), yaml('a'));
  await symlink('elsewhere/i.yaml', file);
  await follow({ compareEveryMs: 25 });
  await writeFile(join(folder, 'elsewhere', 'i.yaml'), yaml('b'));
  await until('the change', () => seen.length);
  expect(seen).toEqual(['+b ~ -a =']);
});

test('a folder that is replaced is watched anew', async () => {
  const inner = join(folder, 'conf');
  await mkdir(inner);
  file = join(inner, 'inventory.yaml');
  await writeFile(file, yaml('a'));
  await follow({ compareEveryMs: 25, missingGraceMs: 60_000 });
  await rename(inner, join(folder, 'old'));
  await mkdir(inner);
  await writeFile(file, yaml('a', 'b'));
  await until('the change', () => seen.length);
  expect(seen).toEqual(['+b ~ - =a']);
});

test('what changed between the first load and the start is found', async () => {
  await writeFile(file, yaml('a'));
  const before = (await loadInventory(file, defaults)).inventory as Inventory;
  await writeFile(file, yaml('a', 'b'));
  const changes: Inventory[] = [];
  watcher = new InventoryWatcher({
    file,
    current: before,
    defaults,
    onChange: (inventory) => void changes.push(inventory),
    onProblem: () => undefined,
  }).start();
  await until('the change', () => changes.length);
  expect(changes[0]?.hosts).toHaveLength(2);
});

test('reload reads at once; a touched file with the same hosts changes nothing', async () => {
  await writeFile(file, yaml('a'));
  await follow();
  await writeFile(file, yaml('a', 'b'));
  expect(['changed', 'unchanged']).toContain(await watcher?.reload());
  expect(seen).toEqual(['+b ~ - =a']);
  await utimes(file, 1, 1);
  expect(await watcher?.reload()).toBe('unchanged');
  expect(seen).toHaveLength(1);
});

test('a callback that throws does not end the following', async () => {
  await writeFile(file, yaml('a'));
  let calls = 0;
  await follow({
    onChange: () => {
      calls++;
      throw new Error('no');
    },
  });
  await writeFile(file, yaml('b'));
  await until('the first', () => calls === 1);
  await writeFile(file, yaml('c'));
  await until('the second', () => calls === 2);
});

test('after close nothing is called', async () => {
  await writeFile(file, yaml('a'));
  const following = await follow();
  await writeFile(file, yaml('b'));
  await following.close();
  const calls = seen.length;
  expect(await following.reload()).toBe('unchanged');
  expect(seen).toHaveLength(calls);
});

test('differences are by name and by value', async () => {
  const [one, two] = await Promise.all(
    [yaml('a', 'b', 'c'), `${yaml('b', 'd')}  - { name: c, address: c, labels: { x: y } }\n`].map(
      async (text, index) => {
        const at = join(folder, `${index}.yaml`);
        await writeFile(at, text);
        return (await loadInventory(at, defaults)).inventory as Inventory;
      },
    ),
  );
  const diff = diffInventories(one as Inventory, two as Inventory);
  const names = Object.entries(diff).map(([kind, hosts]) => `${kind} ${hosts.map(({ name }) => name)}`);
  expect(names.sort()).toEqual(['added d', 'changed c', 'removed a', 'unchanged b']);
  expect(diff.changed[0]?.labels).toEqual({ x: 'y' });
});

test('a shard follows its own hosts alone, and judges the whole file', async () => {
  // Of two shards, a and b are in the first, c and d in the second.
  const sharded = { ...defaults, shard: { index: 1, count: 2 } };
  await writeFile(file, yaml('a', 'c'));
  const { inventory } = await loadInventory(file, sharded);
  if (!inventory) throw new Error('a good inventory');
  expect(inventory.hosts.map(({ name }) => name)).toEqual(['a']);
  const watched = await follow({ defaults: sharded, current: inventory });
  await writeFile(file, yaml('a', 'c', 'd'));
  expect(await watched.reload()).toBe('unchanged');
  await writeFile(file, yaml('a', 'b', 'd'));
  await until('the change', () => seen.length);
  expect(seen).toEqual(['+b ~ - =a']);
  await writeFile(file, yaml('a', 'b', 'd').replace('address: d', 'address: a'));
  expect(await watched.reload()).toBe('problems');
  expect(watched.inventory.hosts.map(({ name }) => name)).toEqual(['a', 'b']);
});
