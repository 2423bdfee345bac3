// What the store and queue tests share: a log that is kept, an outside redis-server, a fleet of schedules. It refuses to
// stand in for the store: every test runs the real one.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import type { Log } from '../../src/core/log.js';
import type { PollSchedule } from '../../src/queue/schedules.js';
import { until } from './until.js';

export type LogLine = { level: number; msg: string; [field: string]: unknown };

/** A log whose lines can be looked at. */
export function keptLog(): { log: Log; lines: LogLine[]; said: (msg: string) => LogLine[] } {
  const lines: LogLine[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  return {
    log: pino({ level: 'debug' }, sink),
    lines,
    said: (msg) => lines.filter((line) => line.msg === msg),
  };
}

export async function temporaryDirectory(): Promise<AsyncDisposable & { path: string }> {
  const directory = await mkdtemp(path.join(tmpdir(), 'queue-test-'));
  return {
    path: directory,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

export function fleet(hosts: number, intervalMs: number, pollers = ['vms']): PollSchedule[] {
  return Array.from({ length: hosts }, (_, n) =>
    pollers.map((poller) => ({ host: `kvm-${String(n).padStart(4, '0')}`, poller, intervalMs })),
  ).flat();
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** A redis-server on a TCP port, with a password, whose process the test may kill, stop and start again. */
export class OutsideRedis implements AsyncDisposable {
  readonly port: number;
  readonly password = 'correct-horse';
  readonly #directory: string;
  readonly #extra: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(port: number, directory: string, extra: readonly string[]) {
    this.port = port;
    this.#directory = directory;
    this.#extra = extra;
  }

  static async start(...extra: string[]): Promise<OutsideRedis> {
    const directory = await mkdtemp(path.join(tmpdir(), 'queue-redis-'));
    const redis = new OutsideRedis(await freePort(), directory, extra);
    await redis.spawn();
    return redis;
  }

  get url(): string {
    return `redis://:${this.password}@127.0.0.1:${this.port}`;
  }

  async spawn(): Promise<void> {
    const config = path.join(this.#directory, 'redis.conf');
    const lines = [`port ${this.port}`, 'bind 127.0.0.1', `requirepass ${this.password}`, 'save ""'];
    await writeFile(config, `${[...lines, `dir ${this.#directory}`, ...this.#extra].join('\n')}\n`);
    const child = spawn('redis-server', [config], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child = child;
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += String(chunk);
    });
    await until(
      'redis-server to listen',
      () => output.includes('Ready to accept') || output.includes('ready to accept'),
    );
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = signal === 'SIGKILL' ? once(child, 'exit') : undefined;
    child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.signal('SIGKILL');
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** One letter of /proc/<pid>/stat, undefined when the process is gone. */
export async function processState(pid: number): Promise<string | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return line?.slice(line.lastIndexOf(')') + 2)[0];
}
