// info: everything about one VM, in any state of it. It needs no jobs key; with one, the guest agent is asked too, which libvirt
// does not allow over its read-only socket. What cannot be known is absent.
import { z } from 'zod';
import { HostError } from '../../core/errors.js';
import { inTurns } from '../../core/in-turns.js';
import type { LibvirtClient } from '../../libvirt/client.js';
import { LibvirtError } from '../../libvirt/errors.js';
import { procedures } from '../../libvirt/procedures.js';
import { bounded, readTimeoutMs } from '../bounds.js';
import { type DomainDisk, parseDomain } from '../domain-xml.js';
import { type GuestInterface, readAddresses } from '../guest-addresses.js';
import { onlyReads } from '../only-reads.js';
import type { JobContext, Operation } from '../operation.js';
import { currentSnapshot, listSnapshots } from '../snapshots.js';
import { ifUnsupported, readVmWith, type VmFacts } from '../vm.js';

const Params = z.strictObject({});
type Params = z.infer<typeof Params>;

/** Bytes; absent where libvirt cannot tell. */
type Sizes = { capacityBytes?: number; allocationBytes?: number; physicalBytes?: number };

/** VIR_DOMAIN_STATS_BLOCK. */
const blockStats = 1 << 5;
const sizesTimeoutMs = 8_000;

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
  const [sizes, addressed, autostart, snapshots, current] = await Promise.all([
    sizesOf(client, ctx, facts, disks),
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
    disks: disks.map((disk) => ({ ...shownDisk(disk), ...sizes.get(disk.target) })),
    interfaces: addressed,
    guestAgent,
    snapshots: { count: snapshots.length, ...(current !== undefined && { current }) },
  };
}

/** By target. The process of a VM that runs is asked without waiting for it: one that hangs costs the sizes, not the rest. */
async function sizesOf(
  client: LibvirtClient,
  ctx: JobContext,
  facts: VmFacts,
  disks: readonly DomainDisk[],
): Promise<Map<string, Sizes>> {
  return facts.active ? sizesOfRunning(client, ctx, facts) : sizesOfStopped(client, ctx, facts, disks);
}

async function sizesOfRunning(
  client: LibvirtClient,
  ctx: JobContext,
  { vm }: VmFacts,
): Promise<Map<string, Sizes>> {
  const stats = await client
    .domainStats({ ...bounded(ctx, sizesTimeoutMs), groups: blockStats })
    .catch(unlessOver(ctx, []));
  const blocks = stats.find(({ domain }) => domain.uuid === vm.uuid)?.blocks ?? [];
  return new Map(
    blocks.flatMap((block) => (block.name === undefined ? [] : [[block.name, shownSizes(block)] as const])),
  );
}

async function sizesOfStopped(
  client: LibvirtClient,
  ctx: JobContext,
  { ref }: VmFacts,
  disks: readonly DomainDisk[],
): Promise<Map<string, Sizes>> {
  const sizes = await inTurns(disks, async ({ target }) => {
    const args = { dom: ref, path: target, flags: 0 };
    const asked = client.call(procedures.domainGetBlockInfo, args, bounded(ctx, sizesTimeoutMs));
    return [target, shownSizes(await asked.catch(unlessOver(ctx, {})))] as const;
  });
  return new Map(sizes);
}

function shownSizes({
  capacity,
  allocation,
  physical,
}: {
  capacity?: number;
  allocation?: number;
  physical?: number;
}): Sizes {
  return {
    ...(capacity !== undefined && { capacityBytes: capacity }),
    ...(allocation !== undefined && { allocationBytes: allocation }),
    ...(physical !== undefined && { physicalBytes: physical }),
  };
}

/** What cannot be told is absent, but a job that is over, or a connection that is gone, is not hidden. */
function unlessOver<T>(ctx: JobContext, value: T): (error: unknown) => T {
  return (error) => {
    const silent = error instanceof LibvirtError || (error instanceof HostError && error.code === 'TIMEOUT');
    if (silent && !ctx.signal.aborted) return value;
    throw error;
  };
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
