// Runs a program of the machine with a deadline and a bound on its output. Refuses to leave it, or a child of it, running after that.
import { spawn } from 'node:child_process';

export type RunResult = { stdout: string; stderr: string; code: number };
export type RunOptions = {
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
  input?: string | undefined;
};

const runTimeoutMs = 30_000;
const outputBytesMax = 16 * 1024 * 1024;

/** Resolves with whatever exit code came; rejects when the program could not be started, ran too long or was cancelled. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { timeoutMs = runTimeoutMs, signal, input } = options;
  const [program, ...args] = argv;
  if (program === undefined) throw new Error('nothing to run');
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[], bytes: 0 };
    let failure: Error | undefined;
    const stop = (error: Error) => {
      failure ??= error;
      killGroup(child.pid);
    };
    const timer = setTimeout(
      () => stop(new Error(`took longer than ${timeoutMs} ms: ${argv.join(' ')}`)),
      timeoutMs,
    );
    const onAbort = () => stop(signal?.reason instanceof Error ? signal.reason : new Error('cancelled'));
    signal?.addEventListener('abort', onAbort, { once: true });
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        output.bytes += chunk.length;
        if (output.bytes > outputBytesMax)
          stop(new Error(`printed more than ${outputBytesMax} bytes: ${argv.join(' ')}`));
        else output[name].push(chunk);
      });
    }
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    // A daemon started by the program may keep the pipes open: the exit counts, with a moment for what is still in the pipes.
    child.once('exit', (code) => {
      settle();
      const done = () => {
        child.stdout.destroy();
        child.stderr.destroy();
        if (failure) return reject(failure);
        const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString('utf8');
        resolve({ stdout: text(output.stdout), stderr: text(output.stderr), code: code ?? -1 });
      };
      const grace = setTimeout(done, pipeGraceMs);
      child.once('close', () => {
        clearTimeout(grace);
        done();
      });
    });
  });
}

const pipeGraceMs = 200;

/** Like run(), and rejects with the program's own words unless it exits with 0. Resolves with its standard output. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { stdout, stderr, code } = await run(argv, options);
  if (code === 0) return stdout;
  throw new Error(`${argv.join(' ')}: exit ${code}: ${(stderr || stdout).trim().slice(-2000)}`);
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it ended meanwhile
  }
}

/** Waits until `level` is truthy; polls, because what it waits for lives in other processes. */
export async function waitUntil<T>(
  what: string,
  level: () => T | Promise<T>,
  {
    timeoutMs = runTimeoutMs,
    everyMs = 50,
    signal,
  }: { timeoutMs?: number; everyMs?: number; signal?: AbortSignal | undefined } = {},
): Promise<NonNullable<T>> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const value = await level();
    if (value) return value as NonNullable<T>;
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
