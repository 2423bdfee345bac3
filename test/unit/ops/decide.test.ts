// What each operation decides, as a table: the same table that stands in the operation's file. A plan is its acts joined by
// commas; a refusal is its code.
import { describe, expect, it } from 'vitest';
import type { DomainDisk } from '../../../src/ops/domain-xml.js';
import type { Decision, Facts, Operation } from '../../../src/ops/operation.js';
import { loadOperations } from '../../../src/ops/registry.js';
import { type VmName, vms } from './fixtures.js';

const operations = await loadOperations();

function operation(name: string): Operation {
  const found = [...operations.values()].find((operation) => operation.name === name);
  if (!found) throw new Error(`no ${name}`);
  return found;
}

function inWords(decision: Decision): string {
  switch (decision.kind) {
    case 'unchanged':
      return 'unchanged';
    case 'refuse':
      return decision.code;
    case 'act':
      return decision.plan.join(', ');
  }
}

function decided(name: string, params: object, facts: Facts): string {
  const { decide, params: schema } = operation(name);
  return inWords(decide(facts, schema.parse(params)));
}

const no = 'INVALID_STATE';
type Table = Record<VmName, string>;

const power: [name: string, params: object, table: Table][] = [
  [
    'start',
    {},
    {
      running: 'unchanged',
      blocked: 'unchanged',
      paused: 'resume',
      'paused by an I/O error': 'resume',
      'paused by libvirt': no,
      'shutting down': no,
      'suspended by its guest': no,
      'crashed, kept': no,
      crashed: 'create',
      'shut off': 'create',
      saved: 'create',
      'running, not persistent': 'unchanged',
    },
  ],
  [
    'start',
    { paused: true },
    {
      running: no,
      blocked: no,
      paused: 'unchanged',
      'paused by an I/O error': 'unchanged',
      'paused by libvirt': no,
      'shutting down': no,
      'suspended by its guest': no,
      'crashed, kept': no,
      crashed: 'create paused',
      'shut off': 'create paused',
      saved: 'create paused',
      'running, not persistent': no,
    },
  ],
  [
    'stop',
    {},
    {
      running: 'shutdown',
      blocked: 'shutdown',
      paused: no,
      'paused by an I/O error': no,
      'paused by libvirt': no,
      'shutting down': 'shutdown',
      'suspended by its guest': no,
      'crashed, kept': no,
      crashed: 'unchanged',
      'shut off': 'unchanged',
      saved: 'unchanged',
      'running, not persistent': 'shutdown',
    },
  ],
  [
    'stop',
    { force: true },
    {
      running: 'shutdown, destroy',
      blocked: 'shutdown, destroy',
      paused: 'destroy',
      'paused by an I/O error': 'destroy',
      'paused by libvirt': 'destroy',
      'shutting down': 'shutdown, destroy',
      'suspended by its guest': 'destroy',
      'crashed, kept': 'destroy',
      crashed: 'unchanged',
      'shut off': 'unchanged',
      saved: 'unchanged',
      'running, not persistent': 'shutdown, destroy',
    },
  ],
  [
    'restart',
    {},
    {
      running: 'reboot',
      blocked: 'reboot',
      paused: no,
      'paused by an I/O error': no,
      'paused by libvirt': no,
      'shutting down': no,
      'suspended by its guest': no,
      'crashed, kept': no,
      crashed: no,
      'shut off': no,
      saved: no,
      'running, not persistent': 'reboot',
    },
  ],
  [
    'restart',
    { force: true },
    {
      running: 'reboot, reset',
      blocked: 'reboot, reset',
      paused: no,
      'paused by an I/O error': no,
      'paused by libvirt': no,
      'shutting down': no,
      'suspended by its guest': no,
      'crashed, kept': no,
      crashed: no,
      'shut off': no,
      saved: no,
      'running, not persistent': 'reboot, reset',
    },
  ],
  [
    'restart',
    { mode: 'cold' },
    {
      running: 'shutdown, create',
      blocked: 'shutdown, create',
      paused: no,
      'paused by an I/O error': no,
      'paused by libvirt': no,
      'shutting down': 'shutdown, create',
      'suspended by its guest': no,
      'crashed, kept': no,
      crashed: no,
      'shut off': no,
      saved: no,
      'running, not persistent': no,
    },
  ],
  [
    'restart',
    { mode: 'cold', force: true },
    {
      running: 'shutdown, destroy, create',
      blocked: 'shutdown, destroy, create',
      paused: 'destroy, create',
      'paused by an I/O error': 'destroy, create',
      'paused by libvirt': 'destroy, create',
      'shutting down': 'shutdown, destroy, create',
      'suspended by its guest': 'destroy, create',
      'crashed, kept': 'destroy, create',
      crashed: no,
      'shut off': no,
      saved: no,
      'running, not persistent': no,
    },
  ],
  [
    'pause',
    {},
    {
      running: 'suspend',
      blocked: 'suspend',
      paused: 'unchanged',
      'paused by an I/O error': 'unchanged',
      'paused by libvirt': no,
      'shutting down': no,
      'suspended by its guest': no,
      'crashed, kept': no,
      crashed: no,
      'shut off': no,
      saved: no,
      'running, not persistent': 'suspend',
    },
  ],
  [
    'resume',
    {},
    {
      running: 'unchanged',
      blocked: 'unchanged',
      paused: 'resume',
      'paused by an I/O error': 'resume',
      'paused by libvirt': no,
      'shutting down': no,
      'suspended by its guest': 'wake',
      'crashed, kept': no,
      crashed: no,
      'shut off': no,
      saved: no,
      'running, not persistent': 'unchanged',
    },
  ],
  [
    'reset',
    {},
    {
      running: 'reset',
      blocked: 'reset',
      paused: 'reset',
      'paused by an I/O error': 'reset',
      'paused by libvirt': no,
      'shutting down': no,
      'suspended by its guest': no,
      'crashed, kept': no,
      crashed: no,
      'shut off': no,
      saved: no,
      'running, not persistent': 'reset',
    },
  ],
];

describe.each(power)('%s %o', (name, params, table) => {
  it.each(Object.entries(table))('%s: %s', (vm, expected) => {
    expect(decided(name, params, vms[vm as VmName])).toBe(expected);
  });
});

it('a guest gets no time only together with force', () => {
  expect(decided('stop', { timeoutSeconds: 0 }, vms.running)).toBe('BAD_REQUEST');
  expect(decided('restart', { timeoutSeconds: 0, mode: 'cold' }, vms.running)).toBe('BAD_REQUEST');
  expect(decided('stop', { timeoutSeconds: 0, force: true }, vms.running)).toBe('destroy');
  expect(decided('restart', { timeoutSeconds: 0, force: true }, vms.running)).toBe('reset');
});

describe('delete', () => {
  const volumes = [
    { target: 'vda', path: '/a', verdict: 'delete' },
    { target: 'vdb', path: '/b', verdict: 'keep', why: 'it is a base image' },
  ];
  const off = ['shut off', 'saved', 'crashed'];
  it.each(Object.keys(vms) as VmName[])('%s', (name) => {
    const facts = { ...vms[name], volumes } as Facts;
    const storage = 'delete /a, keep /b: it is a base image';
    const undefine = name === 'running, not persistent' ? '' : 'undefine, ';
    const destroy = off.includes(name) ? '' : 'destroy, ';
    expect(decided('delete', {}, facts)).toBe(off.includes(name) ? `undefine, ${storage}` : no);
    expect(decided('delete', { force: true }, facts)).toBe(`${destroy}${undefine}${storage}`);
  });
});

describe('set_autostart', () => {
  const facts = (autostart: boolean, vm: VmName = 'shut off') => ({ ...vms[vm], autostart }) as Facts;
  it.each([
    [true, true, 'unchanged'],
    [false, false, 'unchanged'],
    [false, true, 'autostart on'],
    [true, false, 'autostart off'],
  ])('is %s, asked %s: %s', (is, enabled, expected) => {
    expect(decided('set_autostart', { enabled }, facts(is))).toBe(expected);
  });
  it('a VM that is not persistent: refused', () => {
    expect(decided('set_autostart', { enabled: true }, facts(false, 'running, not persistent'))).toBe(no);
  });
});

describe('snapshot', () => {
  const disk = (target: string, format: string, more: Partial<DomainDisk> = {}): DomainDisk => ({
    device: 'disk',
    type: 'file',
    target,
    format,
    path: `/images/${target}`,
    readOnly: false,
    shareable: false,
    backing: [],
    backingKnown: true,
    ...more,
  });
  const qcow2 = [disk('vda', 'qcow2'), disk('sda', 'raw', { device: 'cdrom', readOnly: true })];
  const raw = [...qcow2, disk('vdb', 'raw')];
  const facts = (vm: VmName, disks = qcow2, agentConnected = true) =>
    ({ ...vms[vm], name: 'one', snapshots: ['old'], disks, agentConnected }) as Facts;

  it.each<[VmName, object, DomainDisk[], string]>([
    ['running', {}, qcow2, 'snapshot internal with memory'],
    ['running', {}, raw, 'snapshot external'],
    ['running', { memory: true }, qcow2, 'snapshot internal with memory'],
    ['running', { memory: true }, raw, no],
    ['running', { memory: false }, qcow2, 'snapshot external'],
    ['running', { diskOnly: true }, qcow2, 'snapshot external'],
    ['running', { quiesce: true }, raw, 'snapshot external quiesced'],
    ['running', {}, [], no],
    ['paused', {}, qcow2, 'snapshot internal with memory'],
    ['paused', { diskOnly: true }, qcow2, 'snapshot external'],
    ['paused', { quiesce: true }, qcow2, no],
    ['shut off', {}, qcow2, 'snapshot internal'],
    ['shut off', {}, raw, 'snapshot external'],
    ['shut off', { diskOnly: true }, qcow2, 'snapshot external'],
    ['shut off', { memory: true }, qcow2, no],
    ['shut off', { quiesce: true }, qcow2, no],
    ['crashed', {}, qcow2, 'snapshot internal'],
    ['saved', {}, qcow2, no],
    ['shutting down', {}, qcow2, no],
    ['suspended by its guest', {}, qcow2, no],
    ['crashed, kept', {}, qcow2, no],
    ['paused by libvirt', {}, qcow2, no],
  ])('%s %o', (vm, params, disks, expected) => {
    expect(decided('snapshot', params, facts(vm, disks))).toBe(expected);
  });

  it('a name that is there already, and quiesce without an agent: refused', () => {
    expect(decided('snapshot', {}, { ...facts('running'), snapshots: ['one'] } as Facts)).toBe(no);
    expect(decided('snapshot', { quiesce: true }, facts('running', qcow2, false))).toBe(no);
  });

  it('memory goes with neither diskOnly nor quiesce', () => {
    const { params } = operation('snapshot');
    expect(params.safeParse({ memory: true, diskOnly: true }).success).toBe(false);
    expect(params.safeParse({ memory: true, quiesce: true }).success).toBe(false);
  });
});

describe('snapshot_revert and snapshot_delete', () => {
  const facts = (vm: VmName, kind = 'internal', libvirtVersion = 9_000_000) =>
    ({ ...vms[vm], snapshots: ['one'], snapshot: { kind }, libvirtVersion }) as Facts;
  const revert = 'revert to "one"';
  it.each<[VmName, string, string]>([
    ['shut off', revert, revert],
    ['crashed', revert, revert],
    ['running', no, revert],
    ['paused', no, revert],
    ['saved', no, no],
    ['shutting down', no, no],
    ['suspended by its guest', no, no],
    ['crashed, kept', no, no],
    ['paused by libvirt', no, no],
  ])('revert, %s: %s, with force %s', (vm, plain, forced) => {
    expect(decided('snapshot_revert', { name: 'one' }, facts(vm))).toBe(plain);
    expect(decided('snapshot_revert', { name: 'one', force: true }, facts(vm))).toBe(forced);
  });
  it('revert to an external one needs libvirt 9.9, to none nothing helps', () => {
    expect(decided('snapshot_revert', { name: 'one' }, facts('shut off', 'external'))).toBe(no);
    expect(decided('snapshot_revert', { name: 'one' }, facts('shut off', 'external', 9_009_000))).toBe(
      revert,
    );
    expect(
      decided('snapshot_revert', { name: 'two' }, { ...facts('shut off'), snapshot: undefined } as Facts),
    ).toBe(no);
  });
  it.each(Object.keys(vms) as VmName[])('delete, %s', (vm) => {
    const passing = vm === 'paused by libvirt' || vm === 'shutting down';
    expect(decided('snapshot_delete', { name: 'one' }, facts(vm))).toBe(
      passing ? no : 'delete snapshot "one"',
    );
    expect(decided('snapshot_delete', { name: 'two' }, facts(vm))).toBe('unchanged');
  });
});

describe('after a crash: settle', () => {
  const begun = (...acts: string[]) =>
    acts.map((act) => ({ act, at: '2026-11-20T12:00:00Z', before: { id: 7 } }));
  const settled = (name: string, now: Facts | 'missing', acts: string[], params: object = {}) => {
    const { settle, params: schema } = operation(name);
    return settle(now, begun(...acts), schema.parse(params));
  };
  const anew = { ...vms.running, ref: { ...vms.running.ref, id: 8 } };
  it.each<[string, Facts | 'missing', string[], string]>([
    ['start', vms.running, ['create'], 'done'],
    ['start', vms['shut off'], ['create'], 'not-done'],
    ['start', vms.paused, ['create'], 'unknown'],
    ['start', 'missing', ['create'], 'unknown'],
    ['stop', vms['shut off'], ['shutdown acpi'], 'done'],
    ['stop', 'missing', ['destroy'], 'done'],
    ['stop', vms.running, ['shutdown acpi'], 'unknown'],
    ['stop', vms.running, ['destroy graceful'], 'not-done'],
    ['restart', anew, ['shutdown acpi', 'create'], 'done'],
    ['restart', vms.running, ['reboot acpi'], 'unknown'],
    ['restart', vms['shut off'], ['destroy', 'create'], 'not-done'],
    ['restart', vms['shut off'], ['destroy'], 'unknown'],
    ['pause', vms.paused, ['suspend'], 'done'],
    ['pause', vms.running, ['suspend'], 'not-done'],
    ['resume', vms.running, ['resume'], 'done'],
    ['resume', vms.paused, ['resume'], 'not-done'],
    ['reset', vms.running, ['reset'], 'unknown'],
    ['delete', 'missing', ['undefine'], 'done'],
    ['delete', vms['shut off'], ['destroy'], 'resume'],
    ['delete', vms.running, ['destroy'], 'not-done'],
  ])('%s', (name, now, acts, expected) => {
    expect(settled(name, now, acts)).toBe(expected);
  });
  it('snapshots are looked for by name', () => {
    const now = { ...vms.running, name: 'one', snapshots: ['one'], current: 'one' } as Facts;
    expect(settled('snapshot', now, ['snapshot create'])).toBe('done');
    expect(settled('snapshot', { ...now, snapshots: [] } as Facts, ['snapshot create'])).toBe('not-done');
    expect(settled('snapshot_delete', now, ['snapshot delete'], { name: 'one' })).toBe('not-done');
    expect(settled('snapshot_delete', now, ['snapshot delete'], { name: 'two' })).toBe('done');
    expect(settled('snapshot_revert', now, ['snapshot revert'], { name: 'one' })).toBe('done');
    expect(settled('snapshot_revert', now, ['snapshot revert'], { name: 'two' })).toBe('unknown');
  });
});
