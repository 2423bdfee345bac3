// snapshot_delete: one snapshot goes, or with `children` also those that came after it; the VM stays as it is.
//
//   state                     the snapshot is there         it is not there
//   any                       delete                        unchanged
//   paused by libvirt, shutting down   refused              unchanged
import { z } from 'zod';
import { procedures, snapshotDeleteFlag } from '../../libvirt/procedures.js';
import { bounded, longActTimeoutMs } from '../bounds.js';
import { JobError, quoted } from '../job.js';
import type { Decision, Operation } from '../operation.js';
import { readSnapshotFacts, type SnapshotFacts, SnapshotName } from '../snapshots.js';
import { inPassing, stateText } from '../vm.js';

const Params = z.strictObject({ name: SnapshotName, children: z.boolean().default(false) });
type Params = z.infer<typeof Params>;

export const operation: Operation<Params, SnapshotFacts> = {
  name: 'snapshot_delete',
  needsVm: true,
  acts: true,
  params: Params,
  read: readSnapshotFacts,

  decide(facts, { name, children }): Decision {
    if (!facts.snapshots.includes(name)) return { kind: 'unchanged', data: { deleted: [] } };
    if (inPassing(facts)) {
      return { kind: 'refuse', code: 'INVALID_STATE', message: `${facts.vm.name} is ${stateText(facts)}` };
    }
    return { kind: 'act', plan: [`delete snapshot ${quoted(name)}${children ? ' and those after it' : ''}`] };
  },

  async act(ctx, facts) {
    const client = await ctx.libvirt();
    const { name, children } = ctx.params;
    await ctx.beforeAct('snapshot delete', {
      vm: facts.vm,
      before: { ...facts.summary, snapshots: facts.snapshots },
    });
    const args = { snap: { name, dom: facts.ref }, flags: children ? snapshotDeleteFlag.children : 0 };
    await client.call(procedures.domainSnapshotDelete, args, bounded(ctx, longActTimeoutMs));
    ctx.step('snapshot deleted');
  },

  async verify(ctx, facts) {
    const now = await readSnapshotFacts(ctx);
    const { name } = ctx.params;
    if (now.snapshots.includes(name)) {
      throw new JobError(
        'LIBVIRT_ERROR',
        `libvirt accepted to delete ${quoted(name)}, but it is still there`,
      );
    }
    const before = Array.isArray(facts.snapshots) ? facts.snapshots : [name];
    const deleted = before.filter((was) => !now.snapshots.includes(was));
    return { after: now.summary, data: { deleted: deleted.length > 0 ? deleted : [name] } };
  },

  settle(now, _begun, { name }) {
    if (now === 'missing') return 'unknown';
    return now.snapshots.includes(name) ? 'not-done' : 'done';
  },
};
