// /proc/mdstat: Linux' software RAID. Written for people: a line that names an array, one with its blocks and disks, and one
// of progress while something is under way.
import type { Problem } from '../problems.js';
import { boundedLines, unsigned } from './text.js';

export type MdArray = {
  device: string;
  /** The kernel's word, or what is under way. */
  state: 'active' | 'inactive' | 'recovering' | 'resync' | 'check' | 'other';
  disksRequired: number;
  disksActive: number;
  disksFailed: number;
  disksSpare: number;
  /** Of 1 KiB. */
  blocks: number;
  blocksSynced: number;
};

const linesMax = 8192;
const arraysMax = 1024;
const lineCharsMax = 4096;

export function parseMdstat(text: string, problem: Problem): MdArray[] {
  const arrays = new Map<string, MdArray>();
  let current: MdArray | undefined;
  let isStriped = false;
  for (const whole of boundedLines(text, linesMax, problem)) {
    const line = whole.slice(0, lineCharsMax);
    const heading = /^(md[\w.-]{0,64}) : (\w{1,32})( |$)/.exec(line);
    if (heading?.[1]) {
      if (arrays.size >= arraysMax) break;
      isStriped = / (raid0|linear) /.test(line);
      current = newArray(heading[1], heading[2] ?? '', line, isStriped);
      arrays.set(current.device, current);
    } else if (!/^\s/.test(line)) {
      current = undefined;
      if (!/^(Personalities|unused)\b/.test(line)) problem(`bad line ${line}`);
    } else if (current) {
      readDetail(current, line, isStriped);
    }
  }
  return [...arrays.values()];
}

function newArray(device: string, word: string, line: string, isStriped: boolean): MdArray {
  const disks = isStriped ? count(line, /\[\d+\]/g) : 0;
  return {
    device,
    state: word === 'active' || word === 'inactive' ? word : 'other',
    disksRequired: disks,
    disksActive: disks,
    disksFailed: count(line, /\(F\)/g),
    disksSpare: count(line, /\(S\)/g),
    blocks: 0,
    blocksSynced: 0,
  };
}

function readDetail(array: MdArray, line: string, isStriped: boolean): void {
  const blocks = unsigned(/^\s{1,64}(\d{1,20}) blocks\b/.exec(line)?.[1]);
  if (blocks !== undefined) {
    array.blocks = blocks;
    array.blocksSynced = blocks;
    const [, required, active] = /\[(\d{1,9})\/(\d{1,9})\] \[[U_]/.exec(line) ?? [];
    if (isStriped || required === undefined || active === undefined) return;
    array.disksRequired = Number(required);
    array.disksActive = Number(active);
    return;
  }
  const activity = /\b(recovery|resync|check|reshape)\s{0,16}=/.exec(line)?.[1];
  if (!activity) return;
  array.state = activities[activity] ?? 'other';
  array.blocksSynced = unsigned(/\((\d{1,20})\/\d{1,20}\)/.exec(line)?.[1]) ?? 0;
}

const activities: Readonly<Record<string, MdArray['state']>> = {
  recovery: 'recovering',
  resync: 'resync',
  check: 'check',
};

function count(line: string, pattern: RegExp): number {
  return line.match(pattern)?.length ?? 0;
}
