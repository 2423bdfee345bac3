// delete: the VM's definition goes, with its saved state, snapshots, checkpoints, NVRAM and TPM. With `removeStorage` also the
// volumes that it alone uses, each listed in the result with what became of it. The UUID must be given: a name is not enough.
//
//   state                                   delete              delete force
//   shut off, saved, crashed                undefine            undefine
//   any other                               refused             destroy, undefine (not persistent: destroy alone ends it)
//   then, with removeStorage                volDelete of each volume that is still this VM's alone
//
// The volumes are written down before the first act and judged again, over pools looked into anew, when the VM is gone. After a
// crash it goes on: a VM that is off is undefined, volumes that were written down are judged again and deleted; a VM that
// runs again is left alone.
import { z } from 'zod';
import { LibvirtError } from '../../libvirt/errors.js';
import { procedures, undefineFlag } from '../../libvirt/procedures.js';
import { actTimeoutMs, bounded, longActTimeoutMs, readTimeoutMs } from '../bounds.js';
import { isLibvirtError } from '../failure.js';
import { cutPower } from '../guest-power.js';
import { JobError } from '../job.js';
import type { BegunAct, Decision, JobContext, Operation } from '../operation.js';
import { judgeVolumes, stillAlone, type VolumeVerdict } from '../storage.js';
import { readUsages, readVolumes, refreshPools } from '../storage-read.js';
import { gone, type Recorded, readVm, readVmIfThere, stateText, type VmFacts } from '../vm.js';

const Params = z.strictObject({
  force: z.boolean().default(false),
  removeStorage: z.boolean().default(false),
});
type Params = z.infer<typeof Params>;

type DeleteFacts = VmFacts & { volumes: readonly VolumeVerdict[] };

/** What became of each volume. */
type VolumeEnd = { target: string; path: string; result: 'deleted' | 'kept' | 'failed'; why?: string };

/** In the record of the first act. */
const Written = z.object({
  volumes: z.array(
    z.object({
      target: z.string(),
      path: z.string(),
      volume: z.object({ pool: z.string(), name: z.string(), key: z.string() }).optional(),
      verdict: z.enum(['delete', 'keep']),
      why: z.string().optional(),
    }),
  ),
});

export const operation: Operation<Params, DeleteFacts, VolumeEnd[]> = {
  name: 'delete',
  needsVm: true,
  needsUuid: true,
  acts: true,
  params: Params,

  async read(ctx) {
    const facts = await readVm(ctx);
    return { ...facts, volumes: ctx.params.removeStorage ? await judged(ctx, facts) : [] };
  },

  decide(facts, { force }): Decision {
    if (facts.active && !force) {
      const message = `${facts.vm.name} is ${stateText(facts)}: stop it first, or use force`;
      return { kind: 'refuse', code: 'INVALID_STATE', message };
    }
    const volumes = facts.volumes.map(
      ({ verdict, path, why }) => `${verdict} ${path}${why ? `: ${why}` : ''}`,
    );
    const undefine = facts.persistent ? ['undefine'] : [];
    return { kind: 'act', plan: [...(facts.active ? ['destroy'] : []), ...undefine, ...volumes] };
  },

  async act(ctx, facts) {
    const volumes = ctx.params.removeStorage ? await judgedAnew(ctx, facts) : [];
    const recorded = { ...facts, summary: { ...facts.summary, volumes } };
    if (facts.active) await cutPower(ctx, recorded);
    if (facts.persistent) await undefine(ctx, recorded);
    return removeVolumes(ctx, recorded.vm, volumes);
  },

  async resume(ctx, now) {
    const volumes = recordedVolumes(ctx.begun);
    if (now !== 'missing') await undefine(ctx, { ...now, summary: { ...now.summary, volumes } });
    const vm = now === 'missing' ? ctx.begun.find((act) => act.vm)?.vm : now.vm;
    if (!vm)
      throw new JobError('OUTCOME_UNKNOWN', 'interrupted, and the record does not say which VM it was');
    return removeVolumes(ctx, vm, volumes);
  },

  async verify(ctx, _facts, done) {
    const now = await readVmIfThere(ctx);
    if (now)
      throw new JobError(
        'LIBVIRT_ERROR',
        `libvirt accepted to delete the VM, but it is there, ${stateText(now)}`,
      );
    return { after: gone, data: { volumes: done ?? [] } };
  },

  settle(now, begun) {
    if (now === 'missing') return recordedVolumes(begun).length > 0 ? 'resume' : 'done';
    return now.active ? 'not-done' : 'resume';
  },
};

async function judged(ctx: JobContext, { vm }: Pick<VmFacts, 'vm'>): Promise<VolumeVerdict[]> {
  const client = await ctx.libvirt();
  const [usages, volumes] = [await readUsages(client, ctx), await readVolumes(client, ctx)];
  const own = usages.find(({ uuid }) => uuid === vm.uuid);
  if (!own) return [];
  const others = usages.filter(({ uuid }) => uuid !== vm.uuid);
  return judgeVolumes(own, others, volumes);
}

async function judgedAnew(ctx: JobContext, facts: DeleteFacts): Promise<VolumeVerdict[]> {
  const stale = await refreshPools(await ctx.libvirt(), ctx);
  const volumes = await judged(ctx, facts);
  const [pool] = stale;
  if (pool === undefined) return volumes;
  return volumes.map(({ volume, ...verdict }) =>
    verdict.verdict === 'delete'
      ? { ...verdict, verdict: 'keep', why: notLookedInto(pool) }
      : { ...verdict, ...(volume && { volume }) },
  );
}

function notLookedInto(pool: string): string {
  return `libvirt could not look into the pool ${pool} again`;
}

async function undefine(ctx: JobContext, { vm, ref, summary }: Recorded<VmFacts>): Promise<void> {
  const client = await ctx.libvirt();
  const { libVer } = await client.call(
    procedures.connectGetLibVersion,
    undefined,
    bounded(ctx, readTimeoutMs),
  );
  await ctx.beforeAct('undefine', { vm, before: summary });
  try {
    const args = { dom: ref, flags: undefineFlags(libVer) };
    await client.call(procedures.domainUndefineFlags, args, bounded(ctx, actTimeoutMs));
  } catch (error) {
    if (!isLibvirtError(error, 'noDomain')) throw error;
  }
  ctx.step('definition removed');
}

/** A libvirt refuses flags that it does not know. */
export function undefineFlags(libVersion: number): number {
  const always = undefineFlag.managedSave | undefineFlag.snapshotsMetadata | undefineFlag.nvram;
  const checkpoints = libVersion >= 5_006_000 ? undefineFlag.checkpointsMetadata : 0;
  return always | checkpoints | (libVersion >= 8_009_000 ? undefineFlag.tpm : 0);
}

async function removeVolumes(
  ctx: JobContext,
  vm: VmFacts['vm'],
  recorded: readonly VolumeVerdict[],
): Promise<VolumeEnd[]> {
  const ends: VolumeEnd[] = [];
  const some = recorded.some(({ verdict }) => verdict === 'delete');
  const [stale] = some ? await refreshPools(await ctx.libvirt(), ctx) : [];
  for (const verdict of recorded) {
    const { target, path } = verdict;
    const end =
      verdict.verdict === 'keep'
        ? { result: 'kept' as const }
        : await removeVolume(ctx, vm, verdict, recorded, stale);
    const why = 'why' in end ? end.why : verdict.why;
    ends.push({ target, path, ...end, ...(why && { why }) });
    ctx.step(`volume ${path}: ${end.result}${why ? `, ${why}` : ''}`);
  }
  return ends;
}

async function removeVolume(
  ctx: JobContext,
  vm: VmFacts['vm'],
  { path, volume }: VolumeVerdict,
  recorded: readonly VolumeVerdict[],
  stale: string | undefined,
): Promise<Pick<VolumeEnd, 'result'> & { why?: string }> {
  const client = await ctx.libvirt();
  const begun = ctx.begun.some(({ act }) => act === `volDelete ${path}`);
  const volumes = await readVolumes(client, ctx);
  const there = volumes.find((found) => found.path === path && found.key === volume?.key);
  if (!volume || !there) {
    return begun ? { result: 'deleted' } : { result: 'kept', why: 'no active storage pool has it' };
  }
  if (stale !== undefined) return { result: 'kept', why: notLookedInto(stale) };
  const why = stillAlone(path, await readUsages(client, ctx), volumes);
  if (why) return { result: 'kept', why };
  await ctx.beforeAct(`volDelete ${path}`, { vm, before: { state: gone.state, volumes: recorded } });
  try {
    const vol = { pool: there.pool, name: there.name, key: there.key };
    await client.call(procedures.storageVolDelete, { vol, flags: 0 }, bounded(ctx, longActTimeoutMs));
    return { result: 'deleted' };
  } catch (error) {
    if (isLibvirtError(error, 'noStorageVol')) return { result: 'deleted' };
    if (error instanceof LibvirtError) return { result: 'failed', why: error.message };
    throw error;
  }
}

function recordedVolumes(begun: readonly BegunAct[]): VolumeVerdict[] {
  for (const { before } of begun) {
    const recorded = Written.safeParse(before);
    if (!recorded.success) continue;
    return recorded.data.volumes.map(({ volume, why, ...verdict }) => ({
      ...verdict,
      ...(volume && { volume }),
      ...(why !== undefined && { why }),
    }));
  }
  return [];
}
