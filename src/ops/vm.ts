// One VM as the operations see it before they decide: found by name or UUID, then known by its UUID alone.
import type { CallOptions, LibvirtClient } from '../libvirt/client.js';
import { type DomainRef, type DomainState, domainStates, procedures } from '../libvirt/procedures.js';
import { reasonInWords } from '../libvirt/state-reasons.js';
import { bounded, readTimeoutMs } from './bounds.js';
import { asJobError, isLibvirtError } from './failure.js';
import { JobError, quoted, type VmIdentity } from './job.js';
import type { Facts, JobContext } from './operation.js';

export type VmSummary = {
  state: DomainState;
  reason: string;
  /** Only where there is one. */
  managedSave?: true;
};

export type VmFacts = Facts & {
  readonly vm: VmIdentity;
  readonly ref: DomainRef;
  readonly state: DomainState;
  readonly reason: string;
  /** A process of the host runs it, whatever its state. */
  readonly active: boolean;
  readonly persistent: boolean;
  readonly managedSave: boolean;
  readonly summary: VmSummary;
};

/** The same, with more in what is written down before an act. */
export type Recorded<F extends VmFacts> = Omit<F, 'summary'> & { readonly summary: unknown };

export function stateWords(state: number, reason: number): { state: DomainState; reason: string } {
  const name = domainStates[state] ?? 'nostate';
  return { state: name, reason: reasonInWords(name, reason) ?? 'unknown' };
}

/** Throws JobError VM_NOT_FOUND. */
export async function findVm(client: LibvirtClient, vm: string, options: CallOptions): Promise<DomainRef> {
  try {
    return await lookup(client, vm, options);
  } catch (error) {
    if (!isLibvirtError(error, 'noDomain')) throw error;
    throw new JobError('VM_NOT_FOUND', `${client.host} has no VM ${quoted(vm)}`);
  }
}

async function lookup(client: LibvirtClient, vm: string, options: CallOptions): Promise<DomainRef> {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(vm)) {
    try {
      return (await client.call(procedures.domainLookupByUuid, { uuid: vm }, options)).dom;
    } catch (error) {
      if (!isLibvirtError(error, 'noDomain')) throw error;
    }
  }
  return (await client.call(procedures.domainLookupByName, { name: vm }, options)).dom;
}

/** With the jobs key. Throws JobError VM_NOT_FOUND. */
export async function readVm(ctx: JobContext): Promise<VmFacts> {
  return readVmWith(await ctx.libvirt(), ctx);
}

export async function readVmWith(client: LibvirtClient, ctx: JobContext): Promise<VmFacts> {
  if (ctx.vm === undefined) throw new JobError('BAD_REQUEST', 'vm: is missing');
  const options = bounded(ctx, readTimeoutMs);
  const dom = await findVm(client, ctx.vm, options);
  const args = { dom, flags: 0 };
  try {
    const [status, saved, { persistent }] = await Promise.all([
      client.call(procedures.domainGetState, args, options),
      client.call(procedures.domainHasManagedSaveImage, args, options).catch(ifUnsupported({ result: 0 })),
      client.call(procedures.domainIsPersistent, { dom }, options),
    ]);
    const managedSave = saved.result === 1;
    const { state, reason } = stateWords(status.state, status.reason);
    return {
      vm: { name: dom.name, uuid: dom.uuid },
      ref: dom,
      state,
      reason,
      active: dom.id >= 0,
      persistent: persistent === 1,
      managedSave,
      summary: { state, reason, ...(managedSave && { managedSave }) },
    };
  } catch (error) {
    throw asJobErrorIfGone(error);
  }
}

/** `undefined` for a VM that is not there any more. */
export async function readVmIfThere(ctx: JobContext): Promise<VmFacts | undefined> {
  try {
    return await readVm(ctx);
  } catch (error) {
    if (error instanceof JobError && error.code === 'VM_NOT_FOUND') return undefined;
    throw error;
  }
}

/** For a driver that lacks the procedure (libvirt's test driver). */
export function ifUnsupported<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (isLibvirtError(error, 'noSupport')) return value;
    throw error;
  };
}

/** A VM can vanish between two questions. */
function asJobErrorIfGone(error: unknown): unknown {
  return isLibvirtError(error, 'noDomain') ? asJobError(error) : error;
}

/** What `verify` shows of a VM that is gone. */
export const gone = { state: 'undefined' } as const;

/** The state as the messages say it. */
export function stateText({ state, reason, managedSave, active }: VmFacts): string {
  if (state === 'shutoff') return managedSave ? 'shut off with a saved state' : 'shut off';
  if (state === 'shutdown') return 'shutting down';
  if (state === 'pmsuspended') return 'suspended by its guest';
  if (state === 'crashed') return active ? 'crashed, its process kept' : 'crashed';
  return reason === 'unknown' || state === 'running' ? state : `${state} (${reason})`;
}

/** The guest's processors turn. */
export function turns({ state }: Pick<VmFacts, 'state'>): boolean {
  return state === 'running' || state === 'blocked';
}

/** libvirt itself paused it and will let it go on. */
const passing: ReadonlySet<string> = new Set([
  'migration',
  'save',
  'dump',
  'snapshot',
  'starting-up',
  'shutting-down',
  'postcopy',
]);

export function inPassing({ state, reason }: Pick<VmFacts, 'state' | 'reason'>): boolean {
  return state === 'shutdown' || (state === 'paused' && passing.has(reason));
}

/** Throws LIBVIRT_ERROR when libvirt took the request and the VM is not as it was asked for. */
export function expectState<T extends VmFacts | undefined>(
  facts: T,
  wanted: (facts: T) => boolean,
  asked: string,
): T {
  if (wanted(facts)) return facts;
  const now = facts ? stateText(facts) : 'gone';
  throw new JobError('LIBVIRT_ERROR', `libvirt accepted to ${asked} the VM, but it is ${now} now`);
}
