// /proc/meminfo: every field, under the kernel's name; those in kB become bytes, the others (HugePages_…) are counts.
import type { Problem } from '../problems.js';
import { boundedLines, hostileRecord, Unsigneds } from './text.js';

const linesMax = 256;
const bytesPerKb = 1024;

export function parseMeminfo(text: string, problem: Problem): Record<string, number> {
  const info = hostileRecord<number>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon));
    const isKb = line.endsWith(' kB');
    const numbers = new Unsigneds(isKb ? line.slice(0, -' kB'.length) : line, colon + 1);
    const value = numbers.next();
    if (!/^[A-Za-z0-9_()]{1,64}$/.test(name) || !numbers.wereAll) problem(`bad line ${line}`);
    else info[name] = isKb ? value * bytesPerKb : value;
  }
  if (info.MemTotal === undefined) problem('no MemTotal in it');
  return info;
}
