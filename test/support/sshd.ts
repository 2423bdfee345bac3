// A real OpenSSH server for tests: its own keys, configuration and directory, on a free port of 127.0.0.1. Refuses to
// touch the machine's own sshd; `stop` ends every process it started, its per-connection children too.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { until } from './until.js';

export type HostKeyType = 'ed25519' | 'ecdsa' | 'rsa';
export type KeyPair = { file: string; publicFile: string; publicKey: string };

export type SshdOptions = {
  hostKeys?: readonly HostKeyType[];
  /** Lines of authorized_keys. */
  authorizedKeys?: readonly string[];
  /** Lines of sshd_config put before the defaults: the first value of a keyword wins. */
  config?: readonly string[];
};

export type Sshd = {
  port: number;
  dir: string;
  user: string;
  pid: number;
  /** Everything that sshd has logged so far. */
  log(): string;
  hostKey(type?: HostKeyType): KeyPair;
  /** A known_hosts file for this server; `types` limits which keys are in it. */
  knownHosts(o?: { types?: readonly HostKeyType[]; name?: string }): string;
  setAuthorizedKeys(lines: readonly string[]): void;
  /** Processes that serve connections. */
  sessions(): number[];
  stop(): Promise<void>;
};

const sshdPath = '/usr/sbin/sshd';

export function makeTempDir(prefix = 'outrigger-ssh-'): string {
  return mkdtempSync(join(tmpdir(), prefix));
}

export function makeKey(
  file: string,
  o: { type?: HostKeyType; passphrase?: string; pem?: boolean } = {},
): KeyPair {
  const type = o.type ?? 'ed25519';
  const args = ['-q', '-t', type, '-N', o.passphrase ?? '', '-C', 'test', '-f', file];
  if (type === 'rsa') args.push('-b', '2048');
  if (o.pem) args.push('-m', 'PEM');
  execFileSync('ssh-keygen', args);
  return { file, publicFile: `${file}.pub`, publicKey: readFileSync(`${file}.pub`, 'utf8').trim() };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

export async function startSshd(o: SshdOptions = {}): Promise<Sshd> {
  const dir = makeTempDir();
  const port = await freePort();
  const keys = new Map<HostKeyType, KeyPair>();
  for (const type of o.hostKeys ?? ['ed25519']) keys.set(type, makeKey(join(dir, `host_${type}`), { type }));
  const authorized = join(dir, 'authorized_keys');
  writeFileSync(authorized, `${(o.authorizedKeys ?? []).join('\n')}\n`);
  const config = join(dir, 'sshd_config');
  writeFileSync(
    config,
    [
      ...(o.config ?? []),
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      ...[...keys.values()].map(({ file }) => `HostKey ${file}`),
      `AuthorizedKeysFile ${authorized}`,
      'PidFile none',
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin prohibit-password',
      'AllowStreamLocalForwarding yes',
      'MaxStartups 200',
      'LogLevel VERBOSE',
      ...(o.config?.some((line) => line.startsWith('Subsystem ')) ? [] : ['Subsystem sftp internal-sftp']),
      '',
    ].join('\n'),
  );
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  execFileSync('chmod', ['755', dir]);

  const child = spawn(sshdPath, ['-D', '-e', '-f', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let logged = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    logged += text;
  });
  try {
    await until('sshd to listen', () => {
      if (child.exitCode !== null) throw new Error(`sshd ended: ${logged}`);
      return logged.includes('Server listening');
    });
  } catch (error) {
    await endChild(child);
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  const pid = child.pid;
  if (pid === undefined) throw new Error('sshd did not start');

  const hostKey = (type: HostKeyType = 'ed25519') => {
    const key = keys.get(type);
    if (!key) throw new Error(`this sshd has no ${type} host key`);
    return key;
  };
  return {
    port,
    dir,
    pid,
    user: userInfo().username,
    log: () => logged,
    hostKey,
    knownHosts({ types = [...keys.keys()], name = 'known_hosts' } = {}) {
      const file = join(dir, name);
      const lines = types.map((type) => `[127.0.0.1]:${port} ${hostKey(type).publicKey}`);
      writeFileSync(file, `${lines.join('\n')}\n`);
      return file;
    },
    setAuthorizedKeys: (lines) => writeFileSync(authorized, `${lines.join('\n')}\n`),
    sessions: () => descendants(pid),
    async stop() {
      const pids = descendants(pid);
      await endChild(child);
      for (const each of pids) endProcess(each);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGCONT');
  child.kill('SIGKILL');
  await ended;
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It had already gone.
  }
}

/** Children of `root` and theirs: sshd's sessions leave its process group, so the parent chain is what holds. */
function descendants(root: number): number[] {
  const parentOf = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      parentOf.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It ended while we were looking.
    }
  }
  const found: number[] = [];
  for (const pid of parentOf.keys()) {
    for (let at = parentOf.get(pid); at !== undefined && at > 1; at = parentOf.get(at)) {
      if (at !== root) continue;
      found.push(pid);
      break;
    }
  }
  return found;
}
