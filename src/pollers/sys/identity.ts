// What a host and its disks are: the firmware's tables (DMI), NVMe controllers, and what udev knows of block devices. All of it
// rarely changes. Serial numbers that only root may read are absent.
import type { PartReader } from '../part-reader.js';
import type { DiskStats } from '../proc/diskstats.js';
import { boundedLines, hostileRecord, parseTextLine } from '../proc/text.js';
import type { Rare } from '../rare.js';

/** Labels of node_dmi_info by the file that holds them. */
const dmiFiles: Readonly<Record<string, string>> = {
  bios_date: 'bios_date',
  bios_release: 'bios_release',
  bios_vendor: 'bios_vendor',
  bios_version: 'bios_version',
  board_asset_tag: 'board_asset_tag',
  board_name: 'board_name',
  board_serial: 'board_serial',
  board_vendor: 'board_vendor',
  board_version: 'board_version',
  chassis_asset_tag: 'chassis_asset_tag',
  chassis_serial: 'chassis_serial',
  chassis_vendor: 'chassis_vendor',
  chassis_version: 'chassis_version',
  product_family: 'product_family',
  product_name: 'product_name',
  product_serial: 'product_serial',
  product_sku: 'product_sku',
  product_uuid: 'product_uuid',
  product_version: 'product_version',
  sys_vendor: 'system_vendor',
};

export type NvmeController = { device: string } & Record<
  'firmwareRevision' | 'model' | 'serial' | 'state' | 'cntlid',
  string
>;

export type DiskInfo = {
  device: string;
  /** udev's properties (ID_SERIAL, ID_FS_TYPE …), those that are shown. */
  udev: Readonly<Record<string, string>>;
  rotational: boolean;
};

const nvme = '/sys/class/nvme';
const controllersMax = 64;
const disksMax = 256;
const udevLinesMax = 512;
const udevCharsMax = 256;
const udevFields =
  /^E:((?:ID_(?:PATH|WWN|MODEL|REVISION|SERIAL|SERIAL_SHORT|FS_TYPE|FS_USAGE|FS_UUID|FS_VERSION|ATA|ATA_\w{1,40}))|SCSI_IDENT_SERIAL|DM_\w{1,40})=(.*)$/;

/** By label; undefined when the firmware tells nothing. */
export async function readDmi(reader: PartReader): Promise<Record<string, string> | undefined> {
  const names = await reader.names('/sys/class/dmi/id', /^[a-z_]+$/);
  const wanted = (names ?? []).filter((name) => Object.hasOwn(dmiFiles, name));
  const read = wanted.map(async (name) => {
    const text = await reader.attribute(`/sys/class/dmi/id/${name}`);
    return [dmiFiles[name] ?? name, text === undefined ? undefined : (parseTextLine(text) ?? '')] as const;
  });
  const known = (await Promise.all(read)).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return known.length > 0 ? Object.fromEntries(known) : undefined;
}

/** Undefined without an NVMe driver. */
export async function readNvme(reader: PartReader): Promise<NvmeController[] | undefined> {
  const devices = await reader.names(nvme, /^nvme\d{1,4}$/);
  if (!devices) return undefined;
  const read = devices.slice(0, controllersMax).map(async (device) => {
    const file = async (name: string) =>
      parseTextLine((await reader.attribute(`${nvme}/${device}/${name}`)) ?? '');
    const names = ['firmware_rev', 'model', 'serial', 'state', 'cntlid'];
    const [firmwareRevision = '', model = '', serial = '', state = '', cntlid = ''] = await Promise.all(
      names.map(file),
    );
    return { device, firmwareRevision, model, serial, state, cntlid };
  });
  return Promise.all(read);
}

export async function readDiskInfos(
  reader: PartReader,
  rare: Rare,
  disks: readonly DiskStats[],
): Promise<DiskInfo[]> {
  const read = disks.slice(0, disksMax).map(({ device, major, minor }) =>
    rare.get(`disk ${device} ${major}:${minor}`, async (): Promise<DiskInfo> => {
      const [udev, rotational] = await Promise.all([
        reader.parsed(`/run/udev/data/b${major}:${minor}`, parseUdev, { once: true }),
        reader.attribute(`/sys/dev/block/${major}:${minor}/queue/rotational`),
      ]);
      return { device, udev: udev ?? {}, rotational: rotational === '1' };
    }),
  );
  return (await Promise.all(read)).filter((info) => info !== undefined);
}

export function parseUdev(text: string, problem: (what: string) => void): Record<string, string> {
  const properties = hostileRecord<string>();
  for (const line of boundedLines(text, udevLinesMax, problem)) {
    const [, name, value] = udevFields.exec(line) ?? [];
    if (name !== undefined && value !== undefined) properties[name] = value.slice(0, udevCharsMax);
  }
  return properties;
}
