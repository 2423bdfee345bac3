// /sys/class/thermal: the temperature of each zone, and how far each cooling device is turned up.
import type { PartReader } from '../part-reader.js';
import { integer } from '../proc/text.js';
import type { Rare } from '../rare.js';

export type Thermal = {
  /** `zone` and `name` are numbers, as the kernel counts them. */
  zones: { zone: string; type: string; celsius: number }[];
  coolers: { name: string; type: string; current: number; maximum: number }[];
};

const root = '/sys/class/thermal';
const devicesMax = 64;
const millidegrees = 1000;

/** Undefined when the host has neither. */
export async function readThermal(reader: PartReader, rare: Rare): Promise<Thermal | undefined> {
  const names = await rare.get('thermal', () => reader.names(root, /^(thermal_zone|cooling_device)\d{1,6}$/));
  if (!names) return undefined;
  const numbers = (prefix: string) =>
    names
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length))
      .slice(0, devicesMax);
  const [zones, coolers] = await Promise.all([
    Promise.all(numbers('thermal_zone').map((zone) => readZone(reader, rare, zone))),
    Promise.all(numbers('cooling_device').map((name) => readCooler(reader, rare, name))),
  ]);
  return {
    zones: zones.filter((zone) => zone !== undefined),
    coolers: coolers.filter((cooler) => cooler !== undefined),
  };
}

async function readZone(
  reader: PartReader,
  rare: Rare,
  zone: string,
): Promise<Thermal['zones'][number] | undefined> {
  const path = `${root}/thermal_zone${zone}`;
  const [type, temp] = await Promise.all([
    rare.get(`thermal zone ${zone}`, async () => reader.attribute(`${path}/type`)),
    reader.attribute(`${path}/temp`, { often: true }),
  ]);
  const millis = integer(temp);
  if (type === undefined || millis === undefined) return undefined;
  return { zone, type, celsius: millis / millidegrees };
}

async function readCooler(
  reader: PartReader,
  rare: Rare,
  name: string,
): Promise<Thermal['coolers'][number] | undefined> {
  const path = `${root}/cooling_device${name}`;
  const fixed = async () => {
    const [type, most] = await Promise.all([
      reader.attribute(`${path}/type`),
      reader.attribute(`${path}/max_state`),
    ]);
    const maximum = integer(most);
    return type === undefined || maximum === undefined ? undefined : { type, maximum };
  };
  const [kept, state] = await Promise.all([
    rare.get(`thermal cooler ${name}`, fixed),
    reader.attribute(`${path}/cur_state`, { often: true }),
  ]);
  const current = integer(state);
  return kept && current !== undefined ? { name, current, ...kept } : undefined;
}
