// One simulated host's sshd: a port on loopback, keys, and the two ways that our keys may go: libvirt's sockets and SFTP. The
// polling key reaches read-only sockets and files, the jobs key the read-write sockets. It refuses commands, forwarding
// elsewhere, passwords, and more connections than a host has.
import { createServer, type Socket, type Server as TcpServer } from 'node:net';
import ssh2, { type AuthContext, type Connection, type Server as SshServerType } from 'ssh2';
import { batchWrites } from '../core/batched-writes.js';
import type { Faults } from './faults.js';
import { sockets } from './files.js';
import type { SimHost } from './host.js';
import { type ResponderFigures, serveLibvirt } from './responder.js';
import { serveSftp } from './sftp.js';

export type SshServerOptions = {
  host: SimHost;
  faults: Faults;
  figures: ResponderFigures;
  /** PEM. */
  hostKey: string;
  /** Shown where a fault says wrong-key. */
  wrongHostKey: string;
  /** The blobs of the public keys that may enter. */
  pollKey: Buffer;
  opsKey: Buffer;
  address: string;
  /** 0: a free one. */
  port: number;
  outOfOrder: boolean;
};

const connectionsMax = 64;
const libvirtSockets: ReadonlySet<string> = new Set([...sockets.readOnly, ...sockets.readWrite]);
const readOnlySockets: ReadonlySet<string> = new Set(sockets.readOnly);
const ident = 'OutriggerSim_1';

type Purpose = 'poll' | 'ops';

export class SimSshd {
  readonly #o: SshServerOptions;
  readonly #right: SshServerType;
  #wrong: SshServerType | undefined;
  readonly #sockets = new Set<Socket>();
  #tcp: TcpServer | undefined;
  port: number;

  constructor(options: SshServerOptions) {
    this.#o = options;
    this.port = options.port;
    this.#right = this.#server(options.hostKey);
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Also after `close`: the host is back, on the same port. */
  async listen(): Promise<void> {
    const tcp = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      tcp.once('error', reject);
      tcp.listen(this.port, this.#o.address, () => resolve());
    });
    const bound = tcp.address();
    if (bound !== null && typeof bound === 'object') this.port = bound.port;
    this.#tcp = tcp;
  }

  /** Cuts every connection; until `listen` others are refused. */
  async close(): Promise<void> {
    const tcp = this.#tcp;
    this.#tcp = undefined;
    const closed = [...this.#sockets].map(
      (socket) => new Promise((resolve) => socket.once('close', resolve)),
    );
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
    if (tcp) await new Promise<void>((resolve) => tcp.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    batchWrites(socket);
    if (this.#sockets.size >= connectionsMax) return void socket.destroy();
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    const fault = this.#o.faults.at('ssh.connect');
    switch (fault?.action) {
      case undefined:
        this.#right.injectSocket(socket);
        return;
      case 'delay':
        this.#o.host.clock.after(fault.delayMs, () => this.#right.injectSocket(socket));
        return;
      case 'wrong-key':
        this.#wrong ??= this.#server(this.#o.wrongHostKey);
        this.#wrong.injectSocket(socket);
        return;
      case 'garbage':
        return void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
      case 'hang':
      case 'drop':
        socket.resume();
        return;
      default:
        return void socket.destroy();
    }
  }

  #server(hostKey: string): SshServerType {
    return new ssh2.Server({ hostKeys: [hostKey], ident }, (client) => this.#serve(client));
  }

  #serve(client: Connection): void {
    let purpose: Purpose | undefined;
    client.on('error', () => client.end());
    client.on('authentication', (context) => {
      const claimed = this.#purposeOf(context);
      const fault = context.method === 'publickey' && this.#o.faults.at('ssh.auth');
      if (fault && fault.action !== 'delay') {
        if (fault.action === 'hang' || fault.action === 'drop') return;
        return fault.action === 'close' ? void client.end() : context.reject(['publickey']);
      }
      const decide = () => {
        if (!claimed) return context.reject(['publickey']);
        purpose = claimed;
        context.accept();
      };
      if (fault) this.#o.host.clock.after(fault.delayMs, decide);
      else decide();
    });
    client.on('ready', () => {
      if (purpose) this.#serveReady(client, purpose);
    });
  }

  /** Whose key it is, once its signature holds; a key offered without one is let through to be signed. */
  #purposeOf(context: AuthContext): Purpose | undefined {
    if (context.method !== 'publickey') return undefined;
    const { data } = context.key;
    const purpose = data.equals(this.#o.pollKey) ? 'poll' : data.equals(this.#o.opsKey) ? 'ops' : undefined;
    if (!purpose || !context.signature || !context.blob) return purpose;
    const parsed = ssh2.utils.parseKey(data);
    if (parsed instanceof Error) return undefined;
    const key = Array.isArray(parsed) ? parsed[0] : parsed;
    return key?.verify(context.blob, context.signature, context.hashAlgo) === true ? purpose : undefined;
  }

  #serveReady(client: Connection, purpose: Purpose): void {
    client.on('openssh.streamlocal', (accept, reject, { socketPath }) => {
      const readOnly = readOnlySockets.has(socketPath);
      const mayEnter = libvirtSockets.has(socketPath) && readOnly === (purpose === 'poll');
      this.#opening(client, () => {
        if (!mayEnter) return reject();
        const { host, faults, figures, outOfOrder } = this.#o;
        serveLibvirt(accept(), { host, faults, figures, readOnly, outOfOrder });
      });
    });
    client.on('session', (accept) => {
      const session = accept();
      session.on('error', () => client.end());
      session.on('subsystem', (accept, reject, { name }) => {
        this.#opening(client, () => {
          if (name !== 'sftp' || purpose !== 'poll') return void reject?.();
          serveSftp(accept(), this.#o.host, this.#o.faults);
        });
      });
    });
  }

  #opening(client: Connection, open: () => void): void {
    const fault = this.#o.faults.at('ssh.channel');
    switch (fault?.action) {
      case undefined:
        open();
        return;
      case 'delay':
        this.#o.host.clock.after(fault.delayMs, open);
        return;
      case 'close':
      case 'error':
      case 'garbage':
      case 'wrong-key':
        return void client.end();
      default:
        return;
    }
  }
}
