// start: the VM runs afterwards, or stands still with `paused`.
//
//   state                     start            start paused
//   shut off, crashed         create           create paused
//   shut off, saved           create (goes on where it was saved, also paused)
//   running                   unchanged        refused: use pause
//   paused                    resume           unchanged
//   paused by libvirt (save, migration, …), shutting down, crashed with its process kept, suspended by its guest   refused
import { z } from 'zod';
import { procedures, startFlag } from '../../libvirt/procedures.js';
import { actTimeoutMs, bounded, longActTimeoutMs } from '../bounds.js';
import type { Decision, Operation } from '../operation.js';
import { expectState, inPassing, readVm, stateText, turns, type VmFacts } from '../vm.js';

const Params = z.strictObject({
  /** Leaves the VM paused once it is there. */
  paused: z.boolean().default(false),
});
type Params = z.infer<typeof Params>;

export const operation: Operation<Params, VmFacts> = {
  name: 'start',
  needsVm: true,
  acts: true,
  params: Params,
  read: readVm,

  decide(facts, { paused }): Decision {
    if (!facts.active) return { kind: 'act', plan: [paused ? 'create paused' : 'create'] };
    if (turns(facts))
      return paused ? refuse(`${facts.vm.name} runs already: use pause`) : { kind: 'unchanged' };
    if (facts.state === 'paused' && !inPassing(facts)) {
      return paused ? { kind: 'unchanged' } : { kind: 'act', plan: ['resume'] };
    }
    return refuse(`${facts.vm.name} is ${stateText(facts)}`);
  },

  async act(ctx, facts, [plan]) {
    const client = await ctx.libvirt();
    const about = { vm: facts.vm, before: facts.summary };
    if (plan === 'resume') {
      await ctx.beforeAct('resume', about);
      await client.call(procedures.domainResume, { dom: facts.ref }, bounded(ctx, actTimeoutMs));
      ctx.step('resumed');
      return;
    }
    await ctx.beforeAct('create', about);
    ctx.step(facts.managedSave ? 'start requested, from the saved state' : 'start requested');
    const flags = ctx.params.paused ? startFlag.paused : 0;
    await client.call(
      procedures.domainCreateWithFlags,
      { dom: facts.ref, flags },
      bounded(ctx, longActTimeoutMs),
    );
    ctx.step('started');
  },

  async verify(ctx) {
    const { paused } = ctx.params;
    const now = expectState(await readVm(ctx), (vm) => (paused ? vm.active : turns(vm)), 'start');
    return { after: now.summary };
  },

  settle(now, _begun, { paused }) {
    if (now === 'missing') return 'unknown';
    if (turns(now) || (paused && now.state === 'paused' && now.active)) return 'done';
    return now.active ? 'unknown' : 'not-done';
  },
};

function refuse(message: string): Decision {
  return { kind: 'refuse', code: 'INVALID_STATE', message };
}
