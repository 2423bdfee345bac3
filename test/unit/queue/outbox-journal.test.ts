// The journal on a real disk: what is acknowledged survives, what is torn is passed by, numbers never go back, a full
// journal loses events and no result.
import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OutboxJournal } from '../../../src/queue/outbox-journal.js';
import type { NewEntry, OutboxEntry } from '../../../src/queue/outbox-types.js';
import { FakeClock } from '../../support/fake-clock.js';
import { keptLog } from '../../support/queue.js';

const roomy = { entriesMax: 1_000, bytesMax: 1_000_000, entryBytesMax: 10_000 };

let directory: string;
let clock: FakeClock;
let log: ReturnType<typeof keptLog>;
let dropped: string[];
let opened: OutboxJournal[];

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'outbox-journal-')), 'outbox');
  clock = new FakeClock();
  log = keptLog();
  dropped = [];
  opened = [];
});
afterEach(async () => {
  for (const journal of opened) await journal.close();
  await rm(join(directory, '..'), { recursive: true, force: true });
});

async function open(limits = roomy): Promise<OutboxJournal> {
  const onDropped = (host: string) => dropped.push(host);
  const journal = await OutboxJournal.open({ directory, limits, clock, log: log.log, onDropped });
  opened.push(journal);
  return journal;
}

const event = (host: string, payload: unknown = {}): NewEntry => ({ kind: 'event', host, payload });
const result = (host: string, payload: unknown = {}): NewEntry => ({ kind: 'result', host, payload });

async function add(journal: OutboxJournal, ...given: NewEntry[]): Promise<OutboxEntry[]> {
  const added = given.map((entry) => journal.append(entry));
  await Promise.all(added.map(({ durable }) => durable));
  return added.map(({ entry }) => entry);
}

function entries(journal: OutboxJournal): OutboxEntry[] {
  const lines = journal.batch(10_000);
  journal.handBack();
  return lines.map(({ text }) => JSON.parse(text));
}

async function files(): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name.endsWith('.jsonl')).sort();
}

/** As the store does it. */
function takeAll(journal: OutboxJournal): void {
  const last = journal.batch(10_000).at(-1);
  if (last) journal.took(last);
}

describe('the journal', () => {
  it('gives the next life everything that was acknowledged, in order and as it was', async () => {
    const first = await open();
    const added = await add(first, event('a', { text: 'a\nb\u2028"' }), result('b', { n: 1 }), event('a'));
    expect(entries(first)).toEqual(added);
    // no close: a crash
    const second = await open();
    expect(entries(second)).toEqual(added);
    const [more] = await add(second, result('c'));
    expect(entries(second)).toEqual([...added, more]);
    await second.close();
    const third = await open();
    expect(entries(third)).toEqual([...added, more]);
    const names = third.batch(10).map(({ life, number }) => `${life} ${number}`);
    expect(names).toEqual([1, 2, 3].map((n) => `${first.life} ${n}`).concat(`${second.life} 1`));
    await first.close();
    await third.close();
  });

  it('is readable by the service alone', async () => {
    const journal = await open();
    await add(journal, event('a'));
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    for (const name of await files()) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
    await journal.close();
    expect((await stat(join(directory, 'sequences.json'))).mode & 0o777).toBe(0o600);
  });

  it('passes by what a crash tore and what is broken, and says so', async () => {
    const first = await open();
    const added = await add(first, event('a'), event('b'));
    await first.close();
    const [name = ''] = await files();
    await appendFile(join(directory, name), '{"life":"x","numb');
    expect(entries(await open())).toEqual(added);
    expect(log.said('outbox journal holds a broken line')).toHaveLength(0);
    await appendFile(
      join(directory, name),
      '\n[]\n{"life":"x","number":1,"entry":{"id":"i","kind":"other"}}\n',
    );
    expect(entries(await open())).toEqual(added);
    expect(log.said('outbox journal holds a broken line')).toHaveLength(3);
  });

  it('numbers the events of a host one by one, over restarts, lost files and a clock that went back', async () => {
    let last = 0;
    const next = async (journal: OutboxJournal) => {
      const [{ sequence = 0 } = {}] = await add(journal, event('a'));
      return sequence;
    };
    const first = await open();
    last = await next(first);
    expect(await next(first)).toBe(last + 1);
    clock.stepWall(-86_400_000);
    // a crash: the journal alone knows
    const second = await open();
    expect(await next(second)).toBe(last + 2);
    takeAll(second);
    await clock.advance(6_000);
    await second.tidy();
    expect(await files()).toEqual([]);
    // the journal is gone: the file of numbers knows
    const third = await open();
    expect(await next(third)).toBe(last + 3);
    clock.stepWall(86_400_000 + 60_000);
    await rm(directory, { recursive: true });
    const fourth = await open();
    expect(await next(fourth)).toBeGreaterThan(last + 3);
    await third.close();
    await fourth.close();
  });

  it('begins at the clock when the file of numbers is broken', async () => {
    const first = await open();
    const [{ sequence = 0 } = {}] = await add(first, event('a'));
    takeAll(first);
    await clock.advance(6_000);
    await first.tidy();
    await writeFile(join(directory, 'sequences.json'), '{"a": ');
    const [again] = await add(await open(), event('a'));
    expect(again?.sequence).toBeGreaterThan(sequence);
    expect(log.said('outbox numbers cannot be read')).toHaveLength(1);
  });

  it('keeps what the store took until the store has surely written it, and offers it again to one that came back', async () => {
    const journal = await open();
    const added = await add(journal, event('a'), event('b'));
    takeAll(journal);
    expect(journal.untaken).toBe(0);
    await clock.advance(4_000);
    await journal.tidy();
    expect(await files()).toHaveLength(1);
    journal.rewind();
    expect(entries(journal)).toEqual(added);
    takeAll(journal);
    await clock.advance(5_000);
    await journal.tidy();
    expect(await files()).toEqual([]);
    journal.rewind();
    expect(entries(journal)).toEqual([]);
    const [more] = await add(journal, event('a'));
    expect(entries(await open())).toEqual([more]);
    await journal.close();
  });

  it('drops the oldest events when it is full, and never a result', async () => {
    const limits = { ...roomy, entriesMax: 4 };
    const journal = await open(limits);
    await add(journal, event('e1'), result('r1'), event('e2'), result('r2'), event('e3'), result('r3'));
    expect(entries(journal).map(({ host }) => host)).toEqual(['r1', 'r2', 'e3', 'r3']);
    expect(dropped).toEqual(['e1', 'e2']);
    await add(journal, result('r4'), result('r5'), event('e4'));
    expect(entries(journal).map(({ host }) => host)).toEqual(['r1', 'r2', 'r3', 'r4', 'r5']);
    expect(dropped).toEqual(['e1', 'e2', 'e3', 'e4']);
    await journal.close();
  });

  it('leaves what the store is being given to the store, which may drop it too, until it is handed back', async () => {
    const journal = await open({ ...roomy, entriesMax: 2 });
    await add(journal, event('e1'), event('e2'));
    const last = journal.batch(1).at(-1);
    await add(journal, event('e3'), event('e4'));
    expect(dropped).toEqual(['e2']);
    if (last) journal.took(last);
    expect(entries(journal).map(({ host }) => host)).toEqual(['e3', 'e4']);
    journal.batch(1);
    journal.handBack();
    await add(journal, event('e5'));
    expect(dropped).toEqual(['e2', 'e3']);
    await journal.close();
  });

  it('is bounded on disk as well, however long the store is away', async () => {
    const limits = { ...roomy, bytesMax: 100_000 };
    const journal = await open(limits);
    await add(journal, result('r', 'x'.repeat(5_000)));
    for (let round = 0; round < 30; round++) {
      await add(journal, ...Array.from({ length: 10 }, () => event('e', 'x'.repeat(5_000))));
      await journal.tidy();
      const sizes = await Promise.all(
        (await files()).map(async (name) => (await stat(join(directory, name))).size),
      );
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(2 * limits.bytesMax + 60_000);
    }
    expect(journal.untakenBytes).toBeLessThanOrEqual(limits.bytesMax);
    const kept = entries(journal);
    expect(kept[0]?.kind).toBe('result');
    expect(entries(await open(limits)).map(({ id }) => id)).toEqual(
      expect.arrayContaining(kept.map(({ id }) => id)),
    );
    await journal.close();
  });

  it('refuses an entry that is too large, and its number goes to the next', async () => {
    const journal = await open();
    const [before] = await add(journal, event('a'));
    expect(() => journal.append(event('a', 'x'.repeat(10_000)))).toThrow(/larger than 10000 bytes/);
    const [after] = await add(journal, event('a'));
    expect(after?.sequence).toBe((before?.sequence ?? 0) + 1);
    await journal.close();
  });

  it('says when the disk takes nothing, and when it does again; entries stay for the store', async () => {
    const journal = await open();
    await rm(directory, { recursive: true });
    await writeFile(directory, '');
    await expect(add(journal, event('a'))).rejects.toThrow(/cannot be written/);
    await expect(add(journal, result('b'))).rejects.toThrow(/cannot be written/);
    expect(entries(journal).map(({ host }) => host)).toEqual(['a', 'b']);
    expect(log.said('outbox journal cannot be written')).toHaveLength(1);
    await rm(directory);
    await (await open()).close();
    await add(journal, event('c'));
    expect(log.said('outbox journal can be written again')).toHaveLength(1);
    await journal.close();
  });

  it('syncs what comes together together', async () => {
    const journal = await open();
    await add(journal, ...Array.from({ length: 500 }, (_, n) => event(`h${n % 7}`, n)));
    const [name = ''] = await files();
    expect((await readFile(join(directory, name), 'utf8')).trimEnd().split('\n')).toHaveLength(500);
    expect(entries(journal).map(({ payload }) => payload)).toEqual([...Array(500).keys()]);
    await journal.close();
  });
});
