// The local file reader gives what the one over SSH gives.
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LocalFileReader, mountIsReadOnly } from '../../../src/ssh/local-files.js';
import { makeTempDir } from '../../support/sshd.js';

let dir: string;
const files = new LocalFileReader('here');

beforeAll(() => {
  dir = makeTempDir('outrigger-local-');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('LocalFileReader', () => {
  it('reads files of /proc whole, and others', async () => {
    expect((await files.read('/proc/meminfo')).split('\n').length).toBe(
      readFileSync('/proc/meminfo', 'utf8').split('\n').length,
    );
    const path = join(dir, 'file');
    writeFileSync(path, 'é'.repeat(100_000));
    expect(await files.read(path)).toBe('é'.repeat(100_000));
    await expect(files.read(path, { bytesMax: 1000 })).rejects.toMatchObject({ code: 'FILE_ERROR' });
  });

  it('tells a missing file from one that cannot be read, and hangs on neither', async () => {
    await expect(files.read(join(dir, 'absent'))).rejects.toMatchObject({
      code: 'FILE_MISSING',
      host: 'here',
    });
    await expect(files.list(join(dir, 'absent'))).rejects.toMatchObject({ code: 'FILE_MISSING' });
    await expect(files.read(dir)).rejects.toMatchObject({ code: 'FILE_ERROR' });
    execFileSync('mkfifo', [join(dir, 'pipe')]);
    await expect(files.read(join(dir, 'pipe'))).rejects.toMatchObject({ code: 'FILE_ERROR' });
  });

  it('lists, reads links, measures filesystems', async () => {
    symlinkSync('target', join(dir, 'link'));
    expect((await files.list(dir)).includes('link')).toBe(true);
    expect(await files.readlink(join(dir, 'link'))).toBe('target');
    const stats = await files.statvfs('/');
    const expected = statfsSync('/');
    expect(stats).toMatchObject({
      blocks: expected.blocks,
      files: expected.files,
      blockSize: expected.bsize,
      readOnly: false,
    });
  });

  it('is of no use once closed', async () => {
    const closing = new LocalFileReader('here');
    await closing.close();
    expect(await closing.closed).toMatchObject({ code: 'CLOSED' });
    await expect(closing.read('/proc/uptime')).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

it('finds the mount that holds a path', () => {
  const mounts = [
    'rootfs / rootfs ro 0 0',
    '/dev/sda1 / ext4 rw,relatime 0 0',
    '/dev/sdb /mnt/a\\040b xfs ro,noatime 0 0',
    '/dev/sdc /mnt/ab xfs rw 0 0',
    '',
  ].join('\n');
  expect(mountIsReadOnly(mounts, '/')).toBe(false);
  expect(mountIsReadOnly(mounts, '/mnt/a b/c')).toBe(true);
  expect(mountIsReadOnly(mounts, '/mnt/ab')).toBe(false);
  expect(mountIsReadOnly(mounts, '/mnt/a bc')).toBe(false);
});
