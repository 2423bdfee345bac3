// Files over the SFTP of a real sshd, with the polling key confined to reading.
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { confined, confinedJobs, connect, dir, failure, socketPath, sshd } from '../support/ssh-fixture.js';
import { until } from '../support/until.js';

describe('files over SFTP', () => {
  it('reads /proc again and again with handles that stay open, and nothing is executed or written', async () => {
    const server = await sshd({ authorizedKeys: [confined(socketPath)] });
    const files = await (await connect(server)).files();
    const paths = [
      '/proc/stat',
      '/proc/meminfo',
      '/proc/loadavg',
      '/proc/uptime',
      '/proc/net/dev',
      '/proc/diskstats',
      '/sys/class/net/lo/mtu',
    ];
    for (let poll = 0; poll < 3; poll++) {
      const texts = await Promise.all(paths.map((path) => files.read(path)));
      for (const [i, path] of paths.entries()) {
        const here = readFileSync(path, 'utf8');
        expect(texts[i]?.split('\n').length, path).toBe(here.split('\n').length);
      }
    }
    expect(await files.handlesOpen()).toBe(paths.length);
    const uptime = async () => Number((await files.read('/proc/uptime')).split(' ')[0]);
    const before = await uptime();
    await until('uptime to move', async () => (await uptime()) > before);
    expect(await files.read('/etc/os-release')).toBe(readFileSync('/etc/os-release', 'utf8'));
    expect(await files.handlesOpen()).toBe(paths.length);
    const vast = await files.read('/proc/kallsyms', { bytesMax: 64 * 1024 * 1024, timeoutMs: 60_000 });
    expect(vast.split('\n').length).toBe(readFileSync('/proc/kallsyms', 'utf8').split('\n').length);
    expect(server.log().match(/Starting session: .*/g)).toEqual([
      expect.stringContaining("forced-command (key-option) 'internal-sftp -R' for root"),
    ]);
  });

  it('reads many files together, again and again, and says of each what it could not', async () => {
    const server = await sshd({ authorizedKeys: [confined(socketPath)] });
    const files = await (await connect(server)).files();
    const names = readdirSync('/proc/sys/kernel').filter((name) =>
      statSync(`/proc/sys/kernel/${name}`).isFile(),
    );
    const readable = ['/proc/stat', '/proc/vmstat', '/proc/net/dev', '/sys/class/net/lo/mtu'];
    const paths = [
      ...readable,
      '/proc/nothing',
      '/proc/sys/vm/compact_memory',
      ...names.map((name) => `/proc/sys/kernel/${name}`),
    ];
    for (let poll = 0; poll < 3; poll++) {
      const texts = new Map<string | undefined, string | undefined>();
      await files.readAll(
        paths,
        {},
        {
          take: (place, text) => void texts.set(paths[place], text),
          lack: (place, error) => void texts.set(paths[place], error?.code),
        },
      );
      expect(texts.size).toBe(paths.length);
      for (const path of readable) {
        const here = readFileSync(path, 'utf8');
        expect(texts.get(path)?.split('\n').length, path).toBe(here.split('\n').length);
      }
      expect(texts.get('/proc/sys/kernel/ostype')).toBe('Linux\n');
      expect(texts.get('/proc/nothing')).toBeUndefined();
      // Only for writing.
      expect(texts.get('/proc/sys/vm/compact_memory')).toBe('FILE_ERROR');
    }
  });

  it('reads a file in one piece or many, also when it changes its length', async () => {
    const server = await sshd();
    const files = await (await connect(server)).files();
    for (const size of [0, 1, 511, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 300_000]) {
      const path = join(dir, 'sized');
      const text = 'x'.repeat(size);
      writeFileSync(path, text);
      expect((await files.read(path)).length).toBe(size);
    }
    const path = join(dir, 'large');
    writeFileSync(path, 'x'.repeat(20_000));
    expect(await failure(files.read(path, { bytesMax: 10_000 }))).toMatchObject({
      code: 'FILE_ERROR',
      message: expect.stringContaining('larger than 10000'),
    });
  });

  it('lists, reads links and measures filesystems', async () => {
    const server = await sshd({ authorizedKeys: [confined(socketPath)] });
    const files = await (await connect(server)).files();
    expect(await files.list('/sys/class/net')).toContain('lo');
    expect(await files.readlink('/proc/self/exe')).toMatch(/sshd|sftp-server/);
    const there = await files.statvfs('/');
    const here = statfsSync('/');
    expect(there).toMatchObject({
      blocks: here.blocks,
      files: here.files,
      fragmentSize: here.bsize,
      readOnly: false,
      nameMax: 255,
    });
  });

  it('remembers for a while what does not exist, and tells it from what is forbidden', async () => {
    const server = await sshd();
    const files = await (await connect(server, { user: 'nobody' })).files();
    const path = join(dir, 'comes-later');
    expect(await failure(files.read(path))).toMatchObject({ code: 'FILE_MISSING', host: 'kvm-01' });
    writeFileSync(path, 'now');
    expect(await failure(files.read(path))).toMatchObject({ code: 'FILE_MISSING' });
    expect(await failure(files.read('/etc/shadow'))).toMatchObject({
      code: 'FILE_ERROR',
      message: '/etc/shadow: permission denied',
    });
    expect(await failure(files.list('/proc/nothing'))).toMatchObject({ code: 'FILE_MISSING' });
  });

  it('gives up a session that hangs, and works again with the next', async () => {
    const server = await sshd();
    const connection = await connect(server);
    const files = await connection.files();
    const pipe = join(dir, 'endless');
    const made = spawn('mkfifo', [pipe], { stdio: 'ignore' });
    await until('the pipe', () => made.exitCode === 0);
    // sftp-server waits for a writer of the pipe and answers nothing else.
    for (let i = 0; i < 2; i++) {
      expect(await failure(files.read(pipe, { timeoutMs: 300 }))).toMatchObject({ code: 'TIMEOUT' });
      expect(await files.read('/proc/loadavg')).toMatch(/\d/);
    }
    expect((await failure(files.read(pipe))).message).toContain('not tried');
    expect(connection.closedWith).toBeUndefined();
    // A writer lets both go; waiting for one they would outlive the sshd.
    closeSync(openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK));
  });

  it('says so when there is no SFTP', async () => {
    const server = await sshd({ authorizedKeys: [confinedJobs(socketPath)] });
    const connection = await connect(server);
    expect(await failure(connection.files())).toMatchObject({ code: 'SFTP_DENIED' });
  });
});
