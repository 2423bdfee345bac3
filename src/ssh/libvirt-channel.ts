// The way to libvirt on a host: its unix socket, found by itself, or virt-ssh-helper where sockets are not forwarded.
// sshd answers "open failed" to everything, a missing socket and a forbidden one alike (OpenSSH 9.2, measured), so what
// lies there, and who listens, is looked up over SFTP before blame is laid. Refuses to speak libvirt's protocol itself.
import type { Duplex } from 'node:stream';
import { HostError } from '../core/errors.js';
import type { SshConnection } from './connection.js';
import { isMissing } from './file-reader.js';
import type { SftpFileReader } from './files.js';
import { limits } from './target.js';

export type LibvirtChannelOptions = {
  socket: 'auto' | string;
  transport: 'auto' | 'socket' | 'helper';
  readOnly: boolean;
  daemonUri: string;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
};

/** `via`: the socket's path, or `virt-ssh-helper`. */
export type LibvirtChannel = { stream: Duplex; via: string };

/** Throws SOCKET_MISSING, SOCKET_DENIED, FORWARD_DENIED (each saying what was tried), TIMEOUT, CLOSED. */
export async function openLibvirtChannel(
  connection: SshConnection,
  o: LibvirtChannelOptions,
): Promise<LibvirtChannel> {
  const wait = { timeoutMs: o.timeoutMs ?? limits.channelTimeoutMs, signal: o.signal };
  const viaHelper = async (context?: (error: HostError) => HostError): Promise<LibvirtChannel> => ({
    stream: await connection.execHelper(o.daemonUri, o.readOnly, context ? { ...wait, context } : wait),
    via: 'virt-ssh-helper',
  });
  // A session daemon's socket lies in a directory that only the helper knows.
  const sessionOnly = o.transport === 'auto' && o.socket === 'auto' && o.daemonUri.endsWith('/session');
  if (o.transport === 'helper' || sessionOnly) return await viaHelper();

  const paths = o.socket === 'auto' ? socketPaths(o.daemonUri, o.readOnly) : [o.socket];
  let refusal: HostError | undefined;
  for (const path of paths) {
    try {
      return { stream: await connection.openUnixSocket(path, wait), via: path };
    } catch (error) {
      if (!(error instanceof HostError) || error.code !== 'FORWARD_DENIED') throw error;
      refusal ??= error;
    }
  }
  const denied = await explain(connection, paths, refusal, wait);
  if (o.transport === 'socket' || denied.code === 'SOCKET_MISSING') throw denied;
  const both = (error: HostError) => new HostError(error.code, withHelper(denied, error));
  try {
    return await viaHelper(both);
  } catch (error) {
    if (error instanceof HostError && error.code === 'FORWARD_DENIED')
      throw new HostError(denied.code, withHelper(denied, error));
    throw error;
  }
}

function withHelper(denied: HostError, helper: HostError) {
  return {
    host: denied.host ?? '',
    message: `${denied.message}; then ${helper.message}`,
    hint: denied.hint ?? '',
    outcome: 'not-sent',
    cause: denied.cause,
  } as const;
}

/** The classic socket (libvirtd, or virtproxyd in its place), then that of the driver's own daemon. */
export function socketPaths(daemonUri: string, readOnly: boolean): string[] {
  const driver = /^[a-z]+/.exec(daemonUri)?.[0] ?? 'qemu';
  const suffix = readOnly ? '-ro' : '';
  const classic = `/run/libvirt/libvirt-sock${suffix}`;
  return driver === 'test' ? [classic] : [classic, `/run/libvirt/virt${driver}d-sock${suffix}`];
}

type Found = { path: string; state: 'missing' | 'other' | 'open-to-all' | 'guarded' };

const writableByAll = 0o002;

async function explain(
  connection: SshConnection,
  paths: readonly string[],
  cause: unknown,
  wait: { timeoutMs: number; signal: AbortSignal | undefined },
): Promise<HostError> {
  const { host, user } = connection.target;
  const tried = paths.join(', ');
  const make = (code: 'SOCKET_MISSING' | 'SOCKET_DENIED' | 'FORWARD_DENIED', message: string, hint: string) =>
    new HostError(code, { host, message, hint, outcome: 'not-sent', cause });
  const allow =
    'Set AllowStreamLocalForwarding yes in sshd_config, and allow the path to the key: ' +
    `restrict,port-forwarding,permitopen="[${paths[0]}]:*"`;

  const files = await connection.files(wait).catch(() => undefined);
  if (!files) {
    const message = `sshd did not connect to ${tried} (socket forwarding forbidden, no such socket, or no right to it)`;
    return make('FORWARD_DENIED', message, `${allow}; and check that libvirtd runs and lets ${user} in.`);
  }
  const found = await Promise.all(paths.map((path) => lookAt(files, path, wait)));
  const there = found.filter(({ state }) => state !== 'missing');
  if (there.length === 0) {
    const start =
      'Install and start libvirtd there (systemctl enable --now libvirtd.socket libvirtd-ro.socket), or set libvirt.socket.';
    return make('SOCKET_MISSING', `no libvirt socket on the host: ${tried}`, start);
  }
  const listening = await listeningSockets(files, wait);
  if (listening && !there.some(({ path }) => listening.has(withoutVar(path)))) {
    const start = 'Start libvirtd there (systemctl start libvirtd, or virtqemud).';
    return make('SOCKET_MISSING', `nobody listens on ${there.map(({ path }) => path).join(', ')}`, start);
  }
  const guarded = there.find(({ state }) => state === 'guarded');
  if (guarded && user !== 'root') {
    const message = `sshd did not connect to ${guarded.path}, which not everybody may use`;
    const hint = `Put ${user} in the socket's group there (usermod -aG libvirt ${user}); if it is: ${allow}`;
    return make('SOCKET_DENIED', message, hint);
  }
  const present = there.map(({ path }) => path).join(', ');
  return make(
    'FORWARD_DENIED',
    `sshd did not connect to ${present}, though it is there (tried ${tried})`,
    allow,
  );
}

const socketTableBytesMax = 8 * 1024 * 1024;
const acceptsConnections = 0x10000;

/** Paths that unix sockets of the host listen on, or undefined when that cannot be read. */
async function listeningSockets(
  files: SftpFileReader,
  wait: { timeoutMs: number; signal: AbortSignal | undefined },
): Promise<Set<string> | undefined> {
  const table = await files
    .read('/proc/net/unix', { ...wait, bytesMax: socketTableBytesMax })
    .catch(() => '');
  const lines = table.split('\n').slice(1);
  if (lines.length === 0) return undefined;
  const listening = new Set<string>();
  for (const line of lines) {
    const [, , , flags = '', , , , path] = line.split(/ +/);
    if (path && (Number.parseInt(flags, 16) & acceptsConnections) !== 0) listening.add(withoutVar(path));
  }
  return listening;
}

/** /var/run is /run by another name. */
function withoutVar(path: string): string {
  return path.replace(/^\/var\/run\//, '/run/');
}

async function lookAt(
  files: SftpFileReader,
  path: string,
  wait: { timeoutMs: number; signal: AbortSignal | undefined },
): Promise<Found> {
  try {
    const { mode, isSocket } = await files.stat(path, wait);
    if (!isSocket) return { path, state: 'other' };
    return { path, state: (mode & writableByAll) !== 0 ? 'open-to-all' : 'guarded' };
  } catch (error) {
    return { path, state: isMissing(error) ? 'missing' : 'guarded' };
  }
}
