// A real libvirtd of our own, without guests, for its `test` driver: private /run, /etc/libvirt and state, so that it never
// meets the machine's or a lab's. It refuses to outlive the test: `stop` kills it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.js';

const privateDirs = ['/run', '/etc/libvirt', '/var/lib/libvirt', '/var/cache/libvirt', '/var/log/libvirt'];
const script = `
  set -e
  mount --make-rprivate /
  for dir in ${privateDirs.join(' ')}; do mkdir -p $dir; mount -t tmpfs tmpfs $dir; done
  mkdir -p /run/libvirt
  exec libvirtd --config "$1" --pid-file /run/libvirtd.pid
`;

export class Libvirtd implements AsyncDisposable {
  readonly dir: string;
  readonly #child: ChildProcess;

  private constructor(dir: string, child: ChildProcess) {
    this.dir = dir;
    this.#child = child;
  }

  static async start(): Promise<Libvirtd> {
    const dir = await mkdtemp(join(tmpdir(), 'outrigger-libvirtd-'));
    const config = join(dir, 'libvirtd.conf');
    const settings = ['auth_unix_ro = "none"', 'auth_unix_rw = "none"', 'unix_sock_group = "root"'];
    await writeFile(config, [`unix_sock_dir = "${dir}"`, ...settings, ''].join('\n'));
    const child = spawn('unshare', ['--mount', 'bash', '-c', script, 'libvirtd', config], {
      stdio: 'ignore',
    });
    const libvirtd = new Libvirtd(dir, child);
    await until('libvirtd', () => existsSync(libvirtd.path(true)) || child.exitCode !== null, {
      timeoutMs: 30_000,
    });
    if (child.exitCode !== null)
      throw new Error(`libvirtd ended at once with ${child.exitCode}: is it installed, are we root?`);
    return libvirtd;
  }

  path(readOnly: boolean): string {
    return join(this.dir, readOnly ? 'libvirt-sock-ro' : 'libvirt-sock');
  }

  connect(readOnly: boolean): Socket {
    return connect(this.path(readOnly));
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    this.#child.kill(name);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.signal('SIGKILL');
      await exited;
    }
    await rm(this.dir, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
