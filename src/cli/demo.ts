// `outrigger demo`: the whole service on a simulated fleet, with nothing to configure and no root. Hosts are simulated in a child
// process, over real SSH and libvirt's protocol on loopback; they have troubles, so that there is something to see. The sample
// backend runs there too. Ctrl-C takes all of it away. It refuses to touch anything but its own temporary directory and loopback.
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../core/clock.js';
import { withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { createLog } from '../core/log.js';
import { Service } from '../service.js';
import { type Environment, readConfiguration } from './configuration.js';
import { makeDemoToken, placesToLook } from './demo-shared.js';
import { count } from './output.js';

export type DemoOptions = { hosts: number; vms: number };

type Ready = { inventoryFile: string; story: string[]; backend: { url: string; token: string } };

const seed = 1;
const wantedPort = 9177;
const fleetStartMs = 60_000;
const fleetEndMs = 5_000;
const lingerMs = 500;
/** Beside this very file's kind: .ts when it is run from source. */
const fleetMain = fileURLToPath(new URL(`../sim/process${extname(import.meta.url)}`, import.meta.url));

const say = (line: string) => process.stdout.write(`${line}\n`);

export async function demo(env: Environment, options: DemoOptions): Promise<number> {
  const stop = stopSignal();
  const dir = await mkdtemp(join(tmpdir(), 'outrigger-demo-'));
  let fleet: ChildProcess | undefined;
  let service: Service | undefined;
  try {
    say(`Simulating ${count(options.hosts, 'KVM host')} with ${count(options.vms, 'VM')} each …`);
    const argument = JSON.stringify({ ...options, seed, dir: join(dir, 'fleet') });
    fleet = fork(fleetMain, [argument], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const { inventoryFile, story, backend } = await ready(fleet, stop);
    const { token, tokenFile, tokensFile } = await makeDemoToken(dir);
    // All of it is on loopback: no proxy leads there.
    process.env.no_proxy = '*';
    const configuration = await readConfiguration({
      AGENT_POLL_INTERVAL: '5',
      AGENT_LOG_LEVEL: 'CRITICAL',
      AGENT_LISTEN: await freeAddress(),
      AGENT_HEARTBEAT_INTERVAL: '5',
      AGENT_METRICS_INTERVAL: '15',
      ...ownSettings(env),
      AGENT_INVENTORY: inventoryFile,
      AGENT_API_TOKENS_FILE: tokensFile,
      AGENT_DATA_DIR: join(dir, 'data'),
      AGENT_BACKEND_URL: backend.url,
      AGENT_TOKEN: backend.token,
    });
    if (!configuration) return 1;
    const { settings, inventory } = configuration;
    const log = createLog({ level: settings.logLevel, file: settings.logFile });
    service = await Service.start(settings, inventory, log);
    const first = inventory.hosts[0]?.name ?? '';
    tell({ url: service.url, backendUrl: backend.url, ...options, first, story, token, tokenFile });
    await aborted(stop);
    return 0;
  } catch (error) {
    if (stop.aborted) return 0;
    throw error;
  } finally {
    say('\nTaking everything down …');
    await service?.stop();
    if (fleet) await end(fleet);
    await rm(dir, { recursive: true, force: true });
    say('Nothing is left behind.');
    // What libraries leave of a store that ended keeps the process no longer than this.
    setTimeout(() => process.exit(), lingerMs).unref();
  }
}

/** Where it listens, how much it logs, how often it polls: the rest would lead out of the demo. */
function ownSettings({ AGENT_LISTEN, AGENT_LOG_LEVEL, AGENT_POLL_INTERVAL }: Environment): Environment {
  const given = { AGENT_LISTEN, AGENT_LOG_LEVEL, AGENT_POLL_INTERVAL };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
}

function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
  return stop.signal;
}

function ready(fleet: ChildProcess, signal: AbortSignal): Promise<Ready> {
  const told = () =>
    new Promise<Ready>((resolve, reject) => {
      fleet.once('message', (message) => resolve(message as Ready));
      fleet.once('error', reject);
      fleet.once('exit', (code) =>
        reject(new HostError('INTERNAL', { message: `the simulated fleet ended with ${code}` })),
      );
    });
  const onTimeout = () =>
    new HostError('TIMEOUT', {
      message: `the simulated fleet did not start within ${fleetStartMs / 1000} s`,
    });
  return withDeadline(told, { timeoutMs: fleetStartMs, signal, clock: systemClock, onTimeout });
}

async function end(fleet: ChildProcess): Promise<void> {
  if (fleet.exitCode !== null || fleet.signalCode !== null) return;
  const over = new Promise<void>((resolve) => fleet.once('exit', () => resolve()));
  if (fleet.connected) fleet.disconnect();
  else fleet.kill('SIGTERM');
  const late = systemClock.after(fleetEndMs, () => fleet.kill('SIGKILL'));
  await over;
  late.cancel();
}

/** The usual port, or a free one when something has it. */
async function freeAddress(): Promise<string> {
  const server = createServer();
  const isFree = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(wantedPort, '127.0.0.1', () => resolve(true));
  });
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return `127.0.0.1:${isFree ? wantedPort : 0}`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // A listener of a signal keeps no process alive; this does, until it is over.
    const held = setInterval(() => undefined, 60_000);
    const over = () => {
      clearInterval(held);
      resolve();
    };
    if (signal.aborted) over();
    else signal.addEventListener('abort', over, { once: true });
  });
}

type Told = DemoOptions & {
  url: string;
  backendUrl: string;
  first: string;
  story: readonly string[];
  token: string;
  tokenFile: string;
};

function tell({ url, backendUrl, hosts, vms, first, story, token, tokenFile }: Told): void {
  const [, main = ''] = process.argv;
  const command = main.endsWith('.ts') ? 'npm run -s dev --' : `node ${relative('.', main)}`;
  const alias = basename(main) === 'outrigger' ? '' : `\n  alias outrigger='${command}'`;
  say(`
Everything is running: ${count(hosts, 'simulated host')}, ${count(hosts * vms, 'VM')}. Worth a look:

${placesToLook({ url, backendUrl, host: first, token })}

In another terminal:
${alias}
  export AGENT_API_URL=${url} AGENT_API_TOKEN_FILE=${tokenFile}
  outrigger hosts
  outrigger vms ${first}
  outrigger vm stop ${first}/web-1 --wait
  outrigger jobs
  outrigger top
`);
  if (story.length > 0) say(`What goes wrong here, on purpose:\n\n  ${story.join('\n  ')}\n`);
  say('Ctrl-C ends the demo and takes everything away.');
}
