// A host's state in the backend's four words, and the reason as it may be told to others: no stack, no library's words.
import { type HostError, hintOf, summary } from '../core/errors.js';
import type { SessionState } from '../fleet/session.js';
import type { AgentStatus, LastError } from './api.js';
import { quoted } from './backend-error.js';

/** Undefined while nothing is known yet. */
export function agentStatus(state: SessionState): AgentStatus | undefined {
  switch (state) {
    case 'up':
      return 'online';
    case 'degraded':
      return 'degraded';
    case 'maintenance':
      return 'maintenance';
    case 'connecting':
      return undefined;
    case 'down':
    case 'auth-failed':
    case 'host-key-mismatch':
      return 'unreachable';
  }
}

const textCharsMax = 2_000;

export function lastError(cause: HostError | undefined): LastError | undefined {
  if (!cause) return undefined;
  const hint = hintOf(cause);
  return {
    code: cause.code,
    message: summary(cause).slice(0, textCharsMax) || quoted(cause.code),
    ...(hint !== undefined && { hint: hint.slice(0, textCharsMax) }),
  };
}
