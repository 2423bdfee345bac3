// One SSH connection to one host: what may be opened over it, each opening with a deadline, and why it ended. It opens
// unix sockets, SFTP and virt-ssh-helper; it refuses to run anything else, and to hang on a dead transport.
import type { Duplex } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { type Clock, systemClock } from '../core/clock.js';
import { within } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import { ChannelStream } from './channel-stream.js';
import { quoted } from './connect-errors.js';
import { readerClosed } from './file-reader.js';
import { SftpFileReader } from './files.js';
import type { Handshaken } from './handshake.js';
import { helperCommand, helperEnd, helperErrorBytesMax } from './helper.js';
import { SftpRequests } from './sftp-requests.js';
import { SftpSession } from './sftp-session.js';
import { addressAndPort, endpoint, limits, type SshTarget, type WaitOptions } from './target.js';

export type SshConnectionOptions = {
  target: SshTarget;
  /** Called once when the connection has ended: gives jump connections back. */
  onClosed?: () => void;
  clock?: Clock;
  log?: Log;
};

type OpenOptions<T> = WaitOptions & {
  /** Names what is opened, for the error. */
  what: string;
  open: () => Promise<T>;
  discard: (late: T) => void;
  failed: (error: unknown) => HostError;
  /** A channel that this host alone must answer: silence then means that the transport is dead. */
  silenceIsFatal: boolean;
};

export class SshConnection implements AsyncDisposable {
  readonly target: SshTarget;
  /** Resolves, never rejects, when the connection has ended, with why. */
  readonly closed: Promise<HostError>;
  readonly hostKey: { type: string; fingerprint: string };
  readonly serverVersion: string;
  readonly #o: Handshaken;
  readonly #clock: Clock;
  readonly #log: Log;
  #reader: SftpFileReader | undefined;
  #closedWith: HostError | undefined;
  #ending: HostError | undefined;
  #endedByUs = false;

  constructor(
    handshaken: Handshaken,
    { target, onClosed, clock = systemClock, log = silentLog }: SshConnectionOptions,
  ) {
    this.#o = handshaken;
    this.target = target;
    this.#clock = clock;
    this.#log = log;
    const { type, fingerprint } = handshaken.hostKey;
    this.hostKey = { type, fingerprint };
    this.serverVersion = handshaken.serverVersion;
    this.closed = new Promise((resolve) => {
      const { client, transport } = handshaken;
      let cause: unknown;
      client.on('error', (error) => {
        cause ??= error;
      });
      // The other side has said goodbye: nothing that we still send would be read.
      client.on('end', () => transport.destroy());
      const onClose = () => {
        if (this.#closedWith) return;
        this.#closedWith = this.#ending ?? this.#lost(cause);
        void this.#reader?.close(this.#closedWith);
        onClosed?.();
        resolve(this.#closedWith);
      };
      client.on('close', onClose);
      if (transport.destroyed) onClose();
    });
  }

  /** Why the connection ended, or undefined while it lives. */
  get closedWith(): HostError | undefined {
    return this.#closedWith;
  }

  /** A stream to a unix socket of the host. Throws FORWARD_DENIED (sshd gives no finer reason), TIMEOUT, CLOSED. */
  async openUnixSocket(path: string, o: WaitOptions = {}): Promise<Duplex> {
    const channel = await this.#open<ClientChannel>({
      ...o,
      what: path,
      open: () => this.#o.ssh.forwardOutStreamLocal(path) as Promise<ClientChannel>,
      discard: (late) => late.destroy(),
      silenceIsFatal: true,
      failed: (error) =>
        this.#error('FORWARD_DENIED', `sshd did not connect to ${path}`, error, {
          hint: 'Allow it in sshd_config (AllowStreamLocalForwarding yes) and in the key’s permitopen.',
        }),
    });
    return new ChannelStream(channel, { endedWith: () => this.#unlessEnding() });
  }

  /** A stream to an address as seen from this host: the next hop of a jump chain. Throws as a TCP connection does. */
  async openTcp(address: string, port: number, o: WaitOptions = {}): Promise<Duplex> {
    const channel = await this.#open<ClientChannel>({
      ...o,
      what: addressAndPort(address, port),
      open: () => this.#o.ssh.forwardOut('127.0.0.1', 0, address, port) as Promise<ClientChannel>,
      discard: (late) => late.destroy(),
      // The far address may swallow packets while this host is well, and others may be using it.
      silenceIsFatal: false,
      failed: (error) => this.#forwardError(address, port, error),
    });
    return new ChannelStream(channel, { endedWith: () => this.#unlessEnding() });
  }

  /**
   * libvirt's own helper on the host, speaking libvirt's protocol: the only command that is ever executed.
   * Throws FORWARD_DENIED when sshd refuses commands; the stream ends with an error when the helper could not start.
   */
  async execHelper(
    daemonUri: string,
    readOnly: boolean,
    o: WaitOptions & { context?: (error: HostError) => HostError } = {},
  ): Promise<Duplex> {
    const { client } = this.#o;
    const { host } = this.target;
    const channel = await this.#open<ClientChannel>({
      ...o,
      what: 'virt-ssh-helper',
      open: () =>
        new Promise((resolve, reject) => {
          client.exec(helperCommand(host, daemonUri, readOnly), (error, opened) =>
            error ? reject(error) : resolve(opened),
          );
        }),
      discard: (late) => late.destroy(),
      silenceIsFatal: true,
      failed: (error) =>
        this.#error('FORWARD_DENIED', 'sshd does not run virt-ssh-helper', error, {
          hint: 'Let the key run it: command="virt-ssh-helper -r qemu:///system" in authorized_keys.',
        }),
    });
    let complaint = '';
    channel.stderr.on('data', (chunk: Buffer) => {
      if (complaint.length < helperErrorBytesMax) complaint += chunk.toString('latin1');
    });
    return new ChannelStream(channel, {
      endAtClose: true,
      endedWith: (exit) => this.#unlessEnding() ?? helperEnd(host, { ...exit, complaint }, o.context),
      looksWrong: (chunk) => helperEnd(host, { code: null, complaint: chunk, text: true }, o.context),
    });
  }

  /** The one SFTP session of this connection. Throws SFTP_DENIED, TIMEOUT, CLOSED. */
  async files(o: WaitOptions = {}): Promise<SftpFileReader> {
    if (!this.#reader || this.#reader.closedWith) {
      this.#reader = new SftpFileReader({
        host: this.target.host,
        clock: this.#clock,
        open: (wait) => this.#openSftp(wait),
      });
    }
    await this.#reader.ready(o);
    return this.#reader;
  }

  #openSftp(o: WaitOptions): Promise<SftpSession> {
    const { host } = this.target;
    return this.#open({
      ...o,
      what: 'SFTP',
      open: async () => {
        const channel = await this.#subsystem('sftp');
        channel.stderr.resume();
        return new SftpSession(await SftpRequests.open(host, channel));
      },
      discard: (late) => late.end(readerClosed(host)),
      silenceIsFatal: true,
      failed: (error) =>
        this.#error('SFTP_DENIED', 'sshd gives no SFTP', error, {
          hint: 'Set "Subsystem sftp internal-sftp" in sshd_config, and command="internal-sftp -R" for this key.',
        }),
    });
  }

  #subsystem(name: string): Promise<ClientChannel> {
    return new Promise((resolve, reject) => {
      this.#o.client.subsys(name, (error, channel) => (error ? reject(error) : resolve(channel)));
    });
  }

  async #open<T>({ what, open, discard, failed, silenceIsFatal, ...o }: OpenOptions<T>): Promise<T> {
    const { timeoutMs = limits.channelTimeoutMs, signal } = o;
    if (this.#closedWith) throw this.#closedWith;
    let late = false;
    return await within(
      async () => {
        try {
          const opened = await open();
          if (late) discard(opened);
          return opened;
        } catch (error) {
          if (error instanceof HostError) throw error;
          throw this.#closedWith ?? (isConnectionLoss(error) ? this.#lost(error) : failed(error));
        }
      },
      {
        timeoutMs,
        signal,
        clock: this.#clock,
        onTimeout: () => {
          const error = this.#error('TIMEOUT', `${what}: not opened within ${timeoutMs} ms`, undefined, {
            hint: 'The host is overloaded or the network lost it.',
          });
          if (silenceIsFatal) this.destroy(error);
          return error;
        },
      },
      () => {
        late = true;
      },
    );
  }

  #error(
    code: 'FORWARD_DENIED' | 'SFTP_DENIED' | 'TIMEOUT' | 'REFUSED' | 'UNREACHABLE' | 'DNS' | 'CLOSED',
    message: string,
    cause: unknown,
    o: { hint?: string } = {},
  ): HostError {
    return new HostError(code, { host: this.target.host, message, outcome: 'not-sent', cause, ...o });
  }

  #forwardError(address: string, port: number, error: unknown): HostError {
    const text = quoted(error instanceof Error ? error.message : String(error));
    const at = `${addressAndPort(address, port)}, asked of ${endpoint(this.target)}`;
    if (/refused/i.test(text)) {
      return this.#error('REFUSED', `${at}: connection refused`, error, {
        hint: 'Start sshd there, or correct address and port.',
      });
    }
    const others: [RegExp, 'UNREACHABLE' | 'DNS' | 'TIMEOUT', string, string][] = [
      [
        /no route|unreachable/i,
        'UNREACHABLE',
        'no route',
        'Check that the host is on, and the routes of the jump host.',
      ],
      [
        /not known|resolve|no address/i,
        'DNS',
        'no such name',
        'Correct the address, or add the name to the DNS of the jump host.',
      ],
      [
        /timed out/i,
        'TIMEOUT',
        'timed out',
        'Check that the host is on and that no firewall drops the packets.',
      ],
    ];
    for (const [pattern, code, words, hint] of others) {
      if (pattern.test(text)) return this.#error(code, `${at}: ${words}`, error, { hint });
    }
    return this.#error('FORWARD_DENIED', `${at}: the jump host did not connect`, error, {
      hint: 'Set AllowTcpForwarding yes on the jump host, and check permitopen of the key and the address.',
    });
  }

  #lost(cause: unknown): HostError {
    const silent = cause instanceof Error && /keepalive timeout/i.test(cause.message);
    return new HostError(silent ? 'TIMEOUT' : 'CLOSED', {
      host: this.target.host,
      message: silent
        ? `${this.target.address} stopped answering`
        : `the SSH connection to ${this.target.address} was lost`,
      outcome: 'unknown',
      cause,
    });
  }

  #unlessEnding(): HostError | undefined {
    return this.#endedByUs ? undefined : this.#closedWith;
  }

  /** Ends it at once, without a goodbye. */
  destroy(reason?: HostError): void {
    this.#ending ??= reason;
    this.#o.transport.destroy();
  }

  /** Says goodbye, waits a little for the other side, and leaves nothing open. */
  async end(): Promise<void> {
    if (this.#closedWith) return;
    this.#endedByUs = true;
    this.#ending ??= new HostError('CLOSED', { host: this.target.host, message: 'closed by us' });
    this.#log.debug({ host: this.target.host }, 'ending ssh connection');
    void this.#reader?.close(this.#ending);
    this.#o.client.end();
    const timer = this.#clock.after(limits.endTimeoutMs, () => this.#o.transport.destroy());
    await this.closed;
    timer.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

function isConnectionLoss(error: unknown): boolean {
  return error instanceof Error && /No response from server|Not connected/.test(error.message);
}
