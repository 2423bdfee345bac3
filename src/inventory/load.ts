// The inventory file → hosts, or every problem in it, each with its place. All or nothing: it refuses to give half an
// inventory, because a host that is missing by mistake looks like one that was removed on purpose.
import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { takesHost } from '../core/shard.js';
import { didYouMean } from '../core/suggest.js';
import { type Path, readYaml, type YamlText } from './document.js';
import { explainIssues, hostLabel, type Issue, rootLabel, unknownKey } from './explain.js';
import { shown } from './fields.js';
import type { Host, Inventory, InventoryDefaults } from './host.js';
import { type Complaint, makeProblem, type Problem } from './problem.js';
import { type Conflict, endpointKey, ownConflicts, resolveHost } from './resolve.js';
import { HostEntry, Layer, rootKeys } from './schema.js';

/** Bytes of the file. */
export const inventoryBytesMax = 8 * 1024 * 1024;
export const hostsMax = 10_000;
/** Problems reported at a time. */
export const problemsMax = 200;

export type LoadResult = { inventory?: Inventory; problems: Problem[] };

/** Reads and judges the file. Whatever is wrong with reading it is one problem. */
export async function loadInventory(file: string, defaults: InventoryDefaults): Promise<LoadResult> {
  const read = await readInventoryFile(file);
  return 'problem' in read ? { problems: [read.problem] } : parseInventory(read.text, file, defaults);
}

export async function readInventoryFile(
  file: string,
): Promise<{ text: string } | { problem: Problem; code?: string | undefined }> {
  try {
    await using handle = await open(file, 'r');
    const { size } = await handle.stat();
    if (size > inventoryBytesMax) return { problem: whole(file, tooLarge) };
    const bytes = await handle.readFile();
    if (bytes.length > inventoryBytesMax) return { problem: whole(file, tooLarge) };
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return { problem: whole(file, cannotRead(code, error)), code };
  }
}

const tooLarge: Complaint = {
  message: `the inventory is larger than ${inventoryBytesMax / 1024 / 1024} MiB`,
  hint: 'Put keys that hosts share in groups, or run another collector for some of the hosts.',
};

function cannotRead(code: string | undefined, error: unknown): Complaint {
  switch (code) {
    case 'ENOENT':
      return {
        message: 'there is no inventory file here',
        hint: 'Copy inventory.example.yaml to this place, or set AGENT_INVENTORY to where the file is.',
      };
    case 'EACCES':
    case 'EPERM':
      return {
        message: 'the inventory may not be read by this user',
        hint: 'Let the user of the service read it.',
      };
    case 'EISDIR':
      return { message: 'this is a folder', hint: 'Set AGENT_INVENTORY to the file in it.' };
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return { message: 'the inventory is not UTF-8 text', hint: 'Save it as UTF-8.' };
    default:
      return {
        message: `the inventory cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      };
  }
}

function whole(file: string, complaint: Complaint): Problem {
  return makeProblem(file, { line: 0, column: 0 }, complaint);
}

/** Judges the text of an inventory. `file` names it in problems, and relative paths start from its folder. */
export function parseInventory(text: string, file: string, defaults: InventoryDefaults): LoadResult {
  const reader = new InventoryReader(readYaml(text), file, defaults);
  const hosts = reader.read();
  if (reader.problems.length === 0) {
    const ours = hosts.filter(({ name }) => takesHost(defaults.shard, name));
    return { inventory: { hosts: ours }, problems: [] };
  }
  return { problems: inOrder(reader.problems, file) };
}

function inOrder(problems: readonly Problem[], file: string): Problem[] {
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
  if (sorted.length <= problemsMax) return sorted;
  const rest = `${sorted.length - problemsMax} more problems are not shown`;
  return [...sorted.slice(0, problemsMax), whole(file, { message: rest, hint: 'Mend these first.' })];
}

type Mapping = Record<string, unknown>;

/** A group or the defaults: undefined when it has problems of its own, so that nothing is concluded from it. */
type KnownLayer = Layer | undefined;

class InventoryReader {
  readonly problems: Problem[];

  constructor(
    private readonly yaml: YamlText,
    private readonly file: string,
    private readonly defaults: InventoryDefaults,
  ) {
    this.problems = yaml.faults.map((fault) => makeProblem(file, fault, fault));
  }

  read(): Host[] {
    const root = this.yaml.value;
    if (root === undefined) return [];
    if (root === null) {
      this.complain([], { message: 'the inventory is empty', hint: 'Start from inventory.example.yaml.' });
      return [];
    }
    if (!isMapping(root)) {
      const message = `the inventory must be a mapping with the keys ${rootKeys.join(', ')}`;
      this.complain([], { message, hint: 'Begin with version: 1, then hosts:.' });
      return [];
    }
    this.rootKeys(root);
    const defaults = this.layer(root.defaults, ['defaults'], 'defaults');
    const groups = this.groups(root.groups);
    return this.hosts(root, defaults, groups);
  }

  private rootKeys(root: Mapping): void {
    for (const key of Object.keys(root)) {
      if (!rootKeys.some((known) => known === key))
        this.complain([key], unknownKey(key, [], rootLabel), 'key');
    }
    if (root.version === 1) return;
    if (root.version === undefined) {
      this.complain([], { message: 'version is missing', hint: 'Write version: 1 in the first line.' });
    } else {
      this.complain(['version'], {
        message: `version must be 1, not ${shown(root.version)}`,
        hint: 'Write version: 1.',
      });
    }
  }

  private layer(raw: unknown, base: Path, label: string): KnownLayer {
    const parsed = Layer.safeParse(raw ?? {}, { reportInput: true });
    if (parsed.success) return parsed.data;
    this.problems.push(
      ...explainIssues(parsed.error.issues, { file: this.file, yaml: this.yaml, base, label }),
    );
    return undefined;
  }

  private groups(raw: unknown): Map<string, KnownLayer> {
    const groups = new Map<string, KnownLayer>();
    if (raw === undefined || raw === null) return groups;
    if (!isMapping(raw)) {
      const hint = 'Write groups: { ams1: { labels: { dc: ams1 } } }.';
      this.complain(['groups'], {
        message: `groups must be a mapping of names to keys, not ${shown(raw)}`,
        hint,
      });
      return groups;
    }
    for (const [name, value] of Object.entries(raw)) {
      if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) {
        const message = `group ${shown(name)}: the name must be letters, digits, dots, dashes and underscores`;
        this.complain(['groups', name], { message }, 'key');
      }
      groups.set(name, this.layer(value, ['groups', name], `group ${shown(name)}`));
    }
    return groups;
  }

  private hosts(root: Mapping, defaults: KnownLayer, groups: ReadonlyMap<string, KnownLayer>): Host[] {
    const raw = root.hosts;
    if (!Array.isArray(raw)) {
      const at: Path = raw === undefined ? [] : ['hosts'];
      const message =
        raw === undefined
          ? 'hosts is missing'
          : `hosts must be a list, not ${raw === null ? 'empty' : shown(raw)}`;
      this.complain(at, {
        message,
        hint: 'Write hosts: and under it a line "- name: …" for each host, or hosts: [].',
      });
      return [];
    }
    if (raw.length > hostsMax) {
      const message = `the inventory has ${raw.length} hosts; one collector takes ${hostsMax}`;
      this.complain(['hosts'], { message, hint: 'Run another collector for some of them.' });
      return [];
    }
    const hosts = raw.map((entry, index) => this.host(entry, index, defaults, groups));
    this.unique(raw, hosts);
    return hosts.filter((host) => host !== undefined);
  }

  private host(
    raw: unknown,
    index: number,
    defaults: KnownLayer,
    groups: ReadonlyMap<string, KnownLayer>,
  ): Host | undefined {
    const base: Path = ['hosts', index];
    const label = hostLabel(index, raw);
    const named = this.namedGroups(raw, base, label, groups);
    const parsed = HostEntry.safeParse(raw, { reportInput: true });
    if (!parsed.success) {
      this.problems.push(
        ...explainIssues(parsed.error.issues, { file: this.file, yaml: this.yaml, base, label }),
      );
      this.conflicts(conflictsBeside(parsed.error.issues, raw), base, label);
      return undefined;
    }
    const layers = [defaults, ...named];
    const known = layers.filter((layer) => layer !== undefined);
    const own = ownConflicts(parsed.data);
    this.conflicts(own, base, label);
    if (own.length > 0 || known.length < layers.length) return undefined;
    const folder = dirname(resolve(this.file));
    const { host, conflicts } = resolveHost(parsed.data, { layers: known, defaults: this.defaults, folder });
    this.conflicts(conflicts, base, label);
    return host;
  }

  private conflicts(conflicts: readonly Conflict[], base: Path, label: string): void {
    for (const { path, message, hint } of conflicts) {
      const text = path.length > 0 ? `${label}: ${message}` : `${label} ${message}`;
      this.complain([...base, ...path], { message: text, hint });
    }
  }

  /** The layers of the groups a host names; an unknown group is a problem, also when the host has others. */
  private namedGroups(
    raw: unknown,
    base: Path,
    label: string,
    groups: ReadonlyMap<string, KnownLayer>,
  ): KnownLayer[] {
    const names: unknown[] = isMapping(raw) && Array.isArray(raw.groups) ? raw.groups : [];
    return names.map((name, index) => {
      if (typeof name !== 'string' || groups.has(name)) return groups.get(String(name));
      const known = [...groups.keys()];
      const list =
        known.length > 0 ? `Groups are: ${known.slice(0, 20).join(', ')}.` : 'Define it under groups:.';
      this.complain([...base, 'groups', index], {
        message: `${label}: there is no group ${shown(name)}`,
        hint: didYouMean(name, known) ?? list,
      });
      return undefined;
    });
  }

  private unique(raw: readonly unknown[], hosts: readonly (Host | undefined)[]): void {
    this.once(
      raw,
      'name',
      (_, entry) => (isMapping(entry) ? entry.name : undefined),
      (name, line) => ({
        message: `host ${shown(name)} stands in line ${line} already`,
        hint: 'Names are unique: rename one of the two, or take it out.',
      }),
    );
    this.once(
      raw,
      'id',
      (_, entry) => (isMapping(entry) ? entry.id : undefined),
      (id, line, label) => ({
        message: `${label}: id ${shown(id)} is that of the host in line ${line}`,
        hint: 'Ids are unique: take one of the two out.',
      }),
    );
    this.once(
      raw,
      undefined,
      (index) => hosts[index] && endpointKey(hosts[index]),
      (_, line, label) => ({
        message: `${label} is the same machine as the host in line ${line}: same address, port and libvirt URI`,
        hint: 'Take one of the two out, or give it its own address.',
      }),
    );
  }

  private once(
    raw: readonly unknown[],
    key: string | undefined,
    identity: (index: number, entry: unknown) => unknown,
    complaint: (value: unknown, line: number, label: string) => Complaint,
  ): void {
    const first = new Map<unknown, number>();
    const pathOf = (index: number): Path => ['hosts', index, ...(key === undefined ? [] : [key])];
    for (const [index, entry] of raw.entries()) {
      const value = identity(index, entry);
      if (value === undefined || value === null) continue;
      const earlier = first.get(value);
      if (earlier === undefined) {
        first.set(value, index);
      } else {
        const { line } = this.yaml.locate(pathOf(earlier));
        this.complain(pathOf(index), complaint(value, line, hostLabel(index, entry)));
      }
    }
  }

  private complain(path: Path, complaint: Complaint, what: 'key' | 'value' = 'value'): void {
    this.problems.push(makeProblem(this.file, this.yaml.locate(path, what), complaint));
  }
}

/** What is wrong with a host's keys together, as far as its good keys tell. */
function conflictsBeside(issues: readonly Issue[], raw: unknown): Conflict[] {
  if (!isMapping(raw)) return [];
  const good = structuredClone(raw);
  for (const issue of issues) {
    const faulty =
      issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    for (const path of faulty) removeAt(good, path.map(String));
  }
  const parsed = HostEntry.safeParse({ ...good, name: 'unnamed' });
  if (!parsed.success) return [];
  const placed = 'address' in raw || 'uri' in raw;
  return ownConflicts(parsed.data).filter(({ path }) => path.length > 0 || !placed);
}

function removeAt(from: Mapping, path: readonly string[]): void {
  const [key, ...rest] = path;
  if (key === undefined) return;
  const inner = from[key];
  if (rest.length > 0 && isMapping(inner)) removeAt(inner, rest);
  else delete from[key];
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
