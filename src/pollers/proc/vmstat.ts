// /proc/vmstat: the fields that node_exporter shows by default, of some 180.
import { FigureList, type Figures } from '../../core/figures.js';
import { vmstatFields } from '../../core/kernel-fields.js';
import type { Problem } from '../problems.js';
import { boundedLines, unsigned } from './text.js';

const listedMemory = ['Active(anon)', 'Inactive(anon)', 'Active(file)', 'Inactive(file)'];
const listedPages = ['nr_active_anon', 'nr_inactive_anon', 'nr_active_file', 'nr_inactive_file'];
/** Pages are there to tell the size of one (see pageBytes). */
const wanted = new FigureList([...vmstatFields, ...listedPages]);
const linesMax = 1024;

export function parseVmstat(text: string, problem: Problem): Figures {
  const stats = wanted.blank();
  for (const line of boundedLines(text, linesMax, problem)) {
    const blank = line.indexOf(' ');
    const place = wanted.placeOf(line.slice(0, Math.max(0, blank)));
    if (place === undefined) continue;
    const value = unsigned(line.slice(blank + 1).trim());
    if (value === undefined) problem(`bad line ${line}`);
    else stats[place] = value;
  }
  return wanted.figures(stats);
}

const pageBytesKnown = [4096, 8192, 16_384, 65_536];
const pageSlack = 1.3;

/**
 * The size of a page, which no file tells: the memory of processes and file caches in bytes by the same in pages. The two are
 * read a moment apart, and differ a little. (Free memory will not do: some kernels count it in two ways.)
 */
export function pageBytes(meminfo: Figures | undefined, vmstat: Figures | undefined): number | undefined {
  const ratio = total(meminfo, listedMemory) / total(vmstat, listedPages);
  return pageBytesKnown.find((bytes) => ratio > bytes / pageSlack && ratio < bytes * pageSlack);
}

/** NaN when one is missing. */
function total(values: Figures | undefined, names: readonly string[]): number {
  return names.reduce((sum, name) => sum + (values?.[name] ?? Number.NaN), 0);
}
