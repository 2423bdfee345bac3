// What libvirt answers when it refuses: its own code, domain, level and words are kept, and the few refusals that an
// administrator can mend get a code and a hint of ours. It refuses to invent: other errors stay LIBVIRT_ERROR.
import { type ErrorCode, HostError } from '../core/errors.js';
import { int, optional, string, struct } from './wire/codec.js';
import { XdrReader } from './wire/xdr.js';

/** virErrorNumber, as far as it is acted upon. */
export const libvirtCode = {
  noSupport: 3,
  noConnect: 5,
  invalidArg: 8,
  operationDenied: 29,
  rpc: 39,
  noDomain: 42,
  authFailed: 45,
  noStoragePool: 49,
  noStorageVol: 50,
  operationInvalid: 55,
  operationTimeout: 68,
  noDomainSnapshot: 72,
  argumentUnsupported: 74,
  authCancelled: 79,
  operationUnsupported: 84,
  agentUnresponsive: 86,
  resourceBusy: 87,
  accessDenied: 88,
  authUnavailable: 94,
  agentUnsynced: 97,
  agentCommandTimeout: 112,
} as const;

export class LibvirtError extends HostError {
  override readonly name = 'LibvirtError';
  /** virErrorNumber. */
  readonly libvirtCode: number;
  /** virErrorDomain: the part of libvirt that speaks. */
  readonly libvirtDomain: number;
  /** virErrorLevel: 1 = warning, 2 = error. */
  readonly level: number;

  constructor(reply: ErrorReply, host: string, procedure: string) {
    const { code, hint } = meaning[reply.code] ?? { code: 'LIBVIRT_ERROR' };
    super(code, {
      host,
      outcome: 'failed',
      message: reply.message ?? `libvirt refused ${procedure} (code ${reply.code})`,
      ...(hint !== undefined && { hint }),
    });
    this.libvirtCode = reply.code;
    this.libvirtDomain = reply.domain;
    this.level = reply.level;
  }
}

type ErrorReply = { code: number; domain: number; message: string | null; level: number };

/** The fields that follow (objects and details) are not used. */
export const errorReply = struct<ErrorReply>({
  code: int,
  domain: int,
  message: optional(string),
  level: int,
});

export function decodeError(payload: Buffer, host: string, procedure: string): LibvirtError {
  return new LibvirtError(errorReply.read(new XdrReader(payload)), host, procedure);
}

const polkit = {
  code: 'POLKIT_DENIED',
  hint: "add the SSH user to the host's libvirt group (`usermod -aG libvirt USER`), or poll through the read-only socket",
} as const;

const meaning: Record<number, { code: ErrorCode; hint?: string }> = {
  [libvirtCode.authFailed]: polkit,
  [libvirtCode.authCancelled]: polkit,
  [libvirtCode.authUnavailable]: {
    code: 'POLKIT_DENIED',
    hint: 'start polkit on the host, or set auth_unix_ro and auth_unix_rw in libvirtd.conf to "none"',
  },
  [libvirtCode.accessDenied]: {
    code: 'POLKIT_DENIED',
    hint: "allow the SSH user this action in the host's polkit rules (org.libvirt.api.…)",
  },
  [libvirtCode.operationDenied]: {
    code: 'LIBVIRT_ERROR',
    hint: 'this needs the read-write socket: give the host an ops key',
  },
  [libvirtCode.noConnect]: {
    code: 'LIBVIRT_ERROR',
    hint: "check the host's libvirt URI: the daemon behind this socket does not serve it",
  },
};
