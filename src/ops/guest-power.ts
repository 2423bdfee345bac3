// Asking a guest to end or to reboot, and taking its power away. The guest is asked through its agent, then by the power
// button, which is pressed again every `askAgainMs`: guests miss it while they boot. It refuses to take "asked" for "done".

import { HostError } from '../core/errors.js';
import type { LibvirtClient } from '../libvirt/client.js';
import { LibvirtError } from '../libvirt/errors.js';
import { type DomainState, destroyFlag, procedures, shutdownFlag } from '../libvirt/procedures.js';
import { actTimeoutMs, agentTimeoutMs, bounded, readTimeoutMs } from './bounds.js';
import { isLibvirtError } from './failure.js';
import type { JobContext } from './operation.js';
import { type Recorded, stateWords, type VmFacts } from './vm.js';
import { VmEvents } from './vm-events.js';

export const askAgainMs = 10_000;
/** Without an event: a driver may have none. */
const lookAgainMs = 2_000;

/** However little time the guest has left, libvirt gets this. */
const acpiTimeoutMinMs = 1_000;

/** QEMU has ended its guest, or is gone: libvirt refuses every question with "domain is not running". */
const ending: ReadonlySet<DomainState> = new Set(['shutdown', 'shutoff']);

/** libvirt waits 10 s for a process to end by itself. */
const gracefulTimeoutMs = 15_000;

type Asked = 'shutdown' | 'reboot';
export type Ended = 'ended' | 'rebooted' | 'timeout';

/** Resolves with how it ended within `timeoutMs`. A guest that was asked to reboot may end instead: that is its choice. */
export async function askGuest(
  ctx: JobContext,
  facts: VmFacts,
  asked: Asked,
  timeoutMs: number,
): Promise<Ended> {
  const client = await ctx.libvirt();
  const { clock, signal } = ctx;
  using events = VmEvents.of(client, facts.vm.uuid, clock);
  const endMs = clock.monotonicMs() + timeoutMs;
  const leftMs = () => endMs - clock.monotonicMs();
  let askAtMs = clock.monotonicMs();
  let first = true;
  while (true) {
    if (events.rebooted && asked === 'reboot') return 'rebooted';
    if (!(await isActive(ctx, client, facts))) return 'ended';
    if (leftMs() <= 0) return 'timeout';
    if (clock.monotonicMs() >= askAtMs) {
      const taken = first && (await askAgent(ctx, client, facts, asked, leftMs()));
      if (!taken) await askAcpi(ctx, client, facts, asked, leftMs());
      first = false;
      askAtMs = clock.monotonicMs() + askAgainMs;
    }
    const untilMs = Math.min(endMs, askAtMs) - clock.monotonicMs();
    await events.next(Math.max(0, Math.min(untilMs, lookAgainMs)), signal);
  }
}

/** Whether the agent took it. libvirt refuses at once where no agent runs; a hung one is left after a short while. */
async function askAgent(
  ctx: JobContext,
  client: LibvirtClient,
  facts: VmFacts,
  asked: Asked,
  leftMs: number,
): Promise<boolean> {
  await ctx.beforeAct(`${asked} agent`, { vm: facts.vm, before: facts.summary });
  try {
    const timeoutMs = Math.min(agentTimeoutMs, leftMs);
    await send(ctx, client, facts, asked, shutdownFlag.agent, timeoutMs);
  } catch (error) {
    if (!isSilence(ctx, error) && !(error instanceof LibvirtError)) throw error;
    ctx.step(`the guest agent did not take the ${asked}`);
    return false;
  }
  ctx.step(`${asked} requested through the guest agent`);
  return true;
}

async function askAcpi(
  ctx: JobContext,
  client: LibvirtClient,
  facts: VmFacts,
  asked: Asked,
  leftMs: number,
): Promise<void> {
  await ctx.beforeAct(`${asked} acpi`, { vm: facts.vm, before: facts.summary });
  try {
    const timeoutMs = Math.max(acpiTimeoutMinMs, Math.min(actTimeoutMs, leftMs));
    await send(ctx, client, facts, asked, shutdownFlag.acpi, timeoutMs);
  } catch (error) {
    // A process that hangs does not take the button: its time runs, and then it is for `force` to end it.
    if (isSilence(ctx, error)) return ctx.step("the VM's process does not answer");
    // It was asked before, and ends just now.
    if (error instanceof LibvirtError && ending.has(await stateNow(ctx, client, facts))) return;
    throw error;
  }
  ctx.step(`${asked} requested by the power button`);
}

/** The VM, not the connection: libvirt waits for it, or has given up waiting. */
function isSilence(ctx: JobContext, error: unknown): boolean {
  if (ctx.signal.aborted) return false;
  return (
    isLibvirtError(error, 'operationTimeout') || (error instanceof HostError && error.code === 'TIMEOUT')
  );
}

function send(
  ctx: JobContext,
  client: LibvirtClient,
  { ref }: VmFacts,
  asked: Asked,
  flags: number,
  timeoutMs: number,
): Promise<void> {
  const procedure = asked === 'shutdown' ? procedures.domainShutdownFlags : procedures.domainReboot;
  return client.call(procedure, { dom: ref, flags }, bounded(ctx, timeoutMs));
}

async function isActive(
  ctx: JobContext,
  client: LibvirtClient,
  facts: Pick<VmFacts, 'ref'>,
): Promise<boolean> {
  return (await stateNow(ctx, client, facts)) !== 'shutoff';
}

/** Of this life of the VM. One that is not persistent is gone when it has ended. */
async function stateNow(
  ctx: JobContext,
  client: LibvirtClient,
  { ref }: Pick<VmFacts, 'ref'>,
): Promise<DomainState> {
  try {
    const { dom } = await client.call(
      procedures.domainLookupByUuid,
      { uuid: ref.uuid },
      bounded(ctx, readTimeoutMs),
    );
    // Another number is another life of it: the one that was asked to end has ended.
    if (dom.id !== ref.id) return 'shutoff';
    const args = { dom, flags: 0 };
    const { state, reason } = await client.call(procedures.domainGetState, args, bounded(ctx, readTimeoutMs));
    return stateWords(state, reason).state;
  } catch (error) {
    if (isLibvirtError(error, 'noDomain')) return 'shutoff';
    throw error;
  }
}

/** Ends the VM's process: SIGTERM first, which lets QEMU flush, then SIGKILL. */
export async function cutPower(ctx: JobContext, facts: Recorded<VmFacts>): Promise<void> {
  const client = await ctx.libvirt();
  const about = { vm: facts.vm, before: facts.summary };
  const destroy = (flags: number, timeoutMs: number) =>
    client.call(procedures.domainDestroyFlags, { dom: facts.ref, flags }, bounded(ctx, timeoutMs));
  await ctx.beforeAct('destroy graceful', about);
  try {
    await destroy(destroyFlag.graceful, gracefulTimeoutMs);
    ctx.step('powered off');
    return;
  } catch (error) {
    if (!isSilence(ctx, error) && !(error instanceof LibvirtError)) throw error;
    if (!(await isActive(ctx, client, facts))) return;
  }
  ctx.step('its process did not end by itself');
  await ctx.beforeAct('destroy', about);
  try {
    await destroy(0, actTimeoutMs);
  } catch (error) {
    if (!isLibvirtError(error, 'operationInvalid') || (await isActive(ctx, client, facts))) throw error;
  }
  ctx.step('powered off hard');
}

export function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
