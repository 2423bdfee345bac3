// What we say of VMs against what virsh says of the same ones, on a real host; and a VM that libvirt cannot ask.
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { systemClock } from '../../src/core/clock.js';
import { LibvirtClient } from '../../src/libvirt/client.js';
import { HostPages } from '../../src/metrics/page.js';
import { renderVms } from '../../src/metrics/render-vms.js';
import type { HostReaders } from '../../src/pollers/poller.js';
import { type VmsSample, vmsPoller } from '../../src/pollers/vms.js';
import { aHost } from '../support/host.js';
import { until } from '../support/until.js';
import { parseSeries, type Series } from '../unit/metrics/parse.js';
import { promtoolComplaints } from '../unit/metrics/promtool.js';

/** Fields of `virsh domstats` that have a series, and their unit in ours. */
const ns = 1e-9;
const kib = 1024;
const seriesOfField: readonly (readonly [RegExp, string, number])[] = [
  [/^state\.state$/, 'libvirt_domain_info_state', 1],
  [/^cpu\.time$/, 'libvirt_domain_info_cpu_time_seconds_total', ns],
  [/^cpu\.user$/, 'libvirt_domain_cpu_user_seconds_total', ns],
  [/^cpu\.system$/, 'libvirt_domain_cpu_system_seconds_total', ns],
  [/^balloon\.current$/, 'libvirt_domain_info_memory_usage_bytes', kib],
  [/^balloon\.maximum$/, 'libvirt_domain_info_maximum_memory_bytes', kib],
  [/^balloon\.swap_in$/, 'libvirt_domain_memory_stats_swap_in_bytes', kib],
  [/^balloon\.swap_out$/, 'libvirt_domain_memory_stats_swap_out_bytes', kib],
  [/^balloon\.major_fault$/, 'libvirt_domain_memory_stats_major_fault_total', 1],
  [/^balloon\.minor_fault$/, 'libvirt_domain_memory_stats_minor_fault_total', 1],
  [/^balloon\.unused$/, 'libvirt_domain_memory_stats_unused_bytes', kib],
  [/^balloon\.available$/, 'libvirt_domain_memory_stats_available_bytes', kib],
  [/^balloon\.usable$/, 'libvirt_domain_memory_stats_usable_bytes', kib],
  [/^balloon\.last-update$/, 'libvirt_domain_memory_stats_last_update_timestamp_seconds', 1],
  [/^balloon\.disk_caches$/, 'libvirt_domain_memory_stats_disk_caches_bytes', kib],
  [/^balloon\.hugetlb_pgalloc$/, 'libvirt_domain_memory_stats_hugetlb_pgalloc_total', 1],
  [/^balloon\.hugetlb_pgfail$/, 'libvirt_domain_memory_stats_hugetlb_pgfail_total', 1],
  [/^balloon\.rss$/, 'libvirt_domain_memory_stats_rss_bytes', kib],
  [/^vcpu\.current$/, 'libvirt_domain_vcpu_current', 1],
  [/^vcpu\.maximum$/, 'libvirt_domain_vcpu_maximum', 1],
  [/^vcpu\.(\d+)\.state$/, 'libvirt_domain_vcpu_state', 1],
  [/^vcpu\.(\d+)\.time$/, 'libvirt_domain_vcpu_time_seconds_total', ns],
  [/^vcpu\.(\d+)\.wait$/, 'libvirt_domain_vcpu_wait_seconds_total', ns],
  [/^vcpu\.(\d+)\.delay$/, 'libvirt_domain_vcpu_delay_seconds_total', ns],
  [/^net\.(\d+)\.rx\.bytes$/, 'libvirt_domain_interface_stats_receive_bytes_total', 1],
  [/^net\.(\d+)\.rx\.pkts$/, 'libvirt_domain_interface_stats_receive_packets_total', 1],
  [/^net\.(\d+)\.rx\.errs$/, 'libvirt_domain_interface_stats_receive_errors_total', 1],
  [/^net\.(\d+)\.rx\.drop$/, 'libvirt_domain_interface_stats_receive_drops_total', 1],
  [/^net\.(\d+)\.tx\.bytes$/, 'libvirt_domain_interface_stats_transmit_bytes_total', 1],
  [/^net\.(\d+)\.tx\.pkts$/, 'libvirt_domain_interface_stats_transmit_packets_total', 1],
  [/^net\.(\d+)\.tx\.errs$/, 'libvirt_domain_interface_stats_transmit_errors_total', 1],
  [/^net\.(\d+)\.tx\.drop$/, 'libvirt_domain_interface_stats_transmit_drops_total', 1],
  [/^block\.(\d+)\.rd\.reqs$/, 'libvirt_domain_block_stats_read_requests_total', 1],
  [/^block\.(\d+)\.rd\.bytes$/, 'libvirt_domain_block_stats_read_bytes_total', 1],
  [/^block\.(\d+)\.rd\.times$/, 'libvirt_domain_block_stats_read_time_seconds_total', ns],
  [/^block\.(\d+)\.wr\.reqs$/, 'libvirt_domain_block_stats_write_requests_total', 1],
  [/^block\.(\d+)\.wr\.bytes$/, 'libvirt_domain_block_stats_write_bytes_total', 1],
  [/^block\.(\d+)\.wr\.times$/, 'libvirt_domain_block_stats_write_time_seconds_total', ns],
  [/^block\.(\d+)\.fl\.reqs$/, 'libvirt_domain_block_stats_flush_requests_total', 1],
  [/^block\.(\d+)\.fl\.times$/, 'libvirt_domain_block_stats_flush_time_seconds_total', ns],
  [/^block\.(\d+)\.allocation$/, 'libvirt_domain_block_stats_allocation_bytes', 1],
  [/^block\.(\d+)\.capacity$/, 'libvirt_domain_block_stats_capacity_bytes', 1],
  [/^block\.(\d+)\.physical$/, 'libvirt_domain_block_stats_physicalsize_bytes', 1],
];

/** Numeric fields without a series, on purpose. */
const withoutSeries =
  /^(state\.reason|(net|block|iothread)\.count|cpu\.(haltpoll|cache)\..*|vcpu\.\d+\.halted|block\.\d+\.(backingIndex|errors|threshold)|dirtyrate\..*|iothread\..*|perf\..*|memory\..*)$/;

let lab: Lab;
let host: LabHost;
let client: LibvirtClient;
let readers: HostReaders;

beforeAll(async () => {
  lab = await raiseLab({ name: 'vm-metrics', hosts: 1, guests: ['web-1', { name: 'old-1', start: false }] });
  const [first] = lab.hosts;
  if (!first) throw new Error('no host');
  host = first;
  const [libvirtd] = host.pids('libvirtd');
  const socket = connect(`/proc/${libvirtd}/root/run/libvirt/libvirt-sock-ro`);
  await once(socket, 'connect');
  client = await LibvirtClient.open(socket, {
    host: host.name,
    uri: 'qemu:///system',
    readOnly: true,
    timeoutMs: 10_000,
  });
  readers = {
    libvirt: () => client,
    files: () => {
      throw new Error('no files here');
    },
  };
});

afterAll(async () => {
  await client?.close();
  await lab?.down();
});

function poll(): Promise<VmsSample> {
  return vmsPoller.poll(readers, { host: aHost(), signal: AbortSignal.timeout(20_000), clock: systemClock });
}

async function domstats(vm: string): Promise<Map<string, string>> {
  const text = await host.virsh('domstats', vm);
  return new Map(
    [...text.matchAll(/^ {2}(\S+?)=(.*)$/gm)].map(([, field = '', value = '']) => [field, value]),
  );
}

function labelsOf(
  field: string,
  index: string | undefined,
  stats: Map<string, string>,
): Record<string, string> {
  if (index === undefined) return {};
  const [group] = field.split('.');
  if (group === 'vcpu') return { vcpu: index };
  return { target_device: stats.get(`${group}.${index}.name`) ?? '' };
}

function find(series: Series[], name: string, labels: Record<string, string>): Series | undefined {
  return series.find(
    (one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
  );
}

const pageOf = (sample: VmsSample) =>
  new HostPages().page([(lines) => renderVms(lines, host.name, sample)]).bytes.toString();

describe('VMs beside virsh', () => {
  it.each(['web-1', 'old-1'])('every figure of %s is that of virsh domstats', async (vm) => {
    const before = await domstats(vm);
    const page = pageOf(await poll());
    const after = await domstats(vm);
    const series = parseSeries(page);
    const wrong: string[] = [];
    let compared = 0;
    for (const [field, text] of before) {
      if (!/^\d+$/.test(text)) continue;
      const [known, name, unit] = seriesOfField.find(([pattern]) => pattern.test(field)) ?? [];
      if (!known || !name || !unit) {
        if (!withoutSeries.test(field)) wrong.push(`${field} has no series`);
        continue;
      }
      const labels = { domain: vm, ...labelsOf(field, known.exec(field)?.[1], before) };
      const value = find(series, name, labels)?.value;
      const [low, high] = [Number(text) * unit, Number(after.get(field)) * unit].sort((a, b) => a - b);
      const room = (high ?? 0) * 1e-9;
      const isRight = value !== undefined && value >= (low ?? 0) - room && value <= (high ?? 0) + room;
      if (!isRight) wrong.push(`${field}: ${low} … ${value} … ${high}`);
      compared += 1;
    }
    expect(wrong).toEqual([]);
    expect(compared).toBeGreaterThan(vm === 'web-1' ? 30 : 5);
    expect(promtoolComplaints(page)).toEqual([]);
  });

  it('state and number agree', async () => {
    const series = parseSeries(pageOf(await poll()));
    expect(find(series, 'libvirt_domains', {})?.value).toBe(2);
    expect(find(series, 'libvirt_domain_info_state', { domain: 'web-1' })?.labels.state_desc).toBe(
      'the domain is running',
    );
    expect(find(series, 'libvirt_domain_info_state', { domain: 'old-1' })?.value).toBe(5);
    for (const domain of ['web-1', 'old-1']) {
      expect(find(series, 'libvirt_domain_timed_out', { domain })?.value).toBe(0);
    }
  });
});

describe('a VM that libvirt cannot ask', () => {
  const busy = async () => {
    const { vms } = await poll();
    return vms.filter((vm) => vm.busy).map(({ domain }) => domain.name);
  };

  it('is marked, keeps what is known without it, and is itself again afterwards', async () => {
    await host.stickGuest('web-1', { jobHeld: true });
    try {
      const sample = await poll();
      expect(sample.vms.map(({ domain, busy: isBusy }) => [domain.name, isBusy]).sort()).toEqual([
        ['old-1', false],
        ['web-1', true],
      ]);
      const series = parseSeries(pageOf(sample));
      const of = (name: string) => find(series, name, { domain: 'web-1' })?.value;
      expect(of('libvirt_domain_timed_out')).toBe(1);
      expect(of('libvirt_domain_info_state')).toBe(1);
      expect(of('libvirt_domain_info_cpu_time_seconds_total')).toBeGreaterThan(0);
      expect(of('libvirt_domain_block_stats_read_bytes_total')).toBeUndefined();
      expect(of('libvirt_domain_memory_stats_rss_bytes')).toBeUndefined();
    } finally {
      host.unstickGuest('web-1');
    }
    await until('no VM is busy', async () => (await busy()).length === 0);
  });
});
