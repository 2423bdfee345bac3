// Precedence: host over its groups (later over earlier) over defaults, then what a URI says, then our own defaults.
// A URI is another way of writing a host's own keys: saying a thing twice and differently is a problem, never a choice.
// Pure: it refuses to touch the file system, so a key file that is missing is found when the host is dialled.
import { homedir } from 'node:os';
import { resolve as resolvePath } from 'node:path';
import { daemonUri, type LibvirtUri } from '../libvirt/uri.js';
import type { Path } from './document.js';
import {
  type Host,
  type HostLibvirt,
  type HostSsh,
  hasJobsKey,
  type InventoryDefaults,
  type JumpHost,
} from './host.js';
import type { Complaint } from './problem.js';
import type { HostEntry, Layer } from './schema.js';

const defaultUser = 'outrigger';
const defaultSshPort = 22;
const defaultDetailsMs = 300_000;

/** A complaint about one host; `path` is inside the host's entry. */
export type Conflict = Complaint & { path: Path };

export type Resolved = { host: Host; conflicts: Conflict[] };

type Context = {
  /** Lowest first: defaults, then the groups in the order the host names them. */
  layers: readonly Layer[];
  defaults: InventoryDefaults;
  /** Folder that relative paths start from. */
  folder: string;
};

/** The host with precedence applied, and what would keep it from being reached. Call it when `ownConflicts` finds none. */
export function resolveHost(entry: HostEntry, { layers, defaults, folder }: Context): Resolved {
  const own: Layer = { ...entry, ...fromUri(entry) };
  const all = [...layers, own];
  const local = entry.uri?.transport === 'local';
  const address = entry.uri?.transport === 'ssh' ? entry.uri.address : entry.address;
  const host: Host = {
    name: entry.name,
    ...(entry.id !== undefined && { id: entry.id }),
    connection: local ? 'local' : 'ssh',
    address: local ? 'localhost' : (address ?? ''),
    groups: entry.groups ?? [],
    labels: Object.assign({}, ...all.map((layer) => layer.labels)),
    ssh: local ? localSsh : mergeSsh(all, folder),
    libvirt: mergeLibvirt(all, defaults),
    poll: mergePoll(all, defaults),
    ops: last(all.map((layer) => layer.ops)) ?? true,
    maintenance: last(all.map((layer) => layer.maintenance)) ?? false,
  };
  return { host, conflicts: [...(local ? [] : reachability(host)), ...withoutJobsKey(host)] };
}

/** What is wrong with a host's own keys together, whatever its groups say. */
export function ownConflicts(entry: HostEntry): Conflict[] {
  if (entry.uri) return contradictions(entry, entry.uri);
  if (entry.address !== undefined) return [];
  const hint = 'Give it address: 192.0.2.11 or uri: qemu+ssh://user@192.0.2.11/system.';
  return [{ path: [], message: 'has neither address nor uri', hint }];
}

const localSsh: HostSsh = { user: '', port: 0, agent: false, jump: [] };

function reachability({ ssh, address }: Host): Conflict[] {
  const conflicts: Conflict[] = [];
  if (ssh.keyFile === undefined && ssh.agent === false) {
    conflicts.push({
      path: [],
      message: 'has no SSH key: neither ssh.keyFile nor ssh.agent is set for it',
      hint: 'Set ssh.keyFile in defaults, in one of its groups or on the host, or ssh: { agent: true }.',
    });
  }
  if (ssh.jump.some((hop) => hop.address === address && hop.port === ssh.port)) {
    conflicts.push({
      path: [],
      message: `would be reached through itself: its jump host is ${address}`,
      hint: 'Write ssh: { jump: [] } on this host.',
    });
  }
  return conflicts;
}

/** Keys of `poll` that use the jobs key, on a host where there is none to use. */
function withoutJobsKey(host: Host): Conflict[] {
  const why = whyNoJobsKey(host);
  if (!why) return [];
  const { guestMs, balloonPeriodS } = host.poll;
  const uses = [
    ...(guestMs === undefined ? [] : [{ key: 'guest', what: "asks guests' agents" }]),
    ...(balloonPeriodS === undefined ? [] : [{ key: 'balloonPeriod', what: 'sets up balloons' }]),
  ];
  return uses.map(({ key, what }) => ({
    path: [],
    message: `${what} (poll.${key}), which libvirt allows with the jobs key only, but ${why.message}`,
    hint: `${why.hint}, or write poll: { ${key}: off } on this host.`,
  }));
}

function whyNoJobsKey(host: Host): { message: string; hint: string } | undefined {
  if (!host.ops) return { message: 'says ops: false', hint: 'Take ops: false out' };
  if (host.connection === 'local' || hasJobsKey(host)) return undefined;
  return { message: 'has none', hint: 'Set ssh.opsKeyFile (and ssh.opsUser)' };
}

function mergeSsh(layers: readonly Layer[], folder: string): HostSsh {
  const merged = mergeSection(layers.map((layer) => layer.ssh));
  const file = (path: string | undefined) => (path === undefined ? undefined : absolutePath(path, folder));
  return defined({
    user: merged.user ?? defaultUser,
    port: merged.port ?? defaultSshPort,
    keyFile: file(merged.keyFile),
    keyPassphraseFile: file(merged.keyPassphraseFile),
    knownHostsFile: file(merged.knownHostsFile),
    agent: typeof merged.agent === 'string' ? absolutePath(merged.agent, folder) : (merged.agent ?? false),
    jump: merged.jump ?? [],
    opsUser: merged.opsUser,
    opsKeyFile: file(merged.opsKeyFile),
  }) as HostSsh;
}

function mergeLibvirt(layers: readonly Layer[], defaults: InventoryDefaults): HostLibvirt {
  const merged = mergeSection(layers.map((layer) => layer.libvirt));
  return {
    uri: merged.uri ?? defaults.libvirtUri,
    socket: merged.socket ?? 'auto',
    transport: merged.transport ?? 'auto',
  };
}

function mergePoll(layers: readonly Layer[], defaults: InventoryDefaults): Host['poll'] {
  const merged = mergeSection(layers.map((layer) => layer.poll));
  return {
    intervalMs: merged.interval ?? defaults.pollIntervalMs,
    detailsMs: merged.details ?? defaultDetailsMs,
    ...(typeof merged.guest === 'number' && { guestMs: merged.guest }),
    ...(typeof merged.balloonPeriod === 'number' && { balloonPeriodS: merged.balloonPeriod }),
    ...(merged.collectors && { collectors: merged.collectors }),
  };
}

/** What the URI says, as keys of the host's own layer, over the keys that stand beside it. */
function fromUri({ uri, ssh, libvirt }: HostEntry): Layer {
  if (!uri) return {};
  const parts = uriParts(uri);
  return {
    ssh: { ...ssh, ...defined(parts.ssh) },
    libvirt: { ...libvirt, ...defined(parts.libvirt) },
  };
}

function uriParts(uri: LibvirtUri) {
  const libvirt: NonNullable<Layer['libvirt']> = { uri: daemonUri(uri), socket: uri.socket };
  if (uri.transport === 'local') return { ssh: {}, libvirt };
  if (uri.proxy === 'native') libvirt.transport = 'helper';
  const ssh: NonNullable<Layer['ssh']> = {
    user: uri.user,
    port: uri.port,
    keyFile: uri.keyFile,
    knownHostsFile: uri.knownHostsFile,
    agent: uri.auth?.includes('agent'),
  };
  return { ssh, libvirt };
}

function contradictions(entry: HostEntry, uri: LibvirtUri): Conflict[] {
  const conflicts: Conflict[] = [];
  const compare = (path: Path, written: unknown, inUri: unknown) => {
    if (written === undefined || inUri === undefined || written === inUri) return;
    const key = path.join('.');
    conflicts.push({
      path,
      message: `${key} is ${written} but uri says ${inUri}`,
      hint: `Take ${key} out, or write the same in both.`,
    });
  };
  const { ssh, libvirt } = uriParts(uri);
  if (uri.transport === 'ssh') {
    compare(['address'], entry.address, uri.address);
  } else {
    for (const key of ['address', 'ssh'] as const) {
      if (entry[key] === undefined) continue;
      conflicts.push({
        path: [key],
        message: `${key} is given, but its uri means this machine's own libvirt`,
        hint: `Take ${key} out, or write the uri as qemu+ssh://….`,
      });
    }
  }
  for (const key of Object.keys(ssh) as (keyof typeof ssh)[]) {
    compare(['ssh', key], entry.ssh?.[key], ssh[key]);
  }
  for (const key of Object.keys(libvirt) as (keyof typeof libvirt)[]) {
    compare(['libvirt', key], entry.libvirt?.[key], libvirt[key]);
  }
  return conflicts;
}

/** Two hosts with the same key are one machine: same way there, same daemon. */
export function endpointKey({ connection, address, ssh, libvirt }: Host): string {
  const way = ssh.jump.map((hop: JumpHost) => `${hop.address}:${hop.port}`);
  return JSON.stringify([connection, way, address, ssh.port, libvirt.uri, libvirt.socket]);
}

function absolutePath(path: string, folder: string): string {
  if (path === '~' || path.startsWith('~/')) return resolvePath(homedir(), `.${path.slice(1)}`);
  return resolvePath(folder, path);
}

function mergeSection<T extends object>(sections: readonly (T | undefined)[]): T {
  return Object.assign({}, ...sections.map((section) => defined(section ?? {})));
}

function defined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

function last<T>(values: readonly (T | undefined)[]): T | undefined {
  return values.findLast((value) => value !== undefined);
}
