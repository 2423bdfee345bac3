// /proc/net/dev: counters of each network device, of the namespace of the process that serves the files: the host's.
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
    const numbers = new Unsigneds(line, colon + 1);
    const counters = deviceOf(device, numbers);
    if (!numbers.wereAll || !device || device.length > nameCharsMax || devices.has(device)) {
      problem(`bad line ${line}`);
      continue;
    }
    devices.set(device, counters);
  }
  return [...devices.values()];
}

/** In the order of the kernel's columns. */
function deviceOf(device: string, numbers: Unsigneds): NetDevice {
  return {
    device,
    receiveBytes: numbers.next(),
    receivePackets: numbers.next(),
    receiveErrs: numbers.next(),
    receiveDrop: numbers.next(),
    receiveFifo: numbers.next(),
    receiveFrame: numbers.next(),
    receiveCompressed: numbers.next(),
    receiveMulticast: numbers.next(),
    transmitBytes: numbers.next(),
    transmitPackets: numbers.next(),
    transmitErrs: numbers.next(),
    transmitDrop: numbers.next(),
    transmitFifo: numbers.next(),
    transmitColls: numbers.next(),
    transmitCarrier: numbers.next(),
    transmitCompressed: numbers.next(),
  };
}
