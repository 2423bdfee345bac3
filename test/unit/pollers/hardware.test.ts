// What the collectors make of /sys, up to the lines of the page; and how much of it they read.
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { HostError } from '../../../src/core/errors.js';
import { renderSystem } from '../../../src/metrics/render-system.js';
import { type SystemSample, systemPoller } from '../../../src/pollers/system.js';
import { FakeClock } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';
import { hostPage } from '../metrics/fixtures.js';
import { FakeFiles } from './fake-files.js';

class CountedFiles extends FakeFiles {
  reads: string[] = [];
  lists: string[] = [];

  override async read(path: string): Promise<string> {
    this.reads.push(path);
    return super.read(path);
  }

  override async list(path: string): Promise<string[]> {
    this.lists.push(path);
    return super.list(path);
  }

  forget(): void {
    this.reads = [];
    this.lists = [];
  }
}

function poll(files: FakeFiles, previous?: SystemSample, clock = systemClock): Promise<SystemSample> {
  const nothing = () => {
    throw new Error('the system poller has no business with libvirt');
  };
  return systemPoller.poll(
    { files: () => files, libvirt: nothing, opsLibvirt: nothing },
    { host: aHost(), signal: new AbortController().signal, clock, previous },
  );
}

/** Lines of the page without those of the collectors' runs. */
async function linesOf(texts: Record<string, string>, links: Record<string, string> = {}): Promise<string[]> {
  const files = new FakeFiles(texts);
  for (const [path, target] of Object.entries(links)) files.links.set(path, target);
  const sample = await poll(files);
  expect(sample.problems).toEqual([]);
  return hostPage([(lines) => renderSystem(lines, 'h', sample)])
    .trimEnd()
    .split('\n')
    .filter((line) => !/^(#|node_(scrape_collector|selinux)_)/.test(line))
    .sort();
}

describe('hardware', () => {
  it('sensors', async () => {
    const chip = '/sys/class/hwmon/hwmon3';
    const texts = {
      [`${chip}/name`]: 'coretemp\n',
      [`${chip}/temp1_input`]: '45000\n',
      [`${chip}/temp1_crit`]: '100000\n',
      [`${chip}/temp1_crit_alarm`]: '1\n',
      [`${chip}/temp1_label`]: 'Package id 0\n',
      [`${chip}/temp2_input`]: 'garbage\n',
      [`${chip}/fan1_input`]: '1200\n',
      [`${chip}/pwm1`]: '128\n',
      [`${chip}/power1_average`]: '95000000\n',
      [`${chip}/in0_input`]: '-5\n',
      [`${chip}/temp1_strange`]: '1\n',
      [`${chip}/uevent`]: '',
    };
    const links = {
      [chip]: '../../devices/platform/coretemp.0/hwmon/hwmon3',
      [`${chip}/device`]: '../../../coretemp.0',
    };
    const on = (sensor: string) => `chip="platform_coretemp_0",sensor="${sensor}"`;
    expect(await linesOf(texts, links)).toEqual([
      'node_hwmon_chip_names{chip="platform_coretemp_0",chip_name="coretemp"} 1',
      `node_hwmon_fan_rpm{${on('fan1')}} 1200`,
      `node_hwmon_in_volts{${on('in0')}} -0.005`,
      `node_hwmon_power_average_watt{${on('power1')}} 95`,
      `node_hwmon_pwm{${on('pwm1')}} 128`,
      'node_hwmon_sensor_label{chip="platform_coretemp_0",label="Package id 0",sensor="temp1"} 1',
      `node_hwmon_temp_celsius{${on('temp1')}} 45`,
      `node_hwmon_temp_crit_alarm_celsius{${on('temp1')}} 0.001`,
      `node_hwmon_temp_crit_celsius{${on('temp1')}} 100`,
    ]);
  });

  it('a chip without a device goes by its name', async () => {
    const texts = {
      '/sys/class/hwmon/hwmon0/name': 'ACPI-z\n',
      '/sys/class/hwmon/hwmon0/temp1_input': '1000\n',
    };
    expect(await linesOf(texts)).toContain('node_hwmon_temp_celsius{chip="acpi_z",sensor="temp1"} 1');
  });

  it('thermal zones and cooling devices', async () => {
    const texts = {
      '/sys/class/thermal/thermal_zone0/type': 'x86_pkg_temp\n',
      '/sys/class/thermal/thermal_zone0/temp': '-1500\n',
      '/sys/class/thermal/thermal_zone1/type': 'broken\n',
      '/sys/class/thermal/cooling_device10/type': 'Processor\n',
      '/sys/class/thermal/cooling_device10/cur_state': '2\n',
      '/sys/class/thermal/cooling_device10/max_state': '7\n',
    };
    expect(await linesOf(texts)).toEqual([
      'node_cooling_device_cur_state{name="10",type="Processor"} 2',
      'node_cooling_device_max_state{name="10",type="Processor"} 7',
      'node_thermal_zone_temp{type="x86_pkg_temp",zone="0"} -1.5',
    ]);
  });

  it('frequencies and their bounds', async () => {
    const file = (name: string) => `/sys/devices/system/cpu/cpu1/cpufreq/${name}`;
    const texts = {
      '/sys/devices/system/cpu/isolated': '1,3\n',
      [file('scaling_cur_freq')]: '2000000\n',
      [file('scaling_min_freq')]: '800000\n',
      [file('scaling_max_freq')]: '3000000\n',
      [file('cpuinfo_max_freq')]: '3500000\n',
      [file('scaling_governor')]: 'schedutil\n',
      [file('scaling_available_governors')]: 'performance schedutil\n',
      '/proc/stat': 'cpu1 1 1 1 1\n',
    };
    const lines = await linesOf(texts);
    expect(lines.filter((line) => /scaling|frequency|isolated/.test(line))).toEqual([
      'node_cpu_frequency_max_hertz{cpu="1"} 3500000000',
      'node_cpu_isolated{cpu="1"} 1',
      'node_cpu_isolated{cpu="3"} 1',
      'node_cpu_scaling_frequency_hertz{cpu="1"} 2000000000',
      'node_cpu_scaling_frequency_max_hertz{cpu="1"} 3000000000',
      'node_cpu_scaling_frequency_min_hertz{cpu="1"} 800000000',
      'node_cpu_scaling_governor{cpu="1",governor="performance"} 0',
      'node_cpu_scaling_governor{cpu="1",governor="schedutil"} 1',
    ]);
  });

  it('memory errors', async () => {
    const mc = '/sys/devices/system/edac/mc/mc0';
    const texts = {
      [`${mc}/ce_count`]: '3\n',
      [`${mc}/ue_count`]: '0\n',
      [`${mc}/ce_noinfo_count`]: '1\n',
      [`${mc}/csrow2/ce_count`]: '2\n',
      [`${mc}/csrow2/ch0_ce_count`]: '2\n',
      [`${mc}/csrow2/ch0_dimm_label`]: 'CPU#0channel#1\n',
    };
    expect(await linesOf(texts)).toEqual([
      'node_edac_channel_correctable_errors_total{channel="0",controller="0",csrow="2",dimm_label="CPU0_channel1"} 2',
      'node_edac_correctable_errors_total{controller="0"} 3',
      'node_edac_csrow_correctable_errors_total{controller="0",csrow="2"} 2',
      'node_edac_csrow_correctable_errors_total{controller="0",csrow="unknown"} 1',
      'node_edac_uncorrectable_errors_total{controller="0"} 0',
    ]);
  });

  it('power supplies and energy', async () => {
    const cap = '/sys/class/powercap';
    const texts = {
      '/sys/class/power_supply/BAT0/uevent':
        'POWER_SUPPLY_NAME=BAT0\nPOWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_ONLINE=1\nPOWER_SUPPLY_VOLTAGE_NOW=12500000\nPOWER_SUPPLY_TEMP=305\nPOWER_SUPPLY_ODD=7\njunk\n',
      [`${cap}/intel-rapl:0/name`]: 'package-0\n',
      [`${cap}/intel-rapl:0/energy_uj`]: '2500000\n',
      [`${cap}/intel-rapl:0:0/name`]: 'core\n',
      [`${cap}/intel-rapl:0:0/energy_uj`]: '1000000\n',
      [`${cap}/intel-rapl:1/name`]: 'package-1\n',
    };
    expect(await linesOf(texts)).toEqual([
      'node_power_supply_info{power_supply="BAT0",type="Battery"} 1',
      'node_power_supply_online{power_supply="BAT0"} 1',
      'node_power_supply_temp_celsius{power_supply="BAT0"} 30.5',
      'node_power_supply_voltage_volt{power_supply="BAT0"} 12.5',
      `node_rapl_core_joules_total{index="0",path="${cap}/intel-rapl:0:0"} 1`,
      `node_rapl_package_joules_total{index="0",path="${cap}/intel-rapl:0"} 2.5`,
    ]);
  });

  it('firmware, NVMe and disks', async () => {
    const texts = {
      '/sys/class/dmi/id/sys_vendor': 'ACME\n',
      '/sys/class/dmi/id/product_name': 'Box "9"\n',
      '/sys/class/dmi/id/modalias': 'dmi:x\n',
      '/sys/class/nvme/nvme0/model': 'Fast  \n',
      '/sys/class/nvme/nvme0/serial': 'S1\n',
      '/proc/diskstats': '8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n',
      '/sys/dev/block/8:0/queue/rotational': '1\n',
      '/run/udev/data/b8:0':
        'S:disk/by-id/x\nE:ID_SERIAL=long\nE:ID_SERIAL_SHORT=short\nE:ID_FS_TYPE=ext4\nE:ID_ATA=1\nE:ID_ATA_WRITE_CACHE=1\nE:ID_ATA_ROTATION_RATE_RPM=x\nE:DM_NAME=vg-lv\n',
    };
    const lines = await linesOf(texts);
    expect(lines.filter((line) => /dmi|nvme|disk_(info|filesystem|device_mapper|ata)/.test(line))).toEqual([
      'node_disk_ata_write_cache{device="sda"} 1',
      'node_disk_device_mapper_info{device="sda",lv_layer="",lv_name="",name="vg-lv",uuid="",vg_name=""} 1',
      'node_disk_filesystem_info{device="sda",type="ext4",usage="",uuid="",version=""} 1',
      'node_disk_info{device="sda",major="8",minor="0",model="",path="",revision="",rotational="1",serial="short",wwn=""} 1',
      'node_dmi_info{product_name="Box \\"9\\"",system_vendor="ACME"} 1',
      'node_nvme_info{cntlid="",device="nvme0",firmware_revision="",model="Fast",serial="S1",state=""} 1',
    ]);
  });

  it('SELinux, as it is and as it is configured', async () => {
    const files = new FakeFiles({
      '/sys/fs/selinux/enforce': '0',
      '/etc/selinux/config': '# x\nSELINUX=enforcing\n',
    });
    expect((await poll(files)).selinux).toEqual({ enabled: true, currentMode: 0, configMode: 1 });
    expect((await poll(new FakeFiles({}))).selinux).toEqual({ enabled: false });
  });

  it('a driver that answers with an error is absent, not a problem', async () => {
    const files = new FakeFiles({ '/sys/class/thermal/thermal_zone0/type': 'x\n' });
    files.texts.set(
      '/sys/class/thermal/thermal_zone0/temp',
      new HostError('FILE_ERROR', { message: 'EINVAL' }),
    );
    const sample = await poll(files);
    expect(sample.thermal).toEqual({ zones: [], coolers: [] });
    expect(sample.problems).toEqual([]);
  });

  it('attributes full of rubbish yield nothing that is not a number', async () => {
    const rubbish = '\u0000\ufffd"\\-9'.repeat(600);
    const paths = ['hwmon/hwmon0/temp1_input', 'thermal/thermal_zone0/temp', 'thermal/thermal_zone0/type'];
    const more = ['power_supply/A/uevent', 'net/bonding_masters', 'net/eth0/operstate', 'net/eth0/mtu'];
    const texts = Object.fromEntries([...paths, ...more].map((path) => [`/sys/class/${path}`, rubbish]));
    const lines = await linesOf({ ...texts, '/proc/net/dev': netDev(['eth0']) });
    for (const line of lines) expect(line).toMatch(/ -?\d+(\.\d+)?$/);
  });
});

function netDev(devices: readonly string[]): string {
  return ['|', '|', ...devices.map((device) => `${device}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16`)].join(
    '\n',
  );
}

function device(name: string, over: Record<string, string> = {}): Record<string, string> {
  const attributes = {
    operstate: 'up',
    carrier_changes: '2',
    carrier: '1',
    mtu: '1500',
    speed: '-1',
    flags: '0x1003',
    address: '02:00:00:00:00:01',
    'statistics/rx_nohandler': '4',
    ...over,
  };
  const entries = Object.entries(attributes);
  return Object.fromEntries(entries.map(([file, text]) => [`/sys/class/net/${name}/${file}`, `${text}\n`]));
}

describe('network devices', () => {
  it('are told with their state, speed and identity', async () => {
    const texts = {
      '/proc/net/dev': netDev(['eth0']),
      ...device('eth0', { speed: '10000', ifalias: 'up"link' }),
    };
    const lines = await linesOf(texts);
    const told = lines.filter((line) => !/_(receive|transmit)_(?!nohandler)/.test(line));
    expect(told).toEqual([
      'node_network_carrier_changes_total{device="eth0"} 2',
      'node_network_carrier{device="eth0"} 1',
      'node_network_flags{device="eth0"} 4099',
      'node_network_info{address="02:00:00:00:00:01",adminstate="up",broadcast="",device="eth0",duplex="",ifalias="up\\"link",operstate="up"} 1',
      'node_network_mtu_bytes{device="eth0"} 1500',
      'node_network_receive_nohandler_total{device="eth0"} 4',
      'node_network_speed_bytes{device="eth0"} 1250000000',
      'node_network_up{device="eth0"} 1',
    ]);
  });

  it('never lead to files elsewhere', async () => {
    const files = new CountedFiles({ '/proc/net/dev': netDev(['../../../etc', '..', 'a/b', 'eth0']) });
    await poll(files);
    expect(
      files.reads.filter((path) => path.startsWith('/sys/class/net/') && !path.includes('/eth0/')),
    ).toEqual(['/sys/class/net/bonding_masters']);
  });

  it('bonds count their links', async () => {
    const bond = '/sys/class/net/bond0';
    const lines = await linesOf({
      '/sys/class/net/bonding_masters': 'bond0 ../x\n',
      [`${bond}/bonding/slaves`]: 'eth0 eth1\n',
      [`${bond}/lower_eth0/bonding_slave/mii_status`]: 'up\n',
      [`${bond}/lower_eth1/bonding_slave/mii_status`]: 'down\n',
    });
    expect(lines).toEqual(['node_bonding_active{master="bond0"} 1', 'node_bonding_slaves{master="bond0"} 2']);
  });
});

describe('how much is read', () => {
  const named = (prefix: string, length: number) => Array.from({ length }, (_, n) => `${prefix}${n}`);
  const largeHost = (names: readonly string[]) =>
    new CountedFiles({
      '/proc/sys/kernel/random/boot_id': 'one\n',
      '/proc/sys/kernel/hostname': 'kvm-01\n',
      '/proc/net/dev': netDev(names),
      ...Object.assign({}, ...names.map((name) => device(name))),
    });
  const sysfs = (paths: readonly string[]) =>
    paths.filter((path) => /^\/sys\/class\/net\/(eth|vnet)/.test(path));

  it('of a host with hundreds of devices is bounded in every poll, and complete after a few', async () => {
    const files = largeHost(named('eth', 300));
    let sample: SystemSample | undefined;
    const most: number[] = [];
    for (let round = 0; round < 40; round++) {
      files.forget();
      sample = await poll(files, sample);
      most.push(sysfs(files.reads).length);
    }
    expect(sample?.netClasses).toHaveLength(300);
    expect(Math.max(...most)).toBeLessThanOrEqual(8 * 22 + 3 * 32);
    // Only state, carrier changes and the missing counter of the first 32.
    expect(most.at(-1)).toBe(3 * 32);
    expect(files.lists).toEqual([]);
  });

  it('of guests is one device a poll, however many there are; it is read whole again when it changed', async () => {
    const clock = new FakeClock();
    const files = largeHost(['eth0', ...named('vnet', 30)]);
    let sample: SystemSample | undefined;
    const read = async () => {
      files.forget();
      sample = await poll(files, sample, clock);
      return sysfs(files.reads).filter((path) => path.includes('vnet'));
    };
    for (let round = 0; round < 30; round++) expect((await read()).length).toBeLessThanOrEqual(8);
    expect(sample?.netClasses).toHaveLength(31);
    expect(await read()).toEqual([]);
    const counted = (sample?.netDevices ?? []).filter(
      ({ receiveNohandler }) => receiveNohandler !== undefined,
    );
    expect(counted.map((net) => net.device)).toEqual(['eth0']);
    files.texts.set('/sys/class/net/vnet0/mtu', '9000\n').set('/sys/class/net/vnet1/mtu', '9000\n');
    files.texts.set('/sys/class/net/vnet1/carrier_changes', '3\n');
    await clock.advance(300_000);
    expect(await read()).toHaveLength(2);
    expect(await read()).toHaveLength(2 + 8);
    const mtu = new Map(sample?.netClasses?.map((net) => [net.device, net.values.mtu]));
    expect([mtu.get('vnet0'), mtu.get('vnet1')]).toEqual([1500, 9000]);
  });

  it('of guests goes round all of them, however often the first ones are old again', async () => {
    const clock = new FakeClock();
    const files = largeHost(named('vnet', 50));
    let sample: SystemSample | undefined;
    const rounds = async (count: number) => {
      const looked = new Set<string>();
      for (let round = 0; round < count; round++) {
        files.forget();
        sample = await poll(files, sample, clock);
        for (const path of sysfs(files.reads)) looked.add(path.split('/')[4] ?? '');
        await clock.advance(15_000);
      }
      return looked.size;
    };
    expect(await rounds(50)).toBe(50);
    expect(sample?.netClasses).toHaveLength(50);
    expect(await rounds(51)).toBe(50);
  });

  it('a device whose state moved is read anew at once, the others are not', async () => {
    const files = new CountedFiles({
      '/proc/net/dev': netDev(['eth0', 'eth1']),
      ...device('eth0'),
      ...device('eth1'),
    });
    const first = await poll(files);
    files.texts.set('/sys/class/net/eth1/operstate', 'down\n').set('/sys/class/net/eth1/mtu', '9000\n');
    files.texts.set('/sys/class/net/eth0/mtu', '9000\n');
    const second = await poll(files, first);
    expect(second.netClasses?.map(({ operstate, values }) => [operstate, values.mtu])).toEqual([
      ['up', 1500],
      ['down', 9000],
    ]);
  });

  it('what rarely changes is read again when it is old, and after a boot', async () => {
    const clock = new FakeClock();
    const files = largeHost(named('eth', 2));
    const first = await poll(files, undefined, clock);
    const rename = (name: string) => files.texts.set('/proc/sys/kernel/hostname', `${name}\n`);
    rename('two');
    await clock.advance(299_000);
    const second = await poll(files, first, clock);
    expect(second.kernel.hostname).toBe('kvm-01');
    await clock.advance(1_000);
    const third = await poll(files, second, clock);
    expect(third.kernel.hostname).toBe('two');
    rename('three');
    const connectedAnew = () => new CountedFiles(Object.fromEntries(files.texts));
    const fourth = await poll(connectedAnew(), third, clock);
    expect(fourth.kernel.hostname).toBe('two');
    files.texts.set('/proc/sys/kernel/random/boot_id', 'two\n');
    expect((await poll(connectedAnew(), fourth, clock)).kernel.hostname).toBe('three');
  });

  it('by a poll that failed at its end is not read again by the next', async () => {
    const files = largeHost(['eth0', 'eth1']);
    files.texts.set('/proc/self/mounts', new HostError('CLOSED'));
    await expect(poll(files)).rejects.toThrow('closed');
    expect(sysfs(files.reads).length).toBeGreaterThan(2 * 20);
    files.texts.delete('/proc/self/mounts');
    files.forget();
    expect((await poll(files)).netClasses).toHaveLength(2);
    expect(sysfs(files.reads)).toHaveLength(2 * 3);
  });

  it('a device that left is forgotten, and the memory of it is not part of what people see', async () => {
    const files = new CountedFiles({ '/proc/net/dev': netDev(['eth0']), ...device('eth0') });
    const first = await poll(files);
    expect(JSON.parse(JSON.stringify(first))).not.toHaveProperty('rare');
    files.texts.set('/proc/net/dev', netDev([]));
    const second = await poll(files, first);
    files.texts.set('/proc/net/dev', netDev(['eth0'])).set('/sys/class/net/eth0/mtu', '9000\n');
    expect((await poll(files, second)).netClasses?.[0]?.values.mtu).toBe(9000);
  });
});

describe('the runs of the collectors', () => {
  it('are told by name: found something, nothing there, something wrong', async () => {
    const files = new FakeFiles({ '/proc/loadavg': '1 2 3\n', '/proc/vmstat': 'pgfault x\n' });
    const { collectors } = await poll(files);
    const ok = Object.fromEntries((collectors ?? []).map((run) => [run.collector, run.ok]));
    expect(ok).toMatchObject({ loadavg: true, vmstat: false, mdadm: false, meminfo: false });
    expect(collectors?.every(({ durationMs }) => durationMs >= 0)).toBe(true);
  });

  it('only those that the inventory wants', async () => {
    const files = new CountedFiles({ '/proc/loadavg': '1 2 3\n', '/proc/meminfo': 'MemTotal: 1 kB\n' });
    const host = aHost({ poll: { intervalMs: 1, detailsMs: 1, collectors: ['loadavg'] } });
    const readers = { files: () => files, libvirt: unused, opsLibvirt: unused };
    const sample = await systemPoller.poll(readers, {
      host,
      signal: new AbortController().signal,
      clock: systemClock,
    });
    expect(sample.collectors?.map(({ collector }) => collector)).toEqual(['loadavg']);
    expect(sample).not.toHaveProperty('meminfo');
    expect(sample).not.toHaveProperty('filesystems');
    expect(files.reads).toEqual(['/proc/sys/kernel/random/boot_id', '/proc/loadavg']);
  });
});

function unused(): never {
  throw new Error('not asked for');
}
