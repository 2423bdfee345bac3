// The documents that a simulated libvirt writes: definitions, snapshots, volumes, capabilities. Their form is libvirt's, cut
// down to what is read of it and what people look for; names are escaped.
import { escapeXml } from '../libvirt/xml.js';
import type { SimHost, SimVolume } from './host.js';
import { type SimDisk, type SimSnapshot, type SimVm, vmState } from './vm.js';

/** `inactive`: the kept definition, which knows nothing of the running process. */
export function domainXml(vm: SimVm, inactive = false): string {
  const live = vm.active && !inactive;
  const devices = [
    ...vm.disks.map((disk, index) => diskXml(vm, disk, live ? vm.disks.length - index : undefined)),
    ...vm.nets.map(
      ({ mac, tap }) => `    <interface type='bridge'>
      <mac address='${mac}'/>
      <source bridge='br0'/>${live ? `\n      <target dev='${tap}'/>` : ''}
      <model type='virtio'/>
    </interface>`,
    ),
    ...(vm.agent === 'none' ? [] : [agentXml(vm, live)]),
    `    <memballoon model='virtio'><stats period='${vm.balloonPeriodS}'/></memballoon>`,
  ];
  return `<domain type='kvm'${live ? ` id='${vm.id}'` : ''}>
  <name>${escapeXml(vm.name)}</name>
  <uuid>${vm.uuid}</uuid>
  <memory unit='KiB'>${vm.memoryKiB}</memory>
  <currentMemory unit='KiB'>${vm.memoryKiB}</currentMemory>
  <vcpu placement='static'>${vm.vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features><acpi/></features>
  <cpu mode='host-passthrough'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
${devices.join('\n')}
  </devices>
</domain>
`;
}

function diskXml(vm: SimVm, { target, format, chain }: SimDisk, index: number | undefined): string {
  const [top = '', ...below] = chain;
  let backing = index === undefined ? '' : '<backingStore/>';
  if (index !== undefined) {
    for (const path of below.reverse()) {
      backing = `<backingStore type='file'><format type='${format}'/><source file='${escapeXml(path)}'/>${backing}</backingStore>`;
    }
  }
  return `    <disk type='file' device='disk'>
      <driver name='qemu' type='${chain.length > 1 ? 'qcow2' : format}'/>
      <source file='${escapeXml(top)}'${index === undefined ? '' : ` index='${index}'`}/>
      ${backing}
      <target dev='${target}' bus='virtio'/>
      <serial>${escapeXml(vm.name)}-${target}</serial>
    </disk>`;
}

function agentXml(vm: SimVm, live: boolean): string {
  const state = vm.agent === 'connected' && vm.state === vmState.running ? 'connected' : 'disconnected';
  return `    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'${live ? ` state='${state}'` : ''}/>
    </channel>`;
}

const stateWords: Readonly<Record<number, string>> = {
  [vmState.running]: 'running',
  [vmState.paused]: 'paused',
  [vmState.shutoff]: 'shutoff',
  [vmState.crashed]: 'crashed',
};

export function snapshotXml(snapshot: SimSnapshot): string {
  const { name, description, parent, state, memory, external, createdS, disks, definition } = snapshot;
  const kind = external ? 'external' : 'internal';
  const lines = disks.map(({ target, included, overlay }) => {
    if (!included) return `    <disk name='${target}' snapshot='no'/>`;
    if (!external) return `    <disk name='${target}' snapshot='${kind}'/>`;
    return `    <disk name='${target}' snapshot='external' type='file'><driver type='qcow2'/><source file='${escapeXml(overlay)}'/></disk>`;
  });
  return `<domainsnapshot>
  <name>${escapeXml(name)}</name>${description ? `\n  <description>${escapeXml(description)}</description>` : ''}
  <state>${external && state === vmState.running ? 'disk-snapshot' : (stateWords[state] ?? 'shutoff')}</state>${parent === undefined ? '' : `\n  <parent><name>${escapeXml(parent)}</name></parent>`}
  <creationTime>${createdS}</creationTime>
  <memory snapshot='${memory ? kind : 'no'}'/>
  <disks>
${lines.join('\n')}
  </disks>
${definition}</domainsnapshot>
`;
}

export function volumeXml({ name, path, capacity, allocation, format, backing }: SimVolume): string {
  const base = backing
    ? `\n  <backingStore><path>${escapeXml(backing)}</path><format type='qcow2'/></backingStore>`
    : '';
  return `<volume type='file'>
  <name>${escapeXml(name)}</name>
  <key>${escapeXml(path)}</key>
  <capacity unit='bytes'>${capacity}</capacity>
  <allocation unit='bytes'>${allocation}</allocation>
  <target><path>${escapeXml(path)}</path><format type='${format}'/></target>${base}
</volume>
`;
}

export function capabilitiesXml({ uuid, cpus }: SimHost): string {
  return `<capabilities>
  <host>
    <uuid>${uuid}</uuid>
    <cpu><arch>x86_64</arch><model>EPYC-Milan</model><vendor>AMD</vendor><topology sockets='1' dies='1' cores='${cpus / 2}' threads='2'/></cpu>
  </host>
  <guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest>
</capabilities>
`;
}
