// Chance that can be repeated: the same seed, the same fleet. It refuses Math.random, and to be used for secrets.

/** mulberry32: numbers in [0, 1). */
export function seededRandom(seed: number): () => number {
  let drawn = 0;
  return () => randomAt(seed, drawn++);
}

/** The number that `seededRandom(seed)` gives after `drawn` others, without making anything. */
export function randomAt(seed: number, drawn: number): number {
  const state = (seed + Math.imul(drawn + 1, 0x6d2b79f5)) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
}

/** FNV-1a of a name, mixed with a seed: what belongs to that name and to no other. */
export function seedOf(seed: number, name: string): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let index = 0; index < name.length; index++) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193) >>> 0;
  }
  return hash;
}

export function uuidFrom(random: () => number): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16));
  hex[12] = '4';
  hex[16] = '8';
  return hex.join('').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

export function pick<T>(random: () => number, from: readonly [T, ...T[]]): T {
  return from[Math.floor(random() * from.length)] ?? from[0];
}
