// What changes seldom, on real hosts: identity, limits, snapshots, pools and jobs beside virsh; how soon they come after
// the start and after an event; what a guest that hangs costs the others.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { type Page, Service } from '../support/outrigger.js';
import { inovexAsks, stackhpcAsks } from '../support/peer-dashboards.js';
import { parseSeries, type Series } from '../unit/metrics/parse.js';

/** Long enough that nothing below can come from the interval. */
const detailsInterval = '1h';
const soonMs = 10_000;

const nova = `<instance><name>shop</name><flavor name="m1.small"/><owner><user uuid="u-1">ann</user>
  <project uuid="p-1">web &amp; "co"</project></owner><root type="image" uuid="i-1"/></instance>`;

let lab: Lab;
let one: LabHost;
let two: LabHost;
let service: Service;

beforeAll(async () => {
  lab = await raiseLab({
    name: 'details',
    hosts: 2,
    guests: ['web-1', 'db-1', { name: 'old-1', start: false }],
  });
  const [first, second] = lab.hosts;
  if (!first || !second) throw new Error('no hosts');
  [one, two] = [first, second];
  const key = ['--uri', 'http://openstack.org/xmlns/libvirt/nova/1.1', '--key', 'nova', '--set', nova];
  await one.virsh('metadata', 'web-1', '--live', ...key);
  const limits = ['--write-bytes-sec', '5000000', '--write-bytes-sec-max', '9000000'];
  await one.virsh('blkdeviotune', 'web-1', 'vda', '--live', ...limits);
  await one.virsh('dommemstat', 'web-1', '--period', '0', '--live');
  for (const snapshot of ['first', 'second']) await one.virsh('snapshot-create-as', 'old-1', snapshot);
  await one.virsh('pool-define-as', 'images', 'dir', '--target', '/var/lib/libvirt/images');
  await one.virsh('pool-start', 'images');
  await one.virsh('pool-define-as', 'idle', 'dir', '--target', '/var/lib/libvirt/boot');
  const file = join(lab.dir, 'details.yaml');
  const poll = `poll: { interval: 1s, details: ${detailsInterval}, balloonPeriod: 3s }`;
  await writeFile(file, lab.inventory().replace('defaults:\n', `defaults:\n  ${poll}\n`));
  service = await Service.start(file);
});

afterAll(async () => {
  await service?.stop();
  await lab?.down();
});

function infoOf(page: Page, name: string, labels: Record<string, string>): Record<string, string> {
  const found = parseSeries(page.text).filter((series) => has(series, name, labels));
  expect(found).toHaveLength(1);
  return found[0]?.labels ?? {};
}

function has(series: Series, name: string, labels: Record<string, string>): boolean {
  return series.name === name && Object.entries(labels).every(([key, value]) => series.labels[key] === value);
}

const of = (host: LabHost, domain: string) => ({ instance: host.name, domain });

describe('soon after the start', () => {
  let page: Page;

  beforeAll(async () => {
    page = await service.pageWhen(
      'the details of both hosts',
      (page) =>
        page.find('libvirt_domain_info', { os_type: 'hvm' }).length === 6 &&
        page.find('libvirt_domain_job_info_type').length === 4 &&
        page.find('libvirt_domain_info_state').length === 6,
      soonMs,
    );
  });

  it('VMs, disks and interfaces are who their definition says, on each host its own', async () => {
    for (const host of [one, two]) {
      const uuid = (await host.virsh('domuuid', 'web-1')).trim();
      expect(infoOf(page, 'libvirt_domain_info', of(host, 'web-1'))).toEqual({
        ...of(host, 'web-1'),
        uuid,
        os_type: 'hvm',
        os_type_arch: 'x86_64',
        os_type_machine: expect.stringMatching(/^pc-q35/),
      });
      const domiflist = (await host.virsh('domiflist', 'web-1')).trim().split(/\s+/);
      const { instance, domain, ...net } = infoOf(
        page,
        'libvirt_domain_interface_stats_info',
        of(host, 'web-1'),
      );
      const { target_device, interface_type, source_bridge, model_type, mac_address } = net;
      expect([target_device, interface_type, source_bridge, model_type, mac_address]).toEqual(domiflist);
      expect({ instance, domain }).toEqual(of(host, 'web-1'));
    }
    expect(infoOf(page, 'libvirt_domain_block_stats_info', of(one, 'web-1'))).toEqual({
      ...of(one, 'web-1'),
      target_device: 'vda',
      disk_type: 'file',
      target_bus: 'virtio',
      driver_name: 'qemu',
      driver_type: 'qcow2',
      source_file: '/var/lib/libvirt/images/web-1.qcow2',
      serial: 'web-1-vda',
    });
    expect(page.find('libvirt_domain_block_stats_info', of(two, 'db-1'))).toHaveLength(2);
  });

  it('a VM of OpenStack carries what Nova says; another its UUID alone', async () => {
    expect(infoOf(page, 'libvirt_domain_openstack_info', of(one, 'web-1'))).toEqual({
      ...of(one, 'web-1'),
      instance_name: 'shop',
      instance_id: (await one.virsh('domuuid', 'web-1')).trim(),
      flavor_name: 'm1.small',
      user_name: 'ann',
      user_id: 'u-1',
      project_name: 'web & \\"co\\"',
      project_id: 'p-1',
      root_type: 'image',
      root_uuid: 'i-1',
    });
    const other = infoOf(page, 'libvirt_domain_openstack_info', of(two, 'web-1'));
    expect(Object.keys(other).sort()).toEqual(['domain', 'instance', 'instance_id']);
  });

  it('limits of disks are those that are set', () => {
    const limit = (name: string) =>
      page.find(`libvirt_domain_block_stats_limit_${name}`).map(([, value]) => value);
    expect(limit('write_bytes')).toEqual([5_000_000]);
    expect(limit('burst_write_bytes')).toEqual([9_000_000]);
    expect(limit('read_bytes')).toEqual([]);
  });

  it('snapshots are counted, and the oldest is as old as libvirt says', async () => {
    const xml = await one.virsh('snapshot-dumpxml', 'old-1', 'first');
    const made = Number(/<creationTime>(\d+)</.exec(xml)?.[1]);
    expect(page.value('outrigger_domain_snapshots', of(one, 'old-1'))).toBe(2);
    expect(page.value('outrigger_domain_snapshot_oldest_timestamp_seconds', of(one, 'old-1'))).toBe(made);
    expect(page.value('outrigger_domain_snapshots', of(two, 'old-1'))).toBe(0);
    expect(page.find('outrigger_domain_snapshot_oldest_timestamp_seconds', of(two, 'old-1'))).toEqual([]);
  });

  it('storage pools are those of virsh', async () => {
    const info = await one.virsh('pool-info', 'images', '--bytes');
    const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)$`, 'm').exec(info)?.[1]);
    const pool = (name: string, of = 'images') =>
      page.value(`libvirt_storage_pool_${name}`, { instance: one.name, storage_pool: of });
    expect(pool('state')).toBe(2);
    expect(pool('timed_out')).toBe(0);
    expect(pool('capacity_bytes')).toBe(bytes('Capacity'));
    expect(pool('allocation_bytes')).toBe(bytes('Allocation'));
    expect(pool('available_bytes')).toBe(bytes('Available'));
    expect(pool('state', 'idle')).toBe(0);
    expect(pool('capacity_bytes', 'idle')).toBeUndefined();
  });

  it('versions are those of virsh version', async () => {
    const virsh = await one.virsh('version', '--daemon');
    const version = (what: RegExp) => what.exec(virsh)?.[1];
    expect(infoOf(page, 'libvirt_versions_info', { instance: one.name })).toEqual({
      instance: one.name,
      hypervisor_running: version(/hypervisor: QEMU (\S+)/),
      libvirtd_running: version(/daemon: (\S+)/),
    });
  });

  it('a VM whose balloon was silent reports its memory, set up once and logged', async () => {
    expect(await one.virsh('dumpxml', 'web-1')).toContain("<stats period='3'/>");
    const set = service.logged('balloon statistics turned on');
    expect(set.map(({ host, vm, periodS }) => ({ host, vm, periodS }))).toEqual([
      { host: one.name, vm: 'web-1', periodS: 3 },
    ]);
  });

  it("every query of inovex's and stackhpc's dashboards finds series, with their labels", async () => {
    const full = await service.pageWhen(
      'the guests to report their memory',
      (page) => page.find('libvirt_domain_memory_stats_used_percent', of(two, 'web-1')).length === 1,
      soonMs,
    );
    const series = parseSeries(full.text);
    const missing = [...inovexAsks, ...stackhpcAsks].filter(
      ({ series: name, labels }) =>
        !series.some((one) => one.name === name && labels.every((label) => label in one.labels)),
    );
    expect(missing).toEqual([]);
  });
});

describe('after an event', () => {
  it('the VM is read again, within seconds, and one that left is gone', async () => {
    await two.virsh('blkdeviotune', 'web-1', 'vda', '--live', '--total-iops-sec', '700');
    await two.virsh('undefine', 'old-1');
    await two.virsh('suspend', 'web-1');
    await two.virsh('resume', 'web-1');
    await service.pageWhen(
      'the new limit, and no more of the VM that left',
      (page) =>
        page.value('libvirt_domain_block_stats_limit_total_requests', of(two, 'web-1')) === 700 &&
        page.find('libvirt_domain_info', of(two, 'old-1')).length === 0,
      soonMs,
    );
  });
});

describe("a job of libvirt's own", () => {
  const typeOf = (page: Page) => page.value('libvirt_domain_job_info_type', of(two, 'db-1'));

  it('shows while it runs', async () => {
    const xml = `<domainbackup mode='pull'><server transport='unix' socket='/var/lib/libvirt/qemu/backup.sock'/>
      <disks><disk name='vda' backup='yes' type='file'><scratch file='/var/lib/libvirt/images/scratch.qcow2'/></disk>
      <disk name='vdb' backup='no'/></disks></domainbackup>`;
    await two.exec(['tee', '/run/lab/backup.xml'], { input: xml });
    await two.virsh('backup-begin', 'db-1', '/run/lab/backup.xml');
    const page = await service.pageWhen('the backup', (page) => (typeOf(page) ?? 0) > 0, soonMs);
    const info = await two.virsh('domjobinfo', 'db-1');
    expect(info).toMatch(/Operation:\s+Backup/);
    expect(page.find('libvirt_domain_job_info_time_elapsed_seconds', of(two, 'db-1'))).toHaveLength(1);
    await two.virsh('domjobabort', 'db-1');
    const after = await service.pageWhen('its end', (page) => typeOf(page) === 0, soonMs);
    expect(after.find('libvirt_domain_job_info_data_total_bytes', of(two, 'db-1'))).toEqual([]);
  });
});

describe('a guest that hangs', () => {
  it('delays no other: what happens to its neighbour is seen within seconds', async () => {
    await one.stickGuest('web-1', { jobHeld: true });
    try {
      await one.virsh('blkdeviotune', 'db-1', 'vda', '--live', '--total-iops-sec', '900');
      await one.virsh('suspend', 'db-1');
      await one.virsh('resume', 'db-1');
      const page = await service.pageWhen(
        'the neighbour, and the stuck one marked',
        (page) =>
          page.value('libvirt_domain_block_stats_limit_total_requests', of(one, 'db-1')) === 900 &&
          page.value('libvirt_domain_timed_out', of(one, 'web-1')) === 1,
        soonMs,
      );
      expect(page.find('libvirt_domain_info', { ...of(one, 'web-1'), os_type: 'hvm' })).toHaveLength(1);
      expect(page.value('libvirt_domain_job_info_type', of(one, 'db-1'))).toBe(0);
    } finally {
      one.unstickGuest('web-1');
    }
  });
});
