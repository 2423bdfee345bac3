// The log against what a machine does to it: kill -9 in the middle of writing, a disk that is full, a directory that turns
// read-only. Each in a process of its own, over real files.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyAudit } from '../../../src/audit/verify.js';
import { allLines, auditDir } from './audit-fixture.js';

const root = resolve(import.meta.dirname, '../../..');
const rounds = 40;

let built: string;
const children = new Set<ChildProcess>();

/** The log as plain JavaScript, so that a child is up in a moment. */
beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), 'outrigger-audit-built-'));
  symlinkSync(join(root, 'node_modules'), join(built, 'node_modules'));
  writeFileSync(join(built, 'package.json'), '{"type":"module"}');
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
  for (const room of ['audit', 'core']) {
    mkdirSync(join(built, room));
    for (const name of readdirSync(join(root, 'src', room))) {
      const text = readFileSync(join(root, 'src', room, name), 'utf8');
      const { outputText } = ts.transpileModule(text, { compilerOptions });
      writeFileSync(join(built, room, name.replace(/\.ts$/, '.js')), outputText);
    }
  }
  writeFileSync(join(built, 'writer.js'), writer);
  writeFileSync(join(built, 'disk.js'), disk);
});

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(built, { recursive: true, force: true });
});

/** Appends for ever, several at a time, and says what has been acknowledged in the same breath. */
const writer = `
import { writeSync } from 'node:fs';
import { AuditLog } from './audit/log.js';
import { systemClock } from './core/clock.js';
const [dir, round] = process.argv.slice(2);
const log = await AuditLog.open({ dir, clock: systemClock, rotateBytes: 20_000 });
const endless = async (lane) => {
  for (let n = 0; ; n++) {
    const requestId = [round, lane, n].join('-');
    await log.append({ kind: 'begin', requestId, op: 'stop', act: 'destroy', host: 'kvm-01', requestedBy: 'x'.repeat(n % 200) });
    writeSync(1, requestId + '\\n');
  }
};
writeSync(1, 'ready\\n');
for (let lane = 0; lane < 5; lane++) endless(lane);
`;

/** Fills the disk, frees it, makes it read-only, and tells how each append went. */
const disk = `
import { execFileSync } from 'node:child_process';
import { unlinkSync, writeFileSync } from 'node:fs';
import { AuditLog } from './audit/log.js';
import { systemClock } from './core/clock.js';
const [mount] = process.argv.slice(2);
const log = await AuditLog.open({ dir: mount + '/audit', clock: systemClock, rotateBytes: 6_000 });
const append = (n) => log.append({ kind: 'begin', requestId: 'r' + n, op: 'stop', host: 'h', requestedBy: 'x'.repeat(200) });
const told = [];
let n = 0;
const tries = async (what, count) => {
  for (const end = n + count; n < end; n++) {
    await append(n).then(() => told.push([what, n, 'ok']), (e) => told.push([what, n, e.code, e.cause?.code, e.hint]));
  }
};
const fill = () => {
  for (const size of [65536, 4096, 512, 1]) {
    try { for (let i = 0; ; i++) writeFileSync(mount + '/fill-' + size + '-' + i, 'x'.repeat(size)); } catch {}
  }
};
const free = () => execFileSync('sh', ['-c', 'rm -f ' + mount + '/fill-*']);
await tries('empty', 5);
fill();
await tries('full', 40);
free();
await tries('freed', 20);
execFileSync('mount', ['--bind', mount + '/audit', mount + '/audit']);
execFileSync('mount', ['-o', 'remount,bind,ro', mount + '/audit']);
await tries('read-only', 20);
execFileSync('umount', [mount + '/audit']);
await tries('writable', 3);
const begun = told.filter(([, k]) => log.begun('r' + k).length > 0).map(([, k]) => k);
await log.close();
execFileSync('cp', ['-r', mount + '/audit', process.argv[3]]);
process.stdout.write(JSON.stringify({ told, begun }));
`;

/** A generator of numbers that gives the same ones each time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('a crash', () => {
  it(`loses no line that was acknowledged: killed ${rounds} times in the middle of writing`, async () => {
    const dir = auditDir();
    const random = seeded(20_261_121);
    const acknowledged: string[] = [];
    for (let round = 0; round < rounds; round++) {
      const child = spawn(process.execPath, [join(built, 'writer.js'), dir, String(round)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      children.add(child);
      const closed = once(child, 'close');
      const killAfter = Math.floor(random() ** 2 * 120);
      let seen = 0;
      for await (const line of createInterface({ input: child.stdout })) {
        if (line !== 'ready') acknowledged.push(line);
        if (seen++ === killAfter) child.kill('SIGKILL');
      }
      await closed;
      children.delete(child);
      expect(child.signalCode).toBe('SIGKILL');
    }
    const found = await verifyAudit(dir);
    expect(found.problems).toEqual([]);
    const written = new Set(allLines(dir).map(({ requestId }) => requestId));
    expect(acknowledged.length).toBeGreaterThan(rounds * 10);
    expect(acknowledged.filter((requestId) => !written.has(requestId))).toEqual([]);
    expect(found.files).toBeGreaterThan(3);
  }, 120_000);
});

describe('a disk', () => {
  it('that is full or read-only: appends are refused with the mend, leave nothing behind, and go on later', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'outrigger-audit-disk-'));
    const copy = join(dir, 'copy');
    const mount = join(dir, 'mount');
    mkdirSync(mount);
    const script = `mount -t tmpfs -o size=256k tmpfs "$2" && exec "$0" "$1" "$2" "$3"`;
    const argv = ['--mount', 'sh', '-c', script, process.execPath, join(built, 'disk.js'), mount, copy];
    const child = spawn('unshare', process.getuid?.() === 0 ? argv : ['--map-root-user', ...argv], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.add(child);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const [code] = await once(child, 'close');
    children.delete(child);
    expect(code).toBe(0);
    const { told, begun } = JSON.parse(text) as {
      told: [string, number, string, string?, string?][];
      begun: number[];
    };
    const of = (what: string) => told.filter(([when]) => when === what);
    const ok = told.filter(([, , how]) => how === 'ok').map(([, n]) => n);
    expect(of('empty').every(([, , how]) => how === 'ok')).toBe(true);
    expect(of('full').at(-1)).toMatchObject([
      'full',
      44,
      'AUDIT',
      'ENOSPC',
      expect.stringContaining('Free space'),
    ]);
    expect(of('freed').every(([, , how]) => how === 'ok')).toBe(true);
    expect(of('read-only').at(-1)).toMatchObject([
      'read-only',
      84,
      'AUDIT',
      'EROFS',
      expect.stringContaining('writable'),
    ]);
    expect(of('writable').every(([, , how]) => how === 'ok')).toBe(true);
    expect(begun).toEqual(ok);
    const found = await verifyAudit(copy);
    expect(found.problems).toEqual([]);
    expect(allLines(copy).map(({ requestId }) => requestId)).toEqual(ok.map((n) => `r${n}`));
    rmSync(dir, { recursive: true, force: true });
  }, 30_000);
});
