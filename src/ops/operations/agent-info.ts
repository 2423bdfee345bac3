// agent_info: what serves this host and what it can do: versions, the host's capabilities, and each operation with whether it is
// allowed here and, if not, why not. It answers also for a host that is down: then with what is known without it.
import { z } from 'zod';
import { describe } from '../../core/errors.js';
import type { LibvirtClient } from '../../libvirt/client.js';
import { procedures } from '../../libvirt/procedures.js';
import { versionText } from '../../libvirt/version.js';
import { childOf, childrenOf, parseXml, textOf } from '../../libvirt/xml.js';
import { bounded, readTimeoutMs } from '../bounds.js';
import { onlyReads } from '../only-reads.js';
import type { Facts, JobContext, Operation } from '../operation.js';

const Params = z.strictObject({});
type Params = z.infer<typeof Params>;

type AgentFacts = Facts & { info: Record<string, unknown> };

export const operation: Operation<Params, AgentFacts> = {
  name: 'agent_info',
  needsVm: false,
  params: Params,

  async read(ctx) {
    const { readers, host } = ctx;
    const info = {
      agent: { name: 'outrigger', version: readers.version, node: process.versions.node },
      host: { name: host.name, address: host.address, labels: host.labels, maintenance: host.maintenance },
      state: readers.hostState(),
      operations: readers.allowed(),
      ...(await hypervisor(ctx)),
    };
    return { vm: null, summary: null, info };
  },

  decide: ({ info }) => ({ kind: 'unchanged', data: info }),
  ...onlyReads,
};

async function hypervisor(ctx: JobContext): Promise<Record<string, unknown>> {
  try {
    return await readHypervisor(ctx.readers.libvirt(), ctx);
  } catch (error) {
    ctx.signal.throwIfAborted();
    return { problem: describe(error) };
  }
}

async function readHypervisor(client: LibvirtClient, ctx: JobContext): Promise<Record<string, unknown>> {
  const options = bounded(ctx, readTimeoutMs);
  const [type, version, library, uri, hostname, node, { capabilities }] = await Promise.all([
    client.call(procedures.connectGetType, undefined, options),
    client.call(procedures.connectGetVersion, undefined, options),
    client.call(procedures.connectGetLibVersion, undefined, options),
    client.call(procedures.connectGetUri, undefined, options),
    client.call(procedures.connectGetHostname, undefined, options),
    client.call(procedures.nodeGetInfo, undefined, options),
    client.call(procedures.connectGetCapabilities, undefined, options),
  ]);
  return {
    hypervisor: {
      type: type.type,
      version: versionText(version.hvVer),
      libvirtVersion: versionText(library.libVer),
      uri: uri.uri,
      hostname: hostname.hostname,
    },
    capabilities: {
      cpus: node.cpus,
      cpuModel: node.model,
      mhz: node.mhz,
      numaNodes: node.nodes,
      sockets: node.sockets,
      coresPerSocket: node.cores,
      threadsPerCore: node.threads,
      memoryBytes: node.memory * 1024,
      ...guestsOf(capabilities),
    },
  };
}

function guestsOf(capabilities: string): Record<string, unknown> {
  const root = parseXml(capabilities);
  const cpu = childOf(root, 'host', 'cpu');
  const guests = childrenOf(root, 'guest').map((guest) => {
    const arch = childOf(guest, 'arch');
    return {
      os: textOf(guest, 'os_type') ?? '',
      arch: arch?.attributes.name ?? '',
      accelerators: childrenOf(arch, 'domain').map(({ attributes }) => attributes.type ?? ''),
    };
  });
  return { arch: textOf(cpu, 'arch'), cpu: textOf(cpu, 'model'), guests };
}
