// /proc/net/dev: counters of each network device, of the namespace of the process that serves the files: the host's.
import { RowList, rowShape } from '../../core/number-rows.js';
import type { Problem } from '../problems.js';
import { boundedLines, Unsigneds } from './text.js';

export type NetDevice = {
  device: string;
  receiveBytes: number;
  receivePackets: number;
  receiveErrs: number;
  receiveDrop: number;
  receiveFifo: number;
  receiveFrame: number;
  receiveCompressed: number;
  receiveMulticast: number;
  transmitBytes: number;
  transmitPackets: number;
  transmitErrs: number;
  transmitDrop: number;
  transmitFifo: number;
  transmitColls: number;
  transmitCarrier: number;
  transmitCompressed: number;
  /** From /sys; absent where the kernel or the bound on reads does not give it. */
  receiveNohandler?: number;
};

/** In the order of the kernel's columns. */
const counters = [
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
export const netDeviceShape = rowShape<NetDevice>('device', [...counters, 'receiveNohandler']);

const linesMax = 4096;
const devicesExpected = 64;
const headerLines = 2;
const nameCharsMax = 64;

export function parseNetDev(text: string, problem: Problem): NetDevice[] {
  const devices = new RowList(netDeviceShape, devicesExpected);
  let number = 0;
  for (const line of boundedLines(text, linesMax, problem)) {
    number += 1;
    if (number <= headerLines && line.includes('|')) continue;
    // A name may hold colons (eth0:1 of old); the counters never do.
    const colon = line.lastIndexOf(':');
    const device = line.slice(0, Math.max(0, colon)).trim();
    if (!device || device.length > nameCharsMax || devices.has(device)) {
      problem(`bad line ${line}`);
      continue;
    }
    const numbers = new Unsigneds(line, colon + 1);
    devices.begin(device);
    for (let left = counters.length; left > 0; left -= 1) devices.push(numbers.next());
    if (numbers.wereAll) continue;
    devices.drop(device);
    problem(`bad line ${line}`);
  }
  return devices.rows();
}
