// An ssh-agent as a source of keys. Its sockets are tracked, so that an agent that hangs leaves nothing open, and asking
// for its keys has an error of its own. It refuses to forward the agent to a host.
import type { Socket } from 'node:net';
import ssh2, { type ParsedKey } from 'ssh2';
import { HostError } from '../core/errors.js';
import { fingerprintOf } from './host-key.js';

const { OpenSSHAgent } = ssh2;

type StreamCallback = (error: Error | null | undefined, stream?: Socket) => void;

export class TrackedAgent extends OpenSSHAgent {
  readonly #streams = new Set<Socket>();
  readonly #host: string;
  readonly #socketPath: string;
  #closed = false;

  constructor(host: string, socketPath: string) {
    super(socketPath);
    this.#host = host;
    this.#socketPath = socketPath;
  }

  override getStream(callback: StreamCallback): void {
    const parent = OpenSSHAgent.prototype as unknown as { getStream(callback: StreamCallback): void };
    parent.getStream.call(this, (error, stream) => {
      if (stream) {
        this.#streams.add(stream);
        stream.once('close', () => this.#streams.delete(stream));
        if (this.#closed) stream.destroy();
      }
      callback(error, stream);
    });
  }

  /** What the agent would offer, as `ssh-ed25519 SHA256:…`. Throws KEY_FILE when there is nothing. */
  async offers(signal: AbortSignal): Promise<string[]> {
    const onAbort = () => this.#closeStreams();
    signal.addEventListener('abort', onAbort, { once: true });
    const keys = await new Promise<ParsedKey[]>((resolve, reject) => {
      this.getIdentities((error, found) => (error ? reject(error) : resolve((found ?? []) as ParsedKey[])));
    })
      .catch((error: unknown) => {
        throw this.#fault(
          'does not answer',
          'Start ssh-agent and set SSH_AUTH_SOCK, or set ssh.keyFile.',
          error,
        );
      })
      .finally(() => signal.removeEventListener('abort', onAbort));
    if (keys.length === 0) throw this.#fault('holds no keys', 'Add one with ssh-add, or set ssh.keyFile.');
    return keys.map((key) => `${key.type} ${fingerprintOf(key.getPublicSSH())}`);
  }

  #fault(what: string, hint: string, cause?: unknown): HostError {
    return new HostError('KEY_FILE', {
      host: this.#host,
      message: `the ssh agent at ${this.#socketPath} ${what}`,
      hint,
      outcome: 'not-sent',
      cause,
    });
  }

  #closeStreams(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  /** No stream stays open, and none is opened any more. */
  close(): void {
    this.#closed = true;
    this.#closeStreams();
  }
}
