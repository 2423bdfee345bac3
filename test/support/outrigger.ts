// The service as a process, the way an operator runs it, and what can be seen of it from outside: log lines, pages, exit.
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './until.js';

export const bin = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export type LogLine = { level: string; msg: string; host?: string } & Record<string, unknown>;

/** What a finished command printed, and its exit code. */
export type Printed = { stdout: string; stderr: string; code: number | null };

type Env = Record<string, string | undefined>;

/** The environment of a test: ours without any AGENT_ setting of the machine, and `extra` on top. */
function environment(extra: Env): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('AGENT_'));
  return { ...Object.fromEntries(kept), NO_COLOR: '1', ...extra };
}

/** Runs a command to its end; kills it after `timeoutMs`, which shows as code null. */
export function outrigger(argv: readonly string[], env: Env = {}, timeoutMs = 60_000): Promise<Printed> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...argv], {
      env: environment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const printed: Printed = { stdout: '', stderr: '', code: null };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      printed.stderr += text;
    });
    const late = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(late);
      resolve({ ...printed, code });
    });
  });
}

/** The series of a page: name and labels as they stand, and the value. */
export class Page {
  readonly series: ReadonlyMap<string, number>;

  constructor(readonly text: string) {
    const series = new Map<string, number>();
    for (const line of text.split('\n')) {
      if (!line || line.startsWith('#')) continue;
      const at = line.lastIndexOf(' ');
      series.set(line.slice(0, at), Number(line.slice(at + 1)));
    }
    this.series = series;
  }

  value(name: string, labels: Record<string, string> = {}): number | undefined {
    return this.find(name, labels)[0]?.[1];
  }

  /** All series of this name that carry these labels. */
  find(name: string, labels: Record<string, string> = {}): [string, number][] {
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    return [...this.series].filter(
      ([key]) => (key === name || key.startsWith(`${name}{`)) && wanted.every((pair) => hasPair(key, pair)),
    );
  }
}

function hasPair(key: string, pair: string): boolean {
  return key.includes(`{${pair}`) || key.includes(`,${pair}`);
}

/** Of a page, in an error: what tells why it never came as it was wanted. */
const telling = [
  'outrigger_polls_total',
  'outrigger_host_sample_age_seconds',
  'outrigger_domain_state_reason_info',
  'outrigger_domain_start_time_seconds',
];
/** Of the log, in an error. */
const linesShown = 15;

export class Service {
  readonly lines: LogLine[] = [];
  readonly child: ChildProcess;
  readonly dataDir: string;
  url = '';
  stderr = '';
  #exit: Promise<number | null>;

  private constructor(child: ChildProcess, dataDir: string) {
    this.child = child;
    this.dataDir = dataDir;
    let rest = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line) this.lines.push(JSON.parse(line));
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#exit = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
  }

  /** Starts the service on a free port and waits until it listens. `dataDir`: of a life before this one. */
  static async start(inventoryFile: string, env: Env = {}, dataDir?: string): Promise<Service> {
    dataDir ??= await mkdtemp(join(tmpdir(), 'outrigger-test-'));
    const child = spawn(process.execPath, [bin, 'run'], {
      env: environment({
        AGENT_INVENTORY: inventoryFile,
        AGENT_DATA_DIR: dataDir,
        AGENT_LISTEN: '127.0.0.1:0',
        AGENT_POLL_INTERVAL: '2',
        ...env,
      }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const service = new Service(child, dataDir);
    const listening = await until(
      'the service to listen',
      () => {
        if (child.exitCode !== null) throw new Error(`the service ended: ${service.stderr}`);
        return service.lines.find(({ msg }) => msg === 'listening');
      },
      { timeoutMs: 30_000 },
    );
    service.url = String(listening.url);
    return service;
  }

  async page(path = '/metrics'): Promise<Page> {
    const answer = await fetch(this.url + path, { signal: AbortSignal.timeout(10_000) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return new Page(await answer.text());
  }

  /** The first page for which `level` is true. When none is in time, the error says what the service logged and showed last. */
  async pageWhen(what: string, level: (page: Page) => boolean, timeoutMs = 60_000): Promise<Page> {
    const get = async () => {
      const page = await this.page();
      return level(page) ? page : undefined;
    };
    try {
      return await until(what, get, { timeoutMs, everyMs: 100 });
    } catch (error) {
      const last = this.lines.slice(-linesShown).map((line) => JSON.stringify(line));
      const page = await this.page().catch(() => undefined);
      const shown = telling.flatMap((family) => page?.find(family) ?? []).map((series) => series.join(' '));
      const told = [`${error}`, 'the service logged:', ...last, 'and showed:', ...shown].join('\n');
      throw new Error(told, { cause: error });
    }
  }

  logged(msg: string, fields: Record<string, unknown> = {}): LogLine[] {
    const pairs = Object.entries(fields);
    return this.lines.filter(
      (line) => line.msg === msg && pairs.every(([key, value]) => line[key] === value),
    );
  }

  /** Open file descriptors of the process. */
  descriptors(): number {
    return readdirSync(`/proc/${this.child.pid}/fd`).length;
  }

  residentBytes(): number {
    const pages = readFileSync(`/proc/${this.child.pid}/statm`, 'utf8').split(' ')[1];
    return Number(pages) * 4096;
  }

  /** SIGKILL, as a crash is: the data directory stays for the next life, and the store is left an orphan. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#exit;
  }

  /** SIGTERM, and the exit code; null when it had to be killed after `timeoutMs`. */
  async stop(timeoutMs = 30_000): Promise<number | null> {
    this.child.kill('SIGTERM');
    const late = setTimeout(() => this.child.kill('SIGKILL'), timeoutMs);
    const code = await this.#exit;
    clearTimeout(late);
    await rm(this.dataDir, { recursive: true, force: true });
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.stop();
  }
}
