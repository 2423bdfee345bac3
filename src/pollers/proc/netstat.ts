// /proc/net/snmp, netstat, snmp6, sockstat and sockstat6: protocol counters, those that node_exporter shows by default.
// Keys are `Tcp_InSegs`, and `TCP_inuse` for sockets.
import type { Problem } from '../problems.js';
import { boundedLines, fields, hostileRecord, unsigned } from './text.js';

export const netstatFields: readonly string[] = [
  ...of('Ip', 'Forwarding'),
  ...of('IpExt', 'InOctets', 'OutOctets'),
  ...of('Ip6', 'InOctets', 'OutOctets'),
  ...of('Icmp', 'InErrors', 'InMsgs', 'OutMsgs'),
  ...of('Icmp6', 'InErrors', 'InMsgs', 'OutMsgs'),
  ...of(
    'Tcp',
    'ActiveOpens',
    'CurrEstab',
    'InErrs',
    'InSegs',
    'OutRsts',
    'OutSegs',
    'PassiveOpens',
    'RetransSegs',
  ),
  ...of('TcpExt', 'ListenDrops', 'ListenOverflows', 'SyncookiesFailed', 'SyncookiesRecv', 'SyncookiesSent'),
  ...of('TcpExt', 'TCPOFOQueue', 'TCPRcvQDrop', 'TCPSynRetrans', 'TCPTimeouts'),
  ...of('Udp', 'InDatagrams', 'InErrors', 'NoPorts', 'OutDatagrams', 'RcvbufErrors', 'SndbufErrors'),
  ...of('Udp6', 'InDatagrams', 'InErrors', 'NoPorts', 'OutDatagrams', 'RcvbufErrors', 'SndbufErrors'),
  ...of('UdpLite', 'InErrors'),
  ...of('UdpLite6', 'InErrors'),
];

export const sockstatFields: readonly string[] = [
  ...of('sockets', 'used'),
  ...of('TCP', 'inuse', 'orphan', 'tw', 'alloc', 'mem'),
  ...of('UDP', 'inuse', 'mem'),
  ...of('UDPLITE', 'inuse'),
  ...of('RAW', 'inuse'),
  ...of('FRAG', 'inuse', 'memory'),
  ...of('TCP6', 'inuse'),
  ...of('UDP6', 'inuse'),
  ...of('UDPLITE6', 'inuse'),
  ...of('RAW6', 'inuse'),
  ...of('FRAG6', 'inuse', 'memory'),
];

const wantedNetstat: ReadonlySet<string> = new Set(netstatFields);
const wantedSockstat: ReadonlySet<string> = new Set(sockstatFields);
const linesMax = 1024;

function of(protocol: string, ...names: string[]): string[] {
  return names.map((name) => `${protocol}_${name}`);
}

/** /proc/net/snmp and /proc/net/netstat: a line of names, then a line of values, both beginning with the protocol. */
export function parseNetstat(text: string, problem: Problem): Record<string, number> {
  const stats = hostileRecord<number>();
  let names: string[] | undefined;
  for (const line of boundedLines(text, linesMax, problem)) {
    const parts = line.slice(0, lineCharsMax).trim().split(' ');
    if (!names) {
      names = parts;
      continue;
    }
    const [protocol = ''] = parts;
    if (protocol !== names[0] || parts.length !== names.length || !protocol.endsWith(':')) {
      problem(`bad line ${line}`);
      names = undefined;
      continue;
    }
    for (const [index, name] of names.entries()) {
      const key = `${protocol.slice(0, -1)}_${name}`;
      const value = unsigned(parts[index]);
      if (index > 0 && value !== undefined && wantedNetstat.has(key)) stats[key] = value;
    }
    names = undefined;
  }
  return stats;
}

const lineCharsMax = 16_384;

/** /proc/net/snmp6: `Ip6InOctets  42` a line. */
export function parseSnmp6(text: string, problem: Problem): Record<string, number> {
  const stats = hostileRecord<number>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const [name = '', value] = fields(line);
    const match = /^(Ip6|Icmp6|Udp6|UdpLite6)(\w{1,64})$/.exec(name);
    const key = match && `${match[1]}_${match[2]}`;
    if (!key || !wantedNetstat.has(key)) continue;
    const number = unsigned(value);
    if (number === undefined) problem(`bad line ${line}`);
    else stats[key] = number;
  }
  return stats;
}

/** /proc/net/sockstat and sockstat6: `TCP: inuse 4 orphan 0 …` a line. */
export function parseSockstat(text: string, problem: Problem): Record<string, number> {
  const stats = hostileRecord<number>();
  for (const line of boundedLines(text, linesMax, problem)) {
    const [protocol = '', ...pairs] = fields(line);
    for (let index = 0; index + 1 < pairs.length; index += 2) {
      const key = `${protocol.replace(/:$/, '')}_${pairs[index]}`;
      if (!wantedSockstat.has(key)) continue;
      const value = unsigned(pairs[index + 1]);
      if (value === undefined) problem(`bad line ${line}`);
      else stats[key] = value;
    }
  }
  return stats;
}
