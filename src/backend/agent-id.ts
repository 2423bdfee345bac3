// Who a host is to the backend: the same id for the same name, wherever and whenever it is worked out. UUIDv5 (RFC 9562).
import { createHash } from 'node:crypto';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Ours: the namespace of collectors whose AGENT_ID is a name and no UUID. */
const collectors = 'e3a1d2f4-6c57-4a0e-9b8e-1f0d7c5b2a96';

/** The id that the inventory gives, or UUIDv5 of the host's name within `collectorId` (AGENT_ID). */
export function agentIdOf(collectorId: string, host: { name: string; id?: string | undefined }): string {
  return host.id ?? uuidV5(uuid.test(collectorId) ? collectorId : uuidV5(collectors, collectorId), host.name);
}

export function uuidV5(namespace: string, name: string): string {
  const bytes = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest()
    .subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
