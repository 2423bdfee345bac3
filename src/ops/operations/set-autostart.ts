// set_autostart: whether the VM starts with its host.
//
//   VM                        as asked already      otherwise
//   persistent, any state     unchanged             set
//   not persistent            refused: it has no definition that could be kept
import { z } from 'zod';
import { procedures } from '../../libvirt/procedures.js';
import { actTimeoutMs, bounded, readTimeoutMs } from '../bounds.js';
import { JobError } from '../job.js';
import type { JobContext, Operation } from '../operation.js';
import { readVm, type VmFacts } from '../vm.js';

const Params = z.strictObject({ enabled: z.boolean() });
type Params = z.infer<typeof Params>;

type AutostartFacts = VmFacts & { autostart: boolean; summary: VmFacts['summary'] & { autostart: boolean } };

export const operation: Operation<Params, AutostartFacts> = {
  name: 'set_autostart',
  needsVm: true,
  acts: true,
  params: Params,
  read: readAutostart,

  decide({ vm, persistent, autostart }, { enabled }) {
    if (!persistent) {
      return { kind: 'refuse', code: 'INVALID_STATE', message: `${vm.name} is not persistent` };
    }
    if (autostart === enabled) return { kind: 'unchanged' };
    return { kind: 'act', plan: [enabled ? 'autostart on' : 'autostart off'] };
  },

  async act(ctx, facts, [plan = 'autostart']) {
    const client = await ctx.libvirt();
    const args = { dom: facts.ref, autostart: ctx.params.enabled ? 1 : 0 };
    await ctx.beforeAct(plan, { vm: facts.vm, before: facts.summary });
    await client.call(procedures.domainSetAutostart, args, bounded(ctx, actTimeoutMs));
    ctx.step(plan);
  },

  async verify(ctx) {
    const { autostart, summary } = await readAutostart(ctx);
    if (autostart === ctx.params.enabled) return { after: summary };
    throw new JobError('LIBVIRT_ERROR', 'libvirt accepted it, but autostart is as before');
  },

  settle(now, _begun, { enabled }) {
    if (now === 'missing') return 'unknown';
    return now.autostart === enabled ? 'done' : 'not-done';
  },
};

async function readAutostart(ctx: JobContext): Promise<AutostartFacts> {
  const facts = await readVm(ctx);
  const client = await ctx.libvirt();
  const asked = { dom: facts.ref };
  const autostart = facts.persistent
    ? (await client.call(procedures.domainGetAutostart, asked, bounded(ctx, readTimeoutMs))).autostart === 1
    : false;
  return { ...facts, autostart, summary: { ...facts.summary, autostart } };
}
