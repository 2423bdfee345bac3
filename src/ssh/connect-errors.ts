// What went wrong while reaching a host, in the words of whoever has to mend it: Node's, ssh2's and sshd's errors become
// a HostError with a code, a sentence and a hint. No I/O.
import { type ErrorCode, HostError } from '../core/errors.js';
import { fingerprintOf, type HostKey, shortType } from './host-key.js';
import type { KnownHosts, KnownHostsVerdict } from './known-hosts.js';
import { addressAndPort, endpoint, type SshTarget } from './target.js';

type Shape = { message: string; code: unknown; level: unknown; reason: unknown };

function shapeOf(error: unknown): Shape {
  const { message, code, level, reason } = (error ?? {}) as Partial<Shape>;
  return { message: message ?? String(error), code, level, reason };
}

const quotedLengthMax = 200;

/** Text from the other side, fit for one line of a log. */
export function quoted(text: string): string {
  const clean = text.replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
  return clean.length > quotedLengthMax ? `${clean.slice(0, quotedLengthMax)}…` : clean;
}

/** Node's error of a TCP connection or a name look-up. */
export function tcpError(target: SshTarget, error: unknown): HostError {
  const { code, message } = shapeOf(error);
  const at = addressAndPort(target.address, target.port);
  const make = (as: ErrorCode, text: string, hint: string) =>
    new HostError(as, { host: target.host, message: text, hint, outcome: 'not-sent', cause: error });
  switch (code) {
    case 'ENOTFOUND':
    case 'ENODATA':
      return make('DNS', `${target.address}: no such name`, 'Correct the address, or add the name to DNS.');
    case 'EAI_AGAIN':
    case 'ESERVFAIL':
    case 'ETIMEOUT':
      return make('DNS', `${target.address}: the name server does not answer`, 'Check DNS on this machine.');
    case 'ECONNREFUSED':
      return make('REFUSED', `${at} refuses connections`, 'Start sshd there, or correct address and port.');
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
      return make('UNREACHABLE', `${at}: no route`, 'Check that the host is on, the network and the routes.');
    case 'ETIMEDOUT':
      return timeoutError(target, 'TCP connection', error);
    case 'EACCES':
    case 'EPERM':
      return make('UNREACHABLE', `${at}: forbidden on this machine`, 'Check the firewall of this machine.');
    case 'ECONNRESET':
    case 'EPIPE':
      return closedError(target, 'while connecting', error);
    case 'EMFILE':
    case 'ENFILE':
      return make('INTERNAL', 'too many open files here', 'Raise LimitNOFILE (ulimit -n) of this service.');
    default:
      return make('UNREACHABLE', `${at}: ${quoted(message)}`, 'Check address, port and network.');
  }
}

export function timeoutError(target: SshTarget, what: string, cause?: unknown): HostError {
  return new HostError('TIMEOUT', {
    host: target.host,
    message: `${addressAndPort(target.address, target.port)}: ${what} timed out`,
    hint: 'Check that the host is on and that no firewall drops the packets.',
    outcome: 'not-sent',
    cause,
  });
}

export function closedError(target: SshTarget, when: string, cause?: unknown): HostError {
  return new HostError('CLOSED', {
    host: target.host,
    message: `${addressAndPort(target.address, target.port)} closed the connection ${when}`,
    hint: "See sshd's log there (MaxStartups, PerSourcePenalties, DenyUsers and full disks end connections).",
    outcome: 'not-sent',
    cause,
  });
}

export type HandshakeStage = 'key exchange' | 'authentication';
export type Attempt = {
  stage: HandshakeStage;
  /** Keys shown to the host so far: `ssh-ed25519 SHA256:… (file)`. */
  offered: readonly string[];
  /** Methods that the host would still take. */
  methodsLeft: readonly string[];
  partial: boolean;
};

const disconnectTooManyConnections = 12;

/** ssh2's error of a key exchange or an authentication. */
export function handshakeError(target: SshTarget, attempt: Attempt, error: unknown): HostError {
  if (error instanceof HostError) return error;
  const { message, code, level } = shapeOf(error);
  if (level === 'client-socket') return tcpError(target, error);
  if (level === 'client-timeout') return timeoutError(target, `SSH ${attempt.stage}`, error);
  if (level === 'agent') return agentError(target, error);
  if (level === 'client-authentication') return authError(target, attempt, error);
  if (/no matching/.test(message)) {
    return new HostError('PROTOCOL_ERROR', {
      host: target.host,
      message: `no SSH algorithm in common: ${quoted(message)}`,
      hint: 'Allow a current key exchange, cipher and host key type in sshd_config there.',
      outcome: 'not-sent',
      cause: error,
    });
  }
  if (/Connection lost before handshake|No response from server/.test(message)) {
    return closedError(
      target,
      attempt.stage === 'authentication' ? 'during authentication' : 'before SSH began',
      error,
    );
  }
  if (typeof code === 'number') {
    if (attempt.stage === 'authentication' && code !== disconnectTooManyConnections) {
      return authError(target, attempt, error);
    }
    return closedError(target, `saying: ${quoted(message)}`, error);
  }
  return new HostError('PROTOCOL_ERROR', {
    host: target.host,
    message: `${addressAndPort(target.address, target.port)} does not speak SSH as it should`,
    hint: 'Check that address and port are those of sshd.',
    outcome: 'not-sent',
    cause: error,
  });
}

function agentError(target: SshTarget, cause: unknown): HostError {
  return new HostError('KEY_FILE', {
    host: target.host,
    message: 'the ssh agent refused to sign',
    hint: 'Add the key again (ssh-add), without -c, or set ssh.keyFile.',
    outcome: 'not-sent',
    cause,
  });
}

function authError(target: SshTarget, attempt: Attempt, cause: unknown): HostError {
  const offered = attempt.offered.length > 0 ? attempt.offered.join(', ') : 'no key';
  // ssh2's own sentence says no more than ours: it is not kept as the cause.
  const details = { host: target.host, outcome: 'not-sent' } as const;
  const { message } = shapeOf(cause);
  if (attempt.partial) {
    return new HostError('AUTH_FAILED', {
      ...details,
      message: `${endpoint(target)} took the key and wants more (${quoted(attempt.methodsLeft.join(', '))})`,
      hint: `Let ${target.user} in by key alone: AuthenticationMethods publickey in a Match block of sshd_config.`,
    });
  }
  if (attempt.methodsLeft.length > 0 && !attempt.methodsLeft.includes('publickey')) {
    return new HostError('AUTH_FAILED', {
      ...details,
      message: `${endpoint(target)} takes no keys, only ${quoted(attempt.methodsLeft.join(', '))}`,
      hint: 'Set PubkeyAuthentication yes in sshd_config there.',
    });
  }
  const tooMany = /too many/i.test(message);
  return new HostError('AUTH_FAILED', {
    ...details,
    message: `${endpoint(target)} refused ${offered}${tooMany ? ' (too many keys offered)' : ''}`,
    hint: tooMany
      ? 'Set ssh.keyFile to the one key to use instead of an agent with many.'
      : `Add its public key to ~${target.user}/.ssh/authorized_keys there (outrigger enroll ${target.host} prints the line); ` +
        `if it is there, the account may be locked ("!" in /etc/shadow: usermod -p '*' ${target.user}) or barred by AllowUsers.`,
  });
}

/** Why a host key is not trusted, or undefined when it is. */
export function hostKeyError(
  target: SshTarget,
  key: HostKey,
  { standing, entry, at }: KnownHostsVerdict,
  known: KnownHosts,
): HostError | undefined {
  if (standing === 'match') return undefined;
  const details = { host: target.host, outcome: 'not-sent' } as const;
  const shown = `${shortType(key.type)} ${key.fingerprint}`;
  const where = at ?? 'known_hosts';
  if (standing === 'revoked') {
    return new HostError('HOST_KEY_REVOKED', {
      ...details,
      message: `${target.address} showed a revoked host key: ${shown} (${where})`,
      hint: 'Do not connect: find out why the key was revoked, then give the host a new one.',
    });
  }
  if (standing === 'mismatch' && entry) {
    return new HostError('HOST_KEY_MISMATCH', {
      ...details,
      message:
        `WARNING: the host key of ${target.address} has changed: it shows ${shown}, on file is ` +
        `${shortType(entry.type)} ${fingerprintOf(entry.blob)} (${where}). Someone may be listening in, or the host was reinstalled`,
      hint:
        `Compare the fingerprint on the host's console (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub); if it is right, ` +
        `delete line ${entry.line} of ${entry.file} and run: outrigger enroll ${target.host}`,
    });
  }
  return new HostError('HOST_KEY_UNKNOWN', {
    ...details,
    message: `the host key of ${target.address} is not on file: ${shown}${remarks(target, known)}`,
    hint: `Compare the fingerprint with the host's, then run: outrigger enroll ${target.host}`,
  });
}

function remarks(target: SshTarget, known: KnownHosts): string {
  if (target.knownHostsFiles.length === 0) return ' (no known_hosts file is set)';
  if (known.missing.length === target.knownHostsFiles.length)
    return ` (${known.missing.join(', ')}: no such file)`;
  const [note] = known.notes;
  if (!note) return '';
  return ` (note ${note.file}:${note.line}: ${note.message})`;
}
