// /sys/class/net: what each network device is, and whether it is up. Some twenty files a device: read rarely, and at once when
// the device's state or the count of its carrier changes has moved. Devices of guests are many, and alike but for a few files: those
// are read, once unless they changed, and looked at as rarely as others are read. It refuses to ask in each poll for what grows
// with the number of guests.
import { recurring } from '../../core/recurring.js';
import type { PartReader } from '../part-reader.js';
import { hex, integer } from '../proc/text.js';
import { allOf, type Rare } from '../rare.js';

export type NetClass = {
  device: string;
  /** As the kernel has them; what the driver does not know is absent. Speed in Mbit/s, -1 when unknown. */
  values: Partial<Record<NetClassField, number>>;
} & Record<NetClassText, string>;

const decimalFields = [
  'addr_assign_type',
  'carrier',
  'carrier_changes',
  'carrier_down_count',
  'carrier_up_count',
  'dormant',
  'ifindex',
  'iflink',
  'link_mode',
  'mtu',
  'name_assign_type',
  'netdev_group',
  'speed',
  'tx_queue_len',
  'type',
] as const;
const hexFields = ['dev_id', 'flags'] as const;
export type NetClassField = (typeof decimalFields)[number] | (typeof hexFields)[number];

const textFields = ['address', 'broadcast', 'duplex', 'ifalias', 'operstate'] as const;
type NetClassText = (typeof textFields)[number];

type Wanted = { numbers: readonly NetClassField[]; texts: readonly NetClassText[] };

const ofHostsDevice: Wanted = { numbers: [...decimalFields, ...hexFields], texts: textFields };
/** What the driver says of all its devices alike is left out: speed, duplex, type and so on. */
const ofGuestsDevice: Wanted = {
  numbers: ['carrier', 'carrier_changes', 'flags', 'ifindex', 'mtu', 'tx_queue_len'],
  texts: ['address', 'operstate'],
};

const devicesMax = 512;
/** Looked at in each poll; others when they are read anew. */
const devicesWatchedMax = 32;
/** Read in one poll: each is two dozen requests, on hosts that have a hundred of them. */
const oneAtATime = { atMost: 1 };
const ofGuests = /^(vnet|tap|veth|macvtap|fwpr|fwln)\d/;

export async function readNetClass(
  reader: PartReader,
  rare: Rare,
  devices: readonly string[],
): Promise<NetClass[]> {
  const usable = devices.filter(isFileName).slice(0, devicesMax);
  const looked = new Set(watched(usable));
  const all = await allOf(
    usable.map((device) =>
      ofGuests.test(device)
        ? guestsDevice(reader, rare, device)
        : hostsDevice(reader, rare, device, looked.has(device)),
    ),
  );
  return all.filter((device) => device !== undefined);
}

async function hostsDevice(
  reader: PartReader,
  rare: Rare,
  device: string,
  isWatched: boolean,
): Promise<NetClass | undefined> {
  const now = isWatched ? await readChanges(reader, device, { often: true }) : {};
  return rare.get(`netclass ${device}`, () => readDevice(reader, device, ofHostsDevice), {
    isOld: (kept) => hasChanged(kept, now),
  });
}

function guestsDevice(
  reader: PartReader,
  rare: Rare,
  device: string,
): Promise<NetClass | undefined> | NetClass | undefined {
  const read = async (before: NetClass | undefined) => {
    if (!before) return readDevice(reader, device, ofGuestsDevice);
    const now = await readChanges(reader, device, { often: false });
    const isSame = now.operstate !== undefined && !hasChanged(before, now);
    return isSame ? before : readDevice(reader, device, ofGuestsDevice);
  };
  return rare.get(`tap ${device}`, read, oneAtATime);
}

type Changes = { operstate?: string | undefined; changes?: string | undefined };

async function readChanges(
  reader: PartReader,
  device: string,
  options: { often: boolean },
): Promise<Changes> {
  const [operstate, changes] = await Promise.all(
    ['operstate', 'carrier_changes'].map((name) =>
      reader.attribute(`/sys/class/net/${device}/${name}`, options),
    ),
  );
  return { operstate, changes };
}

/** What could not be read says nothing. */
function hasChanged(kept: NetClass, { operstate, changes }: Changes): boolean {
  return (
    (operstate !== undefined && operstate !== kept.operstate) ||
    (changes !== undefined && integer(changes) !== kept.values.carrier_changes)
  );
}

async function readDevice(
  reader: PartReader,
  device: string,
  { numbers, texts }: Wanted,
): Promise<NetClass | undefined> {
  const told = await Promise.all(
    [...numbers, ...texts].map((name) => reader.attribute(`/sys/class/net/${device}/${name}`)),
  );
  const net: NetClass = {
    device,
    values: {},
    address: '',
    broadcast: '',
    duplex: '',
    ifalias: '',
    operstate: '',
  };
  for (const [index, name] of numbers.entries()) {
    const value = isHex(name) ? hex(told[index]) : integer(told[index]);
    if (value !== undefined) net.values[name] = value;
  }
  for (const [index, name] of texts.entries()) {
    const text = told[numbers.length + index] ?? '';
    net[name] = name === 'address' ? text : recurring(text);
  }
  // A device has it as long as it is there.
  return net.operstate === '' ? undefined : net;
}

function isHex(name: NetClassField): boolean {
  return (hexFields as readonly string[]).includes(name);
}

/** Packets that no protocol wanted, by device: the one counter that /proc/net/dev does not show. */
export async function readNoHandler(
  reader: PartReader,
  devices: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  await Promise.all(
    watched(devices.filter(isFileName)).map(async (device) => {
      const path = `/sys/class/net/${device}/statistics/rx_nohandler`;
      const count = integer(await reader.attribute(path, { often: true }));
      if (count !== undefined) counts.set(device, count);
    }),
  );
  return counts;
}

function watched(devices: readonly string[]): string[] {
  return devices.filter((device) => !ofGuests.test(device)).slice(0, devicesWatchedMax);
}

/** Names come from a file of the host: they must not lead elsewhere. */
function isFileName(name: string): boolean {
  return !name.includes('/') && name !== '.' && name !== '..';
}
