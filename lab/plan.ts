// What a lab host is to become, and its files on disk. It starts nothing.
import { existsSync } from 'node:fs';
import { chown, copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  authorizedKeys,
  domainXml,
  type GuestSpec,
  hasSecondDisk,
  libvirtdConf,
  opsUid,
  opsUser,
  pollUid,
  pollUser,
  qemuConf,
  type SshdOptions,
  sshdConfig,
  withLabUsers,
} from './files.js';
import { must } from './run.js';

export type HostPlan = {
  /** The lab's name and the beginning of its id: never the same twice. */
  tag: string;
  /** The host's own directory; it appears as /run/lab inside the host. */
  dir: string;
  name: string;
  number: number;
  address: string;
  subnet: number;
  uuid: string;
  image: string;
  /** What libvirt found out about QEMU on an earlier host: saves a second of probing. May not exist yet. */
  capabilities: string;
  guests: readonly GuestSpec[];
  firstGuestNumber: number;
  sshd: SshdOptions;
  opensshVersion: number;
  pollKeyFile: string;
  opsKeyFile: string;
  knownHostsFile: string;
  signal?: AbortSignal | undefined;
};

const here = dirname(fileURLToPath(import.meta.url));

export const bridgeName = (subnet: number) => `orl${subnet}`;
export const cgroupName = (tag: string) => `outrigger-lab.${tag}`;
/** On bridges and packet filter rules: what carries it belongs to that lab. */
export const labMark = (tag: string) => `outrigger-lab:${tag}`;
export const bridgeAddress = (subnet: number) => `198.18.${subnet}.1`;

const directories = [
  'etc/libvirt/qemu/networks',
  'etc/libvirt/nwfilter',
  'lib/images',
  'lib/qemu',
  'cache',
  'log/libvirt/qemu',
  'ssh',
  'guests',
  `home/${pollUser}/.ssh`,
  `home/${opsUser}/.ssh`,
];

export async function writeHostFiles(plan: HostPlan): Promise<void> {
  const at = (...parts: string[]) => join(plan.dir, ...parts);
  await mkdir(plan.dir, { recursive: true, mode: 0o700 });
  await Promise.all(directories.map((path) => mkdir(at(path), { recursive: true })));
  const [passwd, group, shadow] = await Promise.all(
    ['/etc/passwd', '/etc/group', '/etc/shadow'].map((path) => readFile(path, 'utf8')),
  );
  const accounts = withLabUsers({ passwd: passwd ?? '', group: group ?? '', shadow: shadow ?? '' });
  await Promise.all([
    writeFile(at('etc/passwd'), accounts.passwd),
    writeFile(at('etc/group'), accounts.group),
    writeFile(at('etc/shadow'), accounts.shadow, { mode: 0o600 }),
    writeFile(at('etc/hostname'), `${plan.name}\n`),
    writeFile(at('etc/machine-id'), `${plan.uuid.replaceAll('-', '')}\n`),
    writeFile(at('etc/libvirt/libvirtd.conf'), libvirtdConf(plan.uuid)),
    writeFile(at('etc/libvirt/qemu.conf'), qemuConf),
    writeFile(at('ssh/sshd_config'), sshdConfig(plan.address, plan.sshd, plan.opensshVersion)),
    writeFile(at('log/sshd.log'), '', { mode: 0o600 }),
    copyFile(join(here, 'host.sh'), at('host.sh')),
    makeHostKeys(plan),
    writeUserKeys(plan, 'restored'),
    ...(existsSync(plan.capabilities) ? [cp(plan.capabilities, at('cache'), { recursive: true })] : []),
    ...plan.guests.map((guest, index) => writeGuest(plan, guest, index)),
  ]);
}

async function writeGuest(plan: HostPlan, guest: GuestSpec, index: number): Promise<void> {
  const hex = (value: number) => value.toString(16).padStart(2, '0');
  const place = {
    bridge: bridgeName(plan.subnet),
    tap: `${bridgeName(plan.subnet)}h${plan.number}g${index + 1}`,
    mac: `52:54:00:${hex(plan.subnet)}:${hex(plan.number)}:${hex(index + 1)}`,
    ip: `198.18.${plan.subnet}.${plan.firstGuestNumber + index}`,
    peer: bridgeAddress(plan.subnet),
  };
  const images = join(plan.dir, 'lib/images');
  await writeFile(join(plan.dir, 'guests', `${guest.name}.xml`), domainXml(guest, place));
  await copyFile(join(plan.image, 'data.qcow2'), join(images, `${guest.name}.qcow2`));
  if (hasSecondDisk(guest.name)) {
    await must(['truncate', '-s', '16M', join(images, `${guest.name}-data.raw`)]);
  }
}

/** Two new host keys, an ed25519 and an ecdsa one. */
export async function makeHostKeys(plan: HostPlan): Promise<void> {
  await Promise.all(
    ['ed25519', 'ecdsa'].map(async (type) => {
      const file = join(plan.dir, 'ssh', `ssh_host_${type}_key`);
      await Promise.all([rm(file, { force: true }), rm(`${file}.pub`, { force: true })]);
      await must(['ssh-keygen', '-q', '-t', type, '-N', '', '-C', plan.name, '-f', file]);
    }),
  );
}

/** The host's lines for a known_hosts file, of the keys it has now. */
export async function knownHostsLines(plan: HostPlan): Promise<string> {
  const keys = await Promise.all(
    ['ed25519', 'ecdsa'].map((type) => readFile(join(plan.dir, 'ssh', `ssh_host_${type}_key.pub`), 'utf8')),
  );
  return keys.map((key) => `${plan.address} ${key.split(' ').slice(0, 2).join(' ')}\n`).join('');
}

export async function writeUserKeys(plan: HostPlan, state: 'restored' | 'removed'): Promise<void> {
  const publicKey = async (file: string) => (await readFile(`${file}.pub`, 'utf8')).trim();
  const [poll, ops] = await Promise.all([publicKey(plan.pollKeyFile), publicKey(plan.opsKeyFile)]);
  const lines = authorizedKeys(poll, ops, plan.sshd);
  const write = async (user: string, uid: number, text: string) => {
    const directory = join(plan.dir, 'home', user, '.ssh');
    const file = join(directory, 'authorized_keys');
    await writeFile(file, state === 'restored' ? text : '', { mode: 0o600 });
    for (const path of [dirname(directory), directory, file]) await chown(path, uid, uid);
  };
  await write(pollUser, pollUid, lines.poll);
  await write(opsUser, opsUid, lines.ops);
}
