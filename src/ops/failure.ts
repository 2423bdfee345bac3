// Errors of the lower floors, said in the codes that the callers of jobs know. It refuses to hide what was known of the
// outcome: an error with an unknown outcome is never translated here, except while only reading, where nothing was sent.
import { describe, type ErrorCode, HostError, hintOf } from '../core/errors.js';
import { LibvirtError, libvirtCode } from '../libvirt/errors.js';
import { type JobCode, JobError } from './job.js';

/** The host does not let our jobs key do this. */
const denied: ReadonlySet<ErrorCode> = new Set([
  'KEY_FILE',
  'AUTH_FAILED',
  'FORWARD_DENIED',
  'SOCKET_DENIED',
  'POLKIT_DENIED',
]);

const away: ReadonlySet<ErrorCode> = new Set([
  'DNS',
  'REFUSED',
  'UNREACHABLE',
  'TIMEOUT',
  'CLOSED',
  'HOST_KEY_UNKNOWN',
  'HOST_KEY_MISMATCH',
  'HOST_KEY_REVOKED',
  'KNOWN_HOSTS',
  'SOCKET_MISSING',
  'PROTOCOL_ERROR',
  'HOST_DOWN',
  'HOST_BUSY',
]);

/** `doing` begins the message: what was tried. */
export function asJobError(error: unknown, doing?: string): JobError {
  if (error instanceof JobError) return error;
  const reason = reasonOf(error);
  if (reason) return reason;
  const hint = hintOf(error);
  const text = [doing, describe(error)].filter(Boolean).join(': ');
  return new JobError(codeOf(error), hint ? `${text} (${hint})` : text, { cause: error });
}

/** Whether libvirt may have done what was asked. */
export function outcomeUnknown(error: unknown): boolean {
  return error instanceof HostError && error.outcome === 'unknown';
}

/**
 * Not libvirt's own words: the connection, or its silence. After an act such an error says nothing of the act, whatever its
 * `outcome`: it may come from a question that was asked later.
 */
export function connectionFailed(error: unknown): boolean {
  return error instanceof HostError && !(error instanceof LibvirtError) && error.code !== 'BAD_REQUEST';
}

export function isLibvirtError(error: unknown, code: keyof typeof libvirtCode): error is LibvirtError {
  return error instanceof LibvirtError && error.libvirtCode === libvirtCode[code];
}

/** A call that was stopped by the job's own signal fails with the signal's reason as its cause. */
function reasonOf(error: unknown): JobError | undefined {
  let at: unknown = error;
  for (let depth = 0; at instanceof Error && depth < 8; depth++) {
    if (at instanceof JobError) return at;
    at = at.cause;
  }
  return undefined;
}

function codeOf(error: unknown): JobCode {
  if (error instanceof LibvirtError) {
    switch (error.libvirtCode) {
      case libvirtCode.noDomain:
        return 'VM_NOT_FOUND';
      case libvirtCode.operationInvalid:
        return 'INVALID_STATE';
      case libvirtCode.operationDenied:
        return 'OPS_DISABLED';
    }
  }
  if (!(error instanceof HostError)) return 'LIBVIRT_ERROR';
  if (denied.has(error.code)) return 'OPS_DISABLED';
  if (away.has(error.code)) return 'HOST_UNREACHABLE';
  return error.code === 'BAD_REQUEST' ? 'BAD_REQUEST' : 'LIBVIRT_ERROR';
}
