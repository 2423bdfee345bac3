// Where the embedded store lives on disk and how it is told what to be: paths, configuration text, the binary. It
// refuses to put anything on the command line but the name of a file that only we can read.
import { constants } from 'node:fs';
import { access, chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { HostError } from '../core/errors.js';
import { makeDirectory, unusable } from './data-dir-lock.js';

/** The longest path that a unix socket address holds, without its final NUL. */
const socketPathBytesMax = 107;
/** Compact the append-only file when it has doubled and is at least this big. */
const rewriteMegabytesMin = 16;
const binaries = ['valkey-server', 'redis-server'] as const;
const temporaryPrefix = 'outrigger-';

export type StoreFiles = {
  directory: string;
  configFile: string;
  pidFile: string;
  socketPath: string;
  /** Set when the data directory is too deep for a socket: a private folder that goes away at the end. */
  temporary?: string;
};

/** Names the store's files; makes the private folder of the socket when the data directory is too deep. */
export async function planStoreFiles(dataDir: string): Promise<StoreFiles> {
  const directory = path.join(path.resolve(dataDir), 'store');
  const files = {
    directory,
    configFile: path.join(directory, 'store.conf'),
    pidFile: path.join(directory, 'store.pid'),
  };
  const socketPath = path.join(directory, 'store.sock');
  if (fits(socketPath)) return { ...files, socketPath };
  const temporary = await mkdtemp(path.join(tmpdir(), temporaryPrefix));
  const short = path.join(temporary, 'store.sock');
  if (fits(short)) return { ...files, socketPath: short, temporary };
  await rm(temporary, { recursive: true, force: true });
  throw new HostError('STORE', {
    message: `no room for the store's socket: ${dataDir} and ${tmpdir()} are both too deep`,
    hint: `Set AGENT_DATA_DIR to a path of less than ${socketPathBytesMax - 20} bytes.`,
  });
}

function fits(socketPath: string): boolean {
  return Buffer.byteLength(socketPath) <= socketPathBytesMax;
}

/** Makes the 0700 directory and the configuration in it. */
export async function writeStoreFiles(files: StoreFiles): Promise<void> {
  await makeDirectory(files.directory);
  try {
    await chmod(files.directory, 0o700);
    await rm(files.socketPath, { force: true });
    await writeFile(files.configFile, storeConfig(files), { mode: 0o600 });
  } catch (cause) {
    throw unusable(files.directory, cause);
  }
}

export function storeConfig({ directory, pidFile, socketPath }: StoreFiles): string {
  return `${[
    'port 0',
    `unixsocket ${quoted(socketPath)}`,
    'unixsocketperm 600',
    `dir ${quoted(directory)}`,
    `pidfile ${quoted(pidFile)}`,
    'daemonize no',
    'supervised no',
    'databases 1',
    'save ""',
    'appendonly yes',
    'appendfsync everysec',
    'aof-load-truncated yes',
    `auto-aof-rewrite-min-size ${rewriteMegabytesMin}mb`,
    'maxmemory-policy noeviction',
    'always-show-logo no',
    'loglevel notice',
    'logfile ""',
  ].join('\n')}\n`;
}

/** A value as the store's configuration reads it, whatever bytes it holds. */
function quoted(value: string): string {
  let text = '';
  for (const byte of Buffer.from(value)) {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c;
    text += plain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return `"${text}"`;
}

/**
 * The first store binary on the path, valkey-server before redis-server.
 * @throws HostError STORE naming the packages to install and the way without one.
 */
export async function findStoreBinary(searchPath = process.env.PATH ?? ''): Promise<string> {
  for (const name of binaries) {
    for (const directory of searchPath.split(path.delimiter)) {
      if (directory && (await isExecutable(path.join(directory, name)))) return path.join(directory, name);
    }
  }
  throw new HostError('STORE', {
    message: 'neither valkey-server nor redis-server is installed, and AGENT_REDIS_URL is not set',
    hint: 'Install one (Debian, Ubuntu: apt install valkey-server or redis-server; Fedora: dnf install valkey), or set AGENT_REDIS_URL.',
  });
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** Removes what must not outlive the store. The data stays. */
export async function removeTraces({ socketPath, pidFile, temporary }: StoreFiles): Promise<void> {
  await rm(socketPath, { force: true });
  await rm(pidFile, { force: true });
  if (temporary) await rm(temporary, { recursive: true, force: true });
}

/** Removes the socket folder that a crash left, and nothing that is not one of ours. */
export async function removeAbandonedSocket(socketPath: string): Promise<void> {
  const folder = path.dirname(socketPath);
  const ours = path.dirname(folder) === tmpdir() && path.basename(folder).startsWith(temporaryPrefix);
  if (!ours || path.basename(socketPath) !== 'store.sock') return;
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() && found.uid === process.getuid?.())
    await rm(folder, { recursive: true, force: true });
}
