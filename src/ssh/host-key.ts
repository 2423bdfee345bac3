// What can be said about an SSH public key from its bytes: its type, its fingerprint as OpenSSH prints it, and which
// signature algorithms prove it. Refuses to judge whether the key is trusted: known-hosts.ts does.
import { createHash } from 'node:crypto';

export type HostKey = { type: string; fingerprint: string; blob: Buffer };

const typeLengthMax = 64;

/** The type written inside a key blob (`ssh-ed25519`), or undefined when the bytes are not a key. */
export function keyTypeOf(blob: Buffer): string | undefined {
  if (blob.length < 5) return undefined;
  const length = blob.readUInt32BE(0);
  if (length === 0 || length > typeLengthMax || blob.length <= 4 + length) return undefined;
  const type = blob.toString('latin1', 4, 4 + length);
  return /^[a-z0-9@.-]+$/.test(type) ? type : undefined;
}

/** `SHA256:…` as `ssh-keygen -l` prints it. */
export function fingerprintOf(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

export function describeHostKey(blob: Buffer): HostKey {
  return { type: keyTypeOf(blob) ?? 'unknown', fingerprint: fingerprintOf(blob), blob };
}

/** `ED25519`, `ECDSA`, `RSA`: the names that ssh and ssh-keygen show to people. */
export function shortType(type: string): string {
  if (type === 'ssh-ed25519') return 'ED25519';
  if (type.startsWith('ecdsa-')) return 'ECDSA';
  if (type === 'ssh-rsa') return 'RSA';
  return type;
}

// SHA-1 signatures (ssh-rsa) and DSA are left out: every sshd since 7.2 offers better.
const algorithmsOfType: Readonly<Record<string, readonly string[]>> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
};

export const hostKeyAlgorithms: readonly string[] = Object.values(algorithmsOfType).flat();

/** Every algorithm we accept, those that prove a key of `types` first: a host is asked for the key that is on file. */
export function algorithmsFor(types: readonly string[]): string[] {
  const first = types.flatMap((type) => algorithmsOfType[type] ?? []);
  return [...new Set([...first, ...hostKeyAlgorithms])];
}
