// What changes seldom, as series: labels of the peers, nothing twice, nothing that libvirt did not say.
import { describe, expect, it } from 'vitest';
import { renderDetails } from '../../../src/metrics/render-details.js';
import { renderDomainJobs } from '../../../src/metrics/render-domain-jobs.js';
import type { DetailsSample, DomainEntry } from '../../../src/pollers/details.js';
import { type DiskDetails, type LimitName, readDomainDetails } from '../../../src/pollers/details-domain.js';
import type { DomainJob } from '../../../src/pollers/domain-jobs.js';
import { hostPage } from './fixtures.js';
import { parseSeries, seriesKey } from './parse.js';

const disk = (target: string, over: Partial<DiskDetails> = {}): DiskDetails => ({
  target,
  device: 'disk',
  limits: {},
  ...over,
});

function entry(name: string, over: Partial<DomainEntry> = {}): DomainEntry {
  const domain = { name, uuid: `uuid-of-${name}`, id: 1 };
  return { domain, timedOut: false, details: { os: {}, disks: [], interfaces: [] }, ...over };
}

const sampleOf = (over: Partial<DetailsSample>): DetailsSample => ({
  takenAtMs: 0,
  versions: {},
  domains: [],
  problems: [],
  ...over,
});

const seriesOf = (over: Partial<DetailsSample>) =>
  parseSeries(hostPage([(lines) => renderDetails(lines, 'kvm-01', sampleOf(over))]));

const named = (series: ReturnType<typeof seriesOf>, name: string) =>
  series.filter((one) => one.name === name);

describe('details', () => {
  it('a VM without a definition has its identity and no more', () => {
    const { details: _, ...bare } = entry('web', { timedOut: true });
    expect(seriesOf({ domains: [bare] })).toEqual([
      { name: 'libvirt_domain_info', labels: { domain: 'web', uuid: 'uuid-of-web' }, value: 1 },
      { name: 'outrigger_domain_details_timed_out', labels: { domain: 'web' }, value: 1 },
    ]);
  });

  it('labels without a value are left out', () => {
    const series = seriesOf({ domains: [entry('web', { details: readDomainDetails('<domain/>') })] });
    expect(named(series, 'libvirt_domain_openstack_info')[0]?.labels).toEqual({
      domain: 'web',
      instance_id: 'uuid-of-web',
    });
  });

  it('drives without a disk of the guest, and interfaces without a name, are no info', () => {
    const disks = [
      disk('sda', { device: 'cdrom' }),
      disk('fda', { device: 'floppy' }),
      disk(''),
      disk('vda'),
    ];
    const details = { os: {}, disks, interfaces: [{ type: 'bridge' }, { target: 'vnet0' }] };
    const series = seriesOf({ domains: [entry('web', { details })] });
    expect(
      named(series, 'libvirt_domain_block_stats_info').map(({ labels }) => labels.target_device),
    ).toEqual(['vda']);
    expect(
      named(series, 'libvirt_domain_interface_stats_info').map(({ labels }) => labels.target_device),
    ).toEqual(['vnet0']);
  });

  it('each limit has a series of its own, by the words that Tinkoff has for it', () => {
    const words: [LimitName, string][] = [
      ['total_bytes_sec', 'limit_total_bytes'],
      ['read_iops_sec', 'limit_read_requests'],
      ['write_bytes_sec_max', 'limit_burst_write_bytes'],
      ['total_iops_sec_max', 'limit_burst_total_requests'],
      ['read_bytes_sec_max_length', 'limit_burst_read_bytes_length_seconds'],
      ['write_iops_sec_max_length', 'limit_burst_length_write_requests_seconds'],
      ['size_iops_sec', 'size_iops_bytes'],
    ];
    const limits = Object.fromEntries(words.map(([limit], index) => [limit, index + 1]));
    const details = { os: {}, disks: [disk('vda', { limits })], interfaces: [] };
    const series = seriesOf({ domains: [entry('web', { details })] });
    const found = series.filter(({ name }) => /_(limit|size)_/.test(name));
    expect(found).toHaveLength(words.length);
    for (const [index, [, word]] of words.entries()) {
      expect(named(found, `libvirt_domain_block_stats_${word}`)).toEqual([
        {
          name: `libvirt_domain_block_stats_${word}`,
          labels: { domain: 'web', target_device: 'vda' },
          value: index + 1,
        },
      ]);
    }
  });

  it('hostile and double names make no series twice, and no line of their own', () => {
    const evil = ['"} 1\nevil{a="', '\\', 'a\0b', 'Zürich 東京', '\ud800', '\ud801', ' '];
    const twice = [...evil, ...evil];
    const details = {
      os: { type: '"\n' },
      disks: twice.map((target) => disk(target, { source: '"} 1\n', limits: { total_bytes_sec: 1 } })),
      interfaces: twice.map((target) => ({ target, source: '\\' })),
    };
    const series = seriesOf({
      domains: twice.map((name) => entry(name, { details, snapshots: { count: 1, oldestS: 1 } })),
      pools: twice.map((name) => ({
        name,
        timedOut: false,
        info: { state: 2, capacity: 1, allocation: 0, available: 1 },
      })),
    });
    expect(series.filter(({ name }) => name === 'evil')).toEqual([]);
    expect(new Set(series.map(seriesKey)).size).toBe(series.length);
  });

  it('pools: an inactive one has no sizes, one that hangs no figures', () => {
    const info = { state: 0, capacity: 0, allocation: 0, available: 0 };
    const series = seriesOf({
      pools: [
        { name: 'idle', timedOut: false, info },
        { name: 'nfs', timedOut: true },
      ],
    });
    expect(series.map(({ name, labels, value }) => [name, labels.storage_pool, value])).toEqual([
      ['libvirt_storage_pool_state', 'idle', 0],
      ['libvirt_storage_pool_timed_out', 'idle', 0],
      ['libvirt_storage_pool_timed_out', 'nfs', 1],
    ]);
  });
});

describe("libvirt's own jobs", () => {
  const job = (over: Partial<DomainJob>): DomainJob => ({
    type: 0,
    timeElapsed: 0,
    timeRemaining: 0,
    dataTotal: 0,
    dataProcessed: 0,
    dataRemaining: 0,
    memTotal: 0,
    memProcessed: 0,
    memRemaining: 0,
    fileTotal: 0,
    fileProcessed: 0,
    fileRemaining: 0,
    ...over,
  });
  const page = (jobs: DomainJob[]) => {
    const domains = jobs.map((job, index) => ({ name: `vm-${index}`, job }));
    return parseSeries(hostPage([(lines) => renderDomainJobs(lines, 'kvm-01', { takenAtMs: 0, domains })]));
  };
  const remaining = 'libvirt_domain_job_info_time_remaining_seconds';

  it('without a job there is its kind alone', () => {
    expect(page([job({})])).toEqual([
      { name: 'libvirt_domain_job_info_type', labels: { domain: 'vm-0' }, value: 0 },
    ]);
  });

  it('seconds are seconds, and the end is told only where libvirt knows it', () => {
    const series = page([
      job({ type: 1, timeElapsed: 1_500, timeRemaining: 2_500, memTotal: 7 }),
      job({ type: 2, timeElapsed: 3_000 }),
    ]);
    const figures = named(series, 'libvirt_domain_job_info_time_elapsed_seconds').map(({ value }) => value);
    expect(figures).toEqual([1.5, 3]);
    expect(named(series, remaining)).toEqual([{ name: remaining, labels: { domain: 'vm-0' }, value: 2.5 }]);
    expect(named(series, 'libvirt_domain_job_info_memory_total_bytes').map(({ value }) => value)).toEqual([
      7, 0,
    ]);
  });
});
