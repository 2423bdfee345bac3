// restart: the guest starts anew. `reboot` keeps the VM's process, `cold` ends it and makes a new one, which takes up changes
// of the VM's definition. The guest is asked as by stop and has `timeoutSeconds`; then GUEST_TIMEOUT, or with `force` the hard way.
//
//   state                                   reboot           reboot force              cold         cold force
//   running                                 ask              ask, then reset           ask, create  ask, then power off; create
//   paused, suspended by its guest,
//   crashed with its process kept           refused          refused                   refused      power off, create
//   shutting down                           refused          refused                   ask, create  ask, then power off; create
//   shut off, saved, crashed                refused: use start
//
// A guest that ends when it is asked to reboot is started.
import { z } from 'zod';
import { procedures } from '../../libvirt/procedures.js';
import { actTimeoutMs, bounded, longActTimeoutMs } from '../bounds.js';
import { askGuest, cutPower, seconds } from '../guest-power.js';
import { JobError } from '../job.js';
import type { BegunAct, Decision, JobContext, Operation } from '../operation.js';
import { PowerParams } from '../power-params.js';
import { expectState, readVm, stateText, turns, type VmFacts } from '../vm.js';

const Params = z.strictObject({ ...PowerParams, mode: z.enum(['reboot', 'cold']).default('reboot') });
type Params = z.infer<typeof Params>;

type RestartFacts = VmFacts & { summary: VmFacts['summary'] & { id?: number } };

export const operation: Operation<Params, RestartFacts> = {
  name: 'restart',
  needsVm: true,
  acts: true,
  params: Params,

  async read(ctx) {
    const facts = await readVm(ctx);
    return { ...facts, summary: { ...facts.summary, ...(facts.active && { id: facts.ref.id }) } };
  },

  decide(facts, { mode, force, timeoutSeconds }): Decision {
    const { name } = facts.vm;
    if (!facts.active) return refuse(`${name} is ${stateText(facts)}: use start`);
    if (!facts.persistent && mode === 'cold')
      return refuse(`${name} is not persistent: it would be gone after its end`);
    if (timeoutSeconds === 0 && !force) {
      return { kind: 'refuse', code: 'BAD_REQUEST', message: 'params.timeoutSeconds: 0 needs force' };
    }
    const ask = timeoutSeconds > 0;
    if (mode === 'reboot') {
      if (!turns(facts))
        return refuse(`${name} is ${stateText(facts)}: only mode cold with force restarts it`);
      return { kind: 'act', plan: [...(ask ? ['reboot'] : []), ...(force ? ['reset'] : [])] };
    }
    if (turns(facts) || facts.state === 'shutdown') {
      return { kind: 'act', plan: [...(ask ? ['shutdown'] : []), ...(force ? ['destroy'] : []), 'create'] };
    }
    if (force) return { kind: 'act', plan: ['destroy', 'create'] };
    return refuse(`${name} is ${stateText(facts)} and cannot answer: resume it first, or use force`);
  },

  async act(ctx, facts, plan) {
    const timeoutMs = ctx.params.timeoutSeconds * 1000;
    if (plan.includes('reboot')) {
      const ended = await askGuest(ctx, facts, 'reboot', timeoutMs);
      if (ended === 'rebooted') return ctx.step('the guest reboots');
      if (ended === 'ended') {
        ctx.step('the guest ended in place of a reboot');
        return create(ctx, facts);
      }
    }
    if (plan.includes('shutdown') && (await askGuest(ctx, facts, 'shutdown', timeoutMs)) === 'ended') {
      return create(ctx, facts);
    }
    if (plan.includes('reset')) return reset(ctx, facts);
    if (!plan.includes('destroy')) {
      throw new JobError(
        'GUEST_TIMEOUT',
        `${facts.vm.name} did not restart within ${seconds(timeoutMs)} and still runs`,
      );
    }
    await cutPower(ctx, facts);
    await create(ctx, facts);
  },

  guestWaitMs: ({ timeoutSeconds }) => timeoutSeconds * 1000,

  async verify(ctx) {
    const now = expectState(await readVm(ctx), turns, 'restart');
    return { after: { ...now.summary, id: now.ref.id } };
  },

  settle(now, begun) {
    if (now === 'missing') return 'unknown';
    const began = (act: string) => begun.some((past) => past.act === act);
    if (!now.active) return began('create') ? 'not-done' : 'unknown';
    const before = idBefore(begun);
    return turns(now) && before !== undefined && now.ref.id !== before ? 'done' : 'unknown';
  },
};

async function create(ctx: JobContext, facts: VmFacts): Promise<void> {
  const client = await ctx.libvirt();
  await ctx.beforeAct('create', { vm: facts.vm, before: facts.summary });
  await client.call(
    procedures.domainCreateWithFlags,
    { dom: facts.ref, flags: 0 },
    bounded(ctx, longActTimeoutMs),
  );
  ctx.step('started');
}

async function reset(ctx: JobContext, facts: VmFacts): Promise<void> {
  const client = await ctx.libvirt();
  await ctx.beforeAct('reset', { vm: facts.vm, before: facts.summary });
  await client.call(procedures.domainReset, { dom: facts.ref, flags: 0 }, bounded(ctx, actTimeoutMs));
  ctx.step('reset');
}

const Before = z.object({ id: z.number() });

function idBefore(begun: readonly BegunAct[]): number | undefined {
  return Before.safeParse(begun[0]?.before).data?.id;
}

function refuse(message: string): Decision {
  return { kind: 'refuse', code: 'INVALID_STATE', message };
}
