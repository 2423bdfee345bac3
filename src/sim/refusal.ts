// What a simulated libvirt answers when it refuses: libvirt's own codes for the same reason.
import { libvirtCode } from '../libvirt/errors.js';

/** virErrorNumber of what only the simulation has to know. */
export const refusalCode = { ...libvirtCode, internal: 1, operationFailed: 9, noAgent: 74 } as const;
/** virErrorDomain. */
export const refusalDomain = { rpc: 7, qemu: 10, storage: 18 } as const;

export class Refusal extends Error {
  readonly code: number;
  readonly domain: number;

  constructor(code: number, message: string, domain: number = refusalDomain.qemu) {
    super(message);
    this.code = code;
    this.domain = domain;
  }
}

export function invalid(message: string): Refusal {
  return new Refusal(refusalCode.operationInvalid, `Requested operation is not valid: ${message}`);
}
