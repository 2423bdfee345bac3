// What the details poll keeps of a VM's definition: identity and limits. XML comes from hosts: what is kept is bounded in
// length and number, and copied, so that no whole document stays in memory behind a name. It refuses to guess: what the
// definition leaves out is absent.
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

/** Everything optional is absent where the definition does not say it. */
export type DiskDetails = {
  /** `vda`. */
  target: string;
  /** `disk`, `cdrom`, `floppy`, `lun`. */
  device: string;
  type?: string;
  bus?: string;
  driverName?: string;
  driverType?: string;
  cache?: string;
  discard?: string;
  /** Path of the file or device; name of an image on the network; pool/volume. */
  source?: string;
  protocol?: string;
  serial?: string;
  limits: Partial<Record<LimitName, number>>;
};

export type InterfaceDetails = {
  /** `vnet0`; absent while the VM does not run, unless the definition fixes it. */
  target?: string;
  type?: string;
  /** Bridge, else network, else device of the host. */
  source?: string;
  mac?: string;
  model?: string;
  mtu?: string;
  /** Of the port of a virtual switch. */
  interfaceId?: string;
};

export type NovaDetails = {
  name?: string;
  flavor?: string;
  userName?: string;
  userId?: string;
  projectName?: string;
  projectId?: string;
  rootType?: string;
  rootId?: string;
};

export type DomainDetails = {
  os: { type?: string; arch?: string; machine?: string };
  nova?: NovaDetails;
  disks: DiskDetails[];
  interfaces: InterfaceDetails[];
  /** Absent where the VM has no balloon. `periodS`: 0 = the guest's memory is not asked for. */
  balloon?: { periodS: number };
};

/** Throws PROTOCOL_ERROR where it is no XML, or too much of it. */
export function readDomainDetails(xml: string): DomainDetails {
  const root = parseXml(xml);
  const devices = childOf(root, 'devices');
  const os = childOf(root, 'os', 'type');
  const nova = novaOf(childOf(root, 'metadata'));
  const balloon = balloonOf(childOf(devices, 'memballoon'));
  return {
    os: present({
      type: kept(os?.text.trim()),
      arch: kept(os?.attributes.arch),
      machine: kept(os?.attributes.machine),
    }),
    ...(nova && { nova }),
    disks: firstOf(childrenOf(devices, 'disk')).map(diskOf),
    interfaces: firstOf(childrenOf(devices, 'interface')).map(interfaceOf),
    ...(balloon && { balloon }),
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
    target: kept(target?.dev) ?? '',
    device: kept(disk.attributes.device) ?? 'disk',
    limits: limitsOf(childOf(disk, 'iotune')),
    ...present({
      type: kept(disk.attributes.type),
      bus: kept(target?.bus),
      driverName: kept(driver?.name),
      driverType: kept(driver?.type),
      cache: kept(driver?.cache),
      discard: kept(driver?.discard),
      source: kept(source?.file ?? source?.dev ?? source?.dir ?? source?.name ?? volume),
      protocol: kept(source?.protocol),
      serial: kept(textOf(disk, 'serial')),
    }),
  };
}

function limitsOf(iotune: XmlElement | undefined): DiskDetails['limits'] {
  const limits: DiskDetails['limits'] = {};
  for (const name of limitNames) {
    const value = whole(textOf(iotune, name));
    if (value) limits[name] = value;
  }
  return limits;
}

function interfaceOf(element: XmlElement): InterfaceDetails {
  const source = childOf(element, 'source')?.attributes;
  return present({
    target: kept(childOf(element, 'target')?.attributes.dev),
    type: kept(element.attributes.type),
    source: kept(source?.bridge ?? source?.network ?? source?.dev),
    mac: kept(childOf(element, 'mac')?.attributes.address),
    model: kept(childOf(element, 'model')?.attributes.type),
    mtu: kept(childOf(element, 'mtu')?.attributes.size),
    interfaceId: kept(childOf(element, 'virtualport', 'parameters')?.attributes.interfaceid),
  });
}

/** Nova's element stands in a namespace whose prefix is Nova's choice. */
function novaOf(metadata: XmlElement | undefined): NovaDetails | undefined {
  const instance = inNamespace(metadata, 'instance');
  if (!instance) return undefined;
  const owner = inNamespace(instance, 'owner');
  const user = inNamespace(owner, 'user');
  const project = inNamespace(owner, 'project');
  const root = inNamespace(instance, 'root');
  return present({
    name: kept(inNamespace(instance, 'name')?.text.trim()),
    flavor: kept(inNamespace(instance, 'flavor')?.attributes.name),
    userName: kept(user?.text.trim()),
    userId: kept(user?.attributes.uuid),
    projectName: kept(project?.text.trim()),
    projectId: kept(project?.attributes.uuid),
    rootType: kept(root?.attributes.type),
    rootId: kept(root?.attributes.uuid),
  });
}

function inNamespace(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((child) => child.name === name || child.name.endsWith(`:${name}`));
}

function balloonOf(balloon: XmlElement | undefined): DomainDetails['balloon'] {
  if (!balloon || balloon.attributes.model === 'none') return undefined;
  return { periodS: whole(childOf(balloon, 'stats')?.attributes.period) ?? 0 };
}

function whole(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** A bounded copy; undefined where there is nothing. */
function kept(text: string | undefined): string | undefined {
  return text ? Buffer.from(text.slice(0, textCharsMax)).toString() : undefined;
}

function present<T extends object>(fields: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
