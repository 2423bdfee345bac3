// info: everything about one VM, in any state of it. It needs no jobs key; with one, the guest agent is asked too, which libvirt
// does not allow over its read-only socket. What cannot be known is absent.
import { z } from 'zod';
import type { LibvirtClient } from '../../libvirt/client.js';
import { procedures } from '../../libvirt/procedures.js';
import { bounded, readTimeoutMs } from '../bounds.js';
import { type DomainDisk, parseDomain } from '../domain-xml.js';
import { asJobError } from '../failure.js';
import { type GuestInterface, readAddresses } from '../guest-addresses.js';
import { inTurns } from '../in-turns.js';
import { onlyReads } from '../only-reads.js';
import type { JobContext, Operation } from '../operation.js';
import { currentSnapshot, listSnapshots } from '../snapshots.js';
import { ifUnsupported, readVmWith, type VmFacts } from '../vm.js';

const Params = z.strictObject({});
type Params = z.infer<typeof Params>;

/** Bytes; absent where libvirt cannot tell. */
type Sizes = { capacityBytes?: number; allocationBytes?: number; physicalBytes?: number };

type InfoFacts = VmFacts & { info: Record<string, unknown> };

export const operation: Operation<Params, InfoFacts> = {
  name: 'info',
  needsVm: true,
  params: Params,

  async read(ctx) {
    const client = ctx.readers.libvirt();
    const facts = await readVmWith(client, ctx);
    return { ...facts, info: await readInfo(client, ctx, facts) };
  },

  decide: ({ info }) => ({ kind: 'unchanged', data: info }),
  ...onlyReads,
};

async function readInfo(
  client: LibvirtClient,
  ctx: JobContext,
  facts: VmFacts,
): Promise<Record<string, unknown>> {
  const { ref } = facts;
  const options = bounded(ctx, readTimeoutMs);
  const { xml } = await client.call(procedures.domainGetXmlDesc, { dom: ref, flags: 0 }, options);
  const { name, uuid, guestAgent, disks, interfaces, files: _files, ...definition } = parseDomain(xml);
  const [sized, addressed, autostart, snapshots, current] = await Promise.all([
    inTurns(disks, async (disk) => ({ ...shownDisk(disk), ...(await sizesOf(client, ctx, facts, disk)) })),
    readInterfaces(client, ctx, facts, interfaces, guestAgent.connected),
    facts.persistent
      ? client.call(procedures.domainGetAutostart, { dom: ref }, options).catch(ifUnsupported(undefined))
      : undefined,
    listSnapshots(client, ctx, facts),
    currentSnapshot(client, ctx, facts),
  ]);
  return {
    name,
    uuid,
    ...(facts.active && { id: ref.id }),
    state: facts.state,
    reason: facts.reason,
    persistent: facts.persistent,
    managedSave: facts.managedSave,
    autostart: autostart?.autostart === 1,
    ...definition,
    disks: sized,
    interfaces: addressed,
    guestAgent,
    snapshots: { count: snapshots.length, ...(current !== undefined && { current }) },
  };
}

/** libvirt asks the guest's own process for a running VM's disks; one that hangs costs the sizes, not the rest. */
async function sizesOf(
  client: LibvirtClient,
  ctx: JobContext,
  { ref }: VmFacts,
  disk: DomainDisk,
): Promise<Sizes> {
  if (!disk.target) return {};
  try {
    const args = { dom: ref, path: disk.target, flags: 0 };
    const sizes = await client.call(procedures.domainGetBlockInfo, args, bounded(ctx, readTimeoutMs));
    return {
      capacityBytes: sizes.capacity,
      allocationBytes: sizes.allocation,
      physicalBytes: sizes.physical,
    };
  } catch (error) {
    if (ctx.signal.aborted || asJobError(error).code === 'HOST_UNREACHABLE') throw error;
    return {};
  }
}

function shownDisk({ backingKnown: _known, ...disk }: DomainDisk): Omit<DomainDisk, 'backingKnown'> {
  return disk;
}

async function readInterfaces(
  client: LibvirtClient,
  ctx: JobContext,
  facts: VmFacts,
  interfaces: Parameters<typeof readAddresses>[4],
  agentConnected: boolean,
): Promise<GuestInterface[]> {
  if (!facts.active) return interfaces.map((device) => ({ ...device, addresses: [] }));
  // Without a jobs key the agent is simply not asked.
  const writer =
    agentConnected && facts.state === 'running' ? await ctx.libvirt().catch(() => undefined) : undefined;
  return readAddresses(client, writer, ctx, facts, interfaces);
}
