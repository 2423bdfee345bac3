import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AuditLog } from '../../../src/audit/log.js';
import {
  type AuditPlace,
  type AuditQuery,
  auditScannedBytesMax,
  readAudit,
} from '../../../src/audit/read.js';
import { FakeClock } from '../../support/fake-clock.js';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'audit-read-'));
});

afterEach(() => rm(dir, { recursive: true, force: true }));

async function write(lines: number, reasonLength: number, rotateBytes: number): Promise<void> {
  const log = await AuditLog.open({ dir, clock: new FakeClock(), rotateBytes });
  const entries = Array.from({ length: lines }, (_, n) =>
    log.append({
      ...{ kind: 'begin', requestId: `r${n}`, op: 'stop', host: `kvm-${n % 10}`, requestedBy: 'anna' },
      ...{ before: { text: 'ä'.repeat((n * reasonLength) % 9_000) } },
    }),
  );
  await Promise.all(entries);
  await log.close();
}

async function all(limit: number, matches: AuditQuery['matches'] = () => true) {
  const seen: number[] = [];
  let before: AuditPlace | undefined;
  let slices = 0;
  do {
    const slice = await readAudit(dir, { limit, before, matches });
    seen.push(...slice.lines.map(({ seq }) => seq));
    before = slice.next;
    slices++;
  } while (before);
  return { seen, slices };
}

const down = (from: number) => Array.from({ length: from }, (_, n) => from - n);

it('reads every line once, the newest first, over files and chunks, whatever the lengths', async () => {
  await write(900, 97, 1_000_000);
  expect((await all(17)).seen).toEqual(down(900));
  expect((await all(900)).seen).toEqual(down(900));
});

it('goes on behind what does not match, and leaves out what is no line of ours', async () => {
  await write(100, 10, 1_000_000);
  await appendFile(join(dir, 'audit-000001.jsonl'), `{"seq":101}\n\n${'x'.repeat(400_000)}`);
  expect((await all(3, ({ fields }) => fields.host === 'kvm-7')).seen).toEqual([
    98, 88, 78, 68, 58, 48, 38, 28, 18, 8,
  ]);
});

it('stops after so many bytes and says where to go on', async () => {
  await write(2_000, 8_999, 64_000_000);
  const { seen, slices } = await all(10, ({ seq }) => seq === 1);
  expect(seen).toEqual([1]);
  expect(slices).toBeGreaterThan(1);
  expect(auditScannedBytesMax).toBeLessThan(64_000_000);
});

it('finds nothing where there is no log yet', async () => {
  expect(await readAudit(join(dir, 'none'), { limit: 5, matches: () => true })).toEqual({
    lines: [],
    next: undefined,
  });
});
