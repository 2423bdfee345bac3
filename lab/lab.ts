// Raises a lab: N real KVM hosts with guests on this one machine, for tests and the demo. Several labs live side by side, each with a name and
// a subnet of its own. It refuses to leave anything behind: a keeper process takes the lab down when the process that raised it is gone.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { appendFile, cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import PQueue from 'p-queue';
import { type GuestOptions, type GuestSpec, guestNames, inventoryText, type SshdOptions } from './files.js';
import { controls, type LabHost, raiseHost } from './host.js';
import { bridgeAddress, bridgeName, type HostPlan, knownHostsLines, labMark } from './plan.js';
import { labPossible } from './possible.js';
import { must, run } from './run.js';
import { claim, keeperArgv, type LabState, loadState, saveState, subnetMax, sweep } from './state.js';

export type { LabHost };

/** Guests of a host: how many (web-1, db-1, web-2, …), or their names, or their names with options. */
type Guests = number | readonly (string | GuestSpec)[];

export type LabOptions = {
  /** [a-z0-9-], unique on the machine while the lab is up. */
  name: string;
  hosts: number;
  /** Per host. */
  guests: Guests;
  /** Hosts are 127.0.<subnet>.1, .2, …; 1 to 199. Default: the lowest that no other lab uses. */
  subnet?: number | undefined;
  /** Where the lab's files go; must not exist yet. Default: /run/outrigger-lab/<name>. */
  dir?: string | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((line: string) => void) | undefined;
  guestOptions?: GuestOptions | undefined;
  /** For every host, or by the host's number from 1. */
  sshd?: SshdOptions | ((host: number) => SshdOptions) | undefined;
  /** Wait until the guests have booted, not only until QEMU runs. Default true. */
  waitForGuests?: boolean | undefined;
  /** Stays up when this process ends; then only downLab() takes it down. Default false. */
  detached?: boolean | undefined;
};

type AddHostOptions = Pick<LabOptions, 'guestOptions' | 'waitForGuests' | 'signal'> & {
  guests?: Guests;
  sshd?: SshdOptions;
};

export type Lab = {
  readonly name: string;
  readonly subnet: number;
  readonly hosts: LabHost[];
  readonly dir: string;
  readonly inventoryFile: string;
  readonly pollKeyFile: string;
  readonly opsKeyFile: string;
  readonly knownHostsFile: string;
  inventory(): string;
  /** The next host (its number follows the last one's); the inventory file is written anew. */
  addHost(options?: AddHostOptions): Promise<LabHost>;
  down(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const here = dirname(fileURLToPath(import.meta.url));
const hostsMax = 200;
const guestsMax = 244;
const raisedAtATime = 4;
const imageBuildMs = 300_000;
const keeperEndMs = 60_000;

/** Rejects, and leaves nothing behind, when it fails or the signal aborts. */
export async function raiseLab(options: LabOptions): Promise<Lab> {
  const { name, signal, detached = false } = options;
  if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(name)) throw new Error(`not a lab's name: ${name}`);
  const { subnet } = options;
  if (subnet !== undefined && !(Number.isInteger(subnet) && subnet >= 1 && subnet <= subnetMax)) {
    throw new Error(`the subnet must be 1 to ${subnetMax}, not ${subnet}`);
  }
  const possible = labPossible();
  if (!possible.ok) throw new Error(`no lab can be raised here: ${possible.why}`);
  const image = await must(['bash', join(here, 'image.sh'), cacheDir()], { timeoutMs: imageBuildMs, signal });

  const state = await claim({
    name,
    id: randomUUID(),
    image: image.trim(),
    subnet,
    dir: options.dir,
  });
  const raised = new RaisedLab(state, startKeeper(state), options.onProgress ?? (() => {}));
  try {
    signal?.throwIfAborted();
    await raised.prepare();
    const sshd = options.sshd ?? {};
    const sshdOf = typeof sshd === 'function' ? sshd : () => sshd;
    await raised.raise(
      Array.from({ length: options.hosts }, (_, index) => ({
        guests: options.guests,
        sshd: sshdOf(index + 1),
      })),
      { guestOptions: options.guestOptions, waitForGuests: options.waitForGuests, signal },
    );
    if (detached) await raised.release();
    return raised;
  } catch (error) {
    await raised.down();
    throw error;
  }
}

/** A lab that another process raised, or undefined. Its down() takes it down all the same. */
export function openLab(name: string): Lab | undefined {
  const state = loadState(name);
  return state === undefined ? undefined : new RaisedLab(state, undefined, () => {});
}

/** Takes a lab down, whoever raised it and however far it got; one that does not exist is fine. */
export async function downLab(name: string): Promise<void> {
  await sweep(name);
}

/** Waits for the end of its input, which comes when this process ends in whatever way, and then takes the lab down. */
function startKeeper(state: LabState): ChildProcess {
  const keeper = spawn('bash', keeperArgv(state), {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  });
  keeper.on('error', () => {});
  keeper.stdin?.on('error', () => {});
  keeper.unref();
  (keeper.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return keeper;
}

function cacheDir(): string {
  return process.env.XDG_CACHE_HOME
    ? join(process.env.XDG_CACHE_HOME, 'outrigger-lab')
    : '/var/cache/outrigger-lab';
}

/** Where libvirt's findings about this QEMU are kept; another QEMU or libvirtd means another directory. */
function capabilitiesDir(): string {
  const ages = ['/usr/bin/qemu-system-x86_64', '/usr/sbin/libvirtd'].map((path) =>
    existsSync(path) ? Math.round(statSync(path).ctimeMs) : 0,
  );
  return join(cacheDir(), `capabilities-${ages.join('-')}`);
}

type HostWish = { guests: Guests; sshd: SshdOptions };

class RaisedLab implements Lab {
  readonly name: string;
  readonly subnet: number;
  readonly dir: string;
  readonly inventoryFile: string;
  readonly pollKeyFile: string;
  readonly opsKeyFile: string;
  readonly knownHostsFile: string;
  readonly hosts: LabHost[];
  readonly #state: LabState;
  #keeper: ChildProcess | undefined;
  readonly #progress: (line: string) => void;
  #opensshVersion = 0;
  #down: Promise<void> | undefined;

  constructor(state: LabState, keeper: ChildProcess | undefined, progress: (line: string) => void) {
    this.name = state.name;
    this.subnet = state.subnet;
    this.dir = state.dir;
    this.inventoryFile = join(state.dir, 'inventory.yaml');
    this.pollKeyFile = join(state.dir, 'keys/poll');
    this.opsKeyFile = join(state.dir, 'keys/ops');
    this.knownHostsFile = join(state.dir, 'known_hosts');
    this.#state = state;
    this.#keeper = keeper;
    this.#progress = progress;
    this.hosts = state.hosts.map((plan) => controls(plan));
  }

  inventory(): string {
    return inventoryText(this);
  }

  async prepare(): Promise<void> {
    const bridge = bridgeName(this.subnet);
    await must(['ip', 'link', 'add', bridge, 'type', 'bridge']);
    await must(['ip', 'link', 'set', bridge, 'alias', labMark(this.#state.tag)]);
    await must(['ip', 'address', 'add', `${bridgeAddress(this.subnet)}/24`, 'dev', bridge]);
    await must(['ip', 'link', 'set', bridge, 'up']);
    await mkdir(join(this.dir, 'keys'), { mode: 0o700 });
    for (const file of [this.pollKeyFile, this.opsKeyFile]) {
      await must([
        'ssh-keygen',
        '-q',
        '-t',
        'ed25519',
        '-N',
        '',
        '-C',
        `outrigger-lab-${this.name}`,
        '-f',
        file,
      ]);
    }
    await writeFile(this.knownHostsFile, '');
  }

  async raise(wishes: readonly HostWish[], options: AddHostOptions): Promise<LabHost[]> {
    const stop = new AbortController();
    const signal =
      options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
    this.#opensshVersion = Number(/OpenSSH_(\d+\.\d+)/.exec((await run(['ssh', '-V'])).stderr)?.[1] ?? 0);
    const plans = wishes.map((wish) => this.#plan(wish, options.guestOptions ?? {}, signal));
    await saveState(this.#state);
    const queue = new PQueue({ concurrency: raisedAtATime });
    const results = await Promise.allSettled(
      plans.map((plan) =>
        queue.add(async () => {
          try {
            return await this.#raiseOne(plan, options.waitForGuests !== false);
          } catch (error) {
            stop.abort(error);
            throw error;
          }
        }),
      ),
    );
    if (signal.aborted) throw signal.reason;
    const hosts = results.flatMap((result) =>
      result.status === 'fulfilled' && result.value ? [result.value] : [],
    );
    this.hosts.push(...hosts);
    await writeFile(this.inventoryFile, this.inventory(), { mode: 0o600 });
    return hosts;
  }

  async #raiseOne(plan: HostPlan, waitForGuests: boolean): Promise<LabHost> {
    const start = performance.now();
    const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
    plan.signal?.throwIfAborted();
    const { host, libvirtVersion } = await raiseHost(plan);
    await appendFile(this.knownHostsFile, await knownHostsLines(plan));
    const running = plan.guests.filter((guest) => guest.start !== false);
    this.#progress(
      `${plan.name}: libvirtd ${libvirtVersion} up, ${running.length} guests running (${seconds()} s)`,
    );
    await this.#keepCapabilities(plan);
    if (waitForGuests && running.length > 0) {
      await Promise.all(running.map((guest) => host.guestReady(guest.name)));
      this.#progress(`${plan.name}: guests booted (${seconds()} s)`);
    }
    return host;
  }

  #plan({ guests, sshd }: HostWish, guestOptions: GuestOptions, signal: AbortSignal): HostPlan {
    const state = this.#state;
    const number = (state.hosts.at(-1)?.number ?? 0) + 1;
    const named = typeof guests === 'number' ? guestNames(guests) : guests;
    const specs = named.map((guest) => ({
      ...guestOptions,
      ...(typeof guest === 'string' ? { name: guest } : guest),
    }));
    if (number > hostsMax) throw new Error(`a lab has at most ${hostsMax} hosts`);
    if (state.guestsMade + specs.length > guestsMax) throw new Error(`a lab has at most ${guestsMax} guests`);
    const name = `kvm-${number}`;
    const plan: HostPlan = {
      tag: state.tag,
      dir: join(state.dir, 'hosts', name),
      name,
      number,
      address: `127.0.${state.subnet}.${number}`,
      subnet: state.subnet,
      uuid: randomUUID(),
      image: state.image,
      capabilities: capabilitiesDir(),
      guests: specs,
      firstGuestNumber: state.guestsMade + 10,
      sshd,
      opensshVersion: this.#opensshVersion,
      pollKeyFile: this.pollKeyFile,
      opsKeyFile: this.opsKeyFile,
      knownHostsFile: this.knownHostsFile,
      signal,
    };
    state.hosts.push(plan);
    state.guestsMade += specs.length;
    return plan;
  }

  /** Keeps what libvirt found out about QEMU, so that the next host need not ask again. */
  async #keepCapabilities(plan: HostPlan): Promise<void> {
    const kept = capabilitiesDir();
    if (existsSync(kept) || plan.guests.length === 0) return;
    const copy = `${kept}.${plan.uuid}`;
    await cp(join(plan.dir, 'cache'), copy, { recursive: true });
    await rename(copy, kept).catch(() => rm(copy, { recursive: true, force: true }));
  }

  async addHost(options: AddHostOptions = {}): Promise<LabHost> {
    const [host] = await this.raise([{ guests: options.guests ?? 0, sshd: options.sshd ?? {} }], options);
    if (host === undefined) throw new Error('the host was not raised');
    return host;
  }

  /** From here on the lab outlives this process. */
  async release(): Promise<void> {
    this.#state.owner = undefined;
    await saveState(this.#state);
    this.#keeper?.stdin?.end('release\n');
    this.#keeper = undefined;
  }

  down(): Promise<void> {
    this.#down ??= this.#takeDown();
    return this.#down;
  }

  async #takeDown(): Promise<void> {
    await sweep(this.name, this.#state.id);
    const keeper = this.#keeper;
    if (keeper === undefined || keeper.exitCode !== null || keeper.signalCode !== null) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`the keeper of lab ${this.name} did not end`)),
        keeperEndMs,
      );
      keeper.ref();
      keeper.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      keeper.stdin?.end();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }
}
