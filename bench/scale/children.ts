// The processes under test: the simulated fleet, and the service with its store. Whoever starts them ends them, and none of
// them stays, whatever happens. It refuses to measure a service that did not start.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { FleetArgument, FleetOrder, FleetReady } from './fleet.js';
import { childrenOf, nameOf } from './proc.js';

const bin = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const probe = new URL('./probe.mjs', import.meta.url).href;
const startTimeoutMs = 120_000;
const endTimeoutMs = 35_000;

export type Probed = {
  begin: { args: { hosts: readonly string[] }; answer: Record<string, never> };
  end: {
    args: { intervalMs: number };
    answer: {
      gapsMs: { vms: number[]; system: number[] };
      loop: { p50Ms: number; p99Ms: number; maxMs: number };
    };
  };
  fresh: {
    args: { hosts: readonly string[]; sinceMs: number };
    answer: { count: number; lastMs: number; missing: string[] };
  };
  profile: { args: { forMs: number; file: string }; answer: { tookMs: number } };
};

/** On the machine's monotonic clock, as the probe reads it. */
export const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

export class SimProcess implements AsyncDisposable {
  private constructor(
    readonly child: ChildProcess,
    readonly inventoryFile: string,
    readonly names: readonly string[],
  ) {}

  static async start(argument: FleetArgument): Promise<SimProcess> {
    const child = fork(fileURLToPath(new URL('./fleet.ts', import.meta.url)), [JSON.stringify(argument)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    try {
      const { inventoryFile, names } = await answered<FleetReady>(
        child,
        'the simulated fleet',
        startTimeoutMs,
      );
      return new SimProcess(child, inventoryFile, names);
    } catch (error) {
      await ended(child, 'SIGTERM');
      throw error;
    }
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  async order(order: FleetOrder): Promise<void> {
    this.child.send(order);
    await answered(this.child, 'the simulated fleet', startTimeoutMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await ended(this.child, 'SIGTERM');
  }
}

export class ServiceProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly dataDir: string;
  /** When it was started, on `nowMs`' clock. */
  readonly startedMs = nowMs();
  storePid = 0;
  url = '';

  constructor(inventoryFile: string, dataDir: string, intervalMs: number) {
    this.dataDir = dataDir;
    const kept = Object.entries(process.env).filter(([name]) => !/^(AGENT_|NODE_OPTIONS$)/.test(name));
    this.child = spawn(process.execPath, [...nodeFlags(), '--import', probe, bin, 'run'], {
      env: {
        ...Object.fromEntries(kept),
        AGENT_INVENTORY: inventoryFile,
        AGENT_DATA_DIR: dataDir,
        AGENT_LISTEN: '127.0.0.1:0',
        AGENT_POLL_INTERVAL: String(intervalMs / 1000),
        AGENT_LOG_LEVEL: 'INFO',
        NO_COLOR: '1',
      },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get storeSocket(): string {
    return join(this.dataDir, 'store', 'store.sock');
  }

  /** Resolves when it has its store and its schedules; what it logs after that is read and left. */
  async started(): Promise<void> {
    const lines = createInterface({ input: this.child.stdout as NodeJS.ReadableStream });
    const started = new Promise<void>((resolve, reject) => {
      lines.on('line', (line) => {
        const { msg, url } = JSON.parse(line) as { msg: string; url?: string };
        if (msg === 'listening') this.url = url ?? '';
        if (msg === 'started') resolve();
      });
      this.child.once('exit', (code) => reject(new Error(`the service ended with ${code}`)));
    });
    await started;
    const store = childrenOf(this.pid).find((pid) => /redis|valkey/.test(nameOf(pid)));
    if (store === undefined) throw new Error('the service has no store');
    this.storePid = store;
  }

  async ask<N extends keyof Probed>(what: N, args: Probed[N]['args']): Promise<Probed[N]['answer']> {
    this.child.send({ do: what, ...args });
    const { answer, error } = await answered<{ answer: Probed[N]['answer']; error?: string }>(
      this.child,
      'the service',
      startTimeoutMs + ('forMs' in args ? args.forMs : 0),
    );
    if (error !== undefined) throw new Error(error);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await ended(this.child, 'SIGTERM');
    // A service that had to be killed leaves its store an orphan.
    if (this.storePid > 0 && isStore(this.storePid)) process.kill(this.storePid, 'SIGKILL');
  }
}

function isStore(pid: number): boolean {
  try {
    return /redis|valkey/.test(nameOf(pid));
  } catch {
    return false;
  }
}

function answered<T>(child: ChildProcess, who: string, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void) => {
      clearTimeout(late);
      child.off('message', onMessage).off('exit', onExit).off('error', onError);
      then();
    };
    const onMessage = (message: unknown) => settle(() => resolve(message as T));
    const onExit = (code: number | null) => settle(() => reject(new Error(`${who} ended with ${code}`)));
    const onError = (error: Error) => settle(() => reject(error));
    const late = setTimeout(
      () => settle(() => reject(new Error(`${who} did not answer in ${timeoutMs / 1000} s`))),
      timeoutMs,
    );
    child.on('message', onMessage).on('exit', onExit).on('error', onError);
  });
}

async function ended(child: ChildProcess, signal: 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const over = once(child, 'exit');
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), endTimeoutMs);
  await over;
  clearTimeout(late);
}

/** Those of the first line of the bin, after the name of Node. */
function nodeFlags(): string[] {
  const [line = ''] = readFileSync(bin, 'utf8').split('\n', 1);
  return line.split(' ').slice(3);
}
