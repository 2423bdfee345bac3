// /proc/net/snmp, netstat, snmp6, sockstat and sockstat6: protocol counters, those that node_exporter shows by default.
// Keys are `Tcp_InSegs`, and `TCP_inuse` for sockets.
import { FigureList, type Figures } from '../../core/figures.js';
import { netstatFields, shownSocketFields, sockstatFields } from '../../core/kernel-fields.js';
import type { Problem } from '../problems.js';
import { boundedLines, fields, Unsigneds, unsigned } from './text.js';

/** Of snmp, netstat and snmp6. */
export const protocolFigures = new FigureList(netstatFields);
export const socketFigures = new FigureList(shownSocketFields);

const wantedNetstat = byProtocol(netstatFields, protocolFigures);
const wantedSockstat = byProtocol(sockstatFields, socketFigures);
/** Places by the kernel's name of both: `Ip6InOctets`. */
const wantedSnmp6 = new Map(netstatFields.map((key, place) => [key.replace('_', ''), place]));
const linesMax = 1024;

/** Places of the fields in `list`, by protocol and by name. */
function byProtocol(
  keys: readonly string[],
  list: FigureList,
): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const protocols = new Map<string, Map<string, number>>();
  for (const key of keys) {
    const [protocol = '', name = ''] = key.split('_', 2);
    const names = protocols.get(protocol) ?? new Map<string, number>();
    protocols.set(protocol, names.set(name, list.placeOf(key) ?? 0));
  }
  return protocols;
}

/** /proc/net/snmp and /proc/net/netstat: a line of names, then a line of values, both beginning with the protocol. */
export function parseNetstat(text: string, problem: Problem): Figures {
  const stats = protocolFigures.blank();
  let names: string | undefined;
  for (const whole of boundedLines(text, linesMax, problem)) {
    const line = whole.slice(0, lineCharsMax).trim();
    if (names === undefined) {
      names = line;
      continue;
    }
    const end = line.indexOf(': ') + 1;
    if (end === 0 || !names.startsWith(line.slice(0, end + 1)) || blanks(names) !== blanks(line)) {
      problem(`bad line ${whole}`);
    } else {
      const wanted = wantedNetstat.get(line.slice(0, end - 1));
      if (wanted) addValues(stats, wanted, names, line, end);
    }
    names = undefined;
  }
  return protocolFigures.figures(stats);
}

/** Of two lines that have as many words, both from `start` on, which is a blank. */
function addValues(
  stats: number[],
  wanted: ReadonlyMap<string, number>,
  names: string,
  values: string,
  start: number,
): void {
  let [name, value] = [start, start];
  while (name < names.length) {
    const [nameEnd, valueEnd] = [wordEnd(names, name + 1), wordEnd(values, value + 1)];
    const place = wanted.get(names.slice(name + 1, nameEnd));
    const number = place === undefined ? undefined : unsigned(values.slice(value + 1, valueEnd));
    if (place !== undefined && number !== undefined) stats[place] = number;
    [name, value] = [nameEnd, valueEnd];
  }
}

function wordEnd(line: string, start: number): number {
  const end = line.indexOf(' ', start);
  return end === -1 ? line.length : end;
}

function blanks(line: string): number {
  let count = 0;
  for (let at = line.indexOf(' '); at !== -1; at = line.indexOf(' ', at + 1)) count += 1;
  return count;
}

const lineCharsMax = 16_384;

/** /proc/net/snmp6: `Ip6InOctets  42` a line. */
export function parseSnmp6(text: string, problem: Problem): Figures {
  const stats = protocolFigures.blank();
  for (const line of boundedLines(text, linesMax, problem)) {
    const end = wordEnd(line, 0);
    const place = end === line.length ? undefined : wantedSnmp6.get(line.slice(0, end));
    if (place === undefined) continue;
    const numbers = new Unsigneds(line, end);
    const number = numbers.next();
    if (!numbers.isSound) problem(`bad line ${line}`);
    else stats[place] = number;
  }
  return protocolFigures.figures(stats);
}

/** /proc/net/sockstat and sockstat6: `TCP: inuse 4 orphan 0 …` a line. */
export function parseSockstat(text: string, problem: Problem): Figures {
  const stats = socketFigures.blank();
  for (const line of boundedLines(text, linesMax, problem)) {
    const words = fields(line);
    const wanted = wantedSockstat.get((words[0] ?? '').replace(/:$/, ''));
    if (!wanted) continue;
    for (let index = 1; index + 1 < words.length; index += 2) {
      const place = wanted.get(words[index] ?? '');
      if (place === undefined) continue;
      const value = unsigned(words[index + 1]);
      if (value === undefined) problem(`bad line ${line}`);
      else stats[place] = value;
    }
  }
  return socketFigures.figures(stats);
}
