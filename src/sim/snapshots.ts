// Snapshots of a simulated VM: taken, listed, reverted to and deleted, with libvirt's refusals. It keeps no content of disks
// and memory: only what libvirt tells of them.
import { snapshotCreateFlag, snapshotDeleteFlag, snapshotRevertFlag } from '../libvirt/procedures.js';
import { childOf, childrenOf, parseXml, textOf } from '../libvirt/xml.js';
import type { SimHost } from './host.js';
import { Refusal, refusalCode } from './refusal.js';
import { type SimSnapshot, type SimVm, vmState } from './vm.js';
import { domainXml } from './xml.js';

/** VIR_ERR_CONFIG_UNSUPPORTED. */
const configUnsupported = 67;
/** Of one VM; a client that takes more is refused. */
const snapshotsMax = 1_000;

/** The name of the new one. */
export function takeSnapshot(host: SimHost, vm: SimVm, xml: string, flags: number): string {
  const root = parseXml(xml);
  const name = textOf(root, 'name') ?? String(Math.floor(host.clock.wallMs() / 1000));
  if (vm.snapshots.has(name)) {
    throw new Refusal(
      refusalCode.operationFailed,
      `operation failed: domain snapshot '${name}' already exists`,
    );
  }
  if (vm.snapshots.size >= snapshotsMax) throw new Refusal(refusalCode.operationFailed, 'too many snapshots');
  if ((flags & snapshotCreateFlag.quiesce) !== 0) vm.mustAnswerAgent();
  const external = (flags & snapshotCreateFlag.diskOnly) !== 0;
  const excluded = new Set(
    childrenOf(childOf(root, 'disks'), 'disk')
      .filter(({ attributes }) => attributes.snapshot === 'no')
      .map(({ attributes }) => attributes.name),
  );
  const definition = domainXml(vm);
  const disks = vm.disks.map((disk) => {
    const [top = ''] = disk.chain;
    const overlay = `${top.replace(/\.[^./]*$/, '')}.${name}`;
    const included = !excluded.has(disk.target);
    if (included && external) {
      host.addOverlay(overlay, top, disk.capacity);
      disk.chain.unshift(overlay);
    }
    return { target: disk.target, included, overlay };
  });
  const memory = vm.active && !external && childOf(root, 'memory')?.attributes.snapshot !== 'no';
  const createdS = Math.floor(host.clock.wallMs() / 1000);
  const description = textOf(root, 'description') ?? '';
  const parent = vm.currentSnapshot;
  vm.snapshots.set(name, {
    name,
    description,
    parent,
    state: vm.state,
    memory,
    external,
    createdS,
    definition,
    disks,
  });
  vm.currentSnapshot = name;
  return name;
}

export function deleteSnapshot(vm: SimVm, name: string, flags: number): void {
  const snapshot = vm.snapshot(name);
  const children = childrenOfSnapshot(vm, name);
  if (snapshot.external) {
    const message = 'unsupported configuration: deletion of 1 external disk snapshots not supported yet';
    throw new Refusal(configUnsupported, message);
  }
  for (const child of children) {
    if ((flags & snapshotDeleteFlag.children) !== 0) deleteSnapshot(vm, child.name, flags);
    else vm.snapshots.set(child.name, { ...child, parent: snapshot.parent });
  }
  vm.snapshots.delete(name);
  if (vm.currentSnapshot === name) vm.currentSnapshot = snapshot.parent;
}

export function revertToSnapshot(host: SimHost, vm: SimVm, name: string, flags: number): void {
  const snapshot = vm.snapshot(name);
  if (snapshot.external) {
    throw new Refusal(
      configUnsupported,
      'unsupported configuration: revert to external snapshot not supported yet',
    );
  }
  host.revert(vm, stateAfter(snapshot, flags));
  vm.currentSnapshot = name;
}

function stateAfter({ memory, state }: SimSnapshot, flags: number): number {
  if ((flags & snapshotRevertFlag.running) !== 0) return vmState.running;
  if ((flags & snapshotRevertFlag.paused) !== 0) return vmState.paused;
  return memory ? state : vmState.shutoff;
}

export function listSnapshots(vm: SimVm, roots: boolean): SimSnapshot[] {
  return [...vm.snapshots.values()].filter(({ parent }) => !roots || parent === undefined);
}

function childrenOfSnapshot(vm: SimVm, name: string): SimSnapshot[] {
  return [...vm.snapshots.values()].filter(({ parent }) => parent === name);
}
