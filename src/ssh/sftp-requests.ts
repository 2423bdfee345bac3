// Requests and replies of one SFTP session over a channel. Requests of one turn of the event loop leave together: a packet of SSH
// for each would cost more than what it carries. It refuses to wait for a session that has ended: every request in flight fails at
// once.
import type { Duplex } from 'node:stream';
import { HostError, stackless } from '../core/errors.js';
import { fileMissing } from './file-reader.js';
import { InFlight } from './sftp-in-flight.js';
import {
  encode,
  MalformedSftp,
  Outgoing,
  protocolVersion,
  replyType,
  SftpReplies,
  type SftpReply,
  statusCode,
} from './sftp-wire.js';

export type Request = {
  readonly path: string;
  /** Throws SftpRefusal, and MalformedSftp, which ends the session. */
  settle: (reply: SftpReply) => void;
  reject: (error: Error) => void;
};

const unheard: Request = { path: '', settle: () => {}, reject: () => {} };

/** What the server said instead of what was asked for. */
class SftpRefusal extends Error {
  override readonly name = 'SftpRefusal';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message || `SFTP status ${code}`);
    this.code = code;
  }
}

export class SftpRequests {
  readonly #channel: Duplex;
  readonly host: string;
  readonly #replies = new SftpReplies();
  readonly #requests = new InFlight<Request>();
  /** To leave at the end of this turn. */
  readonly #outgoing = new Outgoing();
  #greeted = false;
  #onGreeting: (problem?: Error) => void = () => {};
  #ended: HostError | undefined;

  private constructor(host: string, channel: Duplex) {
    this.host = host;
    this.#channel = channel;
    const onEnd = () => this.end(new HostError('CLOSED', { host, message: 'the SFTP session ended' }));
    // These stay for good: also a session that has ended must find a listener for an error.
    channel.on('data', (chunk: Buffer) => this.#receive(chunk));
    channel.on('end', onEnd).on('close', onEnd).on('error', onEnd);
    this.#sendSoon();
    this.#outgoing.add(encode.init());
  }

  /** Takes the channel over, whose other end is an SFTP server. Rejects when that does not greet as one. */
  static open(host: string, channel: Duplex): Promise<SftpRequests> {
    return new Promise((resolve, reject) => {
      const session = new SftpRequests(host, channel);
      session.#onGreeting = (problem) => (problem ? reject(problem) : resolve(session));
    });
  }

  get ended(): HostError | undefined {
    return this.#ended;
  }

  /** The path that the server is at now, since it works in order: of the oldest request without an answer that has one. */
  get waitsFor(): string | undefined {
    for (const { path } of this.#requests.values()) if (path) return path;
    return undefined;
  }

  end(error: HostError): void {
    if (this.#ended) return;
    this.#ended = error;
    for (const request of this.#requests.values()) request.reject(error);
    this.#requests.clear();
    if (!this.#greeted) this.#onGreeting(new Error('it ended before it began'));
    this.#channel.destroy();
  }

  #receive(chunk: Buffer): void {
    try {
      for (const reply of this.#replies.push(chunk)) {
        if (this.#ended) return;
        if (this.#greeted) this.#settle(reply);
        else this.#greet(reply);
      }
    } catch (cause) {
      this.end(new HostError('CLOSED', { host: this.host, message: 'the SFTP session broke', cause }));
    }
  }

  #greet({ type, id: version }: SftpReply): void {
    if (type !== replyType.version || version !== protocolVersion) throw new MalformedSftp('no greeting');
    this.#greeted = true;
    this.#onGreeting();
  }

  #settle(reply: SftpReply): void {
    const request = this.#requests.get(reply.id);
    if (!request) return;
    try {
      request.settle(reply);
      this.#requests.delete(reply.id);
    } catch (error) {
      if (!(error instanceof SftpRefusal)) throw error;
      this.#requests.delete(reply.id);
      request.reject(fileError(this.host, request.path, error));
    }
  }

  /** What is added to `#outgoing` in this turn. */
  #sendSoon(): void {
    if (!this.#outgoing.isEmpty) return;
    setImmediate(() => {
      const together = this.#outgoing.take();
      if (!this.#ended) this.#channel.write(together);
    });
  }

  #register(request: Request): number {
    this.#sendSoon();
    return this.#requests.add(request);
  }

  /** `take` reads the reply with `wanted` and the like. Rejects with FILE_MISSING, FILE_ERROR, or why the session ended. */
  ask<T>(path: string, bytes: (id: number) => Buffer, take: (reply: SftpReply) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.post({ path, settle: (reply) => resolve(take(reply)), reject }, bytes);
    });
  }

  /** Asks for what is told to `request`. The session must not have ended. */
  post(request: Request, bytes: (id: number) => Buffer): void {
    this.#outgoing.add(bytes(this.#register(request)));
  }

  /** Asks for what nobody waits for. */
  tell(bytes: (id: number) => Buffer): void {
    if (!this.#ended) this.post(unheard, bytes);
  }

  /** Asks for a piece of an open file, whose reply goes to `request`: its id. The session must not have ended. */
  askRead(request: Request, handle: string, offset: number, length: number): number {
    const id = this.#register(request);
    this.#outgoing.addRead(id, handle, offset, length);
    return id;
  }
}

/** The same reply, when it is what was asked for. Throws SftpRefusal, or MalformedSftp. */
export function wanted(reply: SftpReply, type: number): SftpReply {
  if (reply.type === type) return reply;
  if (reply.type !== replyType.status) throw new MalformedSftp(`a reply of type ${reply.type}`);
  throw refusal(reply.status());
}

/** The same; undefined at the end of a file or a directory. */
export function unlessEof(reply: SftpReply, type: number): SftpReply | undefined {
  if (reply.type !== replyType.status) return wanted(reply, type);
  const status = reply.status();
  if (status.code === statusCode.eof) return undefined;
  throw refusal(status);
}

/** Every file that a host does not have is one. */
function refusal({ code, message }: { code: number; message: string }): SftpRefusal {
  return stackless(() => new SftpRefusal(code, message));
}

function fileError(host: string, path: string, error: SftpRefusal): HostError {
  switch (error.code) {
    case statusCode.noSuchFile:
      return fileMissing(host, path);
    case statusCode.permissionDenied:
      return new HostError('FILE_ERROR', {
        host,
        message: `${path}: permission denied`,
        hint: 'Let the polling user read it.',
        cause: error,
      });
    case statusCode.unsupported:
      return new HostError('FILE_ERROR', {
        host,
        message: `${path}: not supported by the SFTP server`,
        cause: error,
      });
    default:
      return new HostError('FILE_ERROR', { host, message: `${path}: cannot be read`, cause: error });
  }
}
