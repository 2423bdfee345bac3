import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataDirLock, type LockHolder, processStart } from '../../../src/queue/data-dir-lock.js';

let dir: string;
let lockFile: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'queue-lock-'));
  lockFile = path.join(dir, 'outrigger.lock');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const acquire = () => DataDirLock.acquire(dir, path.join(dir, 'store.sock'));

async function leaveLock(changes: Partial<LockHolder>): Promise<void> {
  const lock = await acquire();
  const holder = JSON.parse(await readFile(lockFile, 'utf8')) as LockHolder;
  await lock.release();
  await writeFile(lockFile, JSON.stringify({ ...holder, ...changes }));
}

async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  return child.pid ?? 0;
}

describe('DataDirLock', () => {
  it('lets one in and names it to the second', async () => {
    const lock = await acquire();
    await expect(acquire()).rejects.toMatchObject({
      code: 'STORE',
      message: `another outrigger (pid ${process.pid}) already uses the data directory ${dir}`,
      hint: expect.stringContaining('AGENT_DATA_DIR'),
    });
    await lock.release();
    const again = await acquire();
    expect(again.abandoned).toBeUndefined();
    await again.release();
    expect(await readdir(dir)).toEqual([]);
  });

  it('recovers the lock of a process that died', async () => {
    const pid = await deadPid();
    await leaveLock({ pid, startTicks: '1' });
    const lock = await acquire();
    expect(lock.abandoned?.pid).toBe(pid);
    await lock.release();
  });

  it('is not fooled by another process with the same pid', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    try {
      await once(child, 'spawn');
      await leaveLock({ pid: child.pid ?? 0, startTicks: '1' });
      await (await acquire()).release();
      await leaveLock({ pid: child.pid ?? 0, startTicks: (await processStart(child.pid ?? 0)) ?? '' });
      await expect(acquire()).rejects.toThrow(`pid ${child.pid}`);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  it('recovers a lock from before a reboot', async () => {
    await leaveLock({ bootId: 'another boot' });
    await (await acquire()).release();
  });

  it.each(['', '{', 'null', '{"pid":"x"}', '\0\0\0'])('recovers a damaged lock: %j', async (text) => {
    await writeFile(lockFile, text);
    await (await acquire()).release();
  });

  it('asks the store of a holder in another container', async () => {
    const socketPath = path.join(dir, 'elsewhere.sock');
    const server = createServer((socket) => socket.on('data', () => socket.write('+PONG\r\n')));
    await once(server.listen(socketPath), 'listening');
    await leaveLock({ pid: 7, pidNamespace: 'pid:[1]', socketPath });
    await expect(acquire()).rejects.toThrow('pid 7');
    server.close();
    await once(server, 'close');
    await (await acquire()).release();
  });

  it('lets exactly one of many in', async () => {
    await leaveLock({ pid: await deadPid(), startTicks: '1' });
    const results = await Promise.allSettled(Array.from({ length: 12 }, acquire));
    const won = results.filter((result) => result.status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const result of won) await result.value.release();
    expect(await readdir(dir)).toEqual([]);
  });

  it('recovers from a crash in the middle of recovering', async () => {
    const pid = await deadPid();
    await leaveLock({ pid, startTicks: '1' });
    await writeFile(`${lockFile}.broom`, await readFile(lockFile));
    await (await acquire()).release();
    expect(await readdir(dir)).toEqual([]);
  });

  it('leaves a lock alone that is no longer its own', async () => {
    const lock = await acquire();
    await writeFile(lockFile, 'somebody else');
    await lock.release();
    expect(await readFile(lockFile, 'utf8')).toBe('somebody else');
  });

  it('says which directory cannot be used', async () => {
    await writeFile(path.join(dir, 'file'), '');
    await expect(DataDirLock.acquire(path.join(dir, 'file'), '')).rejects.toThrow(
      /cannot use the data directory .*file/,
    );
  });
});
