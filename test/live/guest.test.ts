// Agents inside real guests, and what happens to VMs: the service on one host of which some agents are well, some are
// stopped and one hangs for ever in a question; virsh and /proc say what is true.
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { agentTimeoutMs } from '../../src/pollers/guest-ask.js';
import { JobsClient } from '../support/jobs-client.js';
import { type Page, Service } from '../support/outrigger.js';
import { until } from '../support/until.js';

let lab: Lab;
let host: LabHost;
let service: Service;
let jobs: JobsClient;

beforeAll(async () => {
  lab = await raiseLab({
    name: 'guest',
    hosts: 1,
    guests: ['well', 'stopped', 'hangs', { name: 'silent', agent: false }],
  });
  const [first] = lab.hosts;
  if (!first) throw new Error('the lab has no host');
  host = first;
  const inventory = join(lab.dir, 'guest.yaml');
  await writeFile(inventory, lab.inventory().replace('defaults:\n', 'defaults:\n  poll: { guest: 5s }\n'));
  await inGuest(
    'well',
    `printf 'ID=labix\\nVERSION_ID="7.1"\\nPRETTY_NAME="Labix \\\\"7\\\\""\\n' > /etc/os-release`,
  );
  service = await Service.start(inventory);
  await until('the store', () => service.logged('store up')[0]);
  jobs = new JobsClient(join(service.dataDir, 'store', 'store.sock'));
});

afterAll(async () => {
  await jobs?.close();
  await service?.[Symbol.asyncDispose]();
  await lab?.down();
});

/** Runs a shell line inside the guest, through its agent; resolves before it has ended. */
async function inGuest(guest: string, line: string): Promise<void> {
  const command = { execute: 'guest-exec', arguments: { path: '/bin/sh', arg: ['-c', line] } };
  await host.virsh('qemu-agent-command', guest, JSON.stringify(command));
}

const agentUp = (page: Page, domain: string) => page.value('outrigger_domain_guest_agent_up', { domain });
const polls = (page: Page, poller: string, outcome = 'ok') =>
  page.value('outrigger_polls_total', { poller, outcome }) ?? 0;
const events = (page: Page, event: string, detail: string) =>
  page.value('outrigger_domain_events_total', { event, detail });
const changedAt = (page: Page, domain: string) =>
  page.value('outrigger_domain_state_change_timestamp_seconds', { domain });
const nowSeconds = () => Date.now() / 1000;

describe('what an agent tells', () => {
  it('is shown: filesystems, operating system, users; a VM whose agent never connected has none of it', async () => {
    const page = await service.pageWhen(
      'the agents to be known',
      (page) =>
        agentUp(page, 'well') === 1 &&
        agentUp(page, 'silent') === 0 &&
        page.value('outrigger_host_sample_age_seconds', { poller: 'guest' }) !== undefined,
    );
    const domain = 'well';
    const size = page.value('outrigger_domain_guest_filesystem_size_bytes', { domain, mountpoint: '/data' });
    const used = page.value('outrigger_domain_guest_filesystem_used_bytes', { domain, mountpoint: '/data' });
    expect(size).toBeGreaterThan(20 * 1024 * 1024);
    expect(size).toBeLessThan(32 * 1024 * 1024);
    expect(used).toBeGreaterThan(0);
    expect(used).toBeLessThan(size ?? 0);
    const filesystem = { domain, mountpoint: '/data', fstype: 'ext4', device: 'vda' };
    expect(page.value('outrigger_domain_guest_filesystem_info', filesystem)).toBe(1);
    const [[info = ''] = []] = page.find('outrigger_domain_guest_info', { domain });
    expect(info).toContain('os_id="labix",os_version="7.1",os_pretty_name="Labix \\"7\\""');
    expect(info).toMatch(/kernel="\d+\.\d+[^"]*amd64",machine="x86_64",hostname="well",timezone="[^"]+"/);
    expect(page.value('outrigger_domain_guest_users', { domain })).toBe(0);
    expect(page.find('outrigger_domain_guest_filesystem_info', { domain: 'silent' })).toEqual([]);
    expect(page.find('outrigger_domain_guest_info', { domain: 'silent' })).toEqual([]);
    expect(page.value('outrigger_host_sample_age_seconds', { poller: 'guest' })).toBeLessThan(10);
  });

  it('needs no agent for what the host knows: waiting for a CPU and for disks', async () => {
    const page = await service.page();
    for (const name of ['vcpu_wait', 'vcpu_delay', 'block_stats_read_time', 'block_stats_write_time']) {
      const series = page.find(`libvirt_domain_${name}_seconds_total`);
      expect(series.length, name).toBeGreaterThanOrEqual(host.guests.length);
    }
  });

  it('agents that are stopped, or hang in a question, delay nothing else: neither polls, nor others, nor jobs', async () => {
    await inGuest('stopped', 'sleep 1; killall -STOP qemu-ga');
    await inGuest('hangs', 'rm -f /etc/os-release; mkfifo /etc/os-release');
    const before = await service.pageWhen(
      'both to be down',
      (page) => agentUp(page, 'stopped') === 0 && agentUp(page, 'hangs') === 0,
      60_000,
    );
    const seen: Page[] = [];
    await service.pageWhen('five more polls of the VMs, and two of the agents', (page) => {
      seen.push(page);
      const of = (poller: string) => polls(page, poller) - polls(before, poller);
      return of('vms') >= 5 && of('guest') >= 2;
    });
    for (const page of seen) {
      expect(agentUp(page, 'well')).toBe(1);
      expect(page.find('outrigger_domain_guest_filesystem_size_bytes', { domain: 'well' })).toHaveLength(1);
      expect(page.find('outrigger_domain_guest_filesystem_size_bytes', { domain: 'stopped' })).toEqual([]);
      // A poll that waits for an agent waits for all of the agent's time.
      const age = page.value('outrigger_host_sample_age_seconds', { poller: 'vms' });
      expect(age).toBeLessThan(agentTimeoutMs / 1000);
      expect(page.find('libvirt_domain_timed_out').map(([, value]) => value)).toEqual([0, 0, 0, 0]);
      expect(polls(page, 'vms', 'failed')).toBe(0);
      expect(polls(page, 'guest', 'failed')).toBe(0);
    }
    for (const vm of ['stopped', 'hangs', 'well']) {
      expect(await jobs.run('pause', { host: host.name, vm })).toMatchObject({
        result: { outcome: 'changed' },
      });
      expect(await jobs.run('resume', { host: host.name, vm })).toMatchObject({
        result: { outcome: 'changed' },
      });
    }
  });

  it('goes on when the agent does, and after the VM was started anew', async () => {
    await host.virsh('destroy', 'hangs');
    await service.pageWhen(
      'the VM to have none',
      (page) => page.find('outrigger_domain_guest_agent_up', { domain: 'hangs' }).length === 0,
    );
    await host.virsh('start', 'hangs');
    await service.pageWhen('its new agent', (page) => agentUp(page, 'hangs') === 1, 90_000);
  });
});

describe('what happens to VMs', () => {
  it('is counted by kind, and each VM says since when it is as it is', async () => {
    const before = await service.page();
    const paused = nowSeconds();
    await host.virsh('suspend', 'silent');
    const page = await service.pageWhen(
      'the VM to be paused',
      (page) =>
        page.value('outrigger_domain_state_reason_info', {
          domain: 'silent',
          state: 'paused',
          reason: 'user',
        }) === 1,
    );
    expect(Math.abs((changedAt(page, 'silent') ?? 0) - paused)).toBeLessThan(2);
    const destroyed = nowSeconds();
    await host.virsh('destroy', 'silent');
    const off = await service.pageWhen(
      'the VM to be off',
      (page) =>
        page.find('outrigger_domain_state_reason_info', { domain: 'silent', state: 'shutoff' }).length > 0,
    );
    expect(off.value('outrigger_domain_state_reason_info', { domain: 'silent', reason: 'destroyed' })).toBe(
      1,
    );
    expect(Math.abs((changedAt(off, 'silent') ?? 0) - destroyed)).toBeLessThan(2);
    expect(off.find('outrigger_domain_start_time_seconds', { domain: 'silent' })).toEqual([]);
    const more = (event: string, detail: string) =>
      (events(off, event, detail) ?? 0) - (events(before, event, detail) ?? 0);
    expect([more('suspended', 'paused'), more('stopped', 'destroyed'), more('started', 'booted')]).toEqual([
      1, 1, 0,
    ]);
    expect(events(off, 'crashed', 'panicked')).toBe(0);
  });

  it('the time of its start is that of its process, within 2 s', async () => {
    const begunAt = nowSeconds();
    await host.virsh('start', 'silent');
    const endedAt = nowSeconds();
    const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
    const bootedAt = nowSeconds() - uptime;
    const truths = host.guests.map((domain) => {
      const pid = host.pids('qemu').find((pid) => {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`\0guest=${domain},`);
      });
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
      return [domain, bootedAt + ticks / 100] as const;
    });
    // Until a poll has read it, the event of the start is what is known: on a busy machine that is later.
    const page = await service.pageWhen('all starts, within 2 s', (page) =>
      truths.every(([domain, truth]) => {
        const told = page.value('outrigger_domain_start_time_seconds', { domain }) ?? 0;
        return Math.abs(told - truth) < 2;
      }),
    );
    const told = page.value('outrigger_domain_start_time_seconds', { domain: 'silent' }) ?? 0;
    expect(told).toBeGreaterThan(begunAt - 2);
    expect(told).toBeLessThan(endedAt + 2);
    expect(polls(page, 'starts', 'failed')).toBe(0);
  });

  it('after a gap, says nothing of what may have changed, and keeps what cannot have', async () => {
    await host.virsh('suspend', 'well');
    const before = await service.pageWhen(
      'the pause',
      (page) =>
        page.find('outrigger_domain_state_reason_info', { domain: 'well', state: 'paused' }).length > 0,
    );
    const lost = before.value('outrigger_domain_events_lost_total') ?? 0;
    expect(changedAt(before, 'well')).toBeGreaterThan(0);
    expect(changedAt(before, 'silent')).toBeGreaterThan(0);
    // libvirtd would take 30 s to stop by itself: it waits for the stopped agent.
    for (const pid of host.pids('libvirtd')) process.kill(pid, 'SIGKILL');
    await until('libvirtd to be gone', () => host.pids('libvirtd').length === 0);
    await host.startLibvirtd();
    await service.pageWhen(
      'the gap',
      (page) => page.value('outrigger_domain_events_lost_total') !== lost,
      60_000,
    );
    await service.pageWhen('libvirt', (page) => page.value('libvirt_up') === 1);
    // The starts are read anew, after the VMs: until then nobody knows when a VM came to run.
    const after = await service.pageWhen('the starts to be read', (page) =>
      ['silent', 'hangs'].every((domain) => changedAt(page, domain) !== undefined),
    );
    expect(after.value('outrigger_domain_events_lost_total')).toBe(lost + 1);
    expect(
      after.find('outrigger_domain_state_reason_info', { domain: 'well', state: 'paused' }),
    ).toHaveLength(1);
    expect(changedAt(after, 'well')).toBeUndefined();
    expect(changedAt(before, 'hangs')).toBeGreaterThan(0);
    expect(changedAt(after, 'hangs')).toBe(changedAt(before, 'hangs'));
    // Just started: before, it may have been the time of the event, since that of the process had not been read yet.
    const apart = Math.abs((changedAt(after, 'silent') ?? 0) - (changedAt(before, 'silent') ?? 0));
    expect(apart).toBeLessThan(2);
    expect(after.value('outrigger_domain_start_time_seconds', { domain: 'silent' })).toBe(
      changedAt(after, 'silent'),
    );
  });
});
