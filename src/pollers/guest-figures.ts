// What a guest's agent tells, from libvirt's typed parameters. It refuses to trust it: whoever is root in the guest writes
// these words, so their number and length are bounded, and what does not fit its kind is left out. Names of users are not
// kept: how many there are is enough.
import type { TypedParam } from '../libvirt/wire/codec.js';

export type GuestFilesystem = {
  mountpoint: string;
  device?: string;
  fstype?: string;
  sizeBytes?: number;
  usedBytes?: number;
};

export type GuestFigures = {
  hostname?: string;
  /** The zone's name, as the guest has it: CET, UTC. */
  timezone?: string;
  os?: { id?: string; versionId?: string; prettyName?: string; kernelRelease?: string; machine?: string };
  /** Logged in. */
  users?: number;
  filesystems: GuestFilesystem[];
};

/** Of one VM; the others are left out. */
export const guestFilesystemsMax = 64;
const textCharsMax = 256;

/** Images: read-only and full by nature. node_exporter leaves most of them out too; `CDFS` and `UDF` are Windows' words. */
const imageTypes: ReadonlySet<string> = new Set(['squashfs', 'iso9660', 'erofs', 'cramfs', 'cdfs', 'udf']);

export function guestFigures(params: readonly TypedParam[]): GuestFigures {
  const fields = new Map(params.map(({ field, value }) => [field, value]));
  const text = (field: string) => textOf(fields.get(field));
  const count = (field: string) => countOf(fields.get(field));
  const filesystems: GuestFilesystem[] = [];
  for (let index = 0; index < (count('fs.count') ?? 0); index++) {
    const of = `fs.${index}`;
    const mountpoint = text(`${of}.mountpoint`);
    // libvirt numbers them without a gap.
    if (mountpoint === undefined) break;
    const known = {
      device: text(`${of}.name`),
      fstype: text(`${of}.fstype`),
      sizeBytes: count(`${of}.total-bytes`),
      usedBytes: count(`${of}.used-bytes`),
    };
    filesystems.push({ mountpoint, ...present(known) });
  }
  const os = present({
    id: text('os.id'),
    versionId: text('os.version-id'),
    prettyName: text('os.pretty-name'),
    kernelRelease: text('os.kernel-release'),
    machine: text('os.machine'),
  });
  return {
    ...present({ hostname: text('hostname'), timezone: text('timezone.name'), users: count('user.count') }),
    ...(Object.keys(os).length > 0 && { os }),
    filesystems: onlyDisks(filesystems),
  };
}

/** For libvirt before 5.7, which tells neither sizes nor anything of the operating system. */
export function oldGuestFigures(
  filesystems: readonly { mountpoint: string; name: string; fstype: string }[],
  hostname: string | undefined,
): GuestFigures {
  const known = filesystems.map(({ mountpoint, name, fstype }) => ({
    mountpoint: textOf(mountpoint) ?? '',
    ...present({ device: textOf(name), fstype: textOf(fstype) }),
  }));
  return {
    ...present({ hostname: textOf(hostname) }),
    filesystems: onlyDisks(known.filter(({ mountpoint }) => mountpoint !== '')),
  };
}

/** Each mount point once: of what is mounted over one another, the last is seen. */
function onlyDisks(filesystems: readonly GuestFilesystem[]): GuestFilesystem[] {
  const byMountpoint = new Map<string, GuestFilesystem>();
  for (const filesystem of filesystems) {
    if (imageTypes.has(filesystem.fstype?.toLowerCase() ?? '')) continue;
    if (byMountpoint.size >= guestFilesystemsMax && !byMountpoint.has(filesystem.mountpoint)) continue;
    byMountpoint.set(filesystem.mountpoint, filesystem);
  }
  return [...byMountpoint.values()];
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, textCharsMax) : undefined;
}

function countOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}

function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
