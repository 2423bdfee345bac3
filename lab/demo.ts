// `npm run demo`: three real KVM hosts with guests on this machine, and the real service watching them. Ctrl-C takes all of
// it away. It refuses to fake anything: what cannot be raised here is said, and nothing stands in for it.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeDemoToken, placesToLook } from '../src/cli/demo-shared.js';
import { type Lab, raiseLab } from './lab.js';
import { labPossible } from './possible.js';

const hosts = 3;
const guests = 2;
const defaultPort = 9177;
const freshWithinMs = 60_000;
const serviceStopMs = 35_000;
const defaultBackendPort = 8080;
const outrigger = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const backendMain = fileURLToPath(new URL('../examples/backend/main.ts', import.meta.url));

const say = (line: string) => console.log(line);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

async function main(): Promise<number> {
  const possible = labPossible();
  if (!possible.ok) {
    say(`The demo raises real KVM hosts, and here it cannot: ${possible.why}`);
    return 1;
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'outrigger-demo-'));
  let lab: Lab | undefined;
  let service: ChildProcess | undefined;
  let backend: ChildProcess | undefined;
  try {
    say(
      `Raising ${hosts} KVM hosts with ${guests} guests each: real sshd, libvirtd and QEMU (emulated CPUs) …`,
    );
    lab = await raiseLab({
      name: 'demo',
      hosts,
      guests,
      signal: stop.signal,
      onProgress: (line) => say(`  ${line}`),
    });
    const port = await freePort(defaultPort);
    const backendPort = await freePort(defaultBackendPort);
    const token = randomBytes(16).toString('hex');
    const admin = await makeDemoToken(dataDir);
    const env = {
      ...process.env,
      AGENT_API_TOKENS_FILE: admin.tokensFile,
      AGENT_INVENTORY: lab.inventoryFile,
      AGENT_DATA_DIR: dataDir,
      AGENT_LISTEN: `127.0.0.1:${port}`,
      AGENT_POLL_INTERVAL: '5',
      AGENT_BACKEND_URL: `http://127.0.0.1:${backendPort}`,
      AGENT_TOKEN: token,
      AGENT_HEARTBEAT_INTERVAL: '5',
      AGENT_METRICS_INTERVAL: '15',
      BACKEND_LISTEN: `127.0.0.1:${backendPort}`,
    };
    say('Starting the sample backend (examples/backend) …');
    backend = start(backendMain, [], env);
    say('Looking the hosts over with `outrigger check`:\n');
    await ended(start(outrigger, ['check'], env));
    say('\nStarting the service with `outrigger run` …\n');
    service = start(outrigger, ['run'], env);
    const over = ended(service);
    await Promise.race([fresh(port), over]);
    if (service.exitCode !== null) return 1;
    await tell(lab, port, dataDir, env, admin.token);
    await Promise.race([over, aborted(stop.signal)]);
    return stop.signal.aborted ? 0 : (service.exitCode ?? 1);
  } catch (error) {
    if (stop.signal.aborted) return 0;
    throw error;
  } finally {
    say('\nTaking everything down …');
    if (service) await end(service);
    if (backend) await end(backend);
    await lab?.down();
    await rm(dataDir, { recursive: true, force: true });
    say('Nothing is left behind.');
  }
}

function start(main: string, argv: string[], env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', main, ...argv], {
    env,
    stdio: 'inherit',
    detached: true,
  });
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = ended(child);
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), serviceStopMs);
  await over;
  clearTimeout(late);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Resolves when /metrics shows every guest; rejects when that takes too long. */
async function fresh(port: number): Promise<void> {
  const endMs = performance.now() + freshWithinMs;
  while (performance.now() < endMs && !stop.signal.aborted) {
    const text = await fetch(`http://127.0.0.1:${port}/metrics`).then(
      (answer) => answer.text(),
      () => '',
    );
    const seen = text.match(/^libvirt_domain_info_state\{/gm)?.length ?? 0;
    if (seen >= hosts * guests) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  if (!stop.signal.aborted) throw new Error(`no figures of all guests within ${freshWithinMs / 1000} s`);
}

async function freePort(wanted: number): Promise<number> {
  for (const port of [wanted, 0]) {
    const server = createServer();
    const found = await new Promise<number | undefined>((resolve) => {
      server.once('error', () => resolve(undefined));
      server.listen(port, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
    await new Promise<void>((resolve) => server.close(() => resolve()));
    if (found !== undefined) return found;
  }
  throw new Error('no free port');
}

async function tell(
  lab: Lab,
  port: number,
  dataDir: string,
  env: Record<string, string | undefined>,
  token: string,
): Promise<void> {
  const url = `http://127.0.0.1:${port}`;
  const first = lab.hosts[0]?.name ?? 'kvm-1';
  const envFile = join(dataDir, 'env');
  const { AGENT_INVENTORY, AGENT_DATA_DIR } = env;
  const settings = { AGENT_INVENTORY, AGENT_DATA_DIR, AGENT_API_URL: url, AGENT_API_TOKEN: token };
  const lines = Object.entries(settings).map(([name, value]) => `export ${name}='${value ?? ''}'\n`);
  await writeFile(envFile, lines.join(''), { mode: 0o600 });
  const guest = `${first}/${lab.hosts[0]?.guests[0] ?? 'web-1'}`;
  say(`
Everything is running: ${hosts} hosts, ${hosts * guests} guests, polled every 5 s. Worth a look, in another terminal:

${placesToLook({ url, backendUrl: env.AGENT_BACKEND_URL ?? '', host: first, token })}

  curl -s ${url}/metrics | grep libvirt_domain_info_cpu
  . ${envFile}; npm run -s dev -- check          (and hosts, vms, jobs, queue, top)
  npm run -s dev -- vm restart ${guest} --wait       (a VM job; in the terminal of the line above)
  STORE=${join(dataDir, 'store', 'store.sock')} npx tsx lab/job.ts restart ${first} ${lab.hosts[0]?.guests[0] ?? 'web-1'}   (the same through BullMQ)
  npx tsx lab/main.ts exec ${first} -- virsh list --all
  npx tsx lab/main.ts exec ${first} -- virsh destroy ${lab.hosts[0]?.guests[0] ?? 'web-1'}      (and see /metrics change)
  npx tsx lab/main.ts exec ${first} -- pkill libvirtd             (and see what the log and /metrics say)

Ctrl-C ends the demo and takes the hosts away.
`);
}

process.exitCode = await main();
