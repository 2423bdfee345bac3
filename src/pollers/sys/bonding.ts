// /sys/class/net/*/bonding: how many links each bond has, and how many of them are up.
import type { PartReader } from '../part-reader.js';

export type Bond = { master: string; slaves: number; active: number };

const bondsMax = 64;
const slavesMax = 64;
const net = '/sys/class/net';
const often = { often: true };

/** Undefined without the bonding driver. */
export async function readBonds(reader: PartReader): Promise<Bond[] | undefined> {
  const masters = await reader.attribute(`${net}/bonding_masters`, often);
  if (masters === undefined) return undefined;
  const names = words(masters).slice(0, bondsMax);
  const bonds = await Promise.all(names.map((master) => readBond(reader, master)));
  return bonds.filter((bond) => bond !== undefined);
}

async function readBond(reader: PartReader, master: string): Promise<Bond | undefined> {
  const slaves = await reader.attribute(`${net}/${master}/bonding/slaves`, often);
  if (slaves === undefined) return undefined;
  const names = words(slaves).slice(0, slavesMax);
  const states = await Promise.all(
    names.map((slave) => reader.attribute(`${net}/${master}/lower_${slave}/bonding_slave/mii_status`, often)),
  );
  return { master, slaves: names.length, active: states.filter((state) => state === 'up').length };
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => /^[^/]{1,64}$/.test(word) && word !== '.' && word !== '..');
}
