// When each running VM was started on this host. libvirt does not tell, so it is read where it is true: of the VM's QEMU
// process, as the kernel knows it. The way there, with files that the polling key may read:
//
//   /run/libvirt/qemu/NAME.pid  ──►  /proc/PID/cmdline names the VM's UUID  ──►  /proc/PID/stat: started, in ticks since boot
//
// Read once in a life of the VM, and again for a VM that an event names: libvirt gives no number a second time, as long as it
// lives itself, which our connection to it says. Over another connection one file a VM tells that its process is still the one it
// was. A start that was not there is looked for once more, soon, and then at each whole poll. It refuses to believe a number in a
// file alone: a process that is not this VM's has no say. What it cannot read (another driver, a hardened /proc) is absent here;
// then the event of the start is all that is known.
import { HostError } from '../core/errors.js';
import { inTurns } from '../core/in-turns.js';
import { type DomainRef, listDomainsFlag } from '../libvirt/procedures.js';
import type { HostFiles, HostLibvirt, Poller } from './poller.js';
import { parseStat } from './proc/stat.js';

/** `startedAtMs`: wall milliseconds. It and the number of the process are absent where that cannot be found. */
export type VmStart = { uuid: string; id: number; startedAtMs?: number; pid?: number };

/** `bootedAtMs`: wall milliseconds when the host was, as its own clock knew it then. */
export type StartsSample = { takenAtMs: number; bootedAtMs?: number; vms: VmStart[] };

const pollTimeoutMs = 30_000;
const callTimeoutMs = 10_000;
const readTimeoutMs = 5_000;
const atATime = 4;
const pidBytesMax = 32;
const statBytesMax = 4 * 1024;
const kernelStatBytesMax = 2 * 1024 * 1024;
/** A VM of 200 disks has some 60 KiB. */
const commandLineBytesMax = 512 * 1024;
/** The kernel tells of 100 ticks a second, whatever it counts in itself. */
const msPerTick = 10;
const msPerSecond = 1000;
/** The kernel tells of its boot in whole seconds, which a clock that is kept right moves by one. */
const sameBootMs = 2_000;

export const startsPoller: Poller<StartsSample> = {
  name: 'starts',
  part: 'libvirt',
  judgesPart: false,
  followsEvents: true,
  timeoutMs: pollTimeoutMs,
  intervalMs: ({ poll }) => poll.detailsMs,

  async poll(readers, { signal, clock, previous, changed, again }) {
    const options = { timeoutMs: callTimeoutMs, signal };
    const libvirt = readers.libvirt();
    const domains = await libvirt.listDomains(listDomainsFlag.active, options);
    const before = ofConnection.get(libvirt);
    const known = new Map(before?.vms.map((vm) => [vm.uuid, vm]));
    // After an event nothing else has changed; without one, what could not be read is tried again.
    const isKnown = ({ uuid, id }: DomainRef) => {
      const vm = known.get(uuid);
      return vm?.id === id && (changed ? !changed.has(uuid) : vm.startedAtMs !== undefined);
    };
    const needsBoot = !changed || !domains.every(isKnown);
    const bootedAtMs = (needsBoot && (await bootTimeMs(readers.files(), signal))) || before?.bootedAtMs;
    const processes = processesOf(before ?? previous, bootedAtMs);
    const find = async (domain: DomainRef): Promise<VmStart> => {
      const { uuid, id } = domain;
      const vm = known.get(uuid);
      // Where the host's clock was set, what it says of its boot moves, and so does this.
      if (vm && isKnown(domain)) return moved(vm, (bootedAtMs ?? 0) - (before?.bootedAtMs ?? 0));
      const was = processes.get(uuid);
      const process =
        (was && (await sameProcess(was, readers.files(), signal))) ??
        (await processOf(domain, readers.files(), signal));
      if (process === undefined || bootedAtMs === undefined) return { uuid, id };
      return { uuid, id, startedAtMs: bootedAtMs + process.sinceBootMs, pid: process.pid };
    };
    const vms = await inTurns(domains, find, atATime);
    if (vms.some(({ uuid, id, startedAtMs }) => startedAtMs === undefined && known.get(uuid)?.id !== id))
      again?.();
    const sample = { takenAtMs: clock.wallMs(), ...(bootedAtMs !== undefined && { bootedAtMs }), vms };
    ofConnection.set(libvirt, sample);
    return sample;
  },
};

/** What was read over one connection: a number of before it may be another life's now. */
const ofConnection = new WeakMap<HostLibvirt, StartsSample>();

function moved(vm: VmStart, byMs: number): VmStart {
  return vm.startedAtMs === undefined || byMs === 0 ? vm : { ...vm, startedAtMs: vm.startedAtMs + byMs };
}

async function bootTimeMs(files: HostFiles, signal: AbortSignal): Promise<number | undefined> {
  const text = await readOnce(files, '/proc/stat', kernelStatBytesMax, signal);
  const bootTime = text === undefined ? undefined : parseStat(text, () => undefined).bootTime;
  return bootTime === undefined ? undefined : bootTime * msPerSecond;
}

/** `sinceBootMs`: from the host's boot to its start. No two of one boot have both alike. */
type Process = { pid: number; sinceBootMs: number };

/** Processes of VMs as they were when `sample` was taken, by UUID; none where the host was booted since, or its clock set. */
function processesOf(
  sample: StartsSample | undefined,
  bootedAtMs: number | undefined,
): ReadonlyMap<string, Process> {
  const { bootedAtMs: bootedBeforeMs, vms = [] } = sample ?? {};
  const processes = new Map<string, Process>();
  if (bootedAtMs === undefined || bootedBeforeMs === undefined) return processes;
  if (Math.abs(bootedAtMs - bootedBeforeMs) > sameBootMs) return processes;
  for (const { uuid, pid, startedAtMs } of vms)
    if (pid !== undefined && startedAtMs !== undefined)
      processes.set(uuid, { pid, sinceBootMs: startedAtMs - bootedBeforeMs });
  return processes;
}

async function sameProcess(
  process: Process,
  files: HostFiles,
  signal: AbortSignal,
): Promise<Process | undefined> {
  const { pid, sinceBootMs } = process;
  return (await sinceBoot(pid, files, signal)) === sinceBootMs ? process : undefined;
}

/** The VM's own. */
async function processOf(
  { name, uuid }: DomainRef,
  files: HostFiles,
  signal: AbortSignal,
): Promise<Process | undefined> {
  if (!isFileName(name)) return undefined;
  const text = (await readOnce(files, `/run/libvirt/qemu/${name}.pid`, pidBytesMax, signal))?.trim();
  if (text === undefined || !/^[1-9]\d{0,9}$/.test(text)) return undefined;
  const pid = Number(text);
  const commandLine = await readOnce(files, `/proc/${pid}/cmdline`, commandLineBytesMax, signal);
  if (!commandLine?.split('\0').includes(uuid)) return undefined;
  const sinceBootMs = await sinceBoot(pid, files, signal);
  return sinceBootMs === undefined ? undefined : { pid, sinceBootMs };
}

/** Milliseconds from the host's boot to the start of a process. */
async function sinceBoot(pid: number, files: HostFiles, signal: AbortSignal): Promise<number | undefined> {
  const stat = await readOnce(files, `/proc/${pid}/stat`, statBytesMax, signal);
  const ticks = stat === undefined ? undefined : startTicks(stat);
  return ticks === undefined ? undefined : ticks * msPerTick;
}

/** libvirt allows no other names for QEMU; a hostile one must not lead elsewhere. */
function isFileName(name: string): boolean {
  return name.length <= 255 && !/[/\0]/.test(name) && name !== '.' && name !== '..';
}

/** The 22nd field; the name of the process, in brackets, may hold anything. */
export function startTicks(stat: string): number | undefined {
  const fields = stat
    .slice(stat.lastIndexOf(')') + 1)
    .trim()
    .split(' ');
  const text = fields[19] ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

async function readOnce(
  files: HostFiles,
  path: string,
  bytesMax: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await files.read(path, { bytesMax, timeoutMs: readTimeoutMs, signal, once: true });
  } catch (error) {
    // Gone, or not for us to read. A connection that broke fails the poll.
    if (error instanceof HostError && (error.code === 'FILE_MISSING' || error.code === 'FILE_ERROR'))
      return undefined;
    throw error;
  }
}
