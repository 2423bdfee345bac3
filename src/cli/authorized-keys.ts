// The authorized_keys lines that confine our keys on a host: the polling key reads libvirt's read-only socket and files, the
// jobs key reaches libvirt's read-write socket, and neither can run a command. It refuses to offer a line that gives more.
import { summary } from '../core/errors.js';
import { socketFor } from '../fleet/transport.js';
import { type Host, hasJobsKey } from '../inventory/host.js';

export type AuthorizedKey = {
  purpose: 'watching' | 'jobs';
  user: string;
  /** The line; absent where we do not know the key. */
  line?: string;
  /** Commands that make the user, for root on the host. */
  setup: string[];
  /** Why there is no line. */
  note?: string;
};

type ReadPublicKey = (host: string, file: string, passphraseFile?: string) => Promise<string>;

export async function authorizedKeys(host: Host, readPublicKey: ReadPublicKey): Promise<AuthorizedKey[]> {
  const { ssh } = host;
  const watching = await one('watching', host, ssh.user, ssh.keyFile, readPublicKey);
  if (!host.ops || !hasJobsKey(host)) return [watching];
  return [watching, await one('jobs', host, ssh.opsUser ?? ssh.user, ssh.opsKeyFile, readPublicKey)];
}

async function one(
  purpose: AuthorizedKey['purpose'],
  host: Host,
  user: string,
  keyFile: string | undefined,
  readPublicKey: ReadPublicKey,
): Promise<AuthorizedKey> {
  const setup = makeUser(user, purpose === 'jobs');
  if (!keyFile) {
    const note =
      'the key is in an SSH agent: take its line from `ssh-add -L`, and put these options before it:';
    return { purpose, user, setup, note: `${note} ${options(purpose, host)}` };
  }
  try {
    const key = await readPublicKey(host.name, keyFile, host.ssh.keyPassphraseFile);
    return { purpose, user, setup, line: `${options(purpose, host)} ${key}` };
  } catch (error) {
    return { purpose, user, setup, note: summary(error) };
  }
}

function options(purpose: AuthorizedKey['purpose'], host: Host): string {
  const sockets = socketsOf(host, purpose === 'watching');
  const permits = sockets.map((path) => `permitopen="[${path}]:*"`);
  const command = purpose === 'watching' ? 'internal-sftp -R' : '/bin/false';
  return ['restrict', 'port-forwarding', ...permits, `command="${command}"`].join(',');
}

/** Both daemons' sockets where the inventory leaves the choice to us: a host has one of them. */
function socketsOf({ libvirt: { socket } }: Host, readOnly: boolean): string[] {
  if (socket !== 'auto') return [socketFor(socket, readOnly)];
  const suffix = readOnly ? '-ro' : '';
  return [`/run/libvirt/libvirt-sock${suffix}`, `/run/libvirt/virtqemud-sock${suffix}`];
}

/** A system user without a password who is not locked out: a locked one is refused where UsePAM is off. */
function makeUser(user: string, inLibvirtGroup: boolean): string[] {
  const group = inLibvirtGroup ? ' --groups libvirt' : '';
  return [
    `useradd --system --create-home --shell /usr/sbin/nologin --password '*'${group} ${user}`,
    `install -d -m 0700 -o ${user} -g ${user} ~${user}/.ssh`,
  ];
}
