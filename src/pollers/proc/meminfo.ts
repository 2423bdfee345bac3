// /proc/meminfo: the fields that node_exporter has a name for, under the kernel's; those in kB become bytes, the others (HugePages_…)
// are counts.
import { FigureList, type Figures } from '../../core/figures.js';
import { meminfoFields } from '../../core/kernel-fields.js';
import type { Problem } from '../problems.js';
import { boundedLines, Unsigneds } from './text.js';

const shown = new FigureList(meminfoFields);
const linesMax = 256;
const bytesPerKb = 1024;

export function parseMeminfo(text: string, problem: Problem): Figures {
  const info = shown.blank();
  for (const line of boundedLines(text, linesMax, problem)) {
    const colon = line.indexOf(':');
    const isKb = line.endsWith(' kB');
    const numbers = new Unsigneds(isKb ? line.slice(0, -' kB'.length) : line, colon + 1);
    const value = numbers.next();
    const place = shown.placeOf(line.slice(0, Math.max(0, colon)));
    if (colon < 1 || !numbers.wereAll) problem(`bad line ${line}`);
    else if (place !== undefined) info[place] = isKb ? value * bytesPerKb : value;
  }
  const figures = shown.figures(info);
  if (figures.MemTotal === undefined) problem('no MemTotal in it');
  return figures;
}
