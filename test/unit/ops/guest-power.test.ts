// Asking a guest that ends in the very moment, with what libvirt says then. Real guests are asked in test/live/ops.test.ts; none
// of them ends between two calls on demand.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { LibvirtClient } from '../../../src/libvirt/client.js';
import { LibvirtError, libvirtCode } from '../../../src/libvirt/errors.js';
import { type DomainState, domainStates, type procedures } from '../../../src/libvirt/procedures.js';
import { askGuest } from '../../../src/ops/guest-power.js';
import type { JobContext } from '../../../src/ops/operation.js';
import { FakeClock } from '../../support/fake-clock.js';
import { vms } from './fixtures.js';

/** VIR_ERR_INTERNAL_ERROR. */
const internalError = 1;

let clock: FakeClock;
let ticking: NodeJS.Timeout;

beforeEach(() => {
  clock = new FakeClock();
  ticking = setInterval(() => clock.advance(500), 1);
});
afterEach(() => clearInterval(ticking));

/** A VM that is in one of `states` after the other, each time that it is looked at; it refuses to be asked for anything. */
function asked(states: DomainState[], code: number): { ctx: JobContext; acts: string[] } {
  const acts: string[] = [];
  const refusal = new LibvirtError({ code, domain: 10, message: 'no', level: 2 }, 'kvm-1', 'domainShutdown');
  const client = {
    host: 'kvm-1',
    async call({ name }: (typeof procedures)[keyof typeof procedures]) {
      if (name === 'domainLookupByUuid') return { dom: vms.running.ref };
      if (name !== 'domainGetState') throw refusal;
      const state = states.length > 1 ? states.shift() : states[0];
      return { state: domainStates.indexOf(state ?? 'nostate'), reason: 0 };
    },
    async *lifecycleEvents() {},
  } as unknown as LibvirtClient;
  const ctx = {
    clock,
    signal: new AbortController().signal,
    remainingMs: () => 60_000,
    libvirt: async () => client,
    step: () => undefined,
    beforeAct: async (act: string) => void acts.push(act),
  } as unknown as JobContext;
  return { ctx, acts };
}

it.each([
  ['it ends', ['running', 'shutdown', 'shutdown', 'shutoff'], libvirtCode.operationInvalid],
  ['it has ended', ['running', 'shutoff'], libvirtCode.operationInvalid],
  ['its process goes while it is asked', ['running', 'shutdown', 'shutoff'], internalError],
] as const)('a refusal because %s is no failure', async (_what, states, code) => {
  const { ctx, acts } = asked([...states], code);
  await expect(askGuest(ctx, vms.running, 'shutdown', 30_000)).resolves.toBe('ended');
  expect(acts).toEqual(['shutdown agent', 'shutdown acpi']);
});

it('a refusal because somebody paused it is one', async () => {
  const { ctx } = asked(['running', 'paused'], libvirtCode.operationInvalid);
  await expect(askGuest(ctx, vms.running, 'shutdown', 30_000)).rejects.toThrow(LibvirtError);
});
