// The families of a host's hardware: sensors, frequencies, memory errors, RAID, power, firmware. Names, types and labels of
// node_exporter, with its oddities (an alarm in degrees), so that its dashboards work.
import { counter, type Family, gauge } from './family.js';

const cpu = 'cpu';
const device = 'device';

export type HwmonFamily = `node_hwmon_${string}`;
export type PowerSupplyFamily = `node_power_supply_${string}`;
export type RaplFamily = `node_rapl_${string}_joules_total`;

export const systemHardwareFamilies = {
  node_cpu_scaling_frequency_hertz: gauge('Frequency of the CPU now, as its frequency driver says.', cpu),
  node_cpu_scaling_frequency_min_hertz: gauge('Lowest frequency that the governor may choose.', cpu),
  node_cpu_scaling_frequency_max_hertz: gauge('Highest frequency that the governor may choose.', cpu),
  node_cpu_scaling_governor: gauge('1 for the governor in force, 0 for the others.', cpu, 'governor'),
  node_cpu_frequency_min_hertz: gauge('Lowest frequency that the CPU can run at.', cpu),
  node_cpu_frequency_max_hertz: gauge('Highest frequency that the CPU can run at.', cpu),
  node_cpu_isolated: gauge('1 for CPUs that the scheduler leaves alone.', cpu),
  node_thermal_zone_temp: gauge('Temperature of the zone, degrees Celsius.', 'type', 'zone'),
  node_cooling_device_cur_state: gauge('How far the cooling device is turned up.', 'name', 'type'),
  node_cooling_device_max_state: gauge('How far it can be turned up.', 'name', 'type'),
  node_hwmon_chip_names: gauge('What the driver calls the chip; always 1.', 'chip', 'chip_name'),
  node_hwmon_sensor_label: gauge('What the sensor measures; always 1.', 'chip', 'label', 'sensor'),

  node_edac_correctable_errors_total: counter('Memory errors that were corrected.', 'controller'),
  node_edac_uncorrectable_errors_total: counter('Memory errors that were not corrected.', 'controller'),
  node_edac_csrow_correctable_errors_total: counter('Those of a row, corrected.', 'controller', 'csrow'),
  node_edac_csrow_uncorrectable_errors_total: counter(
    'Those of a row, not corrected.',
    'controller',
    'csrow',
  ),
  node_edac_channel_correctable_errors_total: counter(
    'Those of a channel, corrected.',
    ...['channel', 'controller', 'csrow', 'dimm_label'],
  ),
  node_edac_channel_uncorrectable_errors_total: counter(
    'Those of a channel, not corrected.',
    ...['channel', 'controller', 'csrow', 'dimm_label'],
  ),

  node_md_state: gauge('1 for the state that the array is in, 0 for the others.', device, 'state'),
  node_md_disks: gauge('Disks of the array by state.', device, 'state'),
  node_md_disks_required: gauge('Disks that the array is made for.', device),
  node_md_blocks: gauge('Blocks of the array, of 1 KiB.', device),
  node_md_blocks_synced: gauge('Blocks that are in step.', device),

  node_disk_info: gauge(
    'What the disk is; always 1.',
    ...[device, 'major', 'minor', 'model', 'path', 'revision', 'rotational', 'serial', 'wwn'],
  ),
  node_disk_filesystem_info: gauge(
    'Filesystem on the disk; always 1.',
    ...[device, 'type', 'usage', 'uuid', 'version'],
  ),
  node_disk_device_mapper_info: gauge(
    'What device mapper makes of it; always 1.',
    ...[device, 'lv_layer', 'lv_name', 'name', 'uuid', 'vg_name'],
  ),
  node_disk_ata_write_cache: gauge('1 when the disk has a write cache.', device),
  node_disk_ata_write_cache_enabled: gauge('1 when that is enabled.', device),
  node_disk_ata_rotation_rate_rpm: gauge('Revolutions a minute; 0 for solid state.', device),
  node_nvme_info: gauge(
    'What the NVMe controller is; always 1.',
    ...['cntlid', device, 'firmware_revision', 'model', 'serial', 'state'],
  ),
  node_dmi_info: gauge(
    'What the firmware says of the machine, as far as the polling user may read it; always 1. Labels are absent where it says nothing.',
  ),
  node_power_supply_info: gauge('What the power supply is; always 1.', 'power_supply'),
} as const;

const levels = [
  ...['input', 'average', 'max', 'min', 'crit', 'lcrit', 'lowest', 'highest', 'max_alarm', 'min_alarm'],
  ...['crit_alarm', 'lcrit_alarm'],
];

function sensors(
  kind: string,
  unit: string,
  factor: number,
  elements: readonly string[],
): [string, readonly [HwmonFamily, number]][] {
  return elements.map((element) => {
    const words = ['node_hwmon', kind, element === 'input' ? '' : element, unit].filter(Boolean);
    return [`${kind}_${element}`, [words.join('_') as HwmonFamily, factor]];
  });
}

/** Sensors: kind and element → family and the factor of its unit. */
export const hwmonFamilies: ReadonlyMap<string, readonly [HwmonFamily, number]> = new Map([
  ...sensors('temp', 'celsius', 0.001, [
    ...[
      'input',
      'max',
      'min',
      'crit',
      'lcrit',
      'emergency',
      'max_hyst',
      'min_hyst',
      'crit_hyst',
      'lcrit_hyst',
    ],
    ...[
      'emergency_hyst',
      'offset',
      'lowest',
      'highest',
      'max_alarm',
      'min_alarm',
      'crit_alarm',
      'lcrit_alarm',
    ],
    'emergency_alarm',
  ]),
  ...sensors('in', 'volts', 0.001, levels),
  ...sensors('cpu', 'volts', 0.001, ['vid']),
  ...sensors('curr', 'amps', 0.001, levels),
  ...sensors('power', 'watt', 0.000_001, [
    ...levels,
    ...[
      'cap',
      'cap_max',
      'cap_min',
      'cap_hyst',
      'input_highest',
      'input_lowest',
      'average_highest',
      'average_lowest',
    ],
    ...['average_max', 'average_min', 'cap_alarm'],
  ]),
  ...sensors('energy', 'joule_total', 0.000_001, ['input']),
  ...sensors('fan', 'rpm', 1, ['input', 'min', 'max', 'target']),
  ...sensors('fan', '', 1, ['div', 'pulses', 'min_alarm', 'max_alarm']),
  ...sensors('humidity', '', 0.000_001, ['input']),
  ...sensors('pwm', '', 1, ['', 'enable', 'mode', 'freq']),
  ...['temp', 'in', 'curr', 'power', 'fan', 'intrusion'].flatMap((kind) =>
    sensors(kind, '', 1, ['alarm', 'fault']),
  ),
]);

/** The kernel's field of each family of power supplies, and what it is divided by. */
export const powerSupplyFamilies: ReadonlyMap<string, readonly [PowerSupplyFamily, number]> = new Map([
  ...supply(1, 'authentic calibrate capacity capacity_alert_max capacity_alert_min online present'),
  ...supply(
    1,
    'cycle_count>cyclecount time_to_empty_now>time_to_empty_seconds time_to_full_now>time_to_full_seconds',
  ),
  ...supply(
    1e6,
    'current_boot current_max current_now>current_ampere energy_empty energy_empty_design energy_full',
  ),
  ...supply(1e6, 'energy_full_design energy_now>energy_watthour voltage_boot voltage_max voltage_max_design'),
  ...supply(1e6, 'voltage_min voltage_min_design voltage_now>voltage_volt voltage_ocv charge_control_limit'),
  ...supply(1e6, 'charge_control_limit_max charge_counter charge_empty charge_empty_design charge_full'),
  ...supply(1e6, 'charge_full_design charge_now>charge_ampere charge_term_current constant_charge_current'),
  ...supply(1e6, 'constant_charge_current_max constant_charge_voltage constant_charge_voltage_max'),
  ...supply(1e6, 'precharge_current input_current_limit power_now>power_watt'),
  ...supply(
    10,
    'temp>temp_celsius temp_alert_max>temp_alert_max_celsius temp_alert_min>temp_alert_min_celsius',
  ),
  ...supply(10, 'temp_ambient>temp_ambient_celsius temp_ambient_alert_max>temp_ambient_max_celsius'),
  ...supply(
    10,
    'temp_ambient_alert_min>temp_ambient_min_celsius temp_max>temp_max_celsius temp_min>temp_min_celsius',
  ),
]);

/** `field` or `field>name` a word. */
function supply(divisor: number, words: string): [string, readonly [PowerSupplyFamily, number]][] {
  return words.split(' ').map((word) => {
    const [field = '', name = field] = word.split('>');
    return [field, [`node_power_supply_${name}`, divisor]];
  });
}

/** Labels of node_power_supply_info, each only where the driver says it. */
export const powerSupplyTexts = [
  ...['capacity_level', 'charge_type', 'health', 'manufacturer', 'model_name', 'scope', 'serial_number'],
  ...['status', 'technology', 'type', 'usb_type'],
];

/** What processors count their energy for. */
export const raplZones = ['package', 'core', 'uncore', 'dram', 'psys'];

export const systemHardwareFieldFamilies: Readonly<Record<string, Family>> = Object.fromEntries([
  ...[...hwmonFamilies.entries()].map(([field, [name]]) => [name, hwmonFamily(field, name)] as const),
  ...[...powerSupplyFamilies].map(
    ([field, [name]]) => [name, gauge(`${field} of the power supply.`, 'power_supply')] as const,
  ),
  ...raplZones.map(
    (zone) =>
      [`node_rapl_${zone}_joules_total`, counter(`Energy used by ${zone}.`, 'index', 'path')] as const,
  ),
]);

function hwmonFamily(field: string, name: string): Family {
  const help = `Sensors: ${field.replace('_', ' ').trim()}.`;
  return name.endsWith('_total') ? counter(help, 'chip', 'sensor') : gauge(help, 'chip', 'sensor');
}
