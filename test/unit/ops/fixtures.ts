// VMs in each state, as the operations see them.
import type { VmFacts } from '../../../src/ops/vm.js';

export const uuid = '6e14ee3d-c52b-4b6a-a246-1e2eb2cdd82a';

export function vmFacts(facts: Partial<VmFacts> = {}): VmFacts {
  const { state = 'running', reason = 'unknown', managedSave = false } = facts;
  return {
    vm: { name: 'web-1', uuid },
    ref: { name: 'web-1', uuid, id: 7 },
    state,
    reason,
    active: state !== 'shutoff',
    persistent: true,
    managedSave,
    summary: { state, reason },
    ...facts,
  };
}

export const vms = {
  running: vmFacts(),
  blocked: vmFacts({ state: 'blocked' }),
  paused: vmFacts({ state: 'paused', reason: 'user' }),
  'paused by an I/O error': vmFacts({ state: 'paused', reason: 'ioerror' }),
  'paused by libvirt': vmFacts({ state: 'paused', reason: 'save' }),
  'shutting down': vmFacts({ state: 'shutdown' }),
  'suspended by its guest': vmFacts({ state: 'pmsuspended' }),
  'crashed, kept': vmFacts({ state: 'crashed', active: true }),
  crashed: vmFacts({ state: 'crashed', active: false }),
  'shut off': vmFacts({ state: 'shutoff' }),
  saved: vmFacts({ state: 'shutoff', managedSave: true }),
  'running, not persistent': vmFacts({ persistent: false }),
} as const;
export type VmName = keyof typeof vms;
