// /proc/meminfo: every field, under the kernel's name; those in kB become bytes, the others (HugePages_…) are counts.
import type { Problem } from '../problems.js';
import { boundedLines, hostileRecord, unsigned } from './text.js';

const linesMax = 256;
const bytesPerKb = 1024;

export function parseMeminfo(text: string, problem: Problem): Record<string, number> {
  const info = hostileRecord<number>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const match = /^([A-Za-z0-9_()]{1,64}):[ \t]{1,64}(\d{1,20})( kB)?\s{0,8}$/.exec(line);
    const value = unsigned(match?.[2]);
    if (!match?.[1] || value === undefined) problem(`bad line ${line}`);
    else info[match[1]] = match[3] ? value * bytesPerKb : value;
  }
  if (info.MemTotal === undefined) problem('no MemTotal in it');
  return info;
}
