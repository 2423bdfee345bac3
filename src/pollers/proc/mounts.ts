// /proc/self/mounts: what is mounted where. A mount point appears once: a later mount hides an earlier one.
import type { Problem } from '../problems.js';
import { boundedLines } from './text.js';

export type Mount = { device: string; mountpoint: string; fstype: string; readOnly: boolean };

const linesMax = 8192;
const pathCharsMax = 4096;

export function parseMounts(text: string, problem: Problem): Mount[] {
  const mounts = new Map<string, Mount>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const [device, mountpoint, fstype, options] = line.slice(0, 4 * pathCharsMax).split(' ');
    if (!device || !mountpoint?.startsWith('/') || !fstype || !options || mountpoint.length > pathCharsMax) {
      problem(`bad line ${line}`);
      continue;
    }
    const path = unescapeOctal(mountpoint);
    mounts.delete(path);
    mounts.set(path, {
      device: unescapeOctal(device),
      mountpoint: path,
      fstype: unescapeOctal(fstype),
      readOnly: options.split(',').includes('ro'),
    });
  }
  return [...mounts.values()];
}

/** The kernel writes blank, tab, newline, backslash and hash as \ooo; other bytes are UTF-8 as they are. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-3][0-7]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
