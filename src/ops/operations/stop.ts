// stop: the VM is off afterwards. The guest is asked (agent, then power button, again every 10 s) and has `timeoutSeconds`;
// then the job fails with GUEST_TIMEOUT and leaves the VM as it is, or with `force` takes its power away.
//
//   state                                   stop          stop force
//   running, shutting down                  ask           ask, then power off (at once with timeoutSeconds 0)
//   paused, suspended by its guest          refused       power off: such a guest cannot answer
//   crashed with its process kept           refused       power off
//   shut off, saved, crashed                unchanged     unchanged
import { z } from 'zod';
import { askGuest, cutPower, seconds } from '../guest-power.js';
import { JobError } from '../job.js';
import type { Decision, Operation } from '../operation.js';
import { PowerParams } from '../power-params.js';
import { expectState, gone, readVm, readVmIfThere, stateText, turns, type VmFacts } from '../vm.js';

const Params = z.strictObject(PowerParams);
type Params = z.infer<typeof Params>;

export const operation: Operation<Params, VmFacts> = {
  name: 'stop',
  needsVm: true,
  acts: true,
  params: Params,
  read: readVm,

  decide(facts, { force, timeoutSeconds }): Decision {
    if (!facts.active) return { kind: 'unchanged' };
    if (turns(facts) || facts.state === 'shutdown') {
      if (timeoutSeconds === 0 && !force) {
        return { kind: 'refuse', code: 'BAD_REQUEST', message: 'params.timeoutSeconds: 0 needs force' };
      }
      const ask = timeoutSeconds > 0 ? ['shutdown'] : [];
      return { kind: 'act', plan: [...ask, ...(force ? ['destroy'] : [])] };
    }
    if (force) return { kind: 'act', plan: ['destroy'] };
    const message = `${facts.vm.name} is ${stateText(facts)} and cannot answer: resume it first, or use force`;
    return { kind: 'refuse', code: 'INVALID_STATE', message };
  },

  async act(ctx, facts, plan) {
    const timeoutMs = ctx.params.timeoutSeconds * 1000;
    if (plan.includes('shutdown')) {
      if ((await askGuest(ctx, facts, 'shutdown', timeoutMs)) === 'ended') return;
      if (!plan.includes('destroy')) {
        throw new JobError(
          'GUEST_TIMEOUT',
          `${facts.vm.name} did not shut down within ${seconds(timeoutMs)} and still runs`,
        );
      }
      ctx.step(`the guest did not shut down within ${seconds(timeoutMs)}`);
    }
    await cutPower(ctx, facts);
  },

  guestWaitMs: ({ timeoutSeconds }) => timeoutSeconds * 1000,

  async verify(ctx) {
    const now = expectState(await readVmIfThere(ctx), (vm) => !vm?.active, 'stop');
    return { after: now?.summary ?? gone };
  },

  settle(now, begun) {
    if (now === 'missing' || !now.active) return 'done';
    return begun.some(({ act }) => act.startsWith('shutdown')) ? 'unknown' : 'not-done';
  },
};
