// One SSH handshake over a stream that is already open: key exchange, the host's key checked, our key shown. Refuses
// passwords, keyboard-interactive, compression and host keys that nobody vouched for.
import { lookup as lookupName } from 'node:dns';
import { connect as connectTcp, type LookupFunction, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { NodeSSH } from 'node-ssh';
import PQueue from 'p-queue';
import type {
  AnyAuthMethod,
  AuthHandlerMiddleware,
  CipherAlgorithm,
  Client,
  ConnectConfig,
  ParsedKey,
  ServerHostKeyAlgorithm,
} from 'ssh2';
import { afterAnswer, batchWrites } from '../core/batched-writes.js';
import { abortError } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { TrackedAgent } from './agent.js';
import { type Attempt, type HandshakeStage, handshakeError, tcpError } from './connect-errors.js';
import { describeHostKey, type HostKey } from './host-key.js';
import { loadPrivateKey } from './keys.js';
import { limits, type SshTarget } from './target.js';

/** What proves who we are: offered in order. */
export type Credentials = { offers: readonly string[]; methods: readonly AnyAuthMethod[]; close(): void };

export type Handshaken = {
  ssh: NodeSSH;
  client: Client;
  transport: Duplex;
  hostKey: HostKey;
  serverVersion: string;
};

export type HandshakeOptions = {
  credentials: Credentials;
  hostKeyAlgorithms: readonly string[];
  /** The reason not to trust the key, or undefined. Asked again when keys are exchanged anew. */
  verify(key: HostKey): HostError | undefined;
  signal: AbortSignal;
  progress?: Progress | undefined;
};

/** What is being waited for now: named when the time is up. */
export type Progress = { stage: string };

// AES-GCM runs in Node's own OpenSSL; ssh2's native addon, which speeds up the others, may be missing.
const ciphers: CipherAlgorithm[] = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'aes256-ctr',
  'aes192-ctr',
  'aes128-ctr',
  'chacha20-poly1305@openssh.com',
];

/** Reads keys before anything is sent. Throws KEY_FILE. */
export async function loadCredentials(
  target: SshTarget,
  defaultAgentSocket: string | undefined,
  signal: AbortSignal,
): Promise<Credentials> {
  const { host, user: username, keyFile, keyPassphraseFile } = target;
  const offers: string[] = [];
  const methods: AnyAuthMethod[] = [];
  if (keyFile) {
    const { type, fingerprint, key } = await loadPrivateKey(host, keyFile, keyPassphraseFile);
    offers.push(`${type} ${fingerprint} (${keyFile})`);
    methods.push({ type: 'publickey', username, key });
  }
  const socketPath = target.agent === true ? (defaultAgentSocket ?? '') : target.agent;
  const agent = typeof socketPath === 'string' ? new TrackedAgent(host, socketPath) : undefined;
  if (agent) {
    offers.push(...(await agent.offers(signal)));
    methods.push({ type: 'agent', username, agent });
  }
  if (methods.length === 0) {
    throw new HostError('KEY_FILE', {
      host,
      message: 'no key is set',
      hint: 'Set ssh.keyFile, or ssh.agent: true.',
      outcome: 'not-sent',
    });
  }
  return { offers, methods, close: () => agent?.close() };
}

// getaddrinfo holds a thread of the pool that files are read with: dead name servers may take half of it, not all.
const lookupsMax = 2;
const lookups = new PQueue({ concurrency: lookupsMax });

const lookup: LookupFunction = (hostname, options, callback) => {
  void lookups.add(
    () =>
      new Promise<void>((resolve) => {
        lookupName(hostname, options, (error, address, family) => {
          callback(error, address, family);
          resolve();
        });
      }),
  );
};

/** Throws DNS, REFUSED, UNREACHABLE, TIMEOUT or CLOSED. */
export function openTcp(target: SshTarget, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError(signal));
    const socket = connectTcp({ host: target.address, port: target.port, noDelay: true, lookup });
    const onAbort = () => {
      socket.destroy();
      reject(abortError(signal));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      resolve(batchWrites(socket, afterAnswer));
    });
    // Stays for good: a socket error must find a listener also between two owners.
    socket.on('error', (error) => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      reject(tcpError(target, error));
    });
  });
}

/** Takes the stream over: it is destroyed when this fails. Settles at once when the signal aborts. */
export async function handshake(
  target: SshTarget,
  transport: Duplex,
  o: HandshakeOptions,
): Promise<Handshaken> {
  const attempt = { stage: 'key exchange', offered: [], methodsLeft: [], partial: false } as MutableAttempt;
  let hostKey: HostKey | undefined;
  let distrust: HostError | undefined;
  let end: ((error: unknown) => void) | undefined;
  const onAbort = () => end?.(abortError(o.signal));
  const enter = (stage: HandshakeStage) => {
    attempt.stage = stage;
    if (o.progress) o.progress.stage = `SSH ${stage}`;
  };
  enter('key exchange');
  try {
    if (o.signal.aborted) throw abortError(o.signal);
    const aborted = new Promise<never>((_, reject) => {
      end = reject;
    });
    o.signal.addEventListener('abort', onAbort, { once: true });
    const ssh = new NodeSSH();
    const connected = ssh.connect({
      ...fixedConfig,
      sock: transport as NonNullable<ConnectConfig['sock']>,
      username: target.user,
      algorithms: {
        cipher: ciphers,
        compress: ['none'],
        serverHostKey: o.hostKeyAlgorithms as ServerHostKeyAlgorithm[],
      },
      hostVerifier: (blob: Buffer) => {
        hostKey = describeHostKey(blob);
        distrust = o.verify(hostKey);
        return distrust === undefined;
      },
      authHandler: offerInTurn(o.credentials, attempt) as NonNullable<ConnectConfig['authHandler']>,
    });
    const client = ssh.connection;
    if (client) signAtOnce(client);
    // Stays for good: ssh2 reports errors also after node-ssh has stopped listening.
    client?.on('error', () => {});
    // A jump host has a listener for each channel that is being opened through it.
    client?.setMaxListeners(0);
    client?.on('handshake', () => enter('authentication'));
    await Promise.race([connected, aborted]);
    if (!client || !hostKey) throw new Error('Connection lost before handshake');
    return { ssh, client, transport, hostKey, serverVersion: versionOf(client) };
  } catch (error) {
    transport.destroy();
    throw distrust ?? handshakeError(target, attempt, error);
  } finally {
    o.signal.removeEventListener('abort', onAbort);
    o.credentials.close();
  }
}

type MutableAttempt = { -readonly [K in keyof Attempt]: Attempt[K] };

const fixedConfig = {
  // The caller's deadline covers the handshake.
  readyTimeout: 0,
  keepaliveInterval: limits.keepaliveIntervalMs,
  keepaliveCountMax: limits.keepaliveCountMax,
  // Other servers than OpenSSH forward sockets too.
  strictVendor: false,
  tryKeyboard: false,
} as const;

function offerInTurn({ methods, offers }: Credentials, attempt: MutableAttempt): AuthHandlerMiddleware {
  let next = 0;
  return (authsLeft, partialSuccess, done) => {
    attempt.methodsLeft = authsLeft ?? [];
    attempt.partial = partialSuccess === true;
    attempt.offered = offers;
    const method = attempt.partial ? undefined : methods[next++];
    // `false` ends the attempt; the types only know of methods.
    done(method ?? (false as unknown as AnyAuthMethod));
  };
}

type Sign = (data: Buffer, done: (signature: Buffer) => void) => void;
type Protocol = {
  authPK?: (username: string, key: ParsedKey, algorithm: string | undefined, sign?: Sign) => void;
};

/**
 * ssh2 asks first whether a key would do, and signs when sshd says so. A signature of a key at hand costs less than that
 * question, and sshd takes or refuses it all the same. Keys with a choice of algorithms, and those of an agent, are still asked for.
 */
function signAtOnce(client: Client): void {
  const protocol = (client as unknown as { _protocol?: Protocol })._protocol;
  const ask = protocol?.authPK;
  if (!ask) return;
  protocol.authPK = (username, key, algorithm, sign = signing(key)) =>
    ask.call(protocol, username, key, algorithm, sign);
}

function signing(key: ParsedKey): Sign | undefined {
  if (key.type !== 'ssh-ed25519' || !key.isPrivateKey()) return undefined;
  return (data, done) => done(key.sign(data));
}

const versionLengthMax = 200;

function versionOf(client: Client): string {
  const version = (client as unknown as { _remoteVer?: unknown })._remoteVer;
  return typeof version === 'string' ? version.slice(0, versionLengthMax) : 'unknown';
}
