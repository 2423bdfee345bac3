// The way to one host: over SSH, or straight to the local socket (the sidecar case). It joins ssh/ and libvirt/, which do
// not know each other, and refuses to reconnect: that is the session's work.
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { type Host, hasJobsKey } from '../inventory/host.js';
import { LibvirtClient } from '../libvirt/client.js';
import type { SshConnector, SshTarget } from '../ssh/connect.js';
import type { FileReader } from '../ssh/files.js';
import { openLibvirtChannel } from '../ssh/libvirt-channel.js';
import { LocalFileReader } from '../ssh/local-files.js';

export type Transport = {
  /** The key that the host showed and we verified; undefined for the local socket. */
  readonly hostKey?: { type: string; fingerprint: string };
  /** Resolves, with the cause, when the way to the host is lost. */
  readonly closed: Promise<HostError>;
  openLibvirt(options: OpenLibvirtOptions): Promise<LibvirtLink>;
  /** The reader opens its SFTP session again by itself; it ends with the way there. */
  openFiles(signal?: AbortSignal): Promise<FileReader>;
  close(): Promise<void>;
};

export type OpenLibvirtOptions = {
  readOnly: boolean;
  /** In the place of what the inventory says. */
  transport?: Host['libvirt']['transport'];
  signal?: AbortSignal;
};

export type LibvirtLink = {
  client: LibvirtClient;
  /** What carries it: a socket's path on the host, or `virt-ssh-helper`. */
  via: string;
};

export type TransportDeps = {
  connector: SshConnector;
  /** Where learned host keys are, for hosts whose inventory entry names no file of its own. */
  knownHostsFile: string;
  clock: Clock;
  log: Log;
};

/** Which of the host's two keys opens the connection: `poll` can only read, `ops` may act. */
export type Purpose = 'poll' | 'ops';

export const openLibvirtTimeoutMs = 10_000;

export async function openTransport(
  host: Host,
  deps: TransportDeps,
  { purpose = 'poll', signal }: { purpose?: Purpose; signal?: AbortSignal } = {},
): Promise<Transport> {
  if (host.connection === 'local') return localTransport(host, deps);
  const connection = await deps.connector.connect(
    sshTarget(host, purpose, deps.knownHostsFile),
    signal ? { signal } : {},
  );
  return {
    closed: connection.closed,
    hostKey: connection.hostKey,
    async openLibvirt({ readOnly, transport = host.libvirt.transport, signal }) {
      const { stream, via } = await openLibvirtChannel(connection, {
        transport,
        socket: socketFor(host.libvirt.socket, readOnly),
        daemonUri: host.libvirt.uri,
        readOnly,
        timeoutMs: openLibvirtTimeoutMs,
        ...(signal && { signal }),
      });
      return { client: await openClient(stream, host, readOnly, deps, signal), via };
    },
    openFiles: (signal) => connection.files(signal ? { signal } : {}),
    close: () => connection.end(),
  };
}

/** A socket that the inventory names is the one for reading; jobs use the one beside it that libvirt has for writing. */
export function socketFor(socket: string, readOnly: boolean): string {
  return readOnly ? socket : socket.replace(/-ro$/, '');
}

/** The host as ssh/ wants it. Throws KEY_FILE for jobs on a host without a key for them. */
export function sshTarget(host: Host, purpose: Purpose, knownHostsFile: string): SshTarget {
  const { ssh } = host;
  const keyFile = purpose === 'ops' ? ssh.opsKeyFile : ssh.keyFile;
  if (purpose === 'ops' && !hasJobsKey(host)) {
    throw new HostError('KEY_FILE', {
      host: host.name,
      outcome: 'not-sent',
      message: 'no key for jobs',
      hint: 'give the host ssh.opsKeyFile (and ssh.opsUser) in the inventory',
    });
  }
  const shared = {
    agent: ssh.agent,
    knownHostsFiles: [ssh.knownHostsFile ?? knownHostsFile],
    ...(ssh.keyPassphraseFile && { keyPassphraseFile: ssh.keyPassphraseFile }),
  };
  const jump = ssh.jump.map(({ address, port, user }) => ({
    ...shared,
    host: host.name,
    address,
    port,
    user: user ?? ssh.user,
    ...(ssh.keyFile && { keyFile: ssh.keyFile }),
  }));
  return {
    ...shared,
    host: host.name,
    address: host.address,
    port: ssh.port,
    user: purpose === 'ops' ? (ssh.opsUser ?? ssh.user) : ssh.user,
    ...(keyFile && { keyFile }),
    jump,
  };
}

function localTransport(host: Host, deps: TransportDeps): Transport {
  const never = new Promise<HostError>(() => undefined);
  return {
    closed: never,
    async openLibvirt({ readOnly, signal }) {
      const suffix = readOnly ? '-ro' : '';
      const paths =
        host.libvirt.socket === 'auto'
          ? [`/run/libvirt/libvirt-sock${suffix}`, `/run/libvirt/virtqemud-sock${suffix}`]
          : [socketFor(host.libvirt.socket, readOnly)];
      const { stream, via } = await firstSocket(host.name, paths, signal);
      return { client: await openClient(stream, host, readOnly, deps, signal), via };
    },
    openFiles: async () => new LocalFileReader(host.name),
    close: async () => undefined,
  };
}

async function firstSocket(
  host: string,
  paths: readonly string[],
  signal: AbortSignal | undefined,
): Promise<{ stream: Duplex; via: string }> {
  let cause: unknown;
  for (const path of paths) {
    try {
      return { stream: await connectSocket(host, path, signal), via: path };
    } catch (error) {
      cause ??= error;
    }
  }
  throw cause;
}

function connectSocket(host: string, path: string, signal: AbortSignal | undefined): Promise<Duplex> {
  const socket = connect(path);
  const opened = new Promise<Duplex>((resolve, reject) => {
    socket.once('connect', () => resolve(socket));
    socket.once('error', (cause: NodeJS.ErrnoException) => reject(socketError(host, path, cause)));
  });
  return withDeadline(() => opened, {
    timeoutMs: openLibvirtTimeoutMs,
    signal,
    onTimeout: () =>
      new HostError('TIMEOUT', { host, outcome: 'not-sent', message: `${path} does not answer` }),
  }).catch((error) => {
    socket.destroy();
    throw error;
  });
}

function socketError(host: string, path: string, cause: NodeJS.ErrnoException): HostError {
  const denied = cause.code === 'EACCES' || cause.code === 'EPERM';
  return new HostError(denied ? 'SOCKET_DENIED' : 'SOCKET_MISSING', {
    host,
    outcome: 'not-sent',
    message: denied ? `${path} may not be opened by this user` : `no libvirt daemon listens on ${path}`,
    hint: denied
      ? 'mount the socket so that this user may open it'
      : 'start libvirtd, or mount its socket here',
    cause,
  });
}

function openClient(
  stream: Duplex,
  host: Host,
  readOnly: boolean,
  { clock, log }: TransportDeps,
  signal: AbortSignal | undefined,
): Promise<LibvirtClient> {
  return LibvirtClient.open(stream, {
    host: host.name,
    uri: host.libvirt.uri,
    readOnly,
    timeoutMs: openLibvirtTimeoutMs,
    clock,
    log,
    ...(signal && { signal }),
  }).catch((error) => {
    // A stream that ended tells why; that libvirt's connection ended with it is no news.
    const why = error instanceof HostError && error.cause instanceof HostError ? error.cause : undefined;
    throw why && why.code === error.code ? why : error;
  });
}
