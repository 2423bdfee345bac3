// reset: the reset button. The guest is not asked, its memory is lost, its process stays. It leaves no trace that can be
// read afterwards: when the reply is lost, so is the answer.
//
//   state                                             reset
//   running, paused                                   reset; a paused one stays paused
//   shutting down, suspended by its guest, crashed, paused by libvirt   refused
//   shut off, saved                                   refused: use start
import { z } from 'zod';
import { procedures } from '../../libvirt/procedures.js';
import { actTimeoutMs, bounded } from '../bounds.js';
import type { Decision, Operation } from '../operation.js';
import { expectState, inPassing, readVm, stateText, turns, type VmFacts } from '../vm.js';

const Params = z.strictObject({});
type Params = z.infer<typeof Params>;

export const operation: Operation<Params, VmFacts> = {
  name: 'reset',
  needsVm: true,
  acts: true,
  params: Params,
  read: readVm,

  decide(facts): Decision {
    if (turns(facts) || (facts.state === 'paused' && !inPassing(facts)))
      return { kind: 'act', plan: ['reset'] };
    const use = facts.active ? '' : ': use start';
    return {
      kind: 'refuse',
      code: 'INVALID_STATE',
      message: `${facts.vm.name} is ${stateText(facts)}${use}`,
    };
  },

  async act(ctx, facts) {
    const client = await ctx.libvirt();
    await ctx.beforeAct('reset', { vm: facts.vm, before: facts.summary });
    await client.call(procedures.domainReset, { dom: facts.ref, flags: 0 }, bounded(ctx, actTimeoutMs));
    ctx.step('reset');
  },

  async verify(ctx) {
    const now = expectState(await readVm(ctx), ({ active }) => active, 'reset');
    return { after: now.summary };
  },

  settle: () => 'unknown',
};
