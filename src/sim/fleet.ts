// A simulated fleet: hosts that listen on loopback, and the inventory, known_hosts and keys that lead to them. Whoever makes it
// closes it, and nothing of it stays open. It refuses to listen anywhere but on 127/8.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../core/clock.js';
import { Churn } from './churn.js';
import { type Fault, Faults } from './faults.js';
import { SimHost } from './host.js';
import { makeKey } from './keys.js';
import type { ResponderFigures } from './responder.js';
import { SimSshd } from './ssh-server.js';

export type SimFleetOptions = {
  hosts: number;
  /** Of each host. */
  vms: number;
  seed: number;
  /** Where the inventory, known_hosts and keys are written; made when it is not there. */
  dir: string;
  faults?: readonly Fault[];
  /**
   * `one`: all on 127.0.0.1, each with a port of its own. `each`: host n on 127.x.y.z, all with `port`: what looks most like a
   * fleet, and works on Linux.
   */
  addresses?: 'one' | 'each';
  /** For `each`. */
  port?: number;
  /** Births, deaths and pauses of VMs in the whole fleet, a minute; default 0. */
  churnPerMinute?: number;
  outOfOrder?: boolean;
  clock?: Clock;
  /** YAML under `defaults`, as it is: `poll: { guest: 60s }`. */
  defaults?: string;
};

export const hostsMax = 10_000;
export const vmsMax = 1_000;
const listeningAtATime = 64;

export type SimFleetHost = {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly model: SimHost;
  readonly faults: Faults;
  readonly figures: Readonly<ResponderFigures>;
  readonly connections: number;
  /** Refuses connections, and cuts those that there are. */
  down(): Promise<void>;
  up(): Promise<void>;
};

export type SimFleet = {
  readonly hosts: readonly SimFleetHost[];
  readonly inventoryFile: string;
  readonly knownHostsFile: string;
  readonly pollKeyFile: string;
  readonly opsKeyFile: string;
  /** Over all hosts. */
  figures(): ResponderFigures;
  close(): Promise<void>;
};

/** Throws RangeError for what is out of bounds, and what listening or writing throws. */
export async function simFleet(options: SimFleetOptions): Promise<SimFleet> {
  const { seed, dir, faults = [], clock = systemClock } = options;
  bounded('hosts', options.hosts, hostsMax);
  bounded('vms', options.vms, vmsMax);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const keys = await writeKeys(dir);
  const hosts = hostNames(options.hosts).map((name, index) => {
    const model = new SimHost({ name, seed, vms: options.vms, clock });
    const figures: ResponderFigures = { calls: 0, badArguments: 0, unknownProcedures: 0, events: 0 };
    const address = options.addresses === 'each' ? addressOf(index) : '127.0.0.1';
    const port = options.addresses === 'each' ? (options.port ?? 0) : 0;
    const hostFaults = new Faults(name, faults, seed);
    const outOfOrder = options.outOfOrder ?? false;
    const sshd = new SimSshd({
      host: model,
      faults: hostFaults,
      figures,
      ...keys,
      address,
      port,
      outOfOrder,
    });
    return new FleetHost(name, address, model, hostFaults, figures, sshd);
  });
  const churn = new Churn(
    hosts.map(({ model }) => model),
    { perMinute: options.churnPerMinute ?? 0, seed, clock },
  );
  const close = async () => {
    churn.stop();
    await Promise.all(hosts.map((host) => host.close()));
  };
  try {
    for (let from = 0; from < hosts.length; from += listeningAtATime) {
      await Promise.all(hosts.slice(from, from + listeningAtATime).map((host) => host.up()));
    }
    await writeFile(
      keys.knownHostsFile,
      hosts.map((host) => `${host.nameInKnownHosts} ${keys.hostKeyPublic}\n`).join(''),
    );
    const inventoryFile = join(dir, 'inventory.yaml');
    await writeFile(inventoryFile, inventoryText(hosts, keys, options.defaults));
    churn.start();
    const { knownHostsFile, pollKeyFile, opsKeyFile } = keys;
    return {
      hosts,
      inventoryFile,
      knownHostsFile,
      pollKeyFile,
      opsKeyFile,
      figures: () => sum(hosts),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

class FleetHost implements SimFleetHost {
  readonly #sshd: SimSshd;

  constructor(
    readonly name: string,
    readonly address: string,
    readonly model: SimHost,
    readonly faults: Faults,
    readonly figures: ResponderFigures,
    sshd: SimSshd,
  ) {
    this.#sshd = sshd;
  }

  get port(): number {
    return this.#sshd.port;
  }

  get connections(): number {
    return this.#sshd.connections;
  }

  get nameInKnownHosts(): string {
    return this.port === 22 ? this.address : `[${this.address}]:${this.port}`;
  }

  up(): Promise<void> {
    return this.#sshd.listen();
  }

  down(): Promise<void> {
    return this.#sshd.close();
  }

  async close(): Promise<void> {
    this.model.close();
    await this.#sshd.close();
  }
}

function bounded(what: string, count: number, max: number): void {
  if (Number.isInteger(count) && count >= 0 && count <= max) return;
  throw new RangeError(`${what}: ${count} is not a whole number from 0 to ${max}`);
}

/** kvm-01 … kvm-12; as many digits as the last one has, two at the least. */
export function hostNames(count: number): string[] {
  const digits = Math.max(2, String(count).length);
  return Array.from({ length: count }, (_, index) => `kvm-${String(index + 1).padStart(digits, '0')}`);
}

function addressOf(index: number): string {
  return `127.77.${Math.floor(index / 250)}.${1 + (index % 250)}`;
}

type Keys = {
  hostKey: string;
  hostKeyPublic: string;
  wrongHostKey: string;
  pollKey: Buffer;
  opsKey: Buffer;
  pollKeyFile: string;
  opsKeyFile: string;
  knownHostsFile: string;
};

async function writeKeys(dir: string): Promise<Keys> {
  const [host, wrong, poll, ops] = [makeKey(), makeKey(), makeKey(), makeKey()];
  const [pollKeyFile, opsKeyFile] = [join(dir, 'poll_key'), join(dir, 'ops_key')];
  await writeFile(pollKeyFile, poll.private, { mode: 0o600 });
  await writeFile(opsKeyFile, ops.private, { mode: 0o600 });
  return {
    hostKey: host.private,
    hostKeyPublic: host.public,
    wrongHostKey: wrong.private,
    pollKey: poll.blob,
    opsKey: ops.blob,
    pollKeyFile,
    opsKeyFile,
    knownHostsFile: join(dir, 'known_hosts'),
  };
}

function inventoryText(hosts: readonly SimFleetHost[], keys: Keys, defaults: string | undefined): string {
  const entries = hosts.map(
    ({ name, address, port }, index) =>
      `  - { name: ${name}, address: ${address}, ssh: { port: ${port} }, labels: { rack: r${1 + (index % 8)} } }\n`,
  );
  return `# Simulated hosts, on loopback. Written anew at each start.
version: 1
defaults:
  ssh:
    user: outrigger
    keyFile: ${keys.pollKeyFile}
    opsUser: outrigger-ops
    opsKeyFile: ${keys.opsKeyFile}
    knownHostsFile: ${keys.knownHostsFile}
${defaults ? `  ${defaults}\n` : ''}hosts:${hosts.length === 0 ? ' []' : ''}
${entries.join('')}`;
}

function sum(hosts: readonly SimFleetHost[]): ResponderFigures {
  const total: ResponderFigures = { calls: 0, badArguments: 0, unknownProcedures: 0, events: 0 };
  for (const { figures } of hosts) {
    total.calls += figures.calls;
    total.badArguments += figures.badArguments;
    total.unknownProcedures += figures.unknownProcedures;
    total.events += figures.events;
  }
  return total;
}
