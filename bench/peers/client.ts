// One client under measurement, as a process of its own: it is asked one thing a line and answers one line with what that cost
// it. It measures itself, because only it knows its children; it refuses to be measured while another client works, which the
// caller sees to by asking one at a time.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** What a client is told of the hosts, as its only argument. */
export type Target = {
  hosts: readonly { address: string; port: number }[];
  user: string;
  keyFile: string;
  knownHosts: string;
  /** libvirt's read-only socket on the hosts. */
  socket: string;
  /** VIR_DOMAIN_STATS_* and VIR_CONNECT_GET_ALL_DOMAINS_STATS_*. */
  groups: number;
  flags: number;
  /** How the C library gets there. */
  via: 'qemu+ssh' | 'forwarded';
  /** For sockets that are forwarded. */
  dir: string;
};

/**
 * `connect`: so many more connections, over the hosts in turn, those of `to` if it is there. `poll`: so many times each connection.
 * `close`: so many of those that were opened last.
 */
export type Request = {
  do: 'connect' | 'poll' | 'close' | 'memory' | 'version';
  times?: number;
  to?: Target;
};

/** `cpuMs`: user and system time of the client and its children meanwhile. The others: of all connections' last polls. */
export type Answer = {
  cpuMs: number;
  domains: number;
  fields: number;
  /** Resident. */
  bytes?: number;
  /** Node alone: what JavaScript holds after a garbage collection, its buffers included. */
  heapBytes?: number;
  version?: string;
};

const answerTimeoutMs = 180_000;

export class Client implements AsyncDisposable {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(name: string, [file = '', ...args]: readonly string[], target: Target) {
    this.name = name;
    this.#child = spawn(file, [...args, JSON.stringify(target)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.on('error', () => undefined); // its output ends, which is told below
    if (!this.#child.stdout) throw new Error('no pipe');
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async ask(request: Request): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), answerTimeoutMs);
    const { value, done } = await this.#lines.next();
    clearTimeout(timer);
    if (done) throw new Error(`${this.name} ended, or was ended, instead of answering "${request.do}"`);
    return JSON.parse(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin?.end();
    await ended;
  }
}
