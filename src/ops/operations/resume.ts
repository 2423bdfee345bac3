// resume: a guest that stands still goes on.
//
//   state                                             resume
//   running                                           unchanged
//   paused                                            resume
//   suspended by its guest                            wake
//   shut off, saved, crashed                          refused: use start
//   paused by libvirt (save, migration, …), shutting down, crashed with its process kept   refused
import { z } from 'zod';
import { procedures } from '../../libvirt/procedures.js';
import { actTimeoutMs, bounded } from '../bounds.js';
import type { Decision, Operation } from '../operation.js';
import { expectState, inPassing, readVm, stateText, turns, type VmFacts } from '../vm.js';

const Params = z.strictObject({});
type Params = z.infer<typeof Params>;

export const operation: Operation<Params, VmFacts> = {
  name: 'resume',
  needsVm: true,
  acts: true,
  params: Params,
  read: readVm,

  decide(facts): Decision {
    if (turns(facts)) return { kind: 'unchanged' };
    if (facts.state === 'paused' && !inPassing(facts)) return { kind: 'act', plan: ['resume'] };
    if (facts.state === 'pmsuspended') return { kind: 'act', plan: ['wake'] };
    const use = facts.active ? '' : ': use start';
    return {
      kind: 'refuse',
      code: 'INVALID_STATE',
      message: `${facts.vm.name} is ${stateText(facts)}${use}`,
    };
  },

  async act(ctx, facts, [plan = 'resume']) {
    const client = await ctx.libvirt();
    const options = bounded(ctx, actTimeoutMs);
    await ctx.beforeAct(plan, { vm: facts.vm, before: facts.summary });
    if (plan === 'wake') await client.call(procedures.domainPmWakeup, { dom: facts.ref, flags: 0 }, options);
    else await client.call(procedures.domainResume, { dom: facts.ref }, options);
    ctx.step('resumed');
  },

  async verify(ctx) {
    const now = expectState(await readVm(ctx), turns, 'resume');
    return { after: now.summary };
  },

  settle(now) {
    if (now === 'missing') return 'unknown';
    if (turns(now)) return 'done';
    return now.state === 'paused' ? 'not-done' : 'unknown';
  },
};
