// Which labs are on this machine: a directory for each under /run/outrigger-lab, enough to take it down after its raiser has crashed.
// It starts no hosts.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bridgeName, type HostPlan } from './plan.js';
import { must } from './run.js';

export type LabState = {
  name: string;
  id: string;
  /** On everything it makes outside its directory. */
  tag: string;
  subnet: number;
  dir: string;
  /** The process that raised it; undefined for a lab that has been released to outlive its raiser. */
  owner: { pid: number; ticks: string } | undefined;
  image: string;
  guestsMade: number;
  hosts: HostPlan[];
};

const labRoot = '/run/outrigger-lab';
export const subnetMax = 199;
const sweepMs = 60_000;
const sweepScript = join(dirname(fileURLToPath(import.meta.url)), 'sweep.sh');

export function labNames(): string[] {
  if (!existsSync(labRoot)) return [];
  return readdirSync(labRoot).filter((entry) => !entry.startsWith('.'));
}

export function loadState(name: string): LabState | undefined {
  try {
    return JSON.parse(readFileSync(join(labRoot, name, 'lab.json'), 'utf8')) as LabState;
  } catch {
    return undefined;
  }
}

export async function saveState(state: LabState): Promise<void> {
  const file = join(state.dir, 'lab.json');
  const text = JSON.stringify(state, (key, value) => (key === 'signal' ? undefined : value), 2);
  await writeFile(`${file}.new`, `${text}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** Takes down whatever there is of that lab; nothing there is fine. With an id: only if it is still that lab. */
export async function sweep(name: string, id?: string): Promise<void> {
  await must(['bash', sweepScript, labRoot, name, ...(id === undefined ? [] : [id])], { timeoutMs: sweepMs });
}

export const keeperArgv = (state: LabState) => [sweepScript, '--keep', labRoot, state.name, state.id];

/** Start time of a process in clock ticks since boot: with its number it names a process for good. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function labOwner(state: LabState): 'alive' | 'gone' | 'detached' {
  if (state.owner === undefined) return 'detached';
  return startTicks(state.owner.pid) === state.owner.ticks ? 'alive' : 'gone';
}

export type Claim = {
  name: string;
  id: string;
  image: string;
  subnet?: number | undefined;
  dir?: string | undefined;
};

/** Sweeps stale remains of the name, then takes the name and a subnet. */
export async function claim(wanted: Claim): Promise<LabState> {
  const { name, id, image } = wanted;
  await mkdir(labRoot, { recursive: true, mode: 0o755 });
  const old = loadState(name);
  const mend = `take it down first (tsx lab/main.ts down --name ${name}) or choose another name`;
  if (old !== undefined && labOwner(old) === 'alive') {
    throw new Error(`lab ${name} is in use by process ${old.owner?.pid}; ${mend}`);
  }
  if (old !== undefined && labOwner(old) === 'detached') throw new Error(`lab ${name} is up; ${mend}`);
  await sweep(name);

  const subnet = await claimSubnet(name, wanted.subnet);
  const dir = wanted.dir ?? join(labRoot, name);
  try {
    await mkdir(labRoot, { recursive: true, mode: 0o755 });
    await mkdir(dirname(dir), { recursive: true });
    await mkdir(dir, { mode: 0o755 });
    if (wanted.dir !== undefined) await symlink(dir, join(labRoot, name));
  } catch (error) {
    await rm(subnetFile(subnet), { force: true });
    throw error;
  }
  await writeFile(join(dir, 'id'), id);
  await writeFile(join(dir, 'subnet'), String(subnet));
  const tag = `${name}.${id.slice(0, 8)}`;
  await writeFile(join(dir, 'tag'), tag);
  const owner = { pid: process.pid, ticks: startTicks(process.pid) ?? '' };
  const state: LabState = { name, id, tag, subnet, dir, owner, image, guestsMade: 0, hosts: [] };
  await saveState(state);
  return state;
}

const subnetFile = (subnet: number) => join(labRoot, `.subnet-${subnet}`);

async function claimSubnet(name: string, wanted: number | undefined): Promise<number> {
  const candidates =
    wanted === undefined ? Array.from({ length: subnetMax }, (_, index) => index + 1) : [wanted];
  for (const subnet of candidates) {
    if (await takeSubnet(name, subnet)) return subnet;
    const holder = await readFile(subnetFile(subnet), 'utf8').catch(() => '');
    const state = holder === '' ? undefined : loadState(holder);
    if (state !== undefined && labOwner(state) !== 'gone') continue;
    if (holder !== '' && holder !== name) await sweep(holder, state?.id);
    await rm(subnetFile(subnet), { force: true });
    if (await takeSubnet(name, subnet)) return subnet;
  }
  const holder = wanted === undefined ? '' : await readFile(subnetFile(wanted), 'utf8').catch(() => '');
  if (wanted === undefined) throw new Error('every subnet has a lab');
  const owner = holder === '' ? `whoever made the bridge ${bridgeName(wanted)}` : `lab ${holder}`;
  throw new Error(`127.0.${wanted}.x belongs to ${owner}`);
}

/** A bridge of that subnet means that a lab this registry does not know has it (one raised in a chroot, say). */
async function takeSubnet(name: string, subnet: number): Promise<boolean> {
  if (existsSync(`/sys/class/net/${bridgeName(subnet)}`)) return false;
  try {
    await mkdir(labRoot, { recursive: true, mode: 0o755 });
    await writeFile(subnetFile(subnet), name, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
