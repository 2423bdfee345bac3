// Renders a host's hardware. A part that the sample lacks has no line; a sensor, a supply or an energy zone of a kind that no
// family is for has none either.

import type { DiskStats } from '../pollers/proc/diskstats.js';
import type { MdArray } from '../pollers/proc/mdstat.js';
import type { CpuScaling } from '../pollers/sys/cpufreq.js';
import type { MemoryController } from '../pollers/sys/edac.js';
import type { HwmonChip } from '../pollers/sys/hwmon.js';
import type { DiskInfo } from '../pollers/sys/identity.js';
import type { SystemSample } from '../pollers/system.js';
import { eachOnce, type Lines } from './exposition.js';
import {
  hwmonFamilies,
  powerSupplyFamilies,
  powerSupplyTexts,
  type RaplFamily,
  raplZones,
} from './families-system-hardware.js';
import type { Labels } from './label-bytes.js';

/** `host` is the label of the host. */
export function renderSystemHardware(lines: Lines, host: Labels, sample: SystemSample): void {
  const cpuLabel = (cpu: number) => lines.label(host, 'cpu', String(cpu));
  for (const one of eachOnce(sample.scaling ?? [], ({ cpu }) => String(cpu)))
    renderScaling(lines, cpuLabel(one.cpu), one);
  for (const cpu of sample.isolatedCpus ?? []) lines.add('node_cpu_isolated', cpuLabel(cpu), 1);
  for (const one of eachOnce(sample.hwmon ?? [], ({ chip }) => chip))
    renderChip(lines, lines.label(host, 'chip', one.chip), one);
  renderThermal(lines, host, sample);
  for (const controller of sample.edac ?? []) renderController(lines, host, controller);
  for (const array of eachOnce(sample.mdArrays ?? [], ({ device }) => device))
    renderMdArray(lines, lines.label(host, 'device', array.device), array);
  renderDiskInfos(lines, host, sample);
  renderPower(lines, host, sample);
  if (sample.dmi) lines.add('node_dmi_info', labelsOf(lines, host, sample.dmi), 1);
  for (const { firmwareRevision, ...info } of sample.nvme ?? []) {
    lines.add('node_nvme_info', labelsOf(lines, host, { ...info, firmware_revision: firmwareRevision }), 1);
  }
}

/** Labels in the order of their names. */
function labelsOf(lines: Lines, host: Labels, values: Readonly<Record<string, string>>): Labels {
  let labels = host;
  for (const name of Object.keys(values).sort()) labels = lines.label(labels, name, values[name] ?? '');
  return labels;
}

function renderScaling(lines: Lines, labels: Labels, cpu: CpuScaling): void {
  lines.add('node_cpu_scaling_frequency_hertz', labels, cpu.current);
  lines.add('node_cpu_scaling_frequency_min_hertz', labels, cpu.minimum);
  lines.add('node_cpu_scaling_frequency_max_hertz', labels, cpu.maximum);
  lines.add('node_cpu_frequency_min_hertz', labels, cpu.hardwareMinimum);
  lines.add('node_cpu_frequency_max_hertz', labels, cpu.hardwareMaximum);
  for (const governor of cpu.governor === undefined ? [] : new Set(cpu.governors)) {
    const inForce = governor === cpu.governor ? 1 : 0;
    lines.add('node_cpu_scaling_governor', lines.label(labels, 'governor', governor), inForce);
  }
}

function renderChip(lines: Lines, chipLabels: Labels, { chipName, sensors }: HwmonChip): void {
  if (chipName) lines.add('node_hwmon_chip_names', lines.label(chipLabels, 'chip_name', chipName), 1);
  for (const sensor of sensors) {
    if (sensor.label !== undefined) {
      const labels = lines.label(lines.label(chipLabels, 'label', sensor.label), 'sensor', sensor.sensor);
      lines.add('node_hwmon_sensor_label', labels, 1);
    }
    const labels = lines.label(chipLabels, 'sensor', sensor.sensor);
    for (const [element, value] of Object.entries(sensor.values)) {
      const [family, factor] = hwmonFamilies.get(`${sensor.type}_${element}`) ?? [];
      if (family && factor !== undefined) lines.add(family, labels, value * factor);
    }
  }
}

function renderThermal(lines: Lines, host: Labels, { thermal }: SystemSample): void {
  for (const { zone, type, celsius } of thermal?.zones ?? []) {
    lines.add('node_thermal_zone_temp', labelsOf(lines, host, { type, zone }), celsius);
  }
  for (const { name, type, current, maximum } of thermal?.coolers ?? []) {
    const labels = labelsOf(lines, host, { name, type });
    lines.add('node_cooling_device_cur_state', labels, current);
    lines.add('node_cooling_device_max_state', labels, maximum);
  }
}

function renderController(lines: Lines, host: Labels, { controller, rows, ...all }: MemoryController): void {
  const ofController = labelsOf(lines, host, { controller });
  lines.add('node_edac_correctable_errors_total', ofController, all.corrected);
  lines.add('node_edac_uncorrectable_errors_total', ofController, all.uncorrected);
  for (const { csrow, corrected, uncorrected, channels } of rows) {
    const ofRow = labelsOf(lines, host, { controller, csrow });
    lines.add('node_edac_csrow_correctable_errors_total', ofRow, corrected);
    lines.add('node_edac_csrow_uncorrectable_errors_total', ofRow, uncorrected);
    for (const { channel, dimmLabel, ...errors } of channels) {
      const ofChannel = labelsOf(lines, host, { channel, controller, csrow, dimm_label: dimmLabel });
      lines.add('node_edac_channel_correctable_errors_total', ofChannel, errors.corrected);
      lines.add('node_edac_channel_uncorrectable_errors_total', ofChannel, errors.uncorrected);
    }
  }
}

const mdStates = ['active', 'check', 'inactive', 'recovering', 'resync'] as const;

function renderMdArray(lines: Lines, labels: Labels, array: MdArray): void {
  for (const state of mdStates) {
    lines.add('node_md_state', lines.label(labels, 'state', state), array.state === state ? 1 : 0);
  }
  lines.add('node_md_disks', lines.label(labels, 'state', 'active'), array.disksActive);
  lines.add('node_md_disks', lines.label(labels, 'state', 'failed'), array.disksFailed);
  lines.add('node_md_disks', lines.label(labels, 'state', 'spare'), array.disksSpare);
  lines.add('node_md_disks_required', labels, array.disksRequired);
  lines.add('node_md_blocks', labels, array.blocks);
  lines.add('node_md_blocks_synced', labels, array.blocksSynced);
}

function renderDiskInfos(lines: Lines, host: Labels, { diskInfos = [], disks = [] }: SystemSample): void {
  const byName = new Map(disks.map((disk) => [disk.device, disk]));
  for (const info of eachOnce(diskInfos, ({ device }) => device)) {
    const disk = byName.get(info.device);
    if (disk) renderDiskInfo(lines, host, disk, info);
  }
}

function renderDiskInfo(
  lines: Lines,
  host: Labels,
  { device, major, minor }: DiskStats,
  { udev, rotational }: DiskInfo,
): void {
  const text = (name: string) => udev[name] ?? '';
  const info = {
    device,
    major: String(major),
    minor: String(minor),
    model: text('ID_MODEL'),
    path: text('ID_PATH'),
    revision: text('ID_REVISION'),
    rotational: rotational ? '1' : '0',
    serial: text('SCSI_IDENT_SERIAL') || text('ID_SERIAL_SHORT') || text('ID_SERIAL'),
    wwn: text('ID_WWN'),
  };
  lines.add('node_disk_info', labelsOf(lines, host, info), 1);
  if (text('ID_FS_TYPE')) {
    const fs = {
      device,
      type: text('ID_FS_TYPE'),
      usage: text('ID_FS_USAGE'),
      uuid: text('ID_FS_UUID'),
      version: text('ID_FS_VERSION'),
    };
    lines.add('node_disk_filesystem_info', labelsOf(lines, host, fs), 1);
  }
  if (text('DM_NAME')) {
    const mapper = {
      device,
      name: text('DM_NAME'),
      uuid: text('DM_UUID'),
      vg_name: text('DM_VG_NAME'),
      lv_name: text('DM_LV_NAME'),
      lv_layer: text('DM_LV_LAYER'),
    };
    lines.add('node_disk_device_mapper_info', labelsOf(lines, host, mapper), 1);
  }
  if (!text('ID_ATA')) return;
  const ofDevice = lines.label(host, 'device', device);
  const number = (name: string) => (/^\d{1,9}$/.test(text(name)) ? Number(text(name)) : undefined);
  lines.add('node_disk_ata_write_cache', ofDevice, number('ID_ATA_WRITE_CACHE'));
  lines.add('node_disk_ata_write_cache_enabled', ofDevice, number('ID_ATA_WRITE_CACHE_ENABLED'));
  lines.add('node_disk_ata_rotation_rate_rpm', ofDevice, number('ID_ATA_ROTATION_RATE_RPM'));
}

function renderPower(lines: Lines, host: Labels, { powerSupplies = [], energy = [] }: SystemSample): void {
  for (const { name, values, texts } of powerSupplies) {
    const labels = labelsOf(lines, host, { power_supply: name });
    for (const [field, value] of Object.entries(values)) {
      const [family, divisor] = powerSupplyFamilies.get(field) ?? [];
      if (family && divisor !== undefined) lines.add(family, labels, value / divisor);
    }
    const told = powerSupplyTexts.flatMap((text) => (texts[text] ? [[text, texts[text]]] : []));
    lines.add(
      'node_power_supply_info',
      labelsOf(lines, host, { power_supply: name, ...Object.fromEntries(told) }),
      1,
    );
  }
  for (const { zone, index, path, joules } of energy) {
    if (!raplZones.includes(zone)) continue;
    const family: RaplFamily = `node_rapl_${zone}_joules_total`;
    lines.add(family, labelsOf(lines, host, { index: String(index), path }), joules);
  }
}
