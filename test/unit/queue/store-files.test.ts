import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  findStoreBinary,
  planStoreFiles,
  removeAbandonedSocket,
  removeTraces,
  storeConfig,
  writeStoreFiles,
} from '../../../src/queue/store-files.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'queue-files-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('planStoreFiles', () => {
  it('puts the socket beside the data', async () => {
    const files = await planStoreFiles(dir);
    expect(files.socketPath).toBe(path.join(dir, 'store', 'store.sock'));
    expect(files.temporary).toBeUndefined();
  });

  it('takes a short private folder when the data directory is too deep, and cleans it', async () => {
    const deep = path.join(dir, 'd'.repeat(60), 'e'.repeat(60));
    const files = await planStoreFiles(deep);
    expect(Buffer.byteLength(files.socketPath)).toBeLessThanOrEqual(107);
    expect(files.directory).toBe(path.join(deep, 'store'));
    expect((await stat(path.dirname(files.socketPath))).mode & 0o777).toBe(0o700);
    await removeAbandonedSocket(files.socketPath);
    await expect(stat(path.dirname(files.socketPath))).rejects.toThrow('ENOENT');
    await removeTraces(files);
  });

  it('removes no folder that is not its own', async () => {
    await writeFile(path.join(dir, 'store.sock'), '');
    await removeAbandonedSocket(path.join(dir, 'store.sock'));
    expect((await stat(dir)).isDirectory()).toBe(true);
  });
});

describe('the configuration', () => {
  it('is private, networkless, durable and never evicts', async () => {
    const files = await planStoreFiles(path.join(dir, 'data'));
    await writeStoreFiles(files);
    expect((await stat(files.directory)).mode & 0o777).toBe(0o700);
    expect((await stat(files.configFile)).mode & 0o777).toBe(0o600);
    const config = storeConfig(files);
    for (const line of [
      'port 0',
      'appendonly yes',
      'appendfsync everysec',
      'maxmemory-policy noeviction',
      'daemonize no',
    ])
      expect(config.split('\n')).toContain(line);
  });

  it('quotes whatever a path holds', () => {
    const files = { directory: '/a b/"c\\\n#é', configFile: '', pidFile: '/p', socketPath: '/s' };
    expect(storeConfig(files)).toContain('dir "/a b/\\x22c\\x5c\\x0a#\\xc3\\xa9"\n');
  });

  it('says in one line which directory cannot be used', async () => {
    await writeFile(path.join(dir, 'file'), '');
    const files = await planStoreFiles(path.join(dir, 'file'));
    await expect(writeStoreFiles(files)).rejects.toMatchObject({
      code: 'STORE',
      message: expect.stringContaining('cannot use the data directory'),
      hint: expect.stringContaining('AGENT_DATA_DIR'),
    });
  });
});

describe('findStoreBinary', () => {
  async function binary(folder: string, name: string, mode = 0o755) {
    await mkdir(path.join(dir, folder), { recursive: true });
    await writeFile(path.join(dir, folder, name), '#!/bin/sh\n');
    await chmod(path.join(dir, folder, name), mode);
    return path.join(dir, folder, name);
  }

  it('prefers valkey-server, wherever it is', async () => {
    await binary('a', 'redis-server');
    const valkey = await binary('b', 'valkey-server');
    expect(await findStoreBinary(`${dir}/a:${dir}/b`)).toBe(valkey);
  });

  it('passes over what cannot be run', async () => {
    await mkdir(path.join(dir, 'a', 'valkey-server'), { recursive: true });
    await binary('b', 'redis-server', 0o644);
    await mkdir(path.join(dir, 'c'));
    await symlink(await binary('d', 'redis-server'), path.join(dir, 'c', 'redis-server'));
    expect(await findStoreBinary(`${dir}/a::${dir}/b:${dir}/c`)).toBe(path.join(dir, 'c', 'redis-server'));
  });

  it('names what to install when there is none', async () => {
    await expect(findStoreBinary(dir)).rejects.toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/valkey-server nor redis-server.*AGENT_REDIS_URL/),
      hint: expect.stringMatching(/apt install.*AGENT_REDIS_URL/),
    });
  });
});
