// Why a VM is in its state: virDomain…Reason, in libvirt's words. It refuses to guess: a number that a newer libvirt added
// stays a number.
import { type DomainState, domainStates } from './procedures.js';

const reasons: Record<DomainState, readonly string[]> = {
  nostate: ['unknown'],
  running: [
    'unknown',
    'booted',
    'migrated',
    'restored',
    'from-snapshot',
    'unpaused',
    'migration-canceled',
    'save-canceled',
    'wakeup',
    'crashed',
    'postcopy',
    'postcopy-failed',
  ],
  blocked: ['unknown'],
  paused: [
    'unknown',
    'user',
    'migration',
    'save',
    'dump',
    'ioerror',
    'watchdog',
    'from-snapshot',
    'shutting-down',
    'snapshot',
    'crashed',
    'starting-up',
    'postcopy',
    'postcopy-failed',
    'api-error',
  ],
  shutdown: ['unknown', 'user'],
  shutoff: [
    'unknown',
    'shutdown',
    'destroyed',
    'crashed',
    'migrated',
    'saved',
    'failed',
    'from-snapshot',
    'daemon',
  ],
  crashed: ['unknown', 'panicked'],
  pmsuspended: ['unknown'],
};

/** Undefined for a number that this list does not have. */
export function reasonInWords(state: DomainState, reason: number): string | undefined {
  return reasons[state][reason];
}

export type StateInWords = { state: DomainState; reason: string };

/** Undefined for a state that libvirt did not tell. */
export function stateInWords(state: unknown, reason: unknown): StateInWords | undefined {
  const name = typeof state === 'number' ? domainStates[state] : undefined;
  if (name === undefined) return undefined;
  return {
    state: name,
    reason: typeof reason === 'number' ? (reasonInWords(name, reason) ?? `${reason}`) : 'unknown',
  };
}
