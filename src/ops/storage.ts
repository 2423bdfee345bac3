// Which volumes of a VM may go with it. Pure, and careful in one direction only: whatever is not known to be this VM's alone is
// kept, with the reason. It refuses to delete base images, media, shared disks, and anything that no storage pool holds.
import { posix } from 'node:path';
import type { DomainDisk } from './domain-xml.js';

export type Volume = {
  pool: string;
  name: string;
  key: string;
  /** Of the file or device. */
  path: string;
  /** Absent: it stands on nothing. */
  backing?: { path: string; format?: string };
};

/** What a VM names, in its definitions and in its snapshots. */
export type Usage = {
  name: string;
  uuid: string;
  /** In its definitions, the one it runs with and the kept one. */
  disks: readonly DomainDisk[];
  /** In its snapshots. */
  pastDisks: readonly DomainDisk[];
  /** NVRAM, kernel, … */
  files: readonly string[];
};

export type VolumeVerdict = {
  /** `vda`; for base images that of the disk that stands on them. */
  target: string;
  path: string;
  volume?: { pool: string; name: string; key: string };
  verdict: 'delete' | 'keep';
  /** Why it is kept. */
  why?: string;
};

/** `others` must not hold the VM itself. */
export function judgeVolumes(
  own: Usage,
  others: readonly Usage[],
  volumes: readonly Volume[],
): VolumeVerdict[] {
  const storage = new Storage(volumes);
  const verdicts = new Map<string, VolumeVerdict>();
  for (const disk of own.disks) {
    const path = storage.pathOf(disk);
    if (path === undefined) continue;
    const verdict = judge(disk, path, others, storage);
    if (verdicts.get(path)?.verdict !== 'keep') verdicts.set(path, verdict);
    for (const base of [...disk.backing.map(normal), ...storage.basesOf(path)]) {
      verdicts.set(base, { target: disk.target, path: base, verdict: 'keep', why: 'it is a base image' });
    }
  }
  return [...verdicts.values()];
}

/** Whether a volume that was recorded may still go, now that its VM is gone: every VM is another one. */
export function stillAlone(
  path: string,
  all: readonly Usage[],
  volumes: readonly Volume[],
): string | undefined {
  return whyNotAlone(normal(path), all, new Storage(volumes));
}

function judge(disk: DomainDisk, path: string, others: readonly Usage[], storage: Storage): VolumeVerdict {
  const { target } = disk;
  const volume = storage.at(path);
  const keep = (why: string): VolumeVerdict => ({ target, path, verdict: 'keep', why });
  if (disk.device !== 'disk') return keep(`it is a ${disk.device === 'lun' ? 'LUN' : disk.device}`);
  if (disk.readOnly) return keep('the VM only reads it');
  if (disk.shareable) return keep('it is meant to be shared');
  if (!volume) return keep('no active storage pool has it');
  const why = whyNotAlone(path, others, storage);
  if (why) return keep(why);
  const { pool, name, key } = volume;
  return { target, path, volume: { pool, name, key }, verdict: 'delete' };
}

function whyNotAlone(path: string, others: readonly Usage[], storage: Storage): string | undefined {
  for (const other of others) {
    if (other.files.map(normal).includes(path)) return `the VM ${other.name} names it`;
    for (const disk of [...other.disks, ...other.pastDisks]) {
      if (storage.pathOf(disk) === path) return `the VM ${other.name} names it`;
      if (disk.backing.map(normal).includes(path)) return `the VM ${other.name} is based on it`;
    }
  }
  const overlay = storage.basedOn(path);
  if (overlay) return `the volume ${overlay.name} of the pool ${overlay.pool} is based on it`;
  for (const other of others) {
    for (const disk of [...other.disks, ...other.pastDisks]) {
      if (!storage.chainKnown(disk)) {
        return `what the disk ${disk.target} of the VM ${other.name} is based on is not known`;
      }
    }
  }
  return undefined;
}

/** The volumes of all active pools, by path. */
class Storage {
  readonly #byPath: ReadonlyMap<string, Volume>;
  readonly #byName: ReadonlyMap<string, Volume>;
  readonly #overlays: ReadonlyMap<string, Volume>;

  constructor(volumes: readonly Volume[]) {
    this.#byPath = new Map(volumes.map((volume) => [normal(volume.path), volume]));
    this.#byName = new Map(volumes.map((volume) => [nameKey(volume.pool, volume.name), volume]));
    this.#overlays = new Map(
      volumes.flatMap((volume) =>
        volume.backing ? [[basePath(volume, volume.backing.path), volume] as const] : [],
      ),
    );
  }

  at(path: string): Volume | undefined {
    return this.#byPath.get(path);
  }

  basedOn(path: string): Volume | undefined {
    return this.#overlays.get(path);
  }

  pathOf({ path, pool, volume }: DomainDisk): string | undefined {
    if (path !== undefined) return normal(path);
    if (pool === undefined || volume === undefined) return undefined;
    const found = this.#byName.get(nameKey(pool, volume));
    return found && normal(found.path);
  }

  /** What it stands on, as far as libvirt tells, the nearest first. */
  basesOf(path: string): string[] {
    const bases: string[] = [];
    let at = this.#byPath.get(path);
    while (at?.backing) {
      const base = basePath(at, at.backing.path);
      if (base === path || bases.includes(base)) break;
      bases.push(base);
      at = this.#byPath.get(base);
    }
    return bases;
  }

  /** Whether libvirt tells of everything that this disk stands on. */
  chainKnown(disk: DomainDisk): boolean {
    if (disk.backingKnown || disk.format === 'raw' || disk.type === 'network') return true;
    const path = this.pathOf(disk);
    // A drive without a medium, or a volume of a pool that is not active: nobody runs on it now, but it may be an overlay.
    if (path === undefined) return disk.volume === undefined;
    const seen = new Set<string>();
    let at: string = path;
    while (!seen.has(at)) {
      seen.add(at);
      const volume = this.#byPath.get(at);
      if (!volume) return false;
      if (!volume.backing || volume.backing.format === 'raw') return true;
      at = basePath(volume, volume.backing.path);
    }
    return false;
  }
}

function nameKey(pool: string, name: string): string {
  return JSON.stringify([pool, name]);
}

/** An image may name its base relative to itself. */
function basePath(volume: Volume, path: string): string {
  return normal(posix.isAbsolute(path) ? path : posix.join(posix.dirname(volume.path), path));
}

function normal(path: string): string {
  return posix.normalize(path);
}
