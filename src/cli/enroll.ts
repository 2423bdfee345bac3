// `outrigger enroll`: how a host becomes known. It shows the keys that the host offers, stores them only on --yes, and
// prints the authorized_keys lines that confine our two keys there. It refuses to write anything on the host, and to
// replace a stored key: a changed key is for a person to look into.
import { sshTarget } from '../fleet/transport.js';
import type { Host } from '../inventory/host.js';
import type { SshTarget } from '../ssh/connect.js';
import { shortType } from '../ssh/host-key.js';
import { readPublicKey } from '../ssh/keys.js';
import { KnownHosts, type KnownHostsVerdict, knownHostsName } from '../ssh/known-hosts.js';
import { fetchHostKeys, type OfferedKey } from '../ssh/scan.js';
import { type AuthorizedKey, authorizedKeys } from './authorized-keys.js';
import { type Environment, learnedKeysFile, noSuchHost, readConfiguration } from './configuration.js';
import { fittedTable, painter, printable, widthOf } from './output.js';

type Standing = KnownHostsVerdict['standing'];
type ShownKey = OfferedKey & { standing: Standing; at?: string | undefined };
type Hop = { title: string; address: string; port: number; file: string; keys: ShownKey[] };
type Outcome = 'known' | 'stored' | 'not-stored' | 'refused';
type Result = { hops: Hop[]; outcome: Outcome };

export async function enroll(
  env: Environment,
  name: string,
  options: { yes?: boolean; json?: boolean },
): Promise<number> {
  const configuration = await readConfiguration(env);
  if (!configuration) return 1;
  const { settings, inventory } = configuration;
  const host = inventory.hosts.find((host) => host.name === name);
  if (!host) {
    process.stderr.write(noSuchHost(name, settings));
    return 1;
  }
  if (host.connection === 'local') {
    process.stdout.write(`${name} is reached through the local socket: there is nothing to enroll.\n`);
    return 0;
  }
  const target = sshTarget(host, 'poll', learnedKeysFile(settings));
  const result = await learn(target, options.yes ?? false);
  const lines = await authorizedKeys(host, readPublicKey);
  if (options.json) process.stdout.write(`${JSON.stringify(asJson(result, lines), null, 2)}\n`);
  else print(host, result, lines);
  return result.outcome === 'known' || result.outcome === 'stored' ? 0 : 1;
}

/** Looks at each hop on the way and stores what is new, when told to; stops at the first that is not known after that. */
async function learn(target: SshTarget, store: boolean): Promise<Result> {
  const hops: Hop[] = [];
  let outcome: Outcome = 'known';
  for (const hop of hopsOf(target)) {
    const shown = await look(hop, hop === target ? target.host : `jump host ${hop.address}`);
    hops.push(shown);
    if (shown.keys.some(({ standing }) => standing === 'mismatch' || standing === 'revoked')) {
      return { hops, outcome: 'refused' };
    }
    const unknown = shown.keys.filter(({ standing }) => standing === 'unknown');
    if (unknown.length === 0) continue;
    if (!store) return { hops, outcome: 'not-stored' };
    for (const key of unknown) await KnownHosts.append(shown.file, shown.address, shown.port, key.blob);
    outcome = 'stored';
  }
  return { hops, outcome };
}

/** The way to the target, outermost jump host first, the target last; each is reached through those before it. */
function hopsOf(target: SshTarget): SshTarget[] {
  const jumps = target.jump ?? [];
  return [...jumps.map((jump, at) => ({ ...jump, jump: jumps.slice(0, at) })), target];
}

async function look(hop: SshTarget, title: string): Promise<Hop> {
  const [file = ''] = hop.knownHostsFiles;
  const offered = await fetchHostKeys(hop);
  const known = await KnownHosts.load([file]);
  const keys = offered.map((key) => {
    const { standing, entry, at } = known.check(hop.address, hop.port, key.blob);
    const newType = standing === 'mismatch' && entry?.type !== key.type;
    return { ...key, standing: newType ? ('unknown' as const) : standing, at: newType ? undefined : at };
  });
  return { title, address: hop.address, port: hop.port, file, keys };
}

const keyColumns = [{ title: '' }, { title: '' }, { title: '' }];

function print(host: Host, { hops, outcome }: Result, lines: AuthorizedKey[]): void {
  const paint = painter(process.stdout);
  const say: Record<Standing, (key: ShownKey) => string> = {
    match: ({ at }) => paint('green', `known, ${at}`),
    unknown: () => (outcome === 'stored' ? paint('green', 'stored') : paint('yellow', 'not known')),
    mismatch: ({ at }) => paint('red', `CHANGED: another key is in ${at}`),
    revoked: ({ at }) => paint('red', `REVOKED in ${at}`),
  };
  for (const { title, address, port, keys } of hops) {
    process.stdout.write(
      `${paint('bold', printable(title))} (${knownHostsName(address, port)}) shows these SSH host keys:\n\n`,
    );
    const rows = keys.map((key) => [`  ${shortType(key.type)}`, key.fingerprint, say[key.standing](key)]);
    process.stdout.write(`${fittedTable(keyColumns, rows, { width: widthOf(process.stdout), paint })}\n`);
  }
  const last = hops.at(-1);
  if (outcome === 'refused') {
    process.stdout.write(
      `${paint('red', 'Stored nothing.')} A changed key means a reinstalled host, or somebody in between. Compare it on the host's
console; if it is right, remove the old one and enroll again:

  ssh-keygen -R '${last && knownHostsName(last.address, last.port)}' -f ${last?.file}

`,
    );
    return;
  }
  if (outcome === 'not-stored') {
    process.stdout.write(`Stored nothing yet. Compare the fingerprints with the ones on the host's console:

  for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf "$f"; done

and store them with:

  outrigger enroll ${host.name} --yes

`);
  }
  if (outcome === 'stored') process.stdout.write(`Stored in ${last?.file}.\n\n`);
  for (const line of lines) printLine(host, line);
  process.stdout.write(`Then look it over: outrigger check ${host.name}\n`);
}

function printLine(host: Host, { purpose, user, line, setup, note }: AuthorizedKey): void {
  process.stdout.write(`On ${host.name}, as root, for ${purpose}:\n\n`);
  if (!line) {
    process.stdout.write(`  ${note}\n\n`);
    return;
  }
  for (const command of setup) process.stdout.write(`  ${command}\n`);
  process.stdout.write(`\nand this one line in ~${user}/.ssh/authorized_keys:\n\n${line}\n\n`);
}

function asJson({ hops, outcome }: Result, lines: AuthorizedKey[]): unknown {
  return {
    outcome,
    hops: hops.map(({ keys, ...hop }) => ({ ...hop, keys: keys.map(({ blob: _, ...key }) => key) })),
    authorizedKeys: lines,
  };
}
