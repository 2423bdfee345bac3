// A host with 50 VMs and everything on: 2 disks, 2 interfaces and 4 virtual CPUs each. Values move from host to host, so
// that compression has its work.
import { renderHostState } from '../../src/metrics/host-state.js';
import type { FleetPart } from '../../src/metrics/page.js';
import { renderSystem } from '../../src/metrics/render-system.js';
import { renderVms } from '../../src/metrics/render-vms.js';
import type { VmSample } from '../../src/pollers/vms.js';
import { running, systemSample } from '../unit/metrics/fixtures.js';

const vms = Array.from({ length: 50 }, (_, n) => vm(n));
const system = largeSystem();

export function hostParts(instance: string): FleetPart[] {
  return [
    {
      kind: 'state',
      write: (lines) =>
        renderHostState(lines, instance, {
          up: true,
          libvirtUp: true,
          state: 'up',
          states: ['connecting', 'up', 'degraded', 'down'],
          maintenance: false,
          lastSuccessMs: 1_795_222_000_123,
          samples: ['vms', 'system', 'details', 'guest'].map((poller) => ({
            poller,
            ageMs: 1500,
            problems: 0,
          })),
          info: { rack: 'r1', dc: 'ams1' },
        }),
    },
    { kind: 'vms', write: (lines) => renderVms(lines, instance, { takenAtMs: 0, vms }) },
    { kind: 'system', write: (lines) => renderSystem(lines, instance, system) },
  ];
}

function vm(n: number): VmSample {
  const name = `instance-${String(n).padStart(8, '0')}`;
  const one = running(name);
  const [block, net, vcpu] = [one.blocks[0], one.nets[0], one.vcpus[0]];
  return {
    ...one,
    blocks: ['vda', 'vdb'].map((target, disk) => ({
      ...block,
      name: target,
      path: `/var/lib/libvirt/images/${name}-${disk}.qcow2`,
      'rd.bytes': 4096 * (n + 1) * 7919,
      'rd.times': 1_500_123_457 * (n + disk),
    })),
    nets: [0, 1].map((nic) => ({ ...net, name: `vnet${2 * n + nic}`, 'rx.bytes': 1_000_003 * (n + nic) })),
    vcpus: [0, 1, 2, 3].map((cpu) => ({ ...vcpu, time: 6_000_000_007 * (n + cpu) })),
  };
}

function largeSystem() {
  const sample = systemSample();
  const cpu = sample.stat?.cpus[0];
  if (!sample.stat || !cpu) throw new Error('the fixture has no CPU');
  const many = <T extends { device: string }>(things: readonly T[] | undefined, names: string[]): T[] =>
    names.flatMap((device) => (things ?? []).map((thing) => ({ ...thing, device })));
  return {
    ...sample,
    stat: {
      ...sample.stat,
      cpus: Array.from({ length: 64 }, (_, n) => ({ ...cpu, cpu: n, idle: n * 1.01 })),
    },
    disks: many(sample.disks, ['sda', 'sdb', 'nvme0n1', 'nvme1n1', 'dm-0', 'dm-1']),
    netDevices: many(sample.netDevices, [
      'lo',
      'eth0',
      'eth1',
      'bond0',
      'br0',
      ...vms.flatMap(({ nets }) => nets.map((net) => String(net?.name))),
    ]),
  };
}
