// What one host costs the client that watches it: Outrigger against go-libvirt and against libvirt's C library, in the same run, on
// a real lab host with real QEMU guests and on simulated hosts. Prints tables and which bounds held; JSON goes beside. Ends with 1
// when a bound did not hold. It counts CPU of clients only: what libvirtd and sshd need is the same for all.
//   npm run bench:peers            (as root for the lab host and for packages that are missing; --help tells the rest)
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pollUser } from '../lab/files.js';
import { raiseLab } from '../lab/lab.js';
import { labPossible } from '../lab/possible.js';
import { must } from '../lab/run.js';
import { statsFlag, statsGroupsDefault } from '../src/libvirt/stats.js';
import { type SimFleet, simFleet } from '../src/sim/fleet.js';
import type { Target } from './peers/client.js';
import { type Commands, type Ground, type Memory, measureGround, measureMemory } from './peers/measure.js';
import { peerCommands, versionOf } from './peers/needs.js';
import { groundTable, judge, memoryTable, type Result, verdictTable } from './peers/report.js';

const usage = `usage: npm run bench:peers -- [--guests 40] [--rounds 7] [--no-lab] [--no-sim] [--out bench/results]`;

const socket = '/run/libvirt/libvirt-sock-ro';
const asked = { socket, groups: statsGroupsDefault, flags: statsFlag.nowait };
const simVms = 50;
const simHosts = 50;
const memorySteps = 3;
const guestStartMs = 180_000;
const guestBootMs = 600_000;
const labRounds = { connects: 4, polls: 10, settling: { connects: 150, polls: 30 } };
const simRounds = { connects: 20, polls: 10, settling: { connects: 150, polls: 10 } };

const root = fileURLToPath(new URL('..', import.meta.url));
const flags = [
  '--expose-gc',
  // Where room for young objects (MiB) is as large as what the few old ones of so small a process may grow by, V8 never stops marking.
  '--max-semi-space-size=4',
  '--single-threaded-gc',
  '--use-largepages=silent',
];
const say = (line: string) =>
  void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

/** Our client compiled as the service is: tsx would have every function that is made named first. */
async function built(dir: string): Promise<string[]> {
  const out = join(dir, 'ours');
  await must([join(root, 'node_modules/.bin/tsc'), '-p', join(root, 'bench/peers'), '--outDir', out]);
  await symlink(join(root, 'node_modules'), join(out, 'node_modules'));
  await copyFile(join(root, 'package.json'), join(out, 'package.json'));
  return [process.execPath, ...flags, join(out, 'bench/peers/ours.js')];
}

/** A lab host with real guests. The C library's way runs a command there, so it gets a key of its own that may. */
async function onLab(
  commands: Commands,
  { guests, rounds, warmOn }: { guests: number; rounds: number; warmOn: Target },
  dir: string,
): Promise<Ground> {
  say(`raising a host with ${guests} guests`);
  await using lab = await raiseLab({
    name: `bench-peers-${process.pid}`,
    hosts: 1,
    guests: Array.from({ length: guests }, (_, index) => ({ name: `vm-${index + 1}`, start: false })),
    waitForGuests: false,
    sshd: { logLevel: 'INFO' },
  });
  const [host] = lab.hosts;
  if (!host) throw new Error('no host');
  for (const guest of host.guests) {
    const started = await host.exec(['virsh', '-q', 'start', guest], { timeoutMs: guestStartMs });
    if (started.code !== 0) throw new Error(started.stderr);
  }
  say('guests are started');
  await Promise.all(host.guests.map((guest) => host.guestReady(guest, guestBootMs)));
  say('guests have booted');
  // Emulated guests keep the machine busy when they idle, too. QEMU's monitor answers for suspended ones all the same.
  for (const guest of host.guests) await host.virsh('suspend', guest);
  const keyFile = join(dir, 'bench_key');
  await must(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', keyFile]);
  const publicKey = await readFile(`${keyFile}.pub`, 'utf8');
  const authorize = `printf %s "$0" >> /home/${pollUser}/.ssh/authorized_keys`;
  const added = await host.exec(['sh', '-c', authorize, publicKey]);
  if (added.code !== 0) throw new Error(added.stderr);
  const sshDir = join(dir, 'ssh');
  await mkdir(sshDir, { mode: 0o700 });
  await copyFile(host.knownHostsFile, join(sshDir, 'known_hosts'));
  const target: Target = {
    ...asked,
    hosts: [{ address: host.address, port: host.port }],
    user: pollUser,
    keyFile,
    knownHosts: host.knownHostsFile,
    via: 'qemu+ssh',
    dir,
  };
  const c = commands.c && withKnownHosts(sshDir, commands.c);
  return await measureGround({ ...commands, ...(c && { c }) }, target, { ...labRounds, rounds, warmOn }, say);
}

/** ssh takes known_hosts from the user's home alone, and libvirt cannot name another: this process sees ours there. */
function withKnownHosts(sshDir: string, command: readonly string[]): string[] {
  const script = 'mkdir -p ~/.ssh && mount --bind "$0" ~/.ssh && exec "$@"';
  return ['unshare', '--mount', 'sh', '-c', script, sshDir, ...command];
}

async function onSim(
  commands: Commands,
  target: Target,
  rounds: number,
): Promise<Pick<Result, 'sim' | 'memory'>> {
  say('simulated hosts: CPU');
  const sim = await measureGround(commands, target, { ...simRounds, rounds, warmOn: target }, say);
  const memory: Record<string, Memory> = {};
  for (const [name, command] of Object.entries(commands)) {
    say(`simulated hosts: memory of ${name}`);
    const steps = { steps: memorySteps, hosts: simHosts };
    memory[name] = await measureMemory(name as keyof Commands, command, target, steps);
  }
  return { sim, memory };
}

function simTarget(fleet: SimFleet, dir: string): Target {
  return {
    ...asked,
    hosts: fleet.hosts.map(({ address, port }) => ({ address, port })),
    user: 'outrigger',
    keyFile: fleet.pollKeyFile,
    knownHosts: fleet.knownHostsFile,
    via: 'forwarded',
    dir,
  };
}

function machine(): Record<string, string> {
  const [cpu] = cpus();
  return {
    cpu: `${cpus().length} × ${cpu?.model ?? 'unknown'}`,
    kernel: versionOf('uname', '-r'),
    node: process.version,
    go: versionOf('/usr/bin/go', 'version').replace('go version ', ''),
    libvirt: versionOf('/usr/sbin/libvirtd', '--version'),
    openssh: versionOf('sh', '-c', 'ssh -V 2>&1'),
    at: new Date().toISOString(),
  };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      guests: { type: 'string', default: '40' },
      rounds: { type: 'string', default: '7' },
      'no-lab': { type: 'boolean', default: false },
      'no-sim': { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench/results' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const dir = await mkdtemp(join(tmpdir(), 'outrigger-bench-'));
  let fleet: SimFleet | undefined;
  try {
    const commands: Commands = { ours: await built(dir), ...peerCommands(dir, say) };
    fleet = await simFleet({ hosts: simHosts, vms: simVms, seed: 1, dir: join(dir, 'sim') });
    const sim = simTarget(fleet, dir);
    const result: Result = { machine: machine(), memory: {} };
    const rounds = Number(values.rounds);
    const possible = labPossible();
    const lab = { guests: Number(values.guests), rounds, warmOn: sim };
    if (values['no-lab']) say('no lab host: --no-lab');
    else if (!possible.ok) say(`no lab host: ${possible.why}`);
    else result.lab = await onLab(commands, lab, dir);
    if (!values['no-sim']) Object.assign(result, await onSim(commands, sim, rounds));
    return await report(result, resolve(values.out));
  } finally {
    await fleet?.close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function report(result: Result, out: string): Promise<number> {
  const verdicts = judge(result);
  for (const [what, value] of Object.entries(result.machine)) console.log(`${what}: ${value}`);
  if (result.lab) console.log(`\n${groundTable('Real host', result.lab)}`);
  if (result.sim) console.log(`\n${groundTable('Simulated hosts', result.sim)}`);
  if (result.memory.ours) console.log(`\n${memoryTable(result.memory)}`);
  console.log(`\n${verdictTable(verdicts)}`);
  const file = join(out, 'peers.json');
  await mkdir(out, { recursive: true });
  await writeFile(file, `${JSON.stringify({ ...result, verdicts }, undefined, 2)}\n`);
  console.log(`\n${file}`);
  return verdicts.some(({ held }) => held === false) ? 1 : 0;
}

process.exitCode = await main();
