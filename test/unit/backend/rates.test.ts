import { describe, expect, test } from 'vitest';
import { MetricsRequest } from '../../../src/backend/api.js';
import { systemFigures, type Timed, vmFigures } from '../../../src/backend/rates.js';
import type { SystemSample } from '../../../src/pollers/system.js';
import type { VmSample, VmsSample } from '../../../src/pollers/vms.js';

const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';

type Given = {
  id?: number;
  uuid?: string;
  name?: string;
  cpuNs?: number;
  rd?: number;
  rx?: number;
  disk?: string;
};

function vm({ id = 1, uuid: id5 = uuid, name = 'web', cpuNs, rd, rx, disk = 'vda' }: Given): VmSample {
  const none = {};
  return {
    domain: { name, uuid: id5, id },
    state: { state: 1 },
    cpu: cpuNs === undefined ? none : { time: cpuNs },
    balloon: { maximum: 1024, current: 512 },
    vcpu: { current: 2 },
    blocks: rd === undefined ? [] : [{ name: disk, 'rd.bytes': rd }],
    nets: rx === undefined ? [] : [{ name: 'vnet0', 'rx.bytes': rx }],
    ...{ vcpus: [], iothreads: [], perf: none, memory: none, dirtyrate: none, other: none, busy: false },
  };
}

function at<S>(seconds: number, sample: S): Timed<S> {
  return { sample, takenAtMs: 1_000_000 - seconds * 1000, takenAtMonotonicMs: seconds * 1000 };
}

const vms = (seconds: number, ...all: VmSample[]): Timed<VmsSample> =>
  at(seconds, { takenAtMs: 0, vms: all });

describe('VMs', () => {
  test('rates are over monotonic time, also when the wall clock goes back', () => {
    const { figures, intervalS } = vmFigures(
      vms(70, vm({ cpuNs: 35e9, rd: 7_000, rx: 600 })),
      vms(10, vm({ cpuNs: 5e9, rd: 1_000, rx: 0 })),
    );
    expect(intervalS).toBe(60);
    expect(figures[0]).toMatchObject({ state: 'running', vcpus: 2, cpu_seconds_total: 35, cpu_percent: 50 });
    expect(figures[0]).toMatchObject({ memory_maximum_bytes: 1_048_576, memory_current_bytes: 524_288 });
    expect(figures[0]?.disks[0]).toEqual({
      device: 'vda',
      read_bytes_total: 7_000,
      read_bytes_per_second: 100,
    });
    expect(figures[0]?.interfaces[0]).toMatchObject({ received_bytes_per_second: 10 });
  });

  test.each([
    ['the first sample', undefined],
    ['a VM that was started anew, with higher counters', vms(0, vm({ id: 7, cpuNs: 1, rd: 1, rx: 1 }))],
    ['counters that went back', vms(0, vm({ cpuNs: 9e9, rd: 900, rx: 900 }))],
    ['another VM of the same name', vms(0, vm({ uuid: uuid.replace('66', '77'), cpuNs: 1, rd: 1, rx: 1 }))],
    ['no figures then', vms(0, vm({}))],
    ['no time between', vms(10, vm({ cpuNs: 1, rd: 1, rx: 1 }))],
    ['time that went back', vms(20, vm({ cpuNs: 1, rd: 1, rx: 1 }))],
  ])('totals but no rate: %s', (_name, before) => {
    const [figures] = vmFigures(vms(10, vm({ cpuNs: 2e9, rd: 100, rx: 100 })), before).figures;
    expect(figures).toMatchObject({ cpu_seconds_total: 2 });
    expect(JSON.stringify(figures)).not.toMatch(/per_second|percent/);
  });

  test('a renamed VM keeps its rates; a device that is new has none', () => {
    const [figures] = vmFigures(
      vms(10, vm({ name: 'web-2', cpuNs: 10e9, rd: 10, disk: 'vdb' })),
      vms(0, vm({ name: 'web-1', cpuNs: 0, rd: 5, disk: 'vda' })),
    ).figures;
    expect(figures).toMatchObject({ name: 'web-2', cpu_percent: 100 });
    expect(figures?.disks).toEqual([{ device: 'vdb', read_bytes_total: 10 }]);
  });

  test('absent stays absent; nonsense is absent too', () => {
    const odd = vm({ cpuNs: Number.NaN, rd: -1 });
    const [figures] = vmFigures(vms(10, { ...odd, state: {}, vcpu: {}, balloon: {} }), undefined).figures;
    expect(figures).toEqual({
      ...{ name: 'web', uuid, state: 'unknown', busy: false },
      ...{ disks: [{ device: 'vda' }], interfaces: [] },
    });
  });

  test('whatever two samples say, no rate is negative and the interface takes them', () => {
    let seed = 7;
    const random = (max: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % max;
    };
    const any = () => vm({ id: random(3) - 1, cpuNs: random(1e9), rd: random(1000) - 10, rx: random(1000) });
    for (let round = 0; round < 500; round++) {
      const [now, before] = [vms(random(100), any()), vms(random(100), any())];
      const { figures } = vmFigures(now, before);
      const when = new Date(0).toISOString();
      expect(MetricsRequest.safeParse({ at: when, vms: { at: when, figures } }).success).toBe(true);
    }
  });
});

describe('the host', () => {
  const host = (
    uptime: number,
    idle: number,
    user: number,
    extra: Partial<SystemSample> = {},
  ): SystemSample => ({
    ...{ takenAtMs: 0, pressure: {}, netstat: {}, sockstat: {}, kernel: {}, problems: [], uptime },
    stat: { cpus: [{ cpu: 0, user, nice: 0, system: 0, idle, iowait: 5 }] },
    disks: [],
    ...extra,
  });

  test('shares of the processors, and rates', () => {
    const { figures } = systemFigures(at(60, host(160, 130, 40)), at(0, host(100, 100, 10)));
    expect(figures).toMatchObject({ cpu_percent: 50, cpu_iowait_percent: 0, cpus: 1, uptime_seconds: 160 });
  });

  test('another boot: totals, no rates, also when it has run longer than the one before', () => {
    for (const uptime of [5, 130]) {
      const { figures, intervalS } = systemFigures(at(600, host(uptime, 900, 90)), at(0, host(100, 1, 1)));
      expect(intervalS).toBeUndefined();
      expect(figures.cpu_percent).toBeUndefined();
    }
  });

  test('idle time that goes back a little is no time', () => {
    const { figures } = systemFigures(at(10, host(110, 99.9, 20)), at(0, host(100, 100, 10)));
    expect(figures.cpu_percent).toBe(100);
  });

  test('what the host does not have is absent', () => {
    const bare = { ...host(1, 1, 1), stat: undefined, disks: undefined, uptime: undefined };
    expect(systemFigures(at(10, bare as unknown as SystemSample), undefined).figures).toEqual({});
  });
});
