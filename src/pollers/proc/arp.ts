// /proc/net/arp: how many neighbours each network device has; who they are is nobody's business here.
import type { Problem } from '../problems.js';
import { boundedLines, hostileRecord, isBlank } from './text.js';

const linesMax = 65_536;
const devicesMax = 4096;
const columns = 6;
const nameCharsMax = 64;

/** Entries by device. */
export function parseArp(text: string, problem: Problem): Record<string, number> {
  const entries = hostileRecord<number>();
  let devices = 0;
  let heading = true;
  for (const line of boundedLines(text, linesMax, problem)) {
    if (heading) {
      heading = false;
      continue;
    }
    const device = lastOf(line);
    if (!device || device.length > nameCharsMax) problem(`bad line ${line}`);
    else if (entries[device] !== undefined) entries[device] += 1;
    else if (devices < devicesMax) {
      devices += 1;
      entries[device] = 1;
    }
  }
  return entries;
}

/** The last of the columns; undefined when they are more or fewer than they should be. */
function lastOf(whole: string): string | undefined {
  const line = whole.trim();
  let left = columns;
  let start = 0;
  for (let at = 0; at < line.length; at += 1) {
    if (!isBlank(line.charCodeAt(at))) continue;
    if (!isBlank(line.charCodeAt(at - 1))) left -= 1;
    start = at + 1;
  }
  return left === 1 ? line.slice(start) : undefined;
}
