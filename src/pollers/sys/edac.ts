// /sys/devices/system/edac: errors of memory that were corrected and that were not, by controller, row and channel. They change
// in days, and are files by the dozen: read rarely.
import type { PartReader } from '../part-reader.js';
import { unsigned } from '../proc/text.js';
import type { Rare } from '../rare.js';

/** Counts since the driver was loaded; absent where the driver has none. */
type Errors = { corrected?: number; uncorrected?: number };
export type MemoryController = Errors & {
  controller: string;
  /** Errors that no row can be blamed for are of the row `unknown`. */
  rows: (Errors & { csrow: string; channels: (Errors & { channel: string; dimmLabel: string })[] })[];
};

const root = '/sys/devices/system/edac/mc';
const controllersMax = 32;
const rowsMax = 64;
const channelsMax = 16;

/** None when the host has no such memory, or no driver for it. */
export async function readEdac(reader: PartReader, rare: Rare): Promise<MemoryController[]> {
  const names = await rare.get('edac', () => reader.names(root, /^mc\d{1,4}$/));
  const read = (names ?? [])
    .slice(0, controllersMax)
    .map((name) => rare.get(`edac ${name}`, () => readController(reader, name.slice('mc'.length))));
  return (await Promise.all(read)).filter((controller) => controller !== undefined);
}

async function readController(reader: PartReader, controller: string): Promise<MemoryController> {
  const path = `${root}/mc${controller}`;
  const [all, unknown, names] = await Promise.all([
    errors(reader, `${path}/ce_count`, `${path}/ue_count`),
    errors(reader, `${path}/ce_noinfo_count`, `${path}/ue_noinfo_count`),
    reader.names(path, /^csrow\d{1,4}$/),
  ]);
  const rows = (names ?? [])
    .slice(0, rowsMax)
    .map((name) => readRow(reader, `${path}/${name}`, name.slice('csrow'.length)));
  return {
    controller,
    ...all,
    rows: [{ csrow: 'unknown', ...unknown, channels: [] }, ...(await Promise.all(rows))],
  };
}

async function readRow(
  reader: PartReader,
  path: string,
  csrow: string,
): Promise<MemoryController['rows'][number]> {
  const [all, names] = await Promise.all([
    errors(reader, `${path}/ce_count`, `${path}/ue_count`),
    reader.names(path, /^ch\d{1,3}_ce_count$/),
  ]);
  const channels = (names ?? []).slice(0, channelsMax).map(async (name) => {
    const channel = name.slice('ch'.length, -'_ce_count'.length);
    const [counts, label] = await Promise.all([
      errors(reader, `${path}/${name}`, `${path}/ch${channel}_ue_count`),
      reader.attribute(`${path}/ch${channel}_dimm_label`),
    ]);
    return { channel, ...counts, dimmLabel: label === undefined ? 'unknown' : dimmLabel(label) };
  });
  return { csrow, ...all, channels: await Promise.all(channels) };
}

/** As node_exporter writes it. */
function dimmLabel(text: string): string {
  return text.trim().replaceAll('#', '').replaceAll('csrow', '_csrow').replaceAll('channel', '_channel');
}

async function errors(reader: PartReader, correctedFile: string, uncorrectedFile: string): Promise<Errors> {
  const [corrected, uncorrected] = await Promise.all(
    [correctedFile, uncorrectedFile].map(async (path) => unsigned(await reader.attribute(path))),
  );
  return {
    ...(corrected !== undefined && { corrected }),
    ...(uncorrected !== undefined && { uncorrected }),
  };
}
