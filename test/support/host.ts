// A host of the inventory, for tests that need one and do not care which.
import type { Host } from '../../src/inventory/host.js';

export function aHost(change: Partial<Host> = {}): Host {
  return {
    name: 'kvm-01',
    connection: 'ssh',
    address: '192.0.2.11',
    groups: [],
    labels: {},
    ssh: { user: 'outrigger', port: 22, keyFile: '/k', agent: false, jump: [] },
    libvirt: { uri: 'qemu:///system', socket: 'auto', transport: 'auto' },
    poll: { intervalMs: 15_000, detailsMs: 300_000 },
    ops: true,
    maintenance: false,
    ...change,
  };
}
