// Snapshots: what is asked of libvirt in XML, and what it tells of those that there are. Names and descriptions come from
// outside: they are escaped on writing, and on reading they are text and nothing else.
import type { LibvirtClient } from '../libvirt/client.js';
import { procedures, type SnapshotRef } from '../libvirt/procedures.js';
import { childOf, childrenOf, escapeXml, parseXml, textOf } from '../libvirt/xml.js';
import { bounded, readTimeoutMs } from './bounds.js';
import { type DomainDisk, domainOf } from './domain-xml.js';
import { isLibvirtError } from './failure.js';
import { line, lines } from './job.js';
import type { JobContext } from './operation.js';
import { ifUnsupported, readVm, type VmFacts } from './vm.js';

/** libvirt makes file names of it. */
export const snapshotNameLengthMax = 128;
const descriptionLengthMax = 4096;

export const SnapshotName = line(snapshotNameLengthMax)
  .refine((name) => !name.includes('/'), 'must not hold a slash')
  .refine((name) => !name.startsWith('.'), 'must not begin with a dot')
  .refine(
    (name) => Buffer.byteLength(name) <= snapshotNameLengthMax,
    `must have at most ${snapshotNameLengthMax} bytes`,
  )
  .refine((name) => !/[\ufffe\uffff]/.test(name), 'must not hold control characters');

export const SnapshotDescription = lines(descriptionLengthMax).refine(
  (text) => !/[\ufffe\uffff]/.test(text),
  'must not hold control characters',
);

/** Where the disks' old content is: inside the image, or in the file that the overlay stands on. */
export type SnapshotKind = 'internal' | 'external';

export type SnapshotInfo = {
  name: string;
  description?: string;
  /** Of the VM when it was taken. */
  state: string;
  /** ISO time. */
  createdAt?: string;
  parent?: string;
  current: boolean;
  kind: SnapshotKind;
  /** The guest's memory is in it. */
  memory: boolean;
  disks: string[];
};

export type SnapshotFacts = VmFacts & {
  readonly snapshots: readonly string[];
  readonly current: string | undefined;
  readonly summary: VmFacts['summary'] & { snapshots: number; currentSnapshot?: string };
};

/** As many as a result can carry; further ones are only counted. */
export const snapshotsShownMax = 500;

export type SnapshotWish = {
  name: string;
  description: string | undefined;
  kind: SnapshotKind;
  memory: boolean;
  disks: readonly { target: string; included: boolean }[];
};

export function snapshotXml({ name, description, kind, memory, disks }: SnapshotWish): string {
  const about = description ? `<description>${escapeXml(description)}</description>` : '';
  const parts = disks.map(
    ({ target, included }) => `<disk name='${escapeXml(target)}' snapshot='${included ? kind : 'no'}'/>`,
  );
  const memoryPart = `<memory snapshot='${memory ? 'internal' : 'no'}'/>`;
  return `<domainsnapshot><name>${escapeXml(name)}</name>${about}${memoryPart}<disks>${parts.join('')}</disks></domainsnapshot>`;
}

export function parseSnapshot(xml: string): Omit<SnapshotInfo, 'current'> {
  const root = parseXml(xml);
  const description = textOf(root, 'description');
  const parent = textOf(root, 'parent', 'name');
  const seconds = Number(textOf(root, 'creationTime'));
  const disks = childrenOf(childOf(root, 'disks'), 'disk').filter(
    ({ attributes }) => attributes.snapshot !== 'no',
  );
  const external = disks.some(({ attributes }) => attributes.snapshot === 'external');
  const memory = childOf(root, 'memory')?.attributes.snapshot;
  return {
    name: childOf(root, 'name')?.text ?? '',
    ...(description && { description }),
    state: textOf(root, 'state') ?? 'unknown',
    ...(Number.isFinite(seconds) &&
      seconds > 0 &&
      seconds < 1e11 && { createdAt: new Date(seconds * 1000).toISOString() }),
    ...(parent !== undefined && { parent }),
    kind: external || memory === 'external' ? 'external' : 'internal',
    memory: memory !== undefined && memory !== 'no',
    disks: disks.map(({ attributes }) => attributes.name ?? ''),
  };
}

/** The disks of the VM's definition as it was, kept within the snapshot: they may be what the snapshot needs. */
export function disksInSnapshot(xml: string): DomainDisk[] {
  const root = parseXml(xml);
  return ['domain', 'inactiveDomain'].flatMap((name) => {
    const domain = childOf(root, name);
    return domain ? domainOf(domain).disks : [];
  });
}

export async function readSnapshotFacts(ctx: JobContext): Promise<SnapshotFacts> {
  const facts = await readVm(ctx);
  const client = await ctx.libvirt();
  const [snapshots, current] = await Promise.all([
    listSnapshots(client, ctx, facts),
    currentSnapshot(client, ctx, facts),
  ]);
  const names = snapshots.map(({ name }) => name);
  return {
    ...facts,
    snapshots: names,
    current,
    summary: {
      ...facts.summary,
      snapshots: names.length,
      ...(current !== undefined && { currentSnapshot: current }),
    },
  };
}

export async function listSnapshots(
  client: LibvirtClient,
  ctx: JobContext,
  { ref }: Pick<VmFacts, 'ref'>,
): Promise<SnapshotRef[]> {
  const { snapshots } = await client
    .call(
      procedures.domainListAllSnapshots,
      { dom: ref, needResults: 1, flags: 0 },
      bounded(ctx, readTimeoutMs),
    )
    .catch(ifUnsupported({ snapshots: [], ret: 0 }));
  return snapshots;
}

export async function currentSnapshot(
  client: LibvirtClient,
  ctx: JobContext,
  { ref }: Pick<VmFacts, 'ref'>,
): Promise<string | undefined> {
  try {
    const args = { dom: ref, flags: 0 };
    const { result } = await client.call(
      procedures.domainHasCurrentSnapshot,
      args,
      bounded(ctx, readTimeoutMs),
    );
    if (result === 0) return undefined;
    return (await client.call(procedures.domainSnapshotCurrent, args, bounded(ctx, readTimeoutMs))).snap.name;
  } catch (error) {
    if (isLibvirtError(error, 'noDomainSnapshot') || isLibvirtError(error, 'noSupport')) return undefined;
    throw error;
  }
}

/** `undefined` for one that has gone meanwhile. */
export async function readSnapshot(
  client: LibvirtClient,
  ctx: JobContext,
  snap: SnapshotRef,
): Promise<Omit<SnapshotInfo, 'current'> | undefined> {
  try {
    const args = { snap, flags: 0 };
    const { xml } = await client.call(procedures.domainSnapshotGetXmlDesc, args, bounded(ctx, readTimeoutMs));
    return parseSnapshot(xml);
  } catch (error) {
    if (isLibvirtError(error, 'noDomainSnapshot')) return undefined;
    throw error;
  }
}

export async function readSnapshots(
  client: LibvirtClient,
  ctx: JobContext,
  facts: Pick<VmFacts, 'ref'>,
): Promise<SnapshotInfo[]> {
  const current = await currentSnapshot(client, ctx, facts);
  const refs = await listSnapshots(client, ctx, facts);
  const read = await Promise.all(
    refs.slice(0, snapshotsShownMax).map((ref) => readSnapshot(client, ctx, ref)),
  );
  return read.flatMap((info) => (info ? [{ ...info, current: info.name === current }] : []));
}
