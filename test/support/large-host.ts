// A host with 50 VMs and everything on: 2 disks, 2 interfaces and 4 virtual CPUs each. Values move from host to host, so
// that compression has its work.
import { renderHostState } from '../../src/metrics/host-state.js';
import type { FleetPart } from '../../src/metrics/page.js';
import { renderDetails } from '../../src/metrics/render-details.js';
import { renderGuest } from '../../src/metrics/render-guest.js';
import { renderSystem } from '../../src/metrics/render-system.js';
import { renderVms } from '../../src/metrics/render-vms.js';
import type { DetailsSample } from '../../src/pollers/details.js';
import type { GuestSample } from '../../src/pollers/guest.js';
import type { VmSample } from '../../src/pollers/vms.js';
import { running, systemSample } from '../unit/metrics/fixtures.js';

const vms = Array.from({ length: 50 }, (_, n) => vm(n));
const system = largeSystem();
const details = allDetails();
const guest = allGuests();

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
    { kind: 'details', write: (lines) => renderDetails(lines, instance, details) },
    { kind: 'guest', write: (lines) => renderGuest(lines, instance, guest) },
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

function allDetails(): DetailsSample {
  return {
    takenAtMs: 0,
    versions: { hypervisor: '7.2.0', libvirtd: '9.0.0' },
    domains: vms.map(({ domain, blocks, nets }, n) => ({
      domain,
      timedOut: false,
      snapshots: { count: 2, oldestS: 1_795_000_000 + n },
      details: {
        os: { type: 'hvm', arch: 'x86_64', machine: 'pc-q35-7.2' },
        nova: { name: `web-${n}`, flavor: 'm1.large', projectName: 'shop', projectId: domain.uuid },
        disks: blocks.map((block) => ({
          target: String(block?.name),
          device: 'disk',
          type: 'file',
          bus: 'virtio',
          driverType: 'qcow2',
          cache: 'none',
          source: String(block?.path),
          limits: { total_iops_sec: 5000, read_bytes_sec: 100_000_000, write_bytes_sec: 100_000_000 },
        })),
        interfaces: nets.map((net) => ({
          target: String(net?.name),
          type: 'bridge',
          source: 'br0',
          mac: '52:54:00:00:00:01',
          model: 'virtio',
        })),
      },
    })),
    pools: ['default', 'images'].map((name) => ({
      name,
      timedOut: false,
      info: { state: 2, capacity: 4e12, allocation: 3e12, available: 1e12 },
    })),
    problems: [],
  };
}

function allGuests(): GuestSample {
  return {
    takenAtMs: 0,
    vms: vms.map(({ domain }, n) => ({
      domain,
      agent: 'up',
      figures: {
        os: {
          id: 'debian',
          versionId: '12',
          prettyName: 'Debian GNU/Linux 12',
          kernelRelease: '6.1.0',
          machine: 'x86_64',
        },
        hostname: `web-${n}`,
        timezone: 'UTC',
        users: n % 3,
        filesystems: ['/', '/var'].map((mountpoint) => ({
          mountpoint,
          device: '/dev/vda1',
          fstype: 'ext4',
          sizeBytes: 4e10,
          usedBytes: 1e10 + n,
        })),
      },
      question: 'all',
      failures: 0,
      hung: false,
      judgedAtMs: 0,
      askAtMs: 0,
    })),
    problems: [],
  };
}
