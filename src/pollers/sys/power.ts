// /sys/class/power_supply: batteries and mains, one file each with all that the driver tells; and /sys/class/powercap: the
// energy that processors have used, where the polling user may read it (since 2020 kernels keep it for root).
import type { PartReader } from '../part-reader.js';
import { hostileRecord, integer, unsigned } from '../proc/text.js';
import type { Rare } from '../rare.js';

export type PowerSupply = {
  name: string;
  /** By the kernel's names in small letters (`voltage_now`), in its units. */
  values: Readonly<Record<string, number>>;
  texts: Readonly<Record<string, string>>;
};

/** `zone`: package, core, uncore, dram, psys. Joules since the counter last began at 0. */
export type EnergyZone = { zone: string; index: number; path: string; joules: number };

const supplies = '/sys/class/power_supply';
const suppliesMax = 32;
const linesMax = 128;
const textCharsMax = 128;
const powercap = '/sys/class/powercap';
const zonesMax = 32;
const microjoules = 1_000_000;

/** Undefined when the host tells of none, as most servers do. */
export async function readPowerSupplies(reader: PartReader, rare: Rare): Promise<PowerSupply[] | undefined> {
  const names = await rare.get('power_supply', () => reader.names(supplies, /^[^.]/));
  if (!names) return undefined;
  const read = names.slice(0, suppliesMax).map(async (name) => {
    const text = await reader.attribute(`${supplies}/${name}/uevent`, { often: true });
    return text === undefined ? undefined : parsePowerSupply(name, text);
  });
  return (await Promise.all(read)).filter((supply) => supply !== undefined);
}

export function parsePowerSupply(name: string, text: string): PowerSupply {
  const values = hostileRecord<number>();
  const texts = hostileRecord<string>();
  for (const line of text.split('\n', linesMax)) {
    const [, key, value] = /^POWER_SUPPLY_([A-Z0-9_]{1,64})=(.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined || key === 'NAME') continue;
    const field = key.toLowerCase();
    const number = integer(value);
    if (number !== undefined) values[field] = number;
    texts[field] = value.slice(0, textCharsMax);
  }
  return { name, values, texts };
}

/** Undefined when the host has none, or keeps them for root. */
export async function readEnergy(reader: PartReader, rare: Rare): Promise<EnergyZone[] | undefined> {
  const zones = await rare.get('rapl', () => readZones(reader));
  if (!zones) return undefined;
  const read = zones.map(async (zone) => {
    const energy = unsigned(await reader.attribute(`${zone.path}/energy_uj`, { often: true }));
    return energy === undefined ? undefined : { ...zone, joules: energy / microjoules };
  });
  const known = (await Promise.all(read)).filter((zone) => zone !== undefined);
  return known.length > 0 ? known : undefined;
}

/** Those whose energy can be read. */
async function readZones(reader: PartReader): Promise<Omit<EnergyZone, 'joules'>[] | undefined> {
  const directories = await reader.names(powercap, /^intel-rapl[a-z-]*:[\d:]{1,16}$/);
  if (!directories) return undefined;
  const named = directories.slice(0, zonesMax).map(async (directory) => {
    const path = `${powercap}/${directory}`;
    const [name, energy] = await Promise.all([
      reader.attribute(`${path}/name`),
      reader.attribute(`${path}/energy_uj`),
    ]);
    return name === undefined || energy === undefined ? undefined : { path, name };
  });
  const counts = new Map<string, number>();
  return (await Promise.all(named)).flatMap((found) => {
    if (!found) return [];
    const [, zone = found.name, own] = /^([^-]+)-(\d{1,6})$/.exec(found.name) ?? [];
    const index = own === undefined ? (counts.get(zone) ?? 0) : Number(own);
    if (own === undefined) counts.set(zone, index + 1);
    return [{ zone, index, path: found.path }];
  });
}
