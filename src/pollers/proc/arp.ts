// /proc/net/arp: how many neighbours each network device has; who they are is nobody's business here.
import type { Problem } from '../problems.js';
import { boundedLines, fields, hostileRecord } from './text.js';

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
    const found = fields(line);
    const device = found[columns - 1];
    if (found.length !== columns || !device || device.length > nameCharsMax) problem(`bad line ${line}`);
    else if (entries[device] !== undefined) entries[device] += 1;
    else if (devices < devicesMax) {
      devices += 1;
      entries[device] = 1;
    }
  }
  return entries;
}
