// snapshot_revert: the VM becomes what it was. What it is now is lost, so a VM that runs needs `force`.
//
//   state                                   revert                 revert force
//   shut off, crashed                       revert                 revert
//   running, paused                         refused                revert
//   saved                                   refused: its memory would not fit its disks
//   shutting down, suspended by its guest, crashed with its process kept, paused by libvirt   refused
//   any, no such snapshot                   refused
//   any, external snapshot, libvirt < 9.9   refused: that libvirt cannot
//
// Afterwards it runs if it ran when the snapshot was taken with its memory, else it is off; `start: running | paused` chooses.
import { z } from 'zod';
import { procedures, snapshotRevertFlag } from '../../libvirt/procedures.js';
import { bounded, longActTimeoutMs, readTimeoutMs } from '../bounds.js';
import { JobError, quoted } from '../job.js';
import type { BegunAct, Decision, Operation } from '../operation.js';
import {
  readSnapshot,
  readSnapshotFacts,
  type SnapshotFacts,
  type SnapshotInfo,
  SnapshotName,
} from '../snapshots.js';
import { inPassing, stateText, turns } from '../vm.js';

const Params = z.strictObject({
  name: SnapshotName,
  force: z.boolean().default(false),
  start: z.enum(['running', 'paused']).optional(),
});
type Params = z.infer<typeof Params>;

type Facts = SnapshotFacts & { snapshot: Omit<SnapshotInfo, 'current'> | undefined; libvirtVersion: number };

/** From here on libvirt reverts to external snapshots. */
const revertsExternalFrom = 9_009_000;

export const operation: Operation<Params, Facts> = {
  name: 'snapshot_revert',
  needsVm: true,
  acts: true,
  params: Params,

  async read(ctx) {
    const facts = await readSnapshotFacts(ctx);
    const client = await ctx.libvirt();
    const { libVer } = await client.call(
      procedures.connectGetLibVersion,
      undefined,
      bounded(ctx, readTimeoutMs),
    );
    const there = facts.snapshots.includes(ctx.params.name);
    const snapshot = there
      ? await readSnapshot(client, ctx, { name: ctx.params.name, dom: facts.ref })
      : undefined;
    return { ...facts, snapshot, libvirtVersion: libVer };
  },

  decide(facts, { name, force }): Decision {
    const { vm, snapshot } = facts;
    if (!snapshot) return refuse(`${vm.name} has no snapshot ${quoted(name)}`);
    if (facts.managedSave) return refuse(`${vm.name} has a saved state: start it first`);
    if (snapshot.kind === 'external' && facts.libvirtVersion < revertsExternalFrom) {
      return refuse(`${quoted(name)} is an external snapshot, to which this libvirt cannot revert (9.9 can)`);
    }
    if (facts.active) {
      if (!turns(facts) && (facts.state !== 'paused' || inPassing(facts)))
        return refuse(`${vm.name} is ${stateText(facts)}`);
      if (!force) return refuse(`${vm.name} is ${stateText(facts)}: what it is now would be lost; use force`);
    }
    return { kind: 'act', plan: [`revert to ${quoted(name)}`] };
  },

  async act(ctx, facts) {
    const client = await ctx.libvirt();
    const { name, force, start } = ctx.params;
    const flags = (start ? snapshotRevertFlag[start] : 0) | (force ? snapshotRevertFlag.force : 0);
    await ctx.beforeAct('snapshot revert', { vm: facts.vm, before: facts.summary });
    const args = { snap: { name, dom: facts.ref }, flags };
    await client.call(procedures.domainRevertToSnapshot, args, bounded(ctx, longActTimeoutMs));
    ctx.step('reverted');
  },

  async verify(ctx) {
    const now = await readSnapshotFacts(ctx);
    if (now.current === ctx.params.name) return { after: now.summary };
    throw new JobError(
      'LIBVIRT_ERROR',
      'libvirt accepted to revert, but another snapshot is the current one',
    );
  },

  settle(now, begun, { name }) {
    if (now === 'missing' || now.current !== name) return 'unknown';
    return currentBefore(begun) === name ? 'unknown' : 'done';
  },
};

const Before = z.object({ currentSnapshot: z.string().optional() });

function currentBefore(begun: readonly BegunAct[]): string | undefined {
  return Before.safeParse(begun[0]?.before).data?.currentSnapshot;
}

function refuse(message: string): Decision {
  return { kind: 'refuse', code: 'INVALID_STATE', message };
}
