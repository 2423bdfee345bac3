// The host keys that a host offers, for an explicit enrolment and for advice: one handshake a key type, ended before
// anyone is authenticated. It refuses to trust or store anything, and knocks no more than three times: sshd since 9.8
// remembers sources that come and go without logging in.
import { systemClock } from '../core/clock.js';
import { abortError, withDeadline } from '../core/deadline.js';
import { HostError } from '../core/errors.js';
import { openTransport, SshConnector } from './connect.js';
import { timeoutError } from './connect-errors.js';
import { type Credentials, handshake } from './handshake.js';
import { algorithmsFor, type HostKey, hostKeyAlgorithms } from './host-key.js';
import { limits, type SshTarget, type WaitOptions } from './target.js';

/** `blob` is what KnownHosts.append stores. */
export type OfferedKey = HostKey;

const noCredentials: Credentials = { offers: [], methods: [], close: () => {} };

const ecdsaTypes = hostKeyAlgorithms.filter((name) => name.startsWith('ecdsa-'));
const typesAsked: readonly (readonly string[])[] = [['ssh-ed25519'], ecdsaTypes, ['ssh-rsa']];

/**
 * Keys in the order ed25519, ecdsa, rsa. Jump hosts on the way are connected to properly, their own keys checked.
 * Throws as SshConnector.connect does when the host cannot be reached, and PROTOCOL_ERROR when it offers none of these.
 */
export async function fetchHostKeys(
  target: SshTarget,
  o: WaitOptions & { connector?: SshConnector } = {},
): Promise<OfferedKey[]> {
  const { timeoutMs = limits.connectTimeoutMs, signal, connector = new SshConnector() } = o;
  return await connector.inTurn(signal, () =>
    withDeadline((ended) => scan(connector, target, ended), {
      timeoutMs,
      signal,
      clock: systemClock,
      onTimeout: () => timeoutError(target, 'fetching host keys'),
    }),
  );
}

async function scan(connector: SshConnector, target: SshTarget, signal: AbortSignal): Promise<HostKey[]> {
  const via = await connector.openVia(target.host, target.jump ?? [], signal);
  try {
    const keys: HostKey[] = [];
    let refusal: unknown;
    for (const types of typesAsked) {
      const transport = await openTransport(target, via, signal);
      let seen: HostKey | undefined;
      await handshake(target, transport, {
        credentials: noCredentials,
        hostKeyAlgorithms: algorithmsFor(types).filter((_, index) => index < countFor(types)),
        verify: (key) => {
          seen = key;
          return new HostError('ABORTED', { host: target.host, message: 'seen enough' });
        },
        signal,
      }).catch((error: unknown) => {
        refusal = error;
      });
      if (signal.aborted) throw abortError(signal);
      if (seen) keys.push(seen);
      else if (!isNoMatch(refusal)) throw refusal;
    }
    if (keys.length === 0) throw refusal;
    return keys;
  } finally {
    via?.release();
  }
}

function countFor(types: readonly string[]): number {
  return types.includes('ssh-rsa') ? 2 : types.length;
}

function isNoMatch(error: unknown): boolean {
  return (
    error instanceof HostError &&
    error.cause instanceof Error &&
    /no matching host key/.test(error.cause.message)
  );
}
