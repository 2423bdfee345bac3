// The whole way, from QEMU to /metrics: what the service shows of real guests and hosts is what virsh and the kernel say.
import { readFileSync, statfsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { type Page, Service } from '../support/outrigger.js';
import { until } from '../support/until.js';

let lab: Lab;
let service: Service;

beforeAll(async () => {
  lab = await raiseLab({ name: 'figures', hosts: 2, guests: 2, sshd: { sftpLog: true } });
  service = await Service.start(lab.inventoryFile);
  const guests = lab.hosts.flatMap((host) => host.guests);
  await service.pageWhen(
    'figures of every guest',
    (page) => page.find('libvirt_domain_info_state').length === guests.length,
  );
});

afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  await lab?.down();
});

const kib = 1024;
const ns = 1e-9;

/** Where each field of `virsh domstats` shows: series, factor of its unit, and whether it only grows. */
type Shown = { series: string; factor?: number; grows?: boolean };

const domainFields: Record<string, Shown> = {
  'state.state': { series: 'libvirt_domain_info_state' },
  'cpu.time': { series: 'libvirt_domain_info_cpu_time_seconds_total', factor: ns, grows: true },
  'cpu.user': { series: 'libvirt_domain_cpu_user_seconds_total', factor: ns, grows: true },
  'cpu.system': { series: 'libvirt_domain_cpu_system_seconds_total', factor: ns, grows: true },
  'balloon.current': { series: 'libvirt_domain_memory_stats_current_balloon_bytes', factor: kib },
  'balloon.maximum': { series: 'libvirt_domain_memory_stats_maximum_bytes', factor: kib },
  'balloon.swap_in': { series: 'libvirt_domain_memory_stats_swap_in_bytes', factor: kib, grows: true },
  'balloon.swap_out': { series: 'libvirt_domain_memory_stats_swap_out_bytes', factor: kib, grows: true },
  'balloon.major_fault': { series: 'libvirt_domain_memory_stats_major_fault_total', grows: true },
  'balloon.minor_fault': { series: 'libvirt_domain_memory_stats_minor_fault_total', grows: true },
  'balloon.last-update': { series: 'libvirt_domain_memory_stats_last_update_timestamp_seconds', grows: true },
  'balloon.hugetlb_pgalloc': { series: 'libvirt_domain_memory_stats_hugetlb_pgalloc_total' },
  'balloon.hugetlb_pgfail': { series: 'libvirt_domain_memory_stats_hugetlb_pgfail_total' },
  'vcpu.current': { series: 'libvirt_domain_vcpu_current' },
  'vcpu.maximum': { series: 'libvirt_domain_vcpu_maximum' },
};

/** Gauges of the guest's memory that move both ways between two readings: near enough is near. */
const driftingFields: Record<string, Shown> = {
  'balloon.unused': { series: 'libvirt_domain_memory_stats_unused_bytes', factor: kib },
  'balloon.usable': { series: 'libvirt_domain_memory_stats_usable_bytes', factor: kib },
  'balloon.available': { series: 'libvirt_domain_memory_stats_available_bytes', factor: kib },
  'balloon.disk_caches': { series: 'libvirt_domain_memory_stats_disk_caches_bytes', factor: kib },
  'balloon.rss': { series: 'libvirt_domain_memory_stats_rss_bytes', factor: kib },
};
const driftBytesMax = 16 * 1024 * 1024;

const vcpuFields: Record<string, Shown> = {
  time: { series: 'libvirt_domain_vcpu_time_seconds_total', factor: ns, grows: true },
  wait: { series: 'libvirt_domain_vcpu_wait_seconds_total', factor: ns, grows: true },
  delay: { series: 'libvirt_domain_vcpu_delay_seconds_total', factor: ns, grows: true },
};

const blockFields: Record<string, Shown> = {
  'rd.reqs': { series: 'libvirt_domain_block_stats_read_requests_total', grows: true },
  'rd.bytes': { series: 'libvirt_domain_block_stats_read_bytes_total', grows: true },
  'rd.times': { series: 'libvirt_domain_block_stats_read_time_seconds_total', factor: ns, grows: true },
  'wr.reqs': { series: 'libvirt_domain_block_stats_write_requests_total', grows: true },
  'wr.bytes': { series: 'libvirt_domain_block_stats_write_bytes_total', grows: true },
  'wr.times': { series: 'libvirt_domain_block_stats_write_time_seconds_total', factor: ns, grows: true },
  'fl.reqs': { series: 'libvirt_domain_block_stats_flush_requests_total', grows: true },
  'fl.times': { series: 'libvirt_domain_block_stats_flush_time_seconds_total', factor: ns, grows: true },
  capacity: { series: 'libvirt_domain_block_stats_capacity_bytes' },
  allocation: { series: 'libvirt_domain_block_stats_allocation_bytes', grows: true },
  physical: { series: 'libvirt_domain_block_stats_physicalsize_bytes', grows: true },
};

const netFields: Record<string, Shown> = {
  'rx.bytes': { series: 'libvirt_domain_interface_stats_receive_bytes_total', grows: true },
  'rx.pkts': { series: 'libvirt_domain_interface_stats_receive_packets_total', grows: true },
  'rx.errs': { series: 'libvirt_domain_interface_stats_receive_errors_total', grows: true },
  'rx.drop': { series: 'libvirt_domain_interface_stats_receive_drops_total', grows: true },
  'tx.bytes': { series: 'libvirt_domain_interface_stats_transmit_bytes_total', grows: true },
  'tx.pkts': { series: 'libvirt_domain_interface_stats_transmit_packets_total', grows: true },
  'tx.errs': { series: 'libvirt_domain_interface_stats_transmit_errors_total', grows: true },
  'tx.drop': { series: 'libvirt_domain_interface_stats_transmit_drops_total', grows: true },
};

type Found = { shown: Shown; labels: Record<string, string>; drifts: boolean };

/** The series of a field, or undefined when it has none. */
function seriesOf(field: string, all: ReadonlyMap<string, string>): Found | undefined {
  const plain = domainFields[field] ?? driftingFields[field];
  if (plain) return { shown: plain, labels: {}, drifts: field in driftingFields };
  const [, group = '', index = '', key = ''] = /^(vcpu|block|net)\.(\d+)\.(.+)$/.exec(field) ?? [];
  const shown = { vcpu: vcpuFields, block: blockFields, net: netFields }[group]?.[key];
  if (!shown) return undefined;
  const labels: Record<string, string> =
    group === 'vcpu' ? { vcpu: index } : { target_device: all.get(`${group}.${index}.name`) ?? '' };
  return { shown, labels, drifts: false };
}

async function domstats(host: LabHost, guest: string): Promise<Map<string, string>> {
  const text = await host.virsh('domstats', '--raw', guest);
  const pairs = text.matchAll(/^\s+([^=\s]+)=(.*)$/gm);
  return new Map([...pairs].map(([, field = '', value = '']) => [field, value]));
}

/** Figures that were read after this was called. A sample that comes then may have been read before; the one after it was not. */
async function freshPage(host: string): Promise<Page> {
  await newSample(host);
  return newSample(host);
}

/** A page whose VM sample of this host is younger than this call. */
function newSample(host: string): Promise<Page> {
  const startedMs = performance.now();
  return service.pageWhen(`a new sample of ${host}`, (page) => {
    const ageS = page.value('outrigger_host_sample_age_seconds', { instance: host, poller: 'vms' });
    return ageS !== undefined && ageS * 1000 < performance.now() - startedMs - 100;
  });
}

describe('figures of the guests', () => {
  it('every numeric field of virsh domstats that has a series equals it', async () => {
    let compared = 0;
    for (const host of lab.hosts) {
      const before = new Map(
        await Promise.all(host.guests.map(async (guest) => [guest, await domstats(host, guest)] as const)),
      );
      const page = await freshPage(host.name);
      for (const guest of host.guests) {
        const first = before.get(guest) ?? new Map<string, string>();
        const second = await domstats(host, guest);
        for (const [field, text] of first) {
          const found = seriesOf(field, first);
          if (!found) continue;
          const { shown, labels, drifts } = found;
          const factor = shown.factor ?? 1;
          const value = page.value(shown.series, { instance: host.name, domain: guest, ...labels });
          const [low, high] = [Number(text) * factor, Number(second.get(field)) * factor];
          const where = `${host.name} ${guest} ${field} = ${shown.series}`;
          expect(value, where).toBeDefined();
          if (drifts) {
            expect(Math.abs((value ?? Number.NaN) - low), where).toBeLessThanOrEqual(driftBytesMax);
          } else {
            expect(value, where).toBeGreaterThanOrEqual(shown.grows ? low * (1 - 1e-12) : low);
            expect(value, where).toBeLessThanOrEqual(shown.grows ? high * (1 + 1e-12) : low);
          }
          compared++;
        }
      }
    }
    expect(compared).toBeGreaterThanOrEqual(4 * 40);
  });

  it('the state of a VM follows the event, long before the next poll', async () => {
    const [host] = lab.hosts;
    const guest = host?.guests[0];
    if (!host || !guest) throw new Error('the lab has no guest');
    await using seldom = await Service.start(lab.inventoryFile, { AGENT_POLL_INTERVAL: '300' });
    const stateIs = (state: number, why: string) =>
      seldom.pageWhen(
        `state ${state} ${why}`,
        (page) => page.value('libvirt_domain_info_state', { instance: host.name, domain: guest }) === state,
      );
    await stateIs(1, 'at first');
    await host.virsh('suspend', guest);
    await stateIs(3, 'after suspend');
    await host.virsh('resume', guest);
    await stateIs(1, 'after resume');
  });

  it('a stopped VM stays, with its state, and without the figures of a running one', async () => {
    const host = lab.hosts[1];
    const guest = host?.guests[1];
    if (!host || !guest) throw new Error('the lab has no guest');
    await host.virsh('destroy', guest);
    const labels = { instance: host.name, domain: guest };
    const page = await service.pageWhen(
      'the state shut off',
      (page) => page.value('libvirt_domain_info_state', labels) === 5,
    );
    expect(page.find('libvirt_domain_memory_stats_rss_bytes', labels)).toEqual([]);
    expect(page.find('libvirt_domain_vcpu_time_seconds_total', labels)).toEqual([]);
    expect(page.value('libvirt_domains', { instance: host.name })).toBe(2);
    await host.virsh('undefine', guest);
    await service.pageWhen(
      'its series to go',
      (page) => page.find('libvirt_domain_info_state', labels).length === 0,
    );
  });
});

describe('figures of the host', () => {
  const procNumber = async (host: LabHost, path: string, pattern: RegExp) => {
    const { stdout } = await host.exec(['cat', path], { timeoutMs: 5_000 });
    return Number(pattern.exec(stdout)?.[1]);
  };

  it('memory, load, CPU seconds, filesystems and network bytes equal /proc and statvfs', async () => {
    const [host] = lab.hosts;
    if (!host) throw new Error('the lab has no host');
    const at = { instance: host.name };
    const read = async () => ({
      idle: (await procNumber(host, '/proc/stat', /^cpu0 (?:\d+ ){3}(\d+)/m)) / 100,
      rx: await procNumber(host, '/proc/net/dev', /^\s*lo:\s*(\d+)/m),
    });
    const before = await read();
    const page = await freshPage(host.name);
    const after = await read();
    const memTotal = (await procNumber(host, '/proc/meminfo', /^MemTotal:\s+(\d+) kB/m)) * kib;
    expect(page.value('node_memory_MemTotal_bytes', at)).toBe(memTotal);
    const idle = page.value('node_cpu_seconds_total', { ...at, cpu: '0', mode: 'idle' });
    expect(idle).toBeGreaterThanOrEqual(before.idle - 2.1);
    expect(idle).toBeLessThanOrEqual(after.idle);
    const rx = page.value('node_network_receive_bytes_total', { ...at, device: 'lo' });
    expect(rx).toBeLessThanOrEqual(after.rx);
    expect(rx).toBeGreaterThan(0);
    const root = page.find('node_filesystem_size_bytes', { ...at, mountpoint: '/' });
    const { blocks, bsize, files } = statfsSync('/');
    expect(root.map(([, value]) => value)).toEqual([blocks * bsize]);
    expect(page.value('node_filesystem_files', { ...at, mountpoint: '/' })).toBe(files);
  });

  it('load equals /proc/loadavg', async () => {
    const [host] = lab.hosts;
    if (!host) throw new Error('the lab has no host');
    await until(
      'the load of the page to be that of the host',
      async () => {
        const load = await procNumber(host, '/proc/loadavg', /^\S+ (\S+)/);
        return (await service.page()).value('node_load5', { instance: host.name }) === load;
      },
      { timeoutMs: 20_000, everyMs: 200 },
    );
  });

  it('one host alone has the same figures without the instance label', async () => {
    const [host] = lab.hosts;
    if (!host) throw new Error('the lab has no host');
    const own = await service.page(`/metrics/hosts/${host.name}`);
    expect(own.text).not.toContain('instance=');
    expect(own.value('node_memory_MemTotal_bytes')).toBe(
      (await service.page()).value('node_memory_MemTotal_bytes', { instance: host.name }),
    );
    const answer = await fetch(`${service.url}/metrics/hosts/nowhere`);
    expect(answer.status).toBe(404);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
  });
});

describe('what polling leaves on the host', () => {
  it('nothing was executed, nothing was opened for writing, and files were read', () => {
    for (const host of lab.hosts) {
      const sshd = readFileSync(host.sshdLogFile, 'utf8');
      expect(sshd).toMatch(/channel \d+ request subsystem/);
      expect(sshd).not.toMatch(/channel \d+ request (exec|shell|pty-req)/);
      const sftp = readFileSync(host.syslogFile, 'utf8');
      expect(sftp).toMatch(/open "\/proc\/stat" flags READ /);
      const writes =
        /flags [A-Z,]*(WRITE|APPEND|CREATE|TRUNCATE)|(remove|rename|mkdir|rmdir) (name|old)|symlink old|set "|written [1-9]/;
      expect(writes.exec(sftp)?.[0]).toBeUndefined();
    }
  });
});
