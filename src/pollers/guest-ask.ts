// Asks the agent of one VM, through libvirt, and says what came of it. It refuses to wait for an agent that hangs: libvirt
// gives one that it has not heard before 5 s, but waits without end for one that was well and stopped, or never finishes.
import { HostError } from '../core/errors.js';
import type { OpsLibvirt } from '../fleet/ops-for-polls.js';
import { LibvirtError, libvirtCode } from '../libvirt/errors.js';
import { type DomainRef, guestInfoType, procedures } from '../libvirt/procedures.js';
import { type GuestFigures, guestFigures, oldGuestFigures } from './guest-figures.js';

/** Longer than the 5 s after which libvirt itself says that an agent does not answer. */
export const agentTimeoutMs = 8_000;

/** `all`: whatever the agent can tell, for one that does not know every question of `ours`. `old`: for old libvirt. */
export type GuestQuestion = 'ours' | 'all' | 'old';

export type GuestAnswer =
  | { agent: 'up'; figures?: GuestFigures; question: GuestQuestion }
  /** `hung`: libvirt still waits for it. */
  | { agent: 'down'; hung: boolean }
  /** The VM has none, or its driver cannot ask one. */
  | { agent: 'none' }
  /** Nothing is known: the VM has just stopped, or the agent is at work for somebody else. */
  | { agent: 'unjudged' };

const ourTypes =
  guestInfoType.users |
  guestInfoType.os |
  guestInfoType.timezone |
  guestInfoType.hostname |
  guestInfoType.filesystem;

type Asking = { ops: OpsLibvirt; dom: DomainRef; signal: AbortSignal };

/** Throws when the connection broke or the poll was ended; what one agent does is an answer. */
export async function askGuest(asking: Asking, question: GuestQuestion): Promise<GuestAnswer> {
  try {
    return { agent: 'up', figures: await read(asking, question), question };
  } catch (error) {
    const answer = answerOf(error);
    if (answer) return answer;
    const unknown = error instanceof LibvirtError && isUnknownCall(error);
    if (unknown && question === 'old') return { agent: 'none' };
    if (unknown) return await askGuest(asking, 'old');
    if (question === 'ours') return await askGuest(asking, 'all');
    // It answered, and what it said is of no use: a filesystem is frozen, or there is more of it than libvirt carries.
    return { agent: 'up', question };
  }
}

async function read({ ops, dom, signal }: Asking, question: GuestQuestion): Promise<GuestFigures> {
  const options = { timeoutMs: agentTimeoutMs, signal };
  if (question !== 'old')
    return guestFigures(await ops.guestInfo(dom, question === 'ours' ? ourTypes : 0, options));
  const filesystems = await ops.guestFilesystems(dom, options);
  const hostname = await ops.guestHostname(dom, options).catch((error) => {
    if (error instanceof LibvirtError) return undefined;
    throw error;
  });
  return oldGuestFigures(filesystems, hostname);
}

/** Undefined: the agent, or libvirt before it, answered with a refusal. */
function answerOf(error: unknown): GuestAnswer | undefined {
  if (error instanceof LibvirtError && mayAsk(error)) return answers.get(error.libvirtCode);
  if (!(error instanceof HostError) || error.code !== 'TIMEOUT') throw error;
  if (error.outcome === 'not-sent') return { agent: 'unjudged' };
  // A connection that ended with TIMEOUT says so as the cause: that is not this agent's doing.
  if (error.cause !== undefined) throw error;
  return { agent: 'down', hung: true };
}

function mayAsk({ code, libvirtCode: number }: LibvirtError): boolean {
  return code !== 'POLKIT_DENIED' && number !== libvirtCode.operationDenied;
}

const answers: ReadonlyMap<number, GuestAnswer> = new Map([
  [libvirtCode.agentUnresponsive, { agent: 'down', hung: false }],
  [libvirtCode.agentUnsynced, { agent: 'down', hung: false }],
  [libvirtCode.agentCommandTimeout, { agent: 'down', hung: false }],
  [libvirtCode.argumentUnsupported, { agent: 'none' }],
  [libvirtCode.operationInvalid, { agent: 'unjudged' }],
  [libvirtCode.noDomain, { agent: 'unjudged' }],
  [libvirtCode.operationTimeout, { agent: 'unjudged' }],
  [libvirtCode.resourceBusy, { agent: 'unjudged' }],
]);

function isUnknownCall({ libvirtCode: number, message }: LibvirtError): boolean {
  if (number === libvirtCode.noSupport) return true;
  // The same code stands for an answer that is too large; the number is in every language's words.
  return number === libvirtCode.rpc && message.includes(String(procedures.domainGetGuestInfo.number));
}
