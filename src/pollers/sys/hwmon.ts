// /sys/class/hwmon: sensors of temperature, fans, voltage, current, power. What a sensor measures now is read each time; what
// it is called and its limits rarely.
import { posix } from 'node:path';
import type { PartReader } from '../part-reader.js';
import type { Rare } from '../rare.js';

export type HwmonChip = {
  /** Stable, from the path of its device: `platform_coretemp_0`. */
  chip: string;
  /** What the driver calls it: `coretemp`. */
  chipName?: string;
  sensors: readonly HwmonSensor[];
};

export type HwmonSensor = {
  /** `temp1` */
  sensor: string;
  /** `temp` */
  type: string;
  label?: string;
  /** By element (`input`, `max`, `crit_alarm`; empty for a file named `pwm1`), in the kernel's units. */
  values: Readonly<Record<string, number>>;
};

type Chip = Omit<HwmonChip, 'sensors'> & { sensors: Sensor[] };
type Sensor = HwmonSensor & {
  /** Files that are read in each poll, by element. */
  measured: Readonly<Record<string, string>>;
};
type SensorFile = { sensor: string; type: string; element: string; path: string };

const root = '/sys/class/hwmon';
const chipsMax = 64;
const filesOfChipMax = 512;
/** Of all chips; further ones are left out. */
const measuredMax = 128;
const fileName =
  /^(in|cpu|fan|pwm|temp|curr|power|energy|humidity|intrusion)(\d{1,4})(?:_([a-z][a-z0-9_]{0,31}))?$/;
const isMeasured = new Set(['input', 'average', '']);

/** Undefined when the host has no sensors. */
export async function readHwmon(reader: PartReader, rare: Rare): Promise<HwmonChip[] | undefined> {
  const names = await rare.get('hwmon', () => reader.names(root, /^hwmon\d{1,4}$/));
  if (!names?.length) return undefined;
  const read = names
    .slice(0, chipsMax)
    .map((name) => rare.get(`hwmon ${name}`, () => readChip(reader, `${root}/${name}`)));
  const chips = (await Promise.all(read)).filter((chip) => chip !== undefined);
  let left = measuredMax;
  return Promise.all(
    chips.map(async ({ sensors, ...chip }) => {
      const counted = sensors.filter(({ measured }) => {
        left -= Object.keys(measured).length;
        return left >= 0;
      });
      return { ...chip, sensors: await Promise.all(counted.map((sensor) => measure(reader, sensor))) };
    }),
  );
}

async function measure(reader: PartReader, { measured, values, ...sensor }: Sensor): Promise<HwmonSensor> {
  const now = await Promise.all(
    Object.entries(measured).map(async ([element, path]) => {
      return [element, number(await reader.attribute(path, { often: true }))] as const;
    }),
  );
  return { ...sensor, values: { ...values, ...known(now) } };
}

async function readChip(reader: PartReader, path: string): Promise<Chip | undefined> {
  const [own, device, chipName, chip] = await Promise.all([
    reader.names(path, fileName),
    reader.names(`${path}/device`, fileName),
    reader.attribute(`${path}/name`),
    stableName(reader, path),
  ]);
  if (!own) return undefined;
  const files = [
    ...own.map((name) => sensorFile(path, name)),
    ...(device ?? []).map((name) => sensorFile(`${path}/device`, name)),
  ].slice(0, filesOfChipMax);
  const sensors = new Set(files.map(({ sensor }) => sensor));
  const clean = chipName === undefined ? '' : cleaned(chipName);
  return {
    chip: chip || clean || posix.basename(path),
    ...(clean && { chipName: clean }),
    sensors: await Promise.all(
      [...sensors].map((name) =>
        readSensor(
          reader,
          files.filter(({ sensor }) => sensor === name),
        ),
      ),
    ),
  };
}

function sensorFile(directory: string, name: string): SensorFile {
  const [, type = '', number = '', element = ''] = fileName.exec(name) ?? [];
  return { sensor: type + number, type, element, path: `${directory}/${name}` };
}

async function readSensor(reader: PartReader, files: readonly SensorFile[]): Promise<Sensor> {
  const measured = files.filter(({ element }) => isMeasured.has(element));
  const limits = files.filter(({ element }) => !isMeasured.has(element) && element !== 'label');
  const labelFile = files.find(({ element }) => element === 'label');
  const [label, ...values] = await Promise.all([
    labelFile && reader.attribute(labelFile.path),
    ...limits.map(async ({ element, path }) => [element, number(await reader.attribute(path))] as const),
  ]);
  return {
    sensor: files[0]?.sensor ?? '',
    type: files[0]?.type ?? '',
    ...(label && { label }),
    values: known(values),
    measured: Object.fromEntries(measured.map(({ element, path }) => [element, path])),
  };
}

function known(entries: readonly (readonly [string, number | undefined])[]): Record<string, number> {
  return Object.fromEntries(entries.filter((entry): entry is [string, number] => entry[1] !== undefined));
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,18}(\.\d{1,9})?$/.test(text) ? Number(text) : undefined;
}

/** hwmon numbers follow the order in which drivers were loaded; the path of the device does not. */
async function stableName(reader: PartReader, path: string): Promise<string> {
  const [here, device] = await Promise.all([reader.link(path), reader.link(`${path}/device`)]);
  if (here === undefined || device === undefined) return '';
  const target = posix.resolve(posix.resolve(root, here), device);
  const [type, name] = [posix.basename(posix.dirname(target)), posix.basename(target)].map(cleaned);
  return [type, name].filter(Boolean).join('_');
}

function cleaned(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9:_]/g, '_')
    .replaceAll(/^_+|_+$/g, '');
}
