// Space and inodes of a host's local filesystems. Each statvfs has its own deadline: one that hangs costs figures of
// filesystems, never the poll. Which mounts count follows node_exporter's defaults, less what can hang.
import { HostError } from '../core/errors.js';
import type { PartReader } from './part-reader.js';
import type { HostFiles, PollContext } from './poller.js';
import type { Problems } from './problems.js';
import { type Mount, parseMounts } from './proc/mounts.js';

export type Filesystem = Mount & {
  /** Absent when statvfs failed: `problems` of the sample says why. Sizes in bytes; `files` are inodes. */
  space?: { sizeBytes: number; freeBytes: number; availableBytes: number; files: number; filesFree: number };
};

const filesystemsMax = 128;
const statvfsTimeoutMs = 2_000;

const kernelTypes =
  /^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$/;
const mountPointsExcluded =
  /^\/(dev|proc|run\/credentials\/.+|sys|var\/lib\/docker\/.+|var\/lib\/containers\/storage\/.+)($|\/)/;
/** Someone else's server, or a process, answers for these. */
const mayHang =
  /^(nfs4?|cifs|smbfs|smb3|ncpfs|9p|afs|ceph|coda|glusterfs|lustre|beegfs|gpfs|orangefs|pvfs2|davfs2?|fuse(blk)?(\..*)?)$/;

export async function readFilesystems(
  files: HostFiles,
  reader: PartReader,
  problems: Problems,
  context: PollContext,
): Promise<Filesystem[] | undefined> {
  // Of the process that serves the files: /proc/1/mounts is closed to it, and statvfs sees what it sees.
  const mounts = await reader.parsed('/proc/self/mounts', parseMounts);
  if (!mounts) return undefined;
  const counted = mounts.filter(isCounted);
  if (counted.length > filesystemsMax) {
    problems.add(`/proc/self/mounts: only ${filesystemsMax} of ${counted.length} filesystems are measured`);
  }
  const measured = await Promise.all(
    counted.slice(0, filesystemsMax).map((mount) => measure(mount, files, problems, context)),
  );
  return measured.filter((filesystem) => filesystem !== undefined);
}

export function isCounted({ fstype, mountpoint }: Mount): boolean {
  return !kernelTypes.test(fstype) && !mayHang.test(fstype) && !mountPointsExcluded.test(mountpoint);
}

async function measure(
  mount: Mount,
  files: HostFiles,
  problems: Problems,
  { signal }: PollContext,
): Promise<Filesystem | undefined> {
  try {
    const stat = await files.statvfs(mount.mountpoint, { timeoutMs: statvfsTimeoutMs, signal });
    const space = {
      sizeBytes: stat.blocks * stat.fragmentSize,
      freeBytes: stat.blocksFree * stat.fragmentSize,
      availableBytes: stat.blocksAvailable * stat.fragmentSize,
      files: stat.files,
      filesFree: stat.filesFree,
    };
    return { ...mount, space };
  } catch (error) {
    if (!isAboutTheMount(error)) throw error;
    // Hidden under a later mount on a directory above it: nobody on the host sees it either.
    if (error.code === 'FILE_MISSING') return undefined;
    problems.add(error.message);
    return mount;
  }
}

function isAboutTheMount(error: unknown): error is HostError {
  return (
    error instanceof HostError &&
    (error.code === 'TIMEOUT' || error.code === 'FILE_MISSING' || error.code === 'FILE_ERROR')
  );
}
