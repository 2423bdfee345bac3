import { describe, expect, it } from 'vitest';
import {
  meminfoFields,
  netstatFields,
  sockstatFields,
  vmstatFields,
} from '../../../src/core/kernel-fields.js';
import { families } from '../../../src/metrics/families.js';
import { memoryFamilies } from '../../../src/metrics/families-system.js';
import { type HostStateView, renderHostState } from '../../../src/metrics/host-state.js';
import type { Part } from '../../../src/metrics/page.js';
import { renderSystem } from '../../../src/metrics/render-system.js';
import { renderVms } from '../../../src/metrics/render-vms.js';
import type { SystemSample } from '../../../src/pollers/system.js';
import type { VmSample } from '../../../src/pollers/vms.js';
import { fleetText, hostPage, rendered, running, stopped, systemSample } from './fixtures.js';
import { parseSeries, seriesKey } from './parse.js';
import { promtoolComplaints, promtoolThere } from './promtool.js';

const states = ['connecting', 'up', 'degraded', 'down'];

type Rendered = ReadonlyMap<string, string>;

function hostState(instance: string, over: Partial<HostStateView> = {}): Part {
  const view: HostStateView = {
    up: true,
    libvirtUp: true,
    state: 'up',
    states,
    maintenance: false,
    lastSuccessMs: 1_795_222_000_123,
    samples: [
      { poller: 'vms', ageMs: 1500 },
      { poller: 'system', ageMs: 2500, problems: 0 },
    ],
    info: { uri: 'qemu:///system', libvirt_version: '9.0.0' },
    ...over,
  };
  return (lines) => renderHostState(lines, instance, view);
}

const vmsPart =
  (instance: string, vms: VmSample[]): Part =>
  (lines) =>
    renderVms(lines, instance, { takenAtMs: 0, vms });
const vmsOf = (vms: VmSample[]) => rendered(vmsPart('h', vms));
const systemOf = (sample: SystemSample) => rendered((lines) => renderSystem(lines, 'h', sample));

function host(instance: string): Part[] {
  return [
    hostState(instance),
    vmsPart(instance, [running('web-1'), stopped('old')]),
    (lines) => renderSystem(lines, instance, systemSample()),
  ];
}

const seriesOf = (sample: Rendered) => parseSeries([...sample.values()].join(''));

describe('a page', async () => {
  const fleet = await fleetText([...host('kvm-01'), ...host('kvm-02')]);

  it.runIf(promtoolThere)(
    'of the fleet is clean for promtool, but for the inherited camelCase of node_exporter',
    () => {
      const inherited =
        /^node_(memory|netstat)_\S+ metric names should be written in 'snake_case' not 'camelCase'$/;
      expect(promtoolComplaints(fleet).filter((line) => !inherited.test(line))).toEqual([]);
    },
  );

  it.runIf(promtoolThere)('of one host is clean too, and is the same without the instance', () => {
    const page = hostPage(host('kvm-01'));
    const inherited =
      /^node_(memory|netstat)_\S+ metric names should be written in 'snake_case' not 'camelCase'$/;
    expect(promtoolComplaints(page).filter((line) => !inherited.test(line))).toEqual([]);
    expect(page).not.toContain('instance=');
    const there = new Set(
      parseSeries(fleet)
        .filter(({ labels }) => labels.instance === 'kvm-01')
        .map(
          ({
            instance: _,
            ...series
          }: {
            instance?: string;
            name: string;
            labels: Record<string, string>;
            value: number;
          }) => {
            const { instance: __, ...labels } = series.labels;
            return seriesKey({ ...series, labels });
          },
        ),
    );
    expect(new Set(parseSeries(page).map(seriesKey))).toEqual(there);
    expect(page).toContain('\nlibvirt_up 1\n');
    expect(page).toContain('\nlibvirt_domain_vcpu_current{domain="web-1"} 2\n');
  });

  it('has no series twice, and only declared families and labels', () => {
    const all = parseSeries(fleet);
    expect(new Set(all.map(seriesKey)).size).toBe(all.length);
    for (const { name, labels } of all) {
      if (name === 'outrigger_host_info') continue;
      const declared = families.get(name as never)?.labels;
      expect(declared, name).toBeDefined();
      expect(['instance', ...(declared ?? [])], name).toEqual(expect.arrayContaining(Object.keys(labels)));
      expect(Object.keys(labels)[0]).toBe('instance');
    }
  });

  it('cannot be led astray by a label that looks like the instance', () => {
    const evil = running('{instance="kvm-01",x="1"}');
    const page = hostPage([vmsPart('kvm-01', [evil])]);
    expect(page).toContain('libvirt_domain_vcpu_current{domain="{instance=\\"kvm-01\\",x=\\"1\\"}"} 2\n');
  });
});

describe('VMs', () => {
  const value = (sample: Rendered, name: string, labels: Record<string, string> = {}) =>
    seriesOf(sample).find(
      (series) =>
        series.name === name && Object.entries(labels).every(([key, text]) => series.labels[key] === text),
    )?.value;

  it('come in seconds and bytes', () => {
    const sample = vmsOf([running('web-1')]);
    expect(value(sample, 'libvirt_domain_info_cpu_time_seconds_total')).toBe(12.345678901);
    expect(value(sample, 'libvirt_domain_info_maximum_memory_bytes')).toBe(524_288 * 1024);
    expect(value(sample, 'libvirt_domain_memory_stats_rss_bytes')).toBe(180_000 * 1024);
    expect(value(sample, 'libvirt_domain_memory_stats_used_percent')).toBe(25);
    expect(value(sample, 'libvirt_domain_vcpu_delay_seconds_total', { vcpu: '0' })).toBe(0.0025);
    expect(value(sample, 'libvirt_domain_block_stats_read_time_seconds_total')).toBe(1.5);
    expect(value(sample, 'libvirt_domain_interface_stats_transmit_drops_total')).toBe(4);
    expect(value(sample, 'libvirt_domain_info_state', { state_desc: 'the domain is running' })).toBe(1);
    expect(value(sample, 'libvirt_domain_timed_out')).toBe(0);
  });

  it('leave out what libvirt did not say', () => {
    const bare = running('web-1', {
      balloon: { current: 1, maximum: 1 },
      blocks: [{ name: 'vda' }],
      busy: true,
    });
    const sample = vmsOf([bare]);
    expect(value(sample, 'libvirt_domain_timed_out')).toBe(1);
    for (const name of [
      'libvirt_domain_memory_stats_used_percent',
      'libvirt_domain_memory_stats_unused_bytes',
      'libvirt_domain_block_stats_read_bytes_total',
    ]) {
      expect(sample.has(name), name).toBe(false);
    }
    const noGuestFigures = running('web-2', { balloon: { available: 0, usable: 0 } });
    const other = vmsOf([noGuestFigures]);
    expect(other.has('libvirt_domain_memory_stats_used_percent')).toBe(false);
  });

  it('are there when stopped', () => {
    const sample = vmsOf([stopped('old')]);
    expect(value(sample, 'libvirt_domain_info_state', { state_desc: 'the domain is shut off' })).toBe(5);
    expect(value(sample, 'libvirt_domain_info_maximum_memory_bytes')).toBe(262_144 * 1024);
    expect(value(sample, 'libvirt_domain_block_stats_capacity_bytes')).toBe(8192);
    expect(sample.has('libvirt_domain_memory_stats_current_balloon_bytes')).toBe(false);
    expect(sample.has('libvirt_domain_info_cpu_time_seconds_total')).toBe(false);
  });

  it('keep identity to info series', () => {
    const allowed = new Set(['instance', 'domain', 'vcpu', 'target_device', 'state_desc']);
    for (const { name, labels } of seriesOf(vmsOf([running('a')]))) {
      if (!name.endsWith('_info'))
        expect(
          Object.keys(labels).filter((key) => !allowed.has(key)),
          name,
        ).toEqual([]);
    }
  });

  it('and their devices are counted once, whatever the host says', () => {
    const layers = [{ name: 'vda', 'rd.reqs': 1 }, { name: 'vda', 'rd.reqs': 2 }, {}];
    const sample = vmsOf([running('a', { blocks: layers }), running('a')]);
    expect(sample.get('libvirt_domain_block_stats_read_requests_total')).toBe(
      'libvirt_domain_block_stats_read_requests_total{instance="h",domain="a",target_device="vda"} 1\n',
    );
    expect(sample.get('libvirt_domains')).toBe('libvirt_domains{instance="h"} 1\n');
  });

  it('are none on an empty host', () => {
    expect([...vmsOf([]).keys()]).toEqual(['libvirt_domains']);
  });
});

describe('a host', () => {
  it('whose files are all absent has no lines', () => {
    const empty = { takenAtMs: 0, pressure: {}, netstat: {}, sockstat: {}, kernel: {}, problems: [] };
    expect(systemOf(empty).size).toBe(0);
  });

  it('tells a failed filesystem apart', () => {
    const sample = systemOf(systemSample());
    expect(sample.get('node_filesystem_device_error')).toContain('mountpoint="/srv"} 1\n');
    expect(sample.get('node_filesystem_size_bytes')).not.toContain('/srv');
  });

  it('has each filesystem once, also where names are long', () => {
    const filesystem = (mountpoint: string, readOnly: boolean) => {
      return { device: 'd'.repeat(1000), fstype: 'f'.repeat(1000), mountpoint, readOnly };
    };
    const filesystems = [filesystem('/a', true), filesystem('/b', true), filesystem('/a', false)];
    const text = systemOf(systemSample({ filesystems })).get('node_filesystem_readonly');
    expect(text?.match(/mountpoint="[^"]*"} ./g)).toEqual(['mountpoint="/a"} 1', 'mountpoint="/b"} 1']);
  });

  it('that is down keeps its state', () => {
    const down = hostState('h', {
      up: false,
      libvirtUp: false,
      state: 'down',
      lastSuccessMs: undefined,
      samples: [],
    });
    const sample = rendered(down);
    expect(sample.get('libvirt_up')).toBe('libvirt_up{instance="h"} 0\n');
    expect(sample.get('outrigger_host_session_state')).toContain('state="down"} 1\n');
    expect(sample.has('outrigger_host_last_success_timestamp_seconds')).toBe(false);
    expect(sample.has('outrigger_host_sample_age_seconds')).toBe(false);
  });

  it('has no label that Prometheus refuses', () => {
    const info = { 'bad-name': '1', instance: 'x', __meta: '2', fine: 'yes', unknown: undefined };
    const sample = rendered(hostState('h', { info }));
    expect(sample.get('outrigger_host_info')).toBe('outrigger_host_info{instance="h",fine="yes"} 1\n');
  });

  it('has families for every field that pollers keep', () => {
    expect([...memoryFamilies.keys()]).toEqual(meminfoFields);
    const all = [...families.keys()];
    expect(all).toEqual(expect.arrayContaining([...memoryFamilies.values()]));
    expect(all).toEqual(expect.arrayContaining(netstatFields.map((field) => `node_netstat_${field}`)));
    const sockets = [...sockstatFields, 'TCP_mem_bytes', 'UDP_mem_bytes'];
    expect(all).toEqual(expect.arrayContaining(sockets.map((field) => `node_sockstat_${field}`)));
    expect(all).toEqual(expect.arrayContaining(vmstatFields.map((field) => `node_vmstat_${field}`)));
    expect(memoryFamilies.get('Active(anon)')).toBe('node_memory_Active_anon_bytes');
    expect(memoryFamilies.get('HugePages_Total')).toBe('node_memory_HugePages_Total');
  });
});
