// /proc/net/dev: counters of each network device, of the namespace of the process that serves the files: the host's.
import type { Problem } from '../problems.js';
import { boundedLines, fields, unsignedAll } from './text.js';

const netDeviceFields = [
  'receiveBytes',
  'receivePackets',
  'receiveErrs',
  'receiveDrop',
  'receiveFifo',
  'receiveFrame',
  'receiveCompressed',
  'receiveMulticast',
  'transmitBytes',
  'transmitPackets',
  'transmitErrs',
  'transmitDrop',
  'transmitFifo',
  'transmitColls',
  'transmitCarrier',
  'transmitCompressed',
] as const;

export type NetDevice = { device: string } & Record<(typeof netDeviceFields)[number], number> & {
    /** From /sys; absent where the kernel or the bound on reads does not give it. */
    receiveNohandler?: number;
  };

const linesMax = 4096;
const headerLines = 2;
const nameCharsMax = 64;

export function parseNetDev(text: string, problem: Problem): NetDevice[] {
  const devices = new Map<string, NetDevice>();
  let number = 0;
  for (const line of boundedLines(text, linesMax, problem)) {
    number += 1;
    if (number <= headerLines && line.includes('|')) continue;
    // A name may hold colons (eth0:1 of old); the counters never do.
    const colon = line.lastIndexOf(':');
    const device = line.slice(0, Math.max(0, colon)).trim();
    const values = unsignedAll(fields(line.slice(colon + 1)));
    if (
      values?.length !== netDeviceFields.length ||
      !device ||
      device.length > nameCharsMax ||
      devices.has(device)
    ) {
      problem(`bad line ${line}`);
      continue;
    }
    const entries = netDeviceFields.map((field, index) => [field, values[index] ?? 0]);
    devices.set(device, { device, ...Object.fromEntries(entries) });
  }
  return [...devices.values()];
}
