// The lab itself: its hosts are real, its keys are confined as documented, and nothing of it stays behind. Everything else that is tested on
// real hosts rests on this. It uses OpenSSH's and libvirt's own clients, none of ours.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Lab, type LabHost, openLab, raiseLab } from '../../lab/lab.js';
import { labPossible } from '../../lab/possible.js';
import { run } from '../../lab/run.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

const possible = labPossible();
if (!possible.ok) process.stderr.write(`lab tests do not run: ${possible.why}\n`);

const name = `labtest-${process.pid}`;
const clientTimeoutMs = 20_000;

describe.runIf(possible.ok)('a lab of two hosts with two guests each', () => {
  let lab: Lab;
  let kvm1: LabHost;
  let kvm2: LabHost;
  let scratch: string;

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'labtest-'));
    lab = await raiseLab({
      name,
      hosts: 2,
      guests: 2,
      sshd: (host) => (host === 1 ? { sftpLog: true } : { allowStreamLocalForwarding: false }),
    });
    [kvm1, kvm2] = lab.hosts as [LabHost, LabHost];
  });

  afterAll(async () => {
    await lab?.down();
    rmSync(scratch, { recursive: true, force: true });
  });

  const sshOptions = (host: LabHost, keyFile: string) => [
    ...[
      '-F',
      '/dev/null',
      '-o',
      'BatchMode=yes',
      '-o',
      'IdentitiesOnly=yes',
      '-o',
      'StrictHostKeyChecking=yes',
    ],
    ...['-o', `UserKnownHostsFile=${host.knownHostsFile}`, '-i', keyFile],
  ];
  const poll = (host: LabHost) => [...sshOptions(host, host.pollKeyFile), `outrigger@${host.address}`];
  const ops = (host: LabHost) => [...sshOptions(host, host.opsKeyFile), `outrigger-ops@${host.address}`];
  const client = (argv: string[], input = '') => run(argv, { timeoutMs: clientTimeoutMs, input });
  const sftp = (host: LabHost, commands: string) =>
    client(['sftp', '-b', '-', ...sshOptions(host, host.pollKeyFile), `outrigger@${host.address}`], commands);

  /** virsh on this machine, through the host's socket forwarded by ssh. */
  async function virshOver(target: string[], socket: string, ...args: string[]) {
    const local = join(scratch, `${socket}-${Math.random().toString(36).slice(2)}`);
    const forward = ['-N', '-o', 'ExitOnForwardFailure=yes', '-L', `${local}:/run/libvirt/${socket}`];
    const ssh = spawn('ssh', [...forward, ...target], { stdio: 'ignore' });
    const ended = new Promise((resolve) => ssh.once('exit', resolve));
    try {
      await until('the forwarded socket', () => existsSync(local));
      return await client(['virsh', '-q', '-c', `qemu+unix:///system?socket=${local}`, ...args]);
    } finally {
      // OpenSSH 9.2 checks for SIGTERM and then calls poll(2): one that comes between the two is lost until the next packet, for five minutes.
      ssh.kill('SIGKILL');
      await ended;
    }
  }

  test('each host has its own libvirtd, uuid and running guests of the same names', async () => {
    for (const host of [kvm1, kvm2]) {
      expect(host.guests).toEqual(['web-1', 'db-1']);
      expect((await host.virsh('list', '--name')).trim().split(/\s+/)).toEqual(['web-1', 'db-1']);
      expect(await host.virsh('capabilities')).toContain(`<uuid>${host.uuid}</uuid>`);
      expect((await host.exec(['hostname'])).stdout.trim()).toBe(host.name);
      expect(host.pids('libvirtd')).toHaveLength(1);
      expect(host.pids('qemu')).toHaveLength(2);
    }
    expect(kvm1.uuid).not.toBe(kvm2.uuid);
    expect((await kvm1.virsh('domuuid', 'web-1')).trim()).not.toBe(
      (await kvm2.virsh('domuuid', 'web-1')).trim(),
    );
  });

  test('guests have what the figures come from: agent, balloon, disks, network', async () => {
    expect(await kvm1.virsh('qemu-agent-command', 'web-1', '{"execute":"guest-ping"}')).toContain(
      '"return":{}',
    );
    const fsinfo = await kvm1.virsh('guestinfo', 'web-1', '--filesystem');
    expect(fsinfo).toContain('/data');
    const figures = (text: string) =>
      new Map(text.split('\n').map((line) => line.trim().split('=') as [string, string]));
    const first = figures(await kvm1.virsh('domstats', 'db-1'));
    expect(first.get('block.count')).toBe('2');
    expect(Number(first.get('cpu.time'))).toBeGreaterThan(0);
    await until(
      'the counters to move and the balloon to report',
      async () => {
        const now = figures(await kvm1.virsh('domstats', 'db-1'));
        const moved = ['block.0.wr.bytes', 'net.0.tx.bytes', 'net.0.rx.bytes', 'cpu.time'].every(
          (field) => Number(now.get(field)) > Number(first.get(field)),
        );
        return moved && Number(now.get('balloon.unused')) > 0;
      },
      { timeoutMs: 30_000, everyMs: 500 },
    );
  });

  test('the polling key reads libvirt', async () => {
    const listed = await virshOver(poll(kvm1), 'libvirt-sock-ro', '-r', 'list', '--name');
    expect(listed).toMatchObject({ code: 0 });
    expect(listed.stdout).toContain('web-1');
    const refused = await virshOver(poll(kvm1), 'libvirt-sock-ro', 'destroy', 'web-1');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('read only');
  });

  test('the polling key is refused the read-write socket and commands', async () => {
    expect((await virshOver(poll(kvm1), 'libvirt-sock', 'list')).code).not.toBe(0);
    const refusal =
      'Received request to connect to path /run/libvirt/libvirt-sock, but the request was denied';
    await until('the refusal in the log', () => readFileSync(kvm1.sshdLogFile, 'utf8').includes(refusal));
    const command = await client(['ssh', ...poll(kvm1), 'touch', '/tmp/labtest']);
    expect(command.code).not.toBe(0);
    expect(command.stdout).toContain('sftp connections only');
    expect((await kvm1.exec(['test', '-e', '/tmp/labtest'])).code).toBe(1);
  });

  test('the polling key reads files and writes none, and the log shows both', async () => {
    const read = await sftp(kvm1, `get /proc/loadavg ${scratch}/loadavg\n`);
    expect(read).toMatchObject({ code: 0 });
    expect(readFileSync(join(scratch, 'loadavg'), 'utf8')).toMatch(/^\d+\.\d+ /);
    for (const write of [
      'put /etc/hostname /tmp/labtest',
      'mkdir /tmp/labtest',
      'rm /home/outrigger/.ssh/authorized_keys',
    ]) {
      const refused = await sftp(kvm1, `${write}\n`);
      expect(refused.code, write).not.toBe(0);
      expect(refused.stderr, write).toMatch(/Permission denied|Couldn't|remote/);
    }
    expect((await kvm1.exec(['test', '-e', '/tmp/labtest'])).code).toBe(1);
    const log = readFileSync(kvm1.syslogFile, 'utf8');
    expect(log).toContain('open "/proc/loadavg" flags READ');
    expect(log).toContain('Refusing open request in read-only mode');
    expect(log).toContain('Refusing mkdir request in read-only mode');
  });

  test('the jobs key reaches the read-write socket and nothing else', async () => {
    const { code, stdout } = await virshOver(ops(kvm1), 'libvirt-sock', 'list', '--name');
    expect(code).toBe(0);
    expect(stdout).toContain('db-1');
    expect(await virshOver(ops(kvm1), 'libvirt-sock', 'suspend', 'db-1')).toMatchObject({ code: 0 });
    expect((await kvm1.virsh('domstate', 'db-1')).trim()).toBe('paused');
    await kvm1.virsh('resume', 'db-1');
    expect((await client(['ssh', ...ops(kvm1), 'id'])).stdout).toBe('');
    const files = ['sftp', '-b', '-', ...sshOptions(kvm1, kvm1.opsKeyFile), `outrigger-ops@${kvm1.address}`];
    expect((await client(files, 'ls /\n')).code).not.toBe(0);
  });

  test('where forwarding is forbidden the keys allow virt-ssh-helper and read-only files', async () => {
    expect((await virshOver(poll(kvm2), 'libvirt-sock-ro', '-r', 'list')).code).not.toBe(0);
    const uri = (user: string, keyFile: string) => {
      const wrapper = join(scratch, `ssh-${user}`);
      const options = sshOptions(kvm2, keyFile).map((word) => `'${word}'`);
      writeFileSync(wrapper, `#!/bin/sh\nexec ssh ${options.join(' ')} "$@"\n`, { mode: 0o755 });
      return `qemu+ssh://${user}@${kvm2.address}/system?proxy=native&command=${wrapper}`;
    };
    const read = uri('outrigger', kvm2.pollKeyFile);
    const listed = await client(['virsh', '-q', '-r', '-c', read, 'list', '--name']);
    expect(listed.stdout, listed.stderr).toContain('web-1');
    // whatever the client asks for, the key's command opens read-only
    const refused = await client(['virsh', '-q', '-c', read, 'destroy', 'web-1']);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('read only');
    const write = uri('outrigger-ops', kvm2.opsKeyFile);
    expect(await client(['virsh', '-q', '-c', write, 'suspend', 'web-1'])).toMatchObject({ code: 0 });
    await kvm2.virsh('resume', 'web-1');
    expect(await sftp(kvm2, 'ls /proc/1\n')).toMatchObject({ code: 0 });
    expect((await sftp(kvm2, 'mkdir /tmp/labtest\n')).code).not.toBe(0);
  });

  test('a guest shuts down by its agent or by ACPI within seconds, a deaf one does not', async () => {
    const off = (host: LabHost, guest: string) =>
      until(`${guest} off`, async () => (await host.virsh('domstate', guest)).includes('shut off'), {
        timeoutMs: 15_000,
        everyMs: 100,
      });
    await kvm1.virsh('shutdown', 'web-1', '--mode', 'agent');
    await off(kvm1, 'web-1');
    await kvm2.virsh('shutdown', 'web-1', '--mode', 'acpi');
    await off(kvm2, 'web-1');
    await kvm1.virsh('start', 'web-1');
    await kvm2.virsh('start', 'web-1');

    const kvm3 = await lab.addHost({
      guests: [
        { name: 'deaf-1', acpi: false, agent: false },
        { name: 'off-1', start: false },
      ],
    });
    expect(kvm3.address).toBe(`127.0.${lab.subnet}.3`);
    expect(readFileSync(lab.inventoryFile, 'utf8')).toContain(kvm3.address);
    await expect(kvm3.virsh('qemu-agent-command', 'deaf-1', '{"execute":"guest-ping"}')).rejects.toThrow(
      /agent/,
    );
    await kvm3.virsh('shutdown', 'deaf-1', '--mode', 'acpi');
    // a round trip of a guest that hears: by then a deaf one has had the time too
    await kvm1.guestReady('web-1');
    await kvm1.virsh('shutdown', 'web-1', '--mode', 'acpi');
    await off(kvm1, 'web-1');
    expect((await kvm3.virsh('domstate', 'deaf-1')).trim()).toBe('running');
    expect((await kvm3.virsh('domstate', 'off-1')).trim()).toBe('shut off');
    await kvm3.down();
    expect(kvm3.pids('')).toEqual([]);
  });

  test('libvirtd pauses, stops and starts; the guests live on', async () => {
    const [qemu] = kvm1.pids('qemu');
    kvm1.pauseLibvirtd();
    await expect(kvm1.exec(['virsh', 'list'], { timeoutMs: 700 })).rejects.toThrow('longer than 700 ms');
    kvm1.resumeLibvirtd();
    expect(await kvm1.virsh('list', '--name')).toContain('db-1');
    await kvm1.stopLibvirtd();
    expect(kvm1.pids('libvirtd')).toEqual([]);
    await kvm1.startLibvirtd();
    expect(await kvm1.virsh('list', '--name')).toContain('db-1');
    expect(kvm1.pids('qemu')).toContain(qemu);
  });

  test('sshd ends and starts; keys go and come back; host keys change', async () => {
    const loads = () => sftp(kvm1, 'ls /proc/1\n');
    await kvm1.killSshd();
    expect((await loads()).stderr).toContain('Connection refused');
    await kvm1.startSshd();
    await until('sshd', async () => (await loads()).code === 0);
    await kvm1.removeKeys();
    expect((await loads()).stderr).toContain('Permission denied');
    await kvm1.restoreKeys();
    expect(await loads()).toMatchObject({ code: 0 });
    await kvm1.rotateHostKeys();
    await until('sshd with other keys', async () =>
      (await loads()).stderr.includes('Host key verification failed'),
    );
  });

  test('a stuck guest: the first monitor call hangs and holds the job, NOWAIT then passes it by', async () => {
    await kvm2.stickGuest('db-1', { jobHeld: true });
    const watch = new Stopwatch();
    const stats = await kvm2.virsh('domstats', '--nowait', '--state', '--balloon', '--vcpu', 'db-1');
    expect(watch.ms).toBeLessThan(5_000);
    expect(stats).toContain('state.state=1');
    expect(stats).not.toContain('balloon.unused');
    await expect(kvm2.exec(['virsh', 'domstats', '--balloon', 'db-1'], { timeoutMs: 1_500 })).rejects.toThrow(
      'longer',
    );
    kvm2.unstickGuest('db-1');
    await until('the guest to answer', async () =>
      (await kvm2.virsh('domstats', '--nowait', '--balloon', 'db-1')).includes('balloon.unused'),
    );
  });

  test('dropped packets: no answer at all, until they are accepted again', async () => {
    await kvm2.dropPackets();
    const silent = await client(['ssh', '-o', 'ConnectTimeout=1', ...poll(kvm2)]);
    expect(silent.stderr).toContain('timed out');
    await kvm2.acceptPackets();
    expect(await sftp(kvm2, 'ls /proc/1\n')).toMatchObject({ code: 0 });
  });

  test('another lab lives beside it; the name and the subnet of one that is up are refused', async () => {
    await expect(raiseLab({ name, hosts: 1, guests: 0 })).rejects.toThrow('in use by process');
    await expect(raiseLab({ name: `${name}-b`, hosts: 1, guests: 0, subnet: lab.subnet })).rejects.toThrow(
      `belongs to lab ${name}`,
    );
    await using other = await raiseLab({ name: `${name}-b`, hosts: 1, guests: 0 });
    expect(other.subnet).not.toBe(lab.subnet);
    expect(other.hosts[0]?.pids('libvirtd')).toHaveLength(1);
    expect(openLab(name)?.hosts.map((host) => host.address)).toEqual(
      lab.inventory().match(/127\.0\.\d+\.\d+/g),
    );
  });

  test('an aborted raise and down() leave nothing behind', async () => {
    const stop = new AbortController();
    const raising = raiseLab({
      name: `${name}-c`,
      hosts: 2,
      guests: 1,
      signal: stop.signal,
      onProgress: () => stop.abort(new Error('enough')),
    });
    await expect(raising).rejects.toThrow('enough');
    expect(remains(`${name}-c`)).toEqual([]);

    await kvm2.dropPackets();
    expect((await run(['iptables', '-S'])).stdout).toContain(name);
    const pids = lab.hosts.flatMap((host) => host.pids(''));
    expect(pids.length).toBeGreaterThan(10);
    await lab.down();
    expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    expect(existsSync(lab.dir)).toBe(false);
    expect(
      readdirSync('/sys/class/net').filter((device) => new RegExp(`^orl${lab.subnet}(h|$)`).test(device)),
    ).toEqual([]);
    expect((await run(['iptables', '-S'])).stdout).not.toContain(name);
    expect(remains(name)).toEqual([]);
  });

  /** What of a lab can be found outside its processes: mounts, registry entries, control groups. */
  function remains(lab: string): string[] {
    const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
    const root = '/run/outrigger-lab';
    const groups = mounts
      .filter((line) => / cgroup2? /.test(line))
      .map((line) => line.split(' ')[1] ?? '')
      .flatMap((top) => readdirSync(top).filter((entry) => entry.startsWith(`outrigger-lab.${lab}.`)));
    return [
      ...mounts.filter((line) => line.includes(`${root}/${lab}/`)),
      ...(existsSync(root)
        ? readdirSync(root).filter((entry) => entry === lab || entry === `.lock-${lab}`)
        : []),
      ...groups,
    ];
  }
});
