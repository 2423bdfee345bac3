// One lab host: raises its namespaces and daemons, and breaks and mends them on request. It refuses to act on processes of the machine:
// whatever it signals lives in the host's own process namespace.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cgroupName, type HostPlan, labMark, makeHostKeys, writeHostFiles, writeUserKeys } from './plan.js';
import { must, type RunOptions, type RunResult, run, waitUntil } from './run.js';

export type LabHost = {
  readonly name: string;
  readonly address: string;
  readonly port: 22;
  readonly guests: readonly string[];
  readonly uuid: string;
  readonly pollKeyFile: string;
  readonly opsKeyFile: string;
  readonly knownHostsFile: string;
  readonly sshdLogFile: string;
  /** The host's syslog: with `sshd: { sftpLog: true }` every file opened and every write refused over SFTP. */
  readonly syslogFile: string;
  /** Runs a program inside the host, as root. Resolves with any exit code; rejects at the deadline (default 30 s). */
  exec(argv: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** virsh on the host; rejects with virsh's words when it fails. */
  virsh(...args: string[]): Promise<string>;
  /** Numbers, as the machine sees them, of the host's processes whose name begins with `name`. */
  pids(name: string): number[];
  stopLibvirtd(): Promise<void>;
  startLibvirtd(): Promise<void>;
  restartLibvirtd(): Promise<void>;
  pauseLibvirtd(): void;
  resumeLibvirtd(): void;
  /** Ends the listener and every session. */
  killSshd(): Promise<void>;
  startSshd(): Promise<void>;
  /** New host keys, the known_hosts file unchanged, all of sshd ended and started again. */
  rotateHostKeys(): Promise<void>;
  /** Empties both users' authorized_keys; sessions that are open stay. */
  removeKeys(): Promise<void>;
  restoreKeys(): Promise<void>;
  /** Drops every packet to and from the address: open connections become half-open, new ones get no answer. */
  dropPackets(): Promise<void>;
  acceptPackets(): Promise<void>;
  /**
   * Stops the guest's QEMU process (SIGSTOP), so that its monitor never answers. The first monitor call then hangs in libvirtd, NOWAIT or not,
   * and holds the guest's job; from then on NOWAIT calls pass without the guest's monitor figures, and others fail after 30 s.
   * With `jobHeld` that first call has been made here already.
   */
  stickGuest(guest: string, options?: { jobHeld?: boolean }): Promise<void>;
  unstickGuest(guest: string): void;
  /** Resolves when the guest has booted since its last start, and libvirt is connected with its agent, if it has one. */
  guestReady(guest: string, timeoutMs?: number): Promise<void>;
  /** Ends every process of the host; its files go with the lab. */
  down(): Promise<void>;
};

const daemonStartMs = 45_000;
const daemonStopMs = 15_000;
const guestStartMs = 90_000;
const guestBootMs = 120_000;
const connectedAgent = `name='org.qemu.guest_agent.0' state='connected'`;

/** Writes the host's files, makes its namespaces and waits until libvirtd answers and its guests are started. */
export async function raiseHost(plan: HostPlan): Promise<{ host: LabHost; libvirtVersion: string }> {
  const { signal } = plan;
  await writeHostFiles(plan);
  await enter(plan);
  const host = controls(plan);
  const commands = plan.guests.flatMap((guest) => [
    `define /run/lab/guests/${guest.name}.xml`,
    ...(guest.start === false ? [] : [`start ${guest.name}`]),
  ]);
  const script = ['version', ...commands].join('; ');
  const words = await must(inside(plan, ['virsh', '-q', script]), { timeoutMs: guestStartMs, signal });
  return { host, libvirtVersion: /libvirt (\d+\.\d+\.\d+)/.exec(words)?.[1] ?? '?' };
}

async function enter(plan: HostPlan): Promise<void> {
  const log = openSync(join(plan.dir, 'host.log'), 'a', 0o600);
  const argv = [join(plan.dir, 'host.sh'), 'enter', plan.dir, plan.name, cgroupName(plan.tag), plan.image];
  const child = spawn('/bin/bash', argv, { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  let ended = false;
  child.once('exit', () => {
    ended = true;
  });
  child.once('error', () => {
    ended = true;
  });
  child.unref();
  await waitUntil(
    `${plan.name} to start its daemons (see ${plan.dir}/host.log)`,
    () => {
      if (ended) {
        const words = readFileSync(join(plan.dir, 'host.log'), 'utf8').trim().slice(-1000);
        throw new Error(`${plan.name} ended while it started: ${words}`);
      }
      return existsSync(join(plan.dir, 'ready'));
    },
    { timeoutMs: daemonStartMs, signal: plan.signal },
  );
}

/** The number of the host's first process, or undefined when the host is not running. */
function initPid(dir: string): number | undefined {
  try {
    const [pid, ticks] = readFileSync(join(dir, 'init.pid'), 'utf8').trim().split(' ');
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[19] === ticks && fields[0] !== 'Z' ? Number(pid) : undefined;
  } catch {
    return undefined;
  }
}

/** The words that run a program inside the host. */
function inside(plan: { name: string; dir: string }, argv: readonly string[]): string[] {
  const pid = initPid(plan.dir);
  if (pid === undefined) throw new Error(`${plan.name} is not running`);
  return [
    'nsenter',
    '--target',
    String(pid),
    '--mount',
    '--root',
    '--uts',
    '--pid',
    '--cgroup',
    '--wd=/',
    '--',
    ...argv,
  ];
}

function processesOf(dir: string): { pid: number; name: string }[] {
  const init = initPid(dir);
  if (init === undefined) return [];
  const namespace = readlinkSync(`/proc/${init}/ns/pid`);
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        if (readlinkSync(`/proc/${entry}/ns/pid`) !== namespace) return [];
        return [{ pid: Number(entry), name: readFileSync(`/proc/${entry}/comm`, 'utf8').trim() }];
      } catch {
        return [];
      }
    });
}

function send(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** The controls of a host that is running already. */
export function controls(plan: HostPlan): LabHost {
  const pids = (name: string) =>
    processesOf(plan.dir)
      .filter((found) => found.name.startsWith(name))
      .map((found) => found.pid);
  const exec = (argv: readonly string[], options?: RunOptions) => run(inside(plan, argv), options);
  const start = (daemon: string) =>
    must(inside(plan, ['/bin/bash', '/run/lab/host.sh', 'start', daemon]), { timeoutMs: daemonStartMs });
  const end = async (name: string, signal: NodeJS.Signals) => {
    send(pids(name), signal);
    await waitUntil(`${plan.name}: the end of ${name}`, () => pids(name).length === 0, {
      timeoutMs: daemonStopMs,
    });
  };
  const qemu = (guest: string) => {
    const found = pids('qemu').filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`\0guest=${guest},`),
    );
    if (found.length === 0) throw new Error(`${plan.name}: ${guest} is not running`);
    return found;
  };
  const rules = [
    ['INPUT', '-i', 'lo', '-d', plan.address],
    ['INPUT', '-i', 'lo', '-s', plan.address],
  ].map((rule) => [...rule, '-m', 'comment', '--comment', labMark(plan.tag), '-j', 'DROP']);
  const accept = async () => {
    for (const rule of rules) {
      while ((await run(['iptables', '-w', '5', '-C', ...rule])).code === 0)
        await must(['iptables', '-w', '5', '-D', ...rule]);
    }
  };

  const host: LabHost = {
    name: plan.name,
    address: plan.address,
    port: 22,
    guests: plan.guests.map((guest) => guest.name),
    uuid: plan.uuid,
    pollKeyFile: plan.pollKeyFile,
    opsKeyFile: plan.opsKeyFile,
    knownHostsFile: plan.knownHostsFile,
    sshdLogFile: join(plan.dir, 'log/sshd.log'),
    syslogFile: join(plan.dir, 'log/syslog'),
    exec,
    virsh: (...args) => must(inside(plan, ['virsh', '-q', ...args])),
    pids,
    stopLibvirtd: () => end('libvirtd', 'SIGTERM'),
    async startLibvirtd() {
      await start('libvirtd');
      await must(inside(plan, ['virsh', '-q', 'version']), { timeoutMs: daemonStartMs });
    },
    async restartLibvirtd() {
      await host.stopLibvirtd();
      await host.startLibvirtd();
    },
    pauseLibvirtd: () => send(pids('libvirtd'), 'SIGSTOP'),
    resumeLibvirtd: () => send(pids('libvirtd'), 'SIGCONT'),
    killSshd: () => end('sshd', 'SIGKILL'),
    startSshd: async () => {
      await start('sshd');
    },
    async rotateHostKeys() {
      await host.killSshd();
      await makeHostKeys(plan);
      await host.startSshd();
    },
    removeKeys: () => writeUserKeys(plan, 'removed'),
    restoreKeys: () => writeUserKeys(plan, 'restored'),
    async dropPackets() {
      await accept();
      for (const rule of rules) await must(['iptables', '-w', '5', '-I', ...rule]);
    },
    acceptPackets: accept,
    async stickGuest(guest, { jobHeld = false } = {}) {
      send(qemu(guest), 'SIGSTOP');
      if (!jobHeld) return;
      await exec(['timeout', '1', 'virsh', '-q', 'domstats', '--balloon', guest]);
    },
    unstickGuest: (guest) => send(qemu(guest), 'SIGCONT'),
    async guestReady(guest, timeoutMs = guestBootMs) {
      const file = join(plan.dir, 'log/libvirt/qemu', `${guest}.console`);
      const booted = async () => existsSync(file) && (await readFile(file, 'utf8')).includes('guest: ready');
      await waitUntil(`${plan.name}: ${guest} to boot`, booted, { timeoutMs, signal: plan.signal });
      const hasAgent = plan.guests.some(({ name, agent }) => name === guest && agent !== false);
      if (!hasAgent) return;
      // The guest says that it is ready a moment before its agent has opened the port.
      const connected = async () =>
        (await must(inside(plan, ['virsh', '-q', 'dumpxml', guest]))).includes(connectedAgent);
      await waitUntil(`${plan.name}: the agent of ${guest}`, connected, { timeoutMs, signal: plan.signal });
    },
    async down() {
      const pid = initPid(plan.dir);
      if (pid !== undefined) {
        send([pid], 'SIGKILL');
        await waitUntil(`${plan.name} to end`, () => initPid(plan.dir) === undefined, {
          timeoutMs: daemonStopMs,
        });
      }
      await accept();
    },
  };
  return host;
}
