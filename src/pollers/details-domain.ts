// What the details poll keeps of a VM's definition: identity and limits. XML comes from hosts: what is kept is bounded in
// length and number, and copied, so that no whole document stays in memory behind a name. It refuses to guess: what the
// definition leaves out is absent.
import { recurring, recurringRecord } from '../core/recurring.js';
import { childOf, childrenOf, parseXml, textOf, type XmlElement } from '../libvirt/xml.js';

/** Of one kind, in one VM. */
const devicesMax = 1_024;
const textCharsMax = 1_024;

/** Per second; lengths of bursts in seconds. A limit that is not set, or 0, which is libvirt's word for none, is absent. */
const limitNames = [
  'total_bytes_sec',
  'read_bytes_sec',
  'write_bytes_sec',
  'total_iops_sec',
  'read_iops_sec',
  'write_iops_sec',
  'total_bytes_sec_max',
  'read_bytes_sec_max',
  'write_bytes_sec_max',
  'total_iops_sec_max',
  'read_iops_sec_max',
  'write_iops_sec_max',
  'total_bytes_sec_max_length',
  'read_bytes_sec_max_length',
  'write_bytes_sec_max_length',
  'total_iops_sec_max_length',
  'read_iops_sec_max_length',
  'write_iops_sec_max_length',
  'size_iops_sec',
] as const;
export type LimitName = (typeof limitNames)[number];

type Limits = Readonly<Partial<Record<LimitName, number>>>;

/** Everything optional is undefined where the definition does not say it. */
export type DiskDetails = {
  /** `vda`. */
  target: string;
  /** `disk`, `cdrom`, `floppy`, `lun`. */
  device: string;
  type?: string | undefined;
  bus?: string | undefined;
  driverName?: string | undefined;
  driverType?: string | undefined;
  cache?: string | undefined;
  discard?: string | undefined;
  /** Path of the file or device; name of an image on the network; pool/volume. */
  source?: string | undefined;
  protocol?: string | undefined;
  serial?: string | undefined;
  limits: Limits;
};

export type InterfaceDetails = {
  /** `vnet0`; absent while the VM does not run, unless the definition fixes it. */
  target?: string | undefined;
  type?: string | undefined;
  /** Bridge, else network, else device of the host. */
  source?: string | undefined;
  mac?: string | undefined;
  model?: string | undefined;
  mtu?: string | undefined;
  /** Of the port of a virtual switch. */
  interfaceId?: string | undefined;
};

export type NovaDetails = {
  name?: string | undefined;
  flavor?: string | undefined;
  userName?: string | undefined;
  userId?: string | undefined;
  projectName?: string | undefined;
  projectId?: string | undefined;
  rootType?: string | undefined;
  rootId?: string | undefined;
};

export type DomainDetails = {
  os: Readonly<{ type?: string | undefined; arch?: string | undefined; machine?: string | undefined }>;
  nova?: NovaDetails | undefined;
  disks: DiskDetails[];
  interfaces: InterfaceDetails[];
  /** Absent where the VM has no balloon. `periodS`: 0 = the guest's memory is not asked for. */
  balloon?: Readonly<{ periodS: number }> | undefined;
};

/** Throws PROTOCOL_ERROR where it is no XML, or too much of it. */
export function readDomainDetails(xml: string): DomainDetails {
  const root = parseXml(xml);
  const devices = childOf(root, 'devices');
  const os = childOf(root, 'os', 'type');
  return {
    os: recurringRecord({
      type: word(os?.text.trim()),
      arch: word(os?.attributes.arch),
      machine: word(os?.attributes.machine),
    }),
    nova: novaOf(childOf(root, 'metadata')),
    disks: firstOf(childrenOf(devices, 'disk')).map(diskOf),
    interfaces: firstOf(childrenOf(devices, 'interface')).map(interfaceOf),
    balloon: balloonOf(childOf(devices, 'memballoon')),
  };
}

function firstOf(devices: readonly XmlElement[]): readonly XmlElement[] {
  return devices.slice(0, devicesMax);
}

function diskOf(disk: XmlElement): DiskDetails {
  const source = childOf(disk, 'source')?.attributes;
  const driver = childOf(disk, 'driver')?.attributes;
  const target = childOf(disk, 'target')?.attributes;
  const volume = source?.pool && source.volume && `${source.pool}/${source.volume}`;
  return {
    target: word(target?.dev) ?? '',
    device: word(disk.attributes.device) ?? 'disk',
    type: word(disk.attributes.type),
    bus: word(target?.bus),
    driverName: word(driver?.name),
    driverType: word(driver?.type),
    cache: word(driver?.cache),
    discard: word(driver?.discard),
    source: kept(source?.file ?? source?.dev ?? source?.dir ?? source?.name ?? volume),
    protocol: word(source?.protocol),
    serial: kept(textOf(disk, 'serial')),
    limits: limitsOf(childOf(disk, 'iotune')),
  };
}

const noLimits: Limits = Object.freeze({});

function limitsOf(iotune: XmlElement | undefined): Limits {
  if (!iotune) return noLimits;
  const limits: Partial<Record<LimitName, number>> = {};
  for (const name of limitNames) {
    const value = whole(textOf(iotune, name));
    if (value) limits[name] = value;
  }
  return limits;
}

function interfaceOf(element: XmlElement): InterfaceDetails {
  const source = childOf(element, 'source')?.attributes;
  return {
    target: word(childOf(element, 'target')?.attributes.dev),
    type: word(element.attributes.type),
    source: word(source?.bridge ?? source?.network ?? source?.dev),
    mac: kept(childOf(element, 'mac')?.attributes.address),
    model: word(childOf(element, 'model')?.attributes.type),
    mtu: word(childOf(element, 'mtu')?.attributes.size),
    interfaceId: kept(childOf(element, 'virtualport', 'parameters')?.attributes.interfaceid),
  };
}

/** Nova's element stands in a namespace whose prefix is Nova's choice. */
function novaOf(metadata: XmlElement | undefined): NovaDetails | undefined {
  const instance = inNamespace(metadata, 'instance');
  if (!instance) return undefined;
  const owner = inNamespace(instance, 'owner');
  const user = inNamespace(owner, 'user');
  const project = inNamespace(owner, 'project');
  const root = inNamespace(instance, 'root');
  return {
    name: kept(inNamespace(instance, 'name')?.text.trim()),
    flavor: word(inNamespace(instance, 'flavor')?.attributes.name),
    userName: word(user?.text.trim()),
    userId: word(user?.attributes.uuid),
    projectName: word(project?.text.trim()),
    projectId: word(project?.attributes.uuid),
    rootType: word(root?.attributes.type),
    rootId: word(root?.attributes.uuid),
  };
}

function inNamespace(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((child) => child.name === name || child.name.endsWith(`:${name}`));
}

function balloonOf(balloon: XmlElement | undefined): DomainDetails['balloon'] {
  if (!balloon || balloon.attributes.model === 'none') return undefined;
  return recurringRecord({ periodS: whole(childOf(balloon, 'stats')?.attributes.period) ?? 0 });
}

function whole(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** A bounded copy of what is a VM's own; undefined where there is nothing. */
function kept(text: string | undefined): string | undefined {
  return text ? Buffer.from(text.slice(0, textCharsMax)).toString() : undefined;
}

/** Of what many VMs say alike. */
function word(text: string | undefined): string | undefined {
  const copy = kept(text);
  return copy === undefined ? undefined : recurring(copy);
}
