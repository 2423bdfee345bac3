// snapshot: keeps the VM as it is now. Which kind it makes follows from the VM and from what is asked; the result says it.
//
//   state              asked                                       kind
//   running, paused    nothing, every disk qcow2                   internal, with memory
//   running, paused    nothing, another disk; or memory: false     external, disks only
//   running, paused    memory: true, a disk that is not qcow2      refused
//   running            diskOnly                                    external, disks only; with quiesce the guest's filesystems are frozen
//   paused             diskOnly                                    external, disks only; quiesce refused
//   running            quiesce without a guest agent               refused
//   shut off, crashed  nothing, every disk qcow2                   internal, disks only
//   shut off, crashed  diskOnly, or another disk                   external, disks only
//   shut off           memory: true, quiesce                       refused: there is no memory, and no guest
//   saved              anything                                    refused: its disks do not fit without its memory
//   any                a name that is there already, no disk       refused
//   shutting down, suspended by its guest, crashed with its process kept, paused by libvirt   refused
//
// Without a name it has one made of the request's id. `quiesce` alone means diskOnly: libvirt freezes for no other kind.
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { procedures, snapshotCreateFlag } from '../../libvirt/procedures.js';
import { bounded, longActTimeoutMs, readTimeoutMs } from '../bounds.js';
import { type DomainDisk, parseDomain } from '../domain-xml.js';
import { JobError, quoted } from '../job.js';
import type { Decision, JobContext, Operation } from '../operation.js';
import {
  readSnapshot,
  readSnapshotFacts,
  SnapshotDescription,
  type SnapshotFacts,
  type SnapshotKind,
  SnapshotName,
  snapshotXml,
} from '../snapshots.js';
import { inPassing, stateText, turns } from '../vm.js';

const Params = z
  .strictObject({
    name: SnapshotName.optional(),
    description: SnapshotDescription.optional(),
    diskOnly: z.boolean().optional(),
    quiesce: z.boolean().default(false),
    memory: z.boolean().optional(),
  })
  .refine(({ memory, diskOnly, quiesce }) => !(memory && (diskOnly || quiesce)), {
    path: ['memory'],
    message: 'cannot be kept together with diskOnly or quiesce',
  });
type Params = z.infer<typeof Params>;

type Facts = SnapshotFacts & { name: string; disks: readonly DomainDisk[]; agentConnected: boolean };

export const operation: Operation<Params, Facts> = {
  name: 'snapshot',
  needsVm: true,
  acts: true,
  params: Params,

  async read(ctx) {
    const facts = await readSnapshotFacts(ctx);
    const client = await ctx.libvirt();
    const args = { dom: facts.ref, flags: 0 };
    const { xml } = await client.call(procedures.domainGetXmlDesc, args, bounded(ctx, readTimeoutMs));
    const { disks, guestAgent } = parseDomain(xml);
    return { ...facts, name: nameFor(ctx), disks, agentConnected: guestAgent.connected };
  },

  decide(facts, params): Decision {
    const { vm, name, snapshots, disks } = facts;
    if (snapshots.includes(name)) return refuse(`${vm.name} has a snapshot ${quoted(name)} already`);
    const paused = facts.state === 'paused' && !inPassing(facts);
    if (facts.active && !turns(facts) && !paused) return refuse(`${vm.name} is ${stateText(facts)}`);
    if (facts.managedSave) return refuse(`${vm.name} has a saved state: start it first`);
    if (!disks.some(kept)) return refuse(`${vm.name} has no disk that could be kept`);
    if (params.quiesce && !turns(facts))
      return refuse(`${vm.name} is ${stateText(facts)}: nothing to quiesce`);
    if (params.quiesce && !facts.agentConnected)
      return refuse(`${vm.name} has no guest agent that could quiesce it`);
    if (params.memory && !facts.active)
      return refuse(`${vm.name} is ${stateText(facts)}: it has no memory to keep`);
    const { kind, memory } = kindFor(facts, params);
    const other = disks.find((disk) => kept(disk) && disk.format !== 'qcow2');
    if (params.memory && other) {
      return refuse(
        `disk ${other.target} is ${other.format ?? 'of an unknown format'}: memory is only kept with qcow2 disks`,
      );
    }
    return {
      kind: 'act',
      plan: [`snapshot ${kind}${memory ? ' with memory' : ''}${params.quiesce ? ' quiesced' : ''}`],
    };
  },

  async act(ctx, facts) {
    const { kind, memory } = kindFor(facts, ctx.params);
    const client = await ctx.libvirt();
    const { description } = ctx.params;
    const disks = facts.disks.map((disk) => ({ target: disk.target, included: kept(disk) }));
    const xmlDesc = snapshotXml({ name: facts.name, description, kind, memory, disks });
    const external = snapshotCreateFlag.diskOnly | snapshotCreateFlag.atomic;
    const flags =
      (kind === 'external' ? external : 0) | (ctx.params.quiesce ? snapshotCreateFlag.quiesce : 0);
    await ctx.beforeAct('snapshot create', { vm: facts.vm, before: { ...facts.summary, name: facts.name } });
    ctx.step(`snapshot requested: ${kind}${memory ? ', with memory' : ''}`);
    await client.call(
      procedures.domainSnapshotCreateXml,
      { dom: facts.ref, xmlDesc, flags },
      bounded(ctx, longActTimeoutMs),
    );
    ctx.step('snapshot made');
  },

  async verify(ctx) {
    const client = await ctx.libvirt();
    const now = await readSnapshotFacts(ctx);
    const name = nameFor(ctx);
    const info = await readSnapshot(client, ctx, { name, dom: now.ref });
    if (!info)
      throw new JobError('LIBVIRT_ERROR', `libvirt accepted the snapshot, but there is no ${quoted(name)}`);
    return { after: now.summary, data: { ...info, current: now.current === name } };
  },

  settle(now) {
    if (now === 'missing') return 'unknown';
    return now.snapshots.includes(now.name) ? 'done' : 'not-done';
  },
};

function nameFor({ params, requestId }: JobContext<Params>): string {
  return params.name ?? `outrigger-${createHash('sha256').update(requestId).digest('hex').slice(0, 16)}`;
}

/** Media and what cannot be written to stay out. */
function kept({ device, readOnly, path, type }: DomainDisk): boolean {
  return device === 'disk' && !readOnly && (path !== undefined || type !== 'file');
}

function kindFor(facts: Facts, params: Params): { kind: SnapshotKind; memory: boolean } {
  const external = { kind: 'external', memory: false } as const;
  const internal = { kind: 'internal', memory: facts.active } as const;
  if (params.diskOnly || params.quiesce) return external;
  if (facts.active && params.memory === false) return external;
  return facts.disks.every((disk) => !kept(disk) || disk.format === 'qcow2') ? internal : external;
}

function refuse(message: string): Decision {
  return { kind: 'refuse', code: 'INVALID_STATE', message };
}
