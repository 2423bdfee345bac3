// The collectors of what has to do with the network.
import type { Collect } from './collect.js';
import { parseArp } from './proc/arp.js';
import { parseConntrackStat } from './proc/conntrack.js';
import { parseMeminfo } from './proc/meminfo.js';
import { netDeviceShape, parseNetDev } from './proc/netdev.js';
import { parseNetstat, parseSnmp6, parseSockstat, protocolFigures, socketFigures } from './proc/netstat.js';
import { parseSoftnet } from './proc/softnet.js';
import { parseUnsignedLine } from './proc/text.js';
import { parseUdpQueues } from './proc/udp.js';
import { pageBytes, parseVmstat } from './proc/vmstat.js';
import { readBonds } from './sys/bonding.js';
import { readNetClass, readNoHandler } from './sys/netclass.js';

const netdev: Collect = async ({ reader }) => {
  const devices = await reader.parsed('/proc/net/dev', parseNetDev);
  if (!devices) return undefined;
  const names = devices.map(({ device }) => device);
  const unwanted = await readNoHandler(reader, names);
  const netDevices = devices.map((device) => {
    const receiveNohandler = unwanted.get(device.device);
    if (receiveNohandler === undefined) return device;
    return netDeviceShape.changed(device, 'receiveNohandler', receiveNohandler);
  });
  return { netDevices };
};

const netclass: Collect = async ({ reader, rare }) => {
  const devices = await reader.parsed('/proc/net/dev', parseNetDev);
  if (!devices) return undefined;
  const names = devices.map(({ device }) => device);
  return { netClasses: await readNetClass(reader, rare, names) };
};

const netstat: Collect = async ({ reader }) => {
  const [snmp, extended, snmp6] = await Promise.all([
    reader.parsed('/proc/net/snmp', parseNetstat),
    reader.parsed('/proc/net/netstat', parseNetstat),
    reader.parsed('/proc/net/snmp6', parseSnmp6),
  ]);
  if (!snmp && !extended && !snmp6) return undefined;
  return { netstat: protocolFigures.figures(protocolFigures.together([snmp, extended, snmp6])) };
};

const sockstat: Collect = async ({ reader }) => {
  const [v4, v6, meminfo, vmstat] = await Promise.all([
    reader.parsed('/proc/net/sockstat', parseSockstat),
    reader.parsed('/proc/net/sockstat6', parseSockstat),
    reader.parsed('/proc/meminfo', parseMeminfo),
    reader.parsed('/proc/vmstat', parseVmstat),
  ]);
  if (!v4 && !v6) return undefined;
  const numbers = socketFigures.together([v4, v6]);
  const sockets = socketFigures.figures(numbers);
  const page = pageBytes(meminfo, vmstat);
  for (const protocol of ['TCP', 'UDP']) {
    const pages = sockets[`${protocol}_mem`];
    const place = socketFigures.placeOf(`${protocol}_mem_bytes`);
    if (page !== undefined && pages !== undefined && place !== undefined) numbers[place] = pages * page;
  }
  return { sockstat: sockets };
};

const conntrack: Collect = async ({ reader }) => {
  const [entries, limit, stat] = await Promise.all([
    reader.parsed('/proc/sys/net/netfilter/nf_conntrack_count', parseUnsignedLine),
    reader.parsed('/proc/sys/net/netfilter/nf_conntrack_max', parseUnsignedLine),
    reader.parsed('/proc/net/stat/nf_conntrack', parseConntrackStat),
  ]);
  if (entries === undefined && limit === undefined) return undefined;
  return {
    conntrack: {
      ...(entries !== undefined && { entries }),
      ...(limit !== undefined && { limit }),
      ...(stat && { stat }),
    },
  };
};

const udpQueues: Collect = async ({ reader }) => {
  const [v4, v6] = await Promise.all([
    reader.parsed('/proc/net/udp', parseUdpQueues),
    reader.parsed('/proc/net/udp6', parseUdpQueues),
  ]);
  return v4 || v6 ? { udpQueues: { ...(v4 && { v4 }), ...(v6 && { v6 }) } } : undefined;
};

const arp: Collect = async ({ reader }) => {
  const entries = await reader.parsed('/proc/net/arp', parseArp);
  return entries && { arp: entries };
};

const bonding: Collect = async ({ reader }) => {
  const bonds = await readBonds(reader);
  return bonds && { bonds };
};

const softnet: Collect = async ({ reader }) => {
  const cpus = await reader.parsed('/proc/net/softnet_stat', parseSoftnet);
  return cpus && { softnet: cpus };
};

export const network = {
  arp,
  bonding,
  conntrack,
  netclass,
  netdev,
  netstat,
  sockstat,
  softnet,
  udp_queues: udpQueues,
};
