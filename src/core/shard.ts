// Which part of a divided fleet takes a host (AGENT_SHARD=i/n). A backend in another language works out the same number, so the
// rule is frozen, and docs/operations.md has test vectors. It refuses to look at anything but the host's name.
import { createHash } from 'node:crypto';

/** Part `index`, counted from 1, of `count`. */
export type Shard = { readonly index: number; readonly count: number };

/** The first four bytes of the name's SHA-256, big-endian, modulo `count`, plus 1. */
export function shardOf(host: string, count: number): number {
  return (createHash('sha256').update(host).digest().readUInt32BE(0) % count) + 1;
}

/** A fleet that is not divided takes every host. */
export function takesHost(shard: Shard | undefined, host: string): boolean {
  return shard === undefined || shardOf(host, shard.count) === shard.index;
}

/** For whoever asks this shard for a host of another one; undefined when there is no such mistake. */
export function otherShardHint(shard: Shard | undefined, host: string): string | undefined {
  if (!shard || takesHost(shard, host)) return undefined;
  const theirs = { index: shardOf(host, shard.count), count: shard.count };
  return `This is shard ${shardText(shard)}; a host of this name is in shard ${shardText(theirs)}, if the inventory has it.`;
}

export function shardText({ index, count }: Shard): string {
  return `${index}/${count}`;
}
