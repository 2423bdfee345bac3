// What a host is, for its registration: libvirt's words and the kernel's, mapped to the interface's names. What is not known
// is left out. The capabilities come from the host: they are read as hostile text, within bounds.
import sax from 'sax';
import type { LibvirtClient } from '../libvirt/client.js';
import { procedures } from '../libvirt/procedures.js';
import { versionText } from '../libvirt/version.js';
import type { SystemSample } from '../pollers/system.js';
import type { HypervisorFacts } from './api.js';
import { quoted } from './backend-error.js';

const capabilitiesCharsMax = 4 * 1024 * 1024;
const guestsMax = 64;
const acceleratorsMax = 16;
const textCharsMax = 512;

type NodeInfo = {
  model: string;
  /** KiB. */
  memory: number;
  cpus: number;
  mhz: number;
  nodes: number;
  sockets: number;
  cores: number;
  threads: number;
};

/** As libvirt's calls give them. */
export type LibvirtFacts = {
  type?: string | undefined;
  hvVer?: number | undefined;
  libVer?: number | undefined;
  uri?: string | undefined;
  hostname?: string | undefined;
  node?: NodeInfo | undefined;
  capabilities?: string | undefined;
};

/** `hostname`: what the host calls itself. */
export type HostFacts = { hostname: string | undefined; hypervisor: HypervisorFacts };

/** Asks libvirt; what it does not tell is absent. Rejects when it tells nothing at all. */
export async function readFacts(
  client: Pick<LibvirtClient, 'call'>,
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal },
): Promise<LibvirtFacts> {
  const options = { timeoutMs, ...(signal && { signal }) };
  const asked = await Promise.allSettled([
    client.call(procedures.connectGetType, undefined, options),
    client.call(procedures.connectGetVersion, undefined, options),
    client.call(procedures.connectGetLibVersion, undefined, options),
    client.call(procedures.connectGetUri, undefined, options),
    client.call(procedures.connectGetHostname, undefined, options),
    client.call(procedures.nodeGetInfo, undefined, options),
    client.call(procedures.connectGetCapabilities, undefined, options),
  ]);
  const [first] = asked;
  if (first.status === 'rejected' && asked.every(({ status }) => status === 'rejected')) throw first.reason;
  const [type, version, library, uri, hostname, node, capabilities] = asked;
  return {
    type: told(type)?.type,
    hvVer: told(version)?.hvVer,
    libVer: told(library)?.libVer,
    uri: told(uri)?.uri,
    hostname: told(hostname)?.hostname,
    node: told(node),
    capabilities: told(capabilities)?.capabilities,
  };
}

function told<T>(result: PromiseSettledResult<T>): T | undefined {
  return result.status === 'fulfilled' ? result.value : undefined;
}

/** Pure. Either source may be missing. */
export function factsOf(libvirt: LibvirtFacts | undefined, system: SystemSample | undefined): HostFacts {
  const { type, hvVer, libVer, uri, hostname, node, capabilities } = libvirt ?? {};
  const all = {
    type: line(type),
    version: version(hvVer),
    libvirt_version: version(libVer),
    uri: line(uri),
    kernel: line(system?.kernel.release),
    os: line(system?.os?.PRETTY_NAME),
    ...nodeFacts(node),
    ...(capabilities !== undefined && capabilityFacts(capabilities)),
  };
  const hypervisor = Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== undefined),
  ) as HypervisorFacts;
  if (hypervisor.arch === undefined && system?.kernel.machine)
    hypervisor.arch = quoted(system.kernel.machine);
  return { hostname: line(hostname) ?? line(system?.kernel.hostname), hypervisor };
}

function nodeFacts(node: NodeInfo | undefined): Partial<Record<keyof HypervisorFacts, unknown>> {
  if (!node) return {};
  return {
    cpu_model: line(node.model),
    cpus: whole(node.cpus),
    mhz: whole(node.mhz),
    numa_nodes: whole(node.nodes),
    sockets: whole(node.sockets),
    cores_per_socket: whole(node.cores),
    threads_per_core: whole(node.threads),
    memory_bytes: whole(node.memory * 1024),
  };
}

type Guest = { os: string; arch: string; accelerators: string[] };
type CapabilityFacts = Pick<HypervisorFacts, 'arch' | 'cpu_model' | 'host_uuid'> & { guests: Guest[] };

/** What it understood until the document stopped making sense. */
function capabilityFacts(xml: string): Partial<CapabilityFacts> {
  if (xml.length > capabilitiesCharsMax) return {};
  const found: CapabilityFacts = { guests: [] };
  const path: string[] = [];
  const parser = sax.parser(true, { strictEntities: true } as sax.SAXOptions);
  parser.onopentag = ({ name, attributes }) => {
    path.push(name);
    const at = path.join('/');
    if (at === 'capabilities/guest') found.guests.push({ os: '', arch: '', accelerators: [] });
    const guest = found.guests.at(-1);
    if (at === 'capabilities/guest/arch' && guest) guest.arch = line(String(attributes.name ?? '')) ?? '';
    const full = (guest?.accelerators.length ?? 0) >= acceleratorsMax;
    if (at === 'capabilities/guest/arch/domain' && guest && !full) {
      guest.accelerators.push(line(String(attributes.type ?? '')) ?? '');
    }
  };
  parser.onclosetag = () => {
    path.pop();
  };
  parser.ontext = (given) => {
    const text = line(given);
    const guest = found.guests.at(-1);
    if (text === undefined) return;
    switch (path.join('/')) {
      case 'capabilities/host/uuid':
        found.host_uuid = text;
        break;
      case 'capabilities/host/cpu/arch':
        found.arch = text;
        break;
      case 'capabilities/host/cpu/model':
        found.cpu_model = text;
        break;
      case 'capabilities/guest/os_type':
        if (guest) guest.os = text;
        break;
    }
  };
  parser.onerror = () => {
    throw new Error('not XML');
  };
  try {
    parser.write(xml).close();
  } catch {
    // Facts are for people: what was understood until here still holds.
  }
  return { ...found, guests: found.guests.slice(0, guestsMax) };
}

function line(text: string | undefined): string | undefined {
  return quoted((text ?? '').slice(0, textCharsMax)) || undefined;
}

function whole(value: number): number | undefined {
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function version(given: number | undefined): string | undefined {
  return given !== undefined && Number.isSafeInteger(given) && given > 0 ? versionText(given) : undefined;
}
