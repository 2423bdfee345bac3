// pause: the guest's processors stand still, its memory stays.
//
//   state                                             pause
//   running                                           suspend
//   paused                                            unchanged
//   paused by libvirt (save, migration, …), shutting down, suspended by its guest, crashed, shut off, saved   refused
import { z } from 'zod';
import { procedures } from '../../libvirt/procedures.js';
import { actTimeoutMs, bounded } from '../bounds.js';
import type { Operation } from '../operation.js';
import { expectState, inPassing, readVm, stateText, turns, type VmFacts } from '../vm.js';

const Params = z.strictObject({});
type Params = z.infer<typeof Params>;

export const operation: Operation<Params, VmFacts> = {
  name: 'pause',
  needsVm: true,
  acts: true,
  params: Params,
  read: readVm,

  decide(facts) {
    if (turns(facts)) return { kind: 'act', plan: ['suspend'] };
    if (facts.state === 'paused' && !inPassing(facts)) return { kind: 'unchanged' };
    return { kind: 'refuse', code: 'INVALID_STATE', message: `${facts.vm.name} is ${stateText(facts)}` };
  },

  async act(ctx, facts) {
    const client = await ctx.libvirt();
    await ctx.beforeAct('suspend', { vm: facts.vm, before: facts.summary });
    await client.call(procedures.domainSuspend, { dom: facts.ref }, bounded(ctx, actTimeoutMs));
    ctx.step('paused');
  },

  async verify(ctx) {
    const now = expectState(await readVm(ctx), ({ state }) => state === 'paused', 'pause');
    return { after: now.summary };
  },

  settle(now) {
    if (now === 'missing') return 'unknown';
    if (now.state === 'paused') return 'done';
    return turns(now) ? 'not-done' : 'unknown';
  },
};
