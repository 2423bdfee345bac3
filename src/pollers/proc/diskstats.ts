// /proc/diskstats: one line per block device; bytes and seconds. Older kernels lack the discards (4.18) and flushes (5.5).
import type { Problem } from '../problems.js';
import { boundedLines, unsignedAll } from './text.js';

export type DiskStats = {
  device: string;
  major: number;
  minor: number;
  reads: number;
  readsMerged: number;
  readBytes: number;
  readSeconds: number;
  writes: number;
  writesMerged: number;
  writtenBytes: number;
  writeSeconds: number;
  ioNow: number;
  ioSeconds: number;
  ioWeightedSeconds: number;
  discards?: number;
  discardsMerged?: number;
  discardedSectors?: number;
  discardSeconds?: number;
  flushes?: number;
  flushSeconds?: number;
};

const linesMax = 4096;
/** The unit of the kernel's interface, whatever the device's own sector size. */
const sectorBytes = 512;
const msPerSecond = 1000;
const nameCharsMax = 128;

export function parseDiskstats(text: string, problem: Problem): DiskStats[] {
  const disks = new Map<string, DiskStats>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const [heading = '', device = ''] = /^[ \t]*\d+[ \t]+\d+[ \t]+([^ \t]+)/.exec(line) ?? [];
    const number = unsignedAll(heading, 0, 2);
    const n = unsignedAll(line, heading.length, 17);
    if (!n || !number || n.length < 11 || !device || device.length > nameCharsMax || disks.has(device)) {
      problem(`bad line ${line}`);
      continue;
    }
    disks.set(device, diskStats(device, number, n));
  }
  return [...disks.values()];
}

function diskStats(device: string, [major = 0, minor = 0]: number[], n: number[]): DiskStats {
  const [reads = 0, readsMerged = 0, readSectors = 0, readMs = 0, writes = 0, writesMerged = 0] = n;
  const [writeSectors = 0, writeMs = 0, ioNow = 0, ioMs = 0, ioWeightedMs = 0] = n.slice(6);
  const [discards, discardsMerged, discardedSectors, discardMs, flushes, flushMs] = n.slice(11);
  return {
    device,
    major,
    minor,
    reads,
    readsMerged,
    readBytes: readSectors * sectorBytes,
    readSeconds: readMs / msPerSecond,
    writes,
    writesMerged,
    writtenBytes: writeSectors * sectorBytes,
    writeSeconds: writeMs / msPerSecond,
    ioNow,
    ioSeconds: ioMs / msPerSecond,
    ioWeightedSeconds: ioWeightedMs / msPerSecond,
    ...(discards !== undefined && { discards }),
    ...(discardsMerged !== undefined && { discardsMerged }),
    ...(discardedSectors !== undefined && { discardedSectors }),
    ...(discardMs !== undefined && { discardSeconds: discardMs / msPerSecond }),
    ...(flushes !== undefined && { flushes }),
    ...(flushMs !== undefined && { flushSeconds: flushMs / msPerSecond }),
  };
}
