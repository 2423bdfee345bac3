// What the operations read in a VM's definition. Values are libvirt's; what it leaves out is absent.
import { childOf, childrenOf, parseXml, textOf, type XmlElement } from '../libvirt/xml.js';

export type DomainDisk = {
  /** `disk`, `cdrom`, `floppy`, `lun`. */
  device: string;
  /** `file`, `block`, `volume`, `network`, `dir`, … */
  type: string;
  /** `vda`. */
  target: string;
  bus?: string;
  /** `qcow2`, `raw`, … */
  format?: string;
  /** Path of the file or device. */
  path?: string;
  pool?: string;
  volume?: string;
  readOnly: boolean;
  shareable: boolean;
  /** Paths that this disk is based on, the nearest first. */
  backing: string[];
  /** libvirt has followed the chain to its end, so that `backing` is all of it. */
  backingKnown: boolean;
};

export type DomainInterface = {
  type: string;
  mac?: string;
  source?: string;
  target?: string;
  model?: string;
};

export type DomainDefinition = {
  name: string;
  uuid: string;
  title?: string;
  description?: string;
  vcpus: { current: number; maximum: number };
  memory: { currentBytes: number; maximumBytes: number };
  os: { type?: string; arch?: string; machine?: string };
  disks: DomainDisk[];
  interfaces: DomainInterface[];
  guestAgent: { configured: boolean; connected: boolean };
  /** Other files that belong to it: NVRAM, kernel, … */
  files: string[];
};

export function parseDomain(xml: string): DomainDefinition {
  return domainOf(parseXml(xml));
}

export function domainOf(root: XmlElement): DomainDefinition {
  const devices = childOf(root, 'devices');
  const vcpu = childOf(root, 'vcpu');
  const maximum = whole(vcpu?.text) ?? 1;
  const os = childOf(root, 'os', 'type');
  const title = textOf(root, 'title');
  const description = textOf(root, 'description');
  const maximumBytes = bytesOf(childOf(root, 'memory')) ?? 0;
  return {
    name: textOf(root, 'name') ?? '',
    uuid: textOf(root, 'uuid')?.toLowerCase() ?? '',
    ...(title && { title }),
    ...(description && { description }),
    vcpus: { current: whole(vcpu?.attributes.current) ?? maximum, maximum },
    memory: { currentBytes: bytesOf(childOf(root, 'currentMemory')) ?? maximumBytes, maximumBytes },
    os: {
      ...(os && { type: os.text.trim() }),
      ...(os?.attributes.arch && { arch: os.attributes.arch }),
      ...(os?.attributes.machine && { machine: os.attributes.machine }),
    },
    disks: childrenOf(devices, 'disk').map(diskOf),
    interfaces: childrenOf(devices, 'interface').map(interfaceOf),
    guestAgent: agentOf(childrenOf(devices, 'channel')),
    files: ['nvram', 'loader', 'kernel', 'initrd'].flatMap((name) => textOf(root, 'os', name) || []),
  };
}

/** Of a `<disk>` in a definition or in a snapshot. */
export function diskOf(disk: XmlElement): DomainDisk {
  const source = childOf(disk, 'source');
  const { backing, known } = backingOf(disk);
  const path = pathOf(source);
  const format = childOf(disk, 'driver')?.attributes.type;
  const bus = childOf(disk, 'target')?.attributes.bus;
  return {
    device: disk.attributes.device ?? 'disk',
    type: disk.attributes.type ?? 'file',
    target: childOf(disk, 'target')?.attributes.dev ?? '',
    ...(bus && { bus }),
    ...(format && { format }),
    ...(path && { path }),
    ...(source?.attributes.pool && { pool: source.attributes.pool }),
    ...(source?.attributes.volume && { volume: source.attributes.volume }),
    readOnly: childOf(disk, 'readonly') !== undefined,
    shareable: childOf(disk, 'shareable') !== undefined,
    backing,
    backingKnown: known,
  };
}

function pathOf(source: XmlElement | undefined): string | undefined {
  return source?.attributes.file ?? source?.attributes.dev ?? source?.attributes.dir;
}

/** An empty `<backingStore/>` ends the chain; a missing one says nothing. */
function backingOf(disk: XmlElement): { backing: string[]; known: boolean } {
  const backing: string[] = [];
  let at = childOf(disk, 'backingStore');
  while (at) {
    const path = pathOf(childOf(at, 'source'));
    if (path) backing.push(path);
    if (at.children.length === 0) return { backing, known: true };
    at = childOf(at, 'backingStore');
  }
  return { backing, known: false };
}

function interfaceOf(element: XmlElement): DomainInterface {
  const source = childOf(element, 'source')?.attributes;
  const from = source?.network ?? source?.bridge ?? source?.dev;
  const mac = childOf(element, 'mac')?.attributes.address;
  const target = childOf(element, 'target')?.attributes.dev;
  const model = childOf(element, 'model')?.attributes.type;
  return {
    type: element.attributes.type ?? '',
    ...(mac && { mac }),
    ...(from && { source: from }),
    ...(target && { target }),
    ...(model && { model }),
  };
}

function agentOf(channels: readonly XmlElement[]): { configured: boolean; connected: boolean } {
  const targets = channels.map((channel) => childOf(channel, 'target')?.attributes);
  const agent = targets.find((target) => target?.name === 'org.qemu.guest_agent.0');
  return { configured: agent !== undefined, connected: agent?.state === 'connected' };
}

const units: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KB: 1_000,
  k: 1_024,
  KiB: 1_024,
  MB: 1_000_000,
  M: 1_048_576,
  MiB: 1_048_576,
  GB: 1_000_000_000,
  G: 1_073_741_824,
  GiB: 1_073_741_824,
  T: 1_099_511_627_776,
  TiB: 1_099_511_627_776,
};

function bytesOf(element: XmlElement | undefined): number | undefined {
  const value = whole(element?.text);
  return value === undefined ? undefined : value * (units[element?.attributes.unit ?? 'KiB'] ?? 1_024);
}

function whole(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*\d{1,15}\s*$/.test(text) ? Number(text) : undefined;
}
