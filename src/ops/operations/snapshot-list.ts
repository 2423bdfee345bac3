// snapshot_list: the snapshots of a VM, in any state of it; at most `snapshotsShownMax` are described, all are counted.
import { z } from 'zod';
import { onlyReads } from '../only-reads.js';
import type { Operation } from '../operation.js';
import { listSnapshots, readSnapshots, type SnapshotInfo } from '../snapshots.js';
import { readVmWith, type VmFacts } from '../vm.js';

const Params = z.strictObject({});
type Params = z.infer<typeof Params>;

type ListFacts = VmFacts & { snapshots: SnapshotInfo[]; count: number };

export const operation: Operation<Params, ListFacts> = {
  name: 'snapshot_list',
  needsVm: true,
  params: Params,

  async read(ctx) {
    const client = ctx.readers.libvirt();
    const facts = await readVmWith(client, ctx);
    const count = (await listSnapshots(client, ctx, facts)).length;
    return { ...facts, snapshots: await readSnapshots(client, ctx, facts), count };
  },

  decide: ({ snapshots, count }) => ({ kind: 'unchanged', data: { count, snapshots } }),
  ...onlyReads,
};
