// What libvirt knows of storage and of who uses it: volumes of active pools, definitions and snapshots of every VM. It only
// reads, but for one thing: `refreshPools` makes libvirt look into its pools again.
import { HostError } from '../core/errors.js';
import { inTurns } from '../core/in-turns.js';
import type { LibvirtClient } from '../libvirt/client.js';
import { LibvirtError } from '../libvirt/errors.js';
import {
  type DomainRef,
  listPoolsFlag,
  type PoolRef,
  procedures,
  type VolumeRef,
  xmlFlag,
} from '../libvirt/procedures.js';
import { childOf, parseXml } from '../libvirt/xml.js';
import { actTimeoutMs, bounded, readTimeoutMs } from './bounds.js';
import { type DomainDisk, parseDomain } from './domain-xml.js';
import { isLibvirtError } from './failure.js';
import type { JobContext } from './operation.js';
import { disksInSnapshot, listSnapshots } from './snapshots.js';
import type { Usage, Volume } from './storage.js';
import { ifUnsupported } from './vm.js';

/** Looks into every active pool anew; resolves with the names of those where that failed. */
export async function refreshPools(client: LibvirtClient, ctx: JobContext): Promise<string[]> {
  const pools = await activePools(client, ctx);
  const failed = await inTurns(pools, async (pool) => {
    try {
      await client.call(procedures.storagePoolRefresh, { pool, flags: 0 }, bounded(ctx, actTimeoutMs));
      return [];
    } catch (error) {
      if (ctx.signal.aborted || outcomeLost(error)) throw error;
      return [pool.name];
    }
  });
  return failed.flat();
}

/** The connection, not the pool. */
function outcomeLost(error: unknown): boolean {
  return error instanceof HostError && error.code !== 'TIMEOUT' && !(error instanceof LibvirtError);
}

export async function readVolumes(client: LibvirtClient, ctx: JobContext): Promise<Volume[]> {
  const pools = await activePools(client, ctx);
  const lists = await inTurns(pools, async (pool) => {
    const args = { pool, needResults: 1, flags: 0 };
    return (await client.call(procedures.storagePoolListAllVolumes, args, bounded(ctx, readTimeoutMs))).vols;
  });
  const volumes = await inTurns(lists.flat(), (vol) => readVolume(client, ctx, vol));
  return volumes.filter((volume) => volume !== undefined);
}

async function activePools(client: LibvirtClient, ctx: JobContext): Promise<PoolRef[]> {
  const args = { needResults: 1, flags: listPoolsFlag.active };
  const { pools } = await client
    .call(procedures.connectListAllStoragePools, args, bounded(ctx, readTimeoutMs))
    .catch(ifUnsupported({ pools: [], ret: 0 }));
  return pools;
}

async function readVolume(
  client: LibvirtClient,
  ctx: JobContext,
  vol: VolumeRef,
): Promise<Volume | undefined> {
  try {
    const { xml } = await client.call(
      procedures.storageVolGetXmlDesc,
      { vol, flags: 0 },
      bounded(ctx, readTimeoutMs),
    );
    return volumeOf(vol, xml);
  } catch (error) {
    if (isLibvirtError(error, 'noStorageVol')) return undefined;
    throw error;
  }
}

export function volumeOf(vol: VolumeRef, xml: string): Volume {
  const root = parseXml(xml);
  const path = childOf(root, 'target', 'path')?.text ?? vol.key;
  const backing = childOf(root, 'backingStore', 'path')?.text;
  const format = childOf(root, 'backingStore', 'format')?.attributes.type;
  return { ...vol, path, ...(backing && { backing: { path: backing, ...(format && { format }) } }) };
}

/** What every VM of the host names, running or not, now and in its snapshots. */
export async function readUsages(client: LibvirtClient, ctx: JobContext): Promise<Usage[]> {
  const args = { needResults: 1, flags: 0 };
  const { domains } = await client.call(procedures.connectListAllDomains, args, bounded(ctx, readTimeoutMs));
  const usages = await inTurns(domains, (dom) => readUsage(client, ctx, dom));
  return usages.filter((usage) => usage !== undefined);
}

async function readUsage(client: LibvirtClient, ctx: JobContext, dom: DomainRef): Promise<Usage | undefined> {
  try {
    const definitions = [await readDefinition(client, ctx, dom, 0)];
    if (dom.id >= 0) definitions.push(await readDefinition(client, ctx, dom, xmlFlag.inactive));
    const snapshots = await listSnapshots(client, ctx, { ref: dom });
    const inSnapshots = await inTurns(snapshots, async (snap) => {
      const { xml } = await client.call(
        procedures.domainSnapshotGetXmlDesc,
        { snap, flags: 0 },
        bounded(ctx, readTimeoutMs),
      );
      return [...disksInSnapshot(xml), ...overlaysInSnapshot(xml)];
    });
    // What a running VM stands on is known for the definition that it runs with; the kept one is of the same disks.
    const [running] = definitions;
    const known = new Set(running?.disks.filter(({ backingKnown }) => backingKnown).map(({ path }) => path));
    const marked = (disks: readonly DomainDisk[]) =>
      disks.map((disk) => (known.has(disk.path) ? { ...disk, backingKnown: true } : disk));
    return {
      name: dom.name,
      uuid: dom.uuid,
      disks: marked(definitions.flatMap(({ disks }) => disks)),
      pastDisks: marked(inSnapshots.flat()),
      files: definitions.flatMap(({ files }) => files),
    };
  } catch (error) {
    if (isLibvirtError(error, 'noDomain') || isLibvirtError(error, 'noDomainSnapshot')) {
      return readUsageAgain(client, ctx, dom);
    }
    throw error;
  }
}

/** It changed while it was read: once more, unless it is gone. */
async function readUsageAgain(
  client: LibvirtClient,
  ctx: JobContext,
  { uuid }: DomainRef,
): Promise<Usage | undefined> {
  try {
    const { dom } = await client.call(procedures.domainLookupByUuid, { uuid }, bounded(ctx, readTimeoutMs));
    return await readUsage(client, ctx, dom);
  } catch (error) {
    if (isLibvirtError(error, 'noDomain')) return undefined;
    throw error;
  }
}

async function readDefinition(client: LibvirtClient, ctx: JobContext, dom: DomainRef, flags: number) {
  const { xml } = await client.call(procedures.domainGetXmlDesc, { dom, flags }, bounded(ctx, readTimeoutMs));
  return parseDomain(xml);
}

/** The files that an external snapshot made. */
function overlaysInSnapshot(xml: string) {
  const disks = childOf(parseXml(xml), 'disks')?.children ?? [];
  return disks.flatMap((disk) => {
    const path = childOf(disk, 'source')?.attributes.file;
    if (!path) return [];
    return {
      device: 'disk',
      type: 'file',
      target: disk.attributes.name ?? '',
      path,
      readOnly: false,
      shareable: false,
      backing: [],
      // Its base is in the snapshot's own definition.
      backingKnown: true,
    };
  });
}
