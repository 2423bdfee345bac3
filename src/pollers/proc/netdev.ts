// /proc/net/dev: counters of each network device, of the namespace of the process that serves the files: the host's.
import type { Problem } from '../problems.js';
import { boundedLines, unsignedAll } from './text.js';

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

const columns = 16;
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
    const values = unsignedAll(line, colon + 1);
    if (values?.length !== columns || !device || device.length > nameCharsMax || devices.has(device)) {
      problem(`bad line ${line}`);
      continue;
    }
    devices.set(device, deviceOf(device, values));
  }
  return [...devices.values()];
}

/** In the order of the kernel's columns. */
function deviceOf(device: string, values: readonly number[]): NetDevice {
  const [receiveBytes = 0, receivePackets = 0, receiveErrs = 0, receiveDrop = 0] = values;
  const [receiveFifo = 0, receiveFrame = 0, receiveCompressed = 0, receiveMulticast = 0] = values.slice(4);
  const [transmitBytes = 0, transmitPackets = 0, transmitErrs = 0, transmitDrop = 0] = values.slice(8);
  const [transmitFifo = 0, transmitColls = 0, transmitCarrier = 0, transmitCompressed = 0] = values.slice(12);
  return {
    device,
    receiveBytes,
    receivePackets,
    receiveErrs,
    receiveDrop,
    receiveFifo,
    receiveFrame,
    receiveCompressed,
    receiveMulticast,
    transmitBytes,
    transmitPackets,
    transmitErrs,
    transmitDrop,
    transmitFifo,
    transmitColls,
    transmitCarrier,
    transmitCompressed,
  };
}
