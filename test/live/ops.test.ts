// Every operation on a real guest from each starting state, and what libvirt says afterwards, asked with virsh. The whole table
// of the operations that change a VM's power state: what is not in it is not promised.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { procedures } from '../../src/libvirt/procedures.js';
import { OpsHarness } from '../support/ops.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

const states = ['running', 'paused', 'shutoff', 'saved', 'missing'] as const;
type State = (typeof states)[number];

let lab: Lab;
let host: LabHost;
let ops: OpsHarness;

beforeAll(async () => {
  lab = await raiseLab({
    name: 'ops',
    hosts: 1,
    guests: [
      { name: 'web-1' },
      { name: 'db-1' },
      { name: 'mute-1', agent: false },
      { name: 'deaf-1', acpi: false, agent: false },
    ],
    waitForGuests: true,
  });
  [host] = lab.hosts as [LabHost];
  ops = await OpsHarness.of(host);
});

afterAll(async () => {
  await ops?.[Symbol.asyncDispose]();
  await lab?.down();
});

const vm = 'web-1';
const domstate = async (name = vm) => (await host.virsh('domstate', name)).trim();
const uuidOf = async (name = vm) => (await host.virsh('domuuid', name)).trim();
const virsh = (...args: string[]) => host.exec(['virsh', '-q', ...args]);

/** The VM that the job names in this state: one that was never there, for `missing`. */
async function given(state: State, name = vm, { booted = false } = {}): Promise<string> {
  if (state === 'missing') return 'never-1';
  await virsh('managedsave-remove', name);
  const now = await domstate(name);
  if (state === 'running' && now === 'running' && !booted) return name;
  if (state === 'running' && now === 'paused' && !booted) {
    await host.virsh('resume', name);
    return name;
  }
  await virsh('destroy', name);
  if (state === 'shutoff') return name;
  await host.virsh('start', name);
  if (booted) await host.guestReady(name);
  if (state === 'paused') await host.virsh('suspend', name);
  if (state === 'saved') await host.virsh('managedsave', name);
  return name;
}

type Row = [state: State, outcome: string, after: string];

const missing: Row = ['missing', 'VM_NOT_FOUND', ''];

/** By operation and its params; `after` is virsh's word for the state. */
const table: [op: string, params: object, rows: Row[]][] = [
  [
    'start',
    {},
    [
      ['running', 'unchanged', 'running'],
      ['paused', 'changed', 'running'],
      ['shutoff', 'changed', 'running'],
      ['saved', 'changed', 'running'],
      missing,
    ],
  ],
  [
    'start',
    { paused: true },
    [
      ['running', 'INVALID_STATE', 'running'],
      ['paused', 'unchanged', 'paused'],
      ['shutoff', 'changed', 'paused'],
      ['saved', 'changed', 'paused'],
      missing,
    ],
  ],
  [
    'stop',
    { force: true, timeoutSeconds: 0 },
    [
      ['running', 'changed', 'shut off'],
      ['paused', 'changed', 'shut off'],
      ['shutoff', 'unchanged', 'shut off'],
      ['saved', 'unchanged', 'shut off'],
      missing,
    ],
  ],
  [
    'stop',
    {},
    [
      ['paused', 'INVALID_STATE', 'paused'],
      ['shutoff', 'unchanged', 'shut off'],
      ['saved', 'unchanged', 'shut off'],
      missing,
    ],
  ],
  [
    'restart',
    { mode: 'cold', force: true, timeoutSeconds: 0 },
    [
      ['running', 'changed', 'running'],
      ['paused', 'changed', 'running'],
      ['shutoff', 'INVALID_STATE', 'shut off'],
      ['saved', 'INVALID_STATE', 'shut off'],
      missing,
    ],
  ],
  [
    'restart',
    { mode: 'reboot', force: true, timeoutSeconds: 0 },
    [
      ['running', 'changed', 'running'],
      ['paused', 'INVALID_STATE', 'paused'],
      ['shutoff', 'INVALID_STATE', 'shut off'],
      ['saved', 'INVALID_STATE', 'shut off'],
      missing,
    ],
  ],
  [
    'restart',
    { mode: 'cold' },
    [
      ['paused', 'INVALID_STATE', 'paused'],
      ['shutoff', 'INVALID_STATE', 'shut off'],
      ['saved', 'INVALID_STATE', 'shut off'],
      missing,
    ],
  ],
  [
    'pause',
    {},
    [
      ['running', 'changed', 'paused'],
      ['paused', 'unchanged', 'paused'],
      ['shutoff', 'INVALID_STATE', 'shut off'],
      ['saved', 'INVALID_STATE', 'shut off'],
      missing,
    ],
  ],
  [
    'resume',
    {},
    [
      ['running', 'unchanged', 'running'],
      ['paused', 'changed', 'running'],
      ['shutoff', 'INVALID_STATE', 'shut off'],
      ['saved', 'INVALID_STATE', 'shut off'],
      missing,
    ],
  ],
  [
    'reset',
    {},
    [
      ['running', 'changed', 'running'],
      ['paused', 'changed', 'paused'],
      ['shutoff', 'INVALID_STATE', 'shut off'],
      ['saved', 'INVALID_STATE', 'shut off'],
      missing,
    ],
  ],
  [
    'set_autostart',
    { enabled: true },
    [
      ['running', 'changed', 'running'],
      ['paused', 'changed', 'paused'],
      ['shutoff', 'changed', 'shut off'],
      ['saved', 'changed', 'shut off'],
      missing,
    ],
  ],
];

describe.each(table)('%s %o', (op, params, rows) => {
  it.each(rows)('a VM that is %s: %s', async (state, outcome, after) => {
    const name = await given(state);
    await virsh('autostart', '--disable', vm);
    const saved = state === 'saved';
    const id = state === 'missing' ? '' : (await host.virsh('domid', name)).trim();
    const acts = ops.acts.length;
    if (/^[A-Z_]+$/.test(outcome)) {
      expect((await ops.fails(op, { vm: name, params })).code).toBe(outcome);
    } else {
      const result = await ops.run(op, { vm: name, params });
      expect(result).toMatchObject({ op, host: 'kvm-1', vm: { name, uuid: await uuidOf(name) }, outcome });
      expect(result.after).toMatchObject({ state: after.replace('shut off', 'shutoff') });
    }
    if (outcome !== 'changed') expect(ops.acts.length).toBe(acts);
    if (state === 'missing') return;
    expect(await domstate(name)).toBe(after);
    // A saved state is not lost by anything but a start.
    expect(/Managed save:\s+yes/.test(await host.virsh('dominfo', name))).toBe(saved && op !== 'start');
    if (op === 'restart' && outcome === 'changed') {
      const anew = 'mode' in params && params.mode === 'cold';
      expect((await host.virsh('domid', name)).trim() !== id).toBe(anew);
    }
    if (op === 'set_autostart') expect(await host.virsh('dominfo', name)).toMatch(/Autostart:\s+enable/);
  });
});

describe('asking the guest', () => {
  it('stop: the guest ends by itself, within seconds', async () => {
    await given('running', vm, { booted: true });
    const result = await ops.run('stop', { vm });
    expect(result).toMatchObject({
      outcome: 'changed',
      before: { state: 'running' },
      after: { state: 'shutoff' },
    });
    expect(result.steps.map(({ step }) => step)).toContain('shutdown requested through the guest agent');
    expect(result.durationMs).toBeLessThan(20_000);
    expect(await host.virsh('domstate', '--reason', vm)).toContain('shut off (shutdown)');
  });

  it('restart cold: ends and starts', async () => {
    await given('running', 'db-1', { booted: true });
    const before = (await host.virsh('domid', 'db-1')).trim();
    expect(await ops.run('restart', { vm: 'db-1', params: { mode: 'cold' } })).toMatchObject({
      outcome: 'changed',
    });
    expect(await domstate('db-1')).toBe('running');
    expect((await host.virsh('domid', 'db-1')).trim()).not.toBe(before);
  });

  it('restart by reboot: the guest runs afterwards', async () => {
    await host.guestReady('db-1');
    const result = await ops.run('restart', { vm: 'db-1' });
    expect(result.outcome).toBe('changed');
    expect(await domstate('db-1')).toBe('running');
    await host.guestReady('db-1');
  });

  it('restart by the power button, without an agent: the same process runs on', async () => {
    const before = (await host.virsh('domid', 'mute-1')).trim();
    const result = await ops.run('restart', { vm: 'mute-1' });
    expect(result.steps.map(({ step }) => step)).toContain('the guest reboots');
    expect((await host.virsh('domid', 'mute-1')).trim()).toBe(before);
    expect(await domstate('mute-1')).toBe('running');
  });

  it('a guest that hears nothing: stop says so in time, and it still runs', async () => {
    const startedMs = performance.now();
    const watch = new Stopwatch();
    const failure = await ops.fails('stop', { vm: 'deaf-1', params: { timeoutSeconds: 12 } });
    expect(failure.code).toBe('GUEST_TIMEOUT');
    expect(performance.now() - startedMs).toBeGreaterThan(11_500);
    expect(watch.ms).toBeLessThan(14_000);
    expect(await domstate('deaf-1')).toBe('running');
    const asked = ops.acts.filter(({ vm }) => vm?.name === 'deaf-1').map(({ act }) => act);
    expect(asked).toEqual(['shutdown agent', 'shutdown acpi', 'shutdown acpi']);
  });

  it('a guest that hears nothing: a reboot says so, too', async () => {
    const failure = await ops.fails('restart', { vm: 'deaf-1', params: { timeoutSeconds: 2 } });
    expect(failure.code).toBe('GUEST_TIMEOUT');
    expect(await domstate('deaf-1')).toBe('running');
  });

  it('a deadline that comes first ends the wait, and the failure says that it runs', async () => {
    const failure = await ops.fails('stop', { vm: 'deaf-1', deadlineMs: 3_000 });
    expect(failure.code).toBe('DEADLINE_EXPIRED');
    expect(failure.message).toContain('the VM is running now');
    expect(await domstate('deaf-1')).toBe('running');
  });

  it('a guest that hears nothing: with force it ends', async () => {
    const result = await ops.run('stop', { vm: 'deaf-1', params: { timeoutSeconds: 2, force: true } });
    expect(result).toMatchObject({ outcome: 'changed', after: { state: 'shutoff' } });
    expect(result.steps.map(({ step }) => step)).toContain('powered off');
    expect(await domstate('deaf-1')).toBe('shut off');
  });
});

describe('a VM whose process hangs', () => {
  it('stop: GUEST_TIMEOUT in time; with force it ends', async () => {
    await given('running', 'deaf-1');
    await host.stickGuest('deaf-1');
    const watch = new Stopwatch();
    expect((await ops.fails('stop', { vm: 'deaf-1', params: { timeoutSeconds: 3 } })).code).toBe(
      'GUEST_TIMEOUT',
    );
    expect(watch.ms).toBeLessThan(6_000);
    const result = await ops.run('stop', { vm: 'deaf-1', params: { timeoutSeconds: 2, force: true } });
    expect(result).toMatchObject({ outcome: 'changed', after: { state: 'shutoff' } });
    expect(await domstate('deaf-1')).toBe('shut off');
  });

  it('info answers all the same, without what only the process knows', async () => {
    await given('running', 'deaf-1');
    await host.stickGuest('deaf-1', { jobHeld: true });
    const { data } = await ops.run('info', { vm: 'deaf-1' });
    expect(data).toMatchObject({ state: 'running', disks: [{ target: 'vda' }] });
    expect((await ops.run('list')).data).toMatchObject({ count: 4 });
    await ops.run('stop', { vm: 'deaf-1', params: { timeoutSeconds: 0, force: true } });
  });
});

describe('the reply is lost after libvirt acted', () => {
  const cases: [string, object, State, { number: number }, string][] = [
    ['start', {}, 'shutoff', procedures.domainCreateWithFlags, 'running'],
    ['start', {}, 'paused', procedures.domainResume, 'running'],
    ['stop', { force: true, timeoutSeconds: 0 }, 'running', procedures.domainDestroyFlags, 'shut off'],
    ['pause', {}, 'running', procedures.domainSuspend, 'paused'],
    ['resume', {}, 'paused', procedures.domainResume, 'running'],
    [
      'restart',
      { mode: 'cold', force: true, timeoutSeconds: 0 },
      'running',
      procedures.domainCreateWithFlags,
      'running',
    ],
  ];
  it.each(cases)('%s %o from %s', async (op, params, state, procedure, after) => {
    await given(state);
    const acts = ops.acts.length;
    ops.cutAfter(procedure);
    const result = await ops.run(op, { vm, params });
    expect(result.outcome).toBe('changed');
    expect(result.steps.map(({ step }) => step)).toContain('libvirt says that it is done');
    expect(await domstate()).toBe(after);
    const begun = ops.acts.slice(acts).map(({ act }) => act);
    expect(new Set(begun).size).toBe(begun.length);
  });

  it('a reset leaves no trace: the outcome is unknown, and the state is told', async () => {
    await given('running');
    ops.cutAfter(procedures.domainReset);
    const failure = await ops.fails('reset', { vm });
    expect(failure.code).toBe('OUTCOME_UNKNOWN');
    expect(failure.message).toContain('the VM is running now');
  });

  it('a guest that was asked to stop when the connection went: found shut off', async () => {
    await given('running', vm, { booted: true });
    ops.cutAfter(procedures.domainShutdownFlags);
    const result = await ops.run('stop', { vm });
    expect(result).toMatchObject({ outcome: 'changed', after: { state: 'shutoff' } });
  });
});

describe('what is refused before anything is sent', () => {
  it('another UUID: another VM', async () => {
    await given('running');
    const failure = await ops.fails('stop', { vm, expectedUuid: '11111111-2222-3333-4444-555555555555' });
    expect(failure).toMatchObject({ code: 'VM_UUID_MISMATCH' });
    expect(await domstate()).toBe('running');
  });

  it('a VM can be named by its UUID', async () => {
    const uuid = await uuidOf();
    const result = await ops.run('pause', { vm: uuid.toUpperCase(), expectedUuid: uuid });
    expect(result).toMatchObject({ outcome: 'changed', vm: { name: vm, uuid } });
    await host.virsh('resume', vm);
  });

  it('a dry run says what it would do and does nothing', async () => {
    const acts = ops.acts.length;
    const result = await ops.run('stop', { vm, params: { force: true } }, true);
    expect(result).toMatchObject({ outcome: 'planned', data: { plan: ['shutdown', 'destroy'] } });
    expect(ops.acts.length).toBe(acts);
    expect(await domstate()).toBe('running');
  });

  it.each([
    `x' or '1'='1`,
    '<name>web-1</name>',
    '../web-1',
    '$(reboot)',
    'ünïcødé-💥',
    'a'.repeat(255),
    '--help',
  ])('no VM has the hostile name %j', async (name) =>
    expect((await ops.fails('stop', { vm: name })).code).toBe('VM_NOT_FOUND'),
  );

  it('a gate that refuses: nothing is sent', async () => {
    ops.gate = () => {
      throw new Error('the audit log cannot be written');
    };
    await expect(ops.run('stop', { vm, params: { force: true, timeoutSeconds: 0 } })).rejects.toThrow(
      /audit log/,
    );
    ops.gate = () => undefined;
    expect(await domstate()).toBe('running');
  });
});

describe('after a crash', () => {
  it('settles a start that was done, and one that was not', async () => {
    const begun = [{ act: 'create', at: new Date().toISOString(), vm: { name: vm, uuid: await uuidOf() } }];
    await given('running');
    expect(await ops.settle('start', { vm }, begun)).toMatchObject({
      outcome: 'changed',
      after: { state: 'running' },
    });
    await given('shutoff');
    await expect(ops.settle('start', { vm }, begun)).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await domstate()).toBe('shut off');
  });

  it('settles a stop: the guest that was asked and runs may still end', async () => {
    const begun = [
      { act: 'shutdown acpi', at: new Date().toISOString(), vm: { name: vm, uuid: await uuidOf() } },
    ];
    await given('running');
    await expect(ops.settle('stop', { vm }, begun)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await virsh('destroy', vm);
    expect(await ops.settle('stop', { vm }, begun)).toMatchObject({ outcome: 'changed' });
  });
});

it('leaves no call behind', async () => {
  await until('the reader to be idle', () => ops.reader().calls.inFlight === 0);
});
