// Snapshots and delete on real guests: which kind is made of which disks, names that would like to be XML, and above all what
// delete must never touch: base images, other VMs' disks, media. The reads of a VM are here, too. virsh and the files are asked.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { procedures } from '../../src/libvirt/procedures.js';
import type { BegunAct } from '../../src/ops/operation.js';
import { OpsHarness } from '../support/ops.js';

let lab: Lab;
let host: LabHost;
let ops: OpsHarness;
const images = '/var/lib/libvirt/images';

beforeAll(async () => {
  lab = await raiseLab({
    name: 'ops-storage',
    hosts: 1,
    guests: [{ name: 'web-1' }, { name: 'db-1' }, { name: 'mute-1', agent: false }],
  });
  [host] = lab.hosts as [LabHost];
  ops = await OpsHarness.of(host);
  await host.virsh('pool-define-as', 'images', 'dir', '--target', images);
  await host.virsh('pool-start', 'images');
});

afterAll(async () => {
  await ops?.[Symbol.asyncDispose]();
  await lab?.down();
});

const virsh = (...args: string[]) => host.exec(['virsh', '-q', ...args]);
const uuidOf = async (name: string) => (await host.virsh('domuuid', name)).trim();
const domstate = async (name: string) => (await host.virsh('domstate', name)).trim();
const exists = async (file: string) => (await host.exec(['test', '-e', `${images}/${file}`])).code === 0;
const snapshotNames = async (name: string) =>
  (await host.virsh('snapshot-list', name, '--name')).split('\n').filter((line) => line !== '');

async function must(argv: string[]): Promise<void> {
  const { code, stderr } = await host.exec(argv);
  if (code !== 0) throw new Error(stderr);
}

describe('reads', () => {
  it('list: every VM with its state, as virsh has it', async () => {
    const { data, vm, outcome } = await ops.run('list');
    expect({ vm, outcome }).toEqual({ vm: null, outcome: 'unchanged' });
    const { vms } = data as {
      vms: { name: string; uuid: string; state: string; vcpus: number; memoryBytes: number }[];
    };
    expect(vms.map(({ name, state }) => `${name} ${state}`)).toEqual([
      'db-1 running',
      'mute-1 running',
      'web-1 running',
    ]);
    expect(vms[0]).toMatchObject({ uuid: await uuidOf('db-1'), vcpus: 1, memoryBytes: 96 * 1024 * 1024 });
  });

  it('info: disks with sizes, addresses from the guest agent, and what there is besides', async () => {
    const { data, vm } = await ops.run('info', { vm: 'db-1' });
    expect(vm).toEqual({ name: 'db-1', uuid: await uuidOf('db-1') });
    expect(data).toMatchObject({
      state: 'running',
      persistent: true,
      autostart: false,
      vcpus: { current: 1, maximum: 1 },
      memory: { currentBytes: 96 * 1024 * 1024 },
      guestAgent: { configured: true, connected: true },
      snapshots: { count: 0 },
      disks: [
        { target: 'vda', format: 'qcow2', path: `${images}/db-1.qcow2` },
        { target: 'vdb', format: 'raw', path: `${images}/db-1-data.raw`, capacityBytes: 16 * 1024 * 1024 },
      ],
      interfaces: [
        {
          type: 'bridge',
          addresses: [
            { prefix: 24, source: 'agent' },
            { prefix: 64, source: 'agent' },
          ],
        },
      ],
    });
  });

  it('info of a VM without an agent, and of one that is off: what is not known is absent', async () => {
    const { data: mute } = await ops.run('info', { vm: 'mute-1' });
    expect(mute).toMatchObject({ guestAgent: { configured: true, connected: false } });
    await host.virsh('destroy', 'mute-1');
    const { data } = await ops.run('info', { vm: 'mute-1' });
    expect(data).toMatchObject({
      state: 'shutoff',
      disks: [{ target: 'vda' }],
      interfaces: [{ addresses: [] }],
    });
    expect(data).not.toHaveProperty('id');
    expect((await ops.fails('info', { vm: 'never-1' })).code).toBe('VM_NOT_FOUND');
  });

  it('agent_info and health_check and collect_metrics answer', async () => {
    const { data } = await ops.run('agent_info');
    expect(data).toMatchObject({
      hypervisor: { type: 'QEMU', libvirtVersion: expect.stringMatching(/^\d+\.\d+\.\d+$/) },
    });
    expect((data as { capabilities: { guests: unknown[] } }).capabilities.guests.length).toBeGreaterThan(0);
    expect((await ops.run('health_check')).data).toMatchObject({ status: 'ok' });
    const { data: sample } = await ops.run('collect_metrics', { params: { pollers: ['vms'] } });
    const { vms } = (sample as { vms: { vms: { cpu: { time?: number }; blocks: object[] }[] } }).vms;
    expect(vms).toHaveLength(3);
    const times = vms.map(({ cpu }) => cpu.time).filter((time) => time !== undefined && time > 0);
    expect(times.length).toBeGreaterThan(0);
    expect(vms.flatMap(({ blocks }) => blocks)[0]).toHaveProperty('capacity');
  });
});

describe('snapshots', () => {
  it('of a running VM with qcow2 disks alone: internal, with memory', async () => {
    const result = await ops.run('snapshot', {
      vm: 'web-1',
      params: { name: 'one', description: 'before <the> "change"' },
    });
    expect(result).toMatchObject({
      outcome: 'changed',
      data: {
        name: 'one',
        kind: 'internal',
        memory: true,
        state: 'running',
        current: true,
        description: 'before <the> "change"',
      },
    });
    expect(await snapshotNames('web-1')).toEqual(['one']);
    expect(await domstate('web-1')).toBe('running');
  });

  const hostile = [
    `a'/><disk name='vdb`.replace('/', ''),
    '</name><memory snapshot="external" file="x"><name>'.replaceAll('/', ''),
    '&lt;&amp;&quot;',
    '<![CDATA[x]]>',
    '--children',
    'ünï — 💥',
    'a b  c',
  ];
  it.each(hostile)('a name that would like to be XML is only a name: %j', async (name) => {
    const description = `</description><disks><disk name='vda' snapshot='no'/></disks>&\n<!-- ${name} -->`;
    await host.virsh('suspend', 'web-1');
    const made = await ops.run('snapshot', { vm: 'web-1', params: { name, description } });
    expect(made.data).toMatchObject({ name, kind: 'internal', disks: ['vda'], description });
    expect(await snapshotNames('web-1')).toContain(name);
    const { data } = await ops.run('snapshot_list', { vm: 'web-1' });
    expect((data as { snapshots: { name: string }[] }).snapshots.map((snapshot) => snapshot.name)).toContain(
      name,
    );
    expect(await ops.run('snapshot_delete', { vm: 'web-1', params: { name } })).toMatchObject({
      outcome: 'changed',
      data: { deleted: [name] },
    });
    expect(await snapshotNames('web-1')).toEqual(['one']);
    await host.virsh('resume', 'web-1');
  });

  it.each([['a/b'], ['..'], ['a\0b'], ['a\nb'], ['x'.repeat(10_240)], ['']])(
    'refuses the name %j',
    async (name) => {
      await expect(async () => ops.run('snapshot', { vm: 'web-1', params: { name } })).rejects.toMatchObject({
        code: 'BAD_REQUEST',
        message: expect.stringContaining('params.name'),
      });
    },
  );

  it('twice the same name: refused, and nothing is made', async () => {
    expect((await ops.fails('snapshot', { vm: 'web-1', params: { name: 'one' } })).code).toBe(
      'INVALID_STATE',
    );
    expect(await snapshotNames('web-1')).toEqual(['one']);
  });

  it('revert: a running VM needs force; then it is as it was', async () => {
    expect((await ops.fails('snapshot_revert', { vm: 'web-1', params: { name: 'one' } })).code).toBe(
      'INVALID_STATE',
    );
    expect((await ops.fails('snapshot_revert', { vm: 'web-1', params: { name: 'none' } })).code).toBe(
      'INVALID_STATE',
    );
    await host.virsh('destroy', 'web-1');
    expect(await ops.run('snapshot_revert', { vm: 'web-1', params: { name: 'one' } })).toMatchObject({
      outcome: 'changed',
      after: { state: 'running', currentSnapshot: 'one' },
    });
    expect(await domstate('web-1')).toBe('running');
    const paused = { name: 'one', force: true, start: 'paused' };
    expect(await ops.run('snapshot_revert', { vm: 'web-1', params: paused })).toMatchObject({
      after: { state: 'paused' },
    });
    await host.virsh('resume', 'web-1');
  });

  it('delete: one that is not there is gone already', async () => {
    const gone = await ops.run('snapshot_delete', { vm: 'web-1', params: { name: 'none' } });
    expect(gone.outcome).toBe('unchanged');
    await ops.run('snapshot_delete', { vm: 'web-1', params: { name: 'one' } });
    expect(await snapshotNames('web-1')).toEqual([]);
  });

  it('with a raw disk, running: external, disks only; memory is refused', async () => {
    expect((await ops.fails('snapshot', { vm: 'db-1', params: { memory: true } })).message).toContain(
      'vdb is raw',
    );
    const result = await ops.run('snapshot', { vm: 'db-1', params: { name: 'out', quiesce: true } });
    expect(result.data).toMatchObject({ kind: 'external', memory: false, disks: ['vda', 'vdb'] });
    expect(await exists('db-1.out')).toBe(true);
    expect(await host.virsh('domblklist', 'db-1')).toContain('db-1.out');
    const revert = await ops.fails('snapshot_revert', { vm: 'db-1', params: { name: 'out', force: true } });
    expect(revert.code).toBe('INVALID_STATE');
  });

  it('quiesce without an agent, or without a guest: refused', async () => {
    expect((await ops.fails('snapshot', { vm: 'mute-1', params: { quiesce: true } })).message).toContain(
      'nothing to quiesce',
    );
    await host.virsh('start', 'mute-1');
    expect((await ops.fails('snapshot', { vm: 'mute-1', params: { quiesce: true } })).message).toContain(
      'no guest agent',
    );
    await host.virsh('destroy', 'mute-1');
  });

  it('of a VM that is off: internal without memory; memory is refused', async () => {
    expect((await ops.fails('snapshot', { vm: 'mute-1', params: { memory: true } })).code).toBe(
      'INVALID_STATE',
    );
    const result = await ops.run('snapshot', { vm: 'mute-1', requestId: 'again' });
    expect(result.data).toMatchObject({ kind: 'internal', memory: false, state: 'shutoff' });
    expect((await ops.fails('snapshot', { vm: 'mute-1', requestId: 'again' })).code).toBe('INVALID_STATE');
    await host.virsh('start', 'mute-1');
    await host.virsh('managedsave', 'mute-1');
    expect((await ops.fails('snapshot', { vm: 'mute-1' })).message).toContain('saved state');
    expect((await ops.fails('snapshot_revert', { vm: 'mute-1', params: { name: 'x' } })).code).toBe(
      'INVALID_STATE',
    );
    await host.virsh('managedsave-remove', 'mute-1');
    expect((await ops.fails('snapshot', { vm: 'never-1' })).code).toBe('VM_NOT_FOUND');
  });

  it('the reply is lost after it was made: found there', async () => {
    await host.virsh('suspend', 'web-1');
    ops.cutAfter(procedures.domainSnapshotCreateXml);
    const result = await ops.run('snapshot', { vm: 'web-1', params: { name: 'lost' } });
    expect(result).toMatchObject({ outcome: 'changed', data: { name: 'lost' } });
    expect(await snapshotNames('web-1')).toEqual(['lost']);
    await ops.run('snapshot_delete', { vm: 'web-1', params: { name: 'lost' } });
    await host.virsh('resume', 'web-1');
  });
});

describe('snapshots from every state', () => {
  const params = { name: 'row' };
  const given = async (state: string) => {
    await virsh('managedsave-remove', 'web-1');
    await virsh('destroy', 'web-1');
    await virsh('snapshot-delete', 'web-1', 'row');
    await host.virsh('snapshot-create-as', 'web-1', 'row');
    if (state === 'shutoff') return;
    await host.virsh('start', 'web-1');
    if (state === 'paused') await host.virsh('suspend', 'web-1');
    if (state === 'saved') await host.virsh('managedsave', 'web-1');
  };
  const no = 'INVALID_STATE';
  it.each([
    ['running', no, 'changed'],
    ['paused', no, 'changed'],
    ['shutoff', 'changed', 'changed'],
    ['saved', no, no],
  ])('%s: listed and deleted; reverted: %s, with force: %s', async (state, plain, forced) => {
    const word = state === 'saved' || state === 'shutoff' ? 'shut off' : state;
    for (const [force, expected] of [
      [false, plain],
      [true, forced],
    ] as const) {
      await given(state);
      const ask = { vm: 'web-1', params: { ...params, force } };
      const said =
        expected === no
          ? (await ops.fails('snapshot_revert', ask)).code
          : (await ops.run('snapshot_revert', ask)).outcome;
      expect(said).toBe(expected);
      expect(await domstate('web-1')).toBe(expected === no ? word : 'shut off');
    }
    await given(state);
    const { data } = await ops.run('snapshot_list', { vm: 'web-1' });
    expect(data).toMatchObject({ count: 1, snapshots: [{ name: 'row', kind: 'internal', memory: false }] });
    expect((await ops.run('info', { vm: 'web-1' })).data).toMatchObject({
      state: word.replace('shut off', 'shutoff'),
      managedSave: state === 'saved',
      snapshots: { count: 1 },
    });
    expect((await ops.run('snapshot_delete', { vm: 'web-1', params })).outcome).toBe('changed');
    expect(await snapshotNames('web-1')).toEqual([]);
    expect(await domstate('web-1')).toBe(word);
  });
  it.each(['snapshot_list', 'snapshot_revert', 'snapshot_delete'])(
    '%s of a VM that is not there',
    async (op) => {
      const ask = { vm: 'never-1', ...(op !== 'snapshot_list' && { params }) };
      expect((await ops.fails(op, ask)).code).toBe('VM_NOT_FOUND');
    },
  );
});

/** A VM without a system, of the given disks; each is a line of XML. */
async function define(name: string, disks: string[]): Promise<string> {
  const xml = `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>${disks.join('')}
    <controller type='usb' model='none'/></devices></domain>`;
  await must(['sh', '-c', `cat > /tmp/${name}.xml <<'END'\n${xml}\nEND`]);
  await host.virsh('define', `/tmp/${name}.xml`);
  return uuidOf(name);
}

const disk = (file: string, target: string, { format = 'qcow2', device = 'disk', more = '' } = {}) =>
  `<disk type='file' device='${device}'><driver name='qemu' type='${format}'/><source file='${file.startsWith('/') ? file : `${images}/${file}`}'/><target dev='${target}' bus='${device === 'disk' ? 'virtio' : 'sata'}'/>${more}</disk>`;

const image = (file: string, base?: string) =>
  must([
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    ...(base ? ['-b', `${images}/${base}`, '-F', 'qcow2'] : []),
    `${images}/${file}`,
    ...(base ? [] : ['4M']),
  ]);

describe('delete', () => {
  const removeStorage = true;
  let count = 0;
  let own: string;
  let name: string;
  let uuid: string;

  beforeEach(async () => {
    count += 1;
    name = `old-${count}`;
    own = `${name}.qcow2`;
    await image(own);
    uuid = await define(name, [disk(own, 'vda')]);
  });

  const remove = (params: object = {}) => ops.run('delete', { vm: name, expectedUuid: uuid, params });
  const volumes = (data: unknown) =>
    (data as { volumes: { path: string; result: string; why?: string }[] }).volumes;
  const isThere = async (vm = name) => (await virsh('dominfo', vm)).code === 0;

  it('needs the UUID, and the right one', async () => {
    await expect(async () => ops.run('delete', { vm: name })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    const failure = await ops.fails('delete', { vm: name, expectedUuid: await uuidOf('web-1') });
    expect(failure.code).toBe('VM_UUID_MISMATCH');
    expect(await isThere()).toBe(true);
    expect((await ops.fails('delete', { vm: 'never-1', expectedUuid: uuid })).code).toBe('VM_NOT_FOUND');
  });

  it('shut off: the definition goes, the storage stays', async () => {
    expect(await remove()).toMatchObject({
      outcome: 'changed',
      after: { state: 'undefined' },
      data: { volumes: [] },
    });
    expect(await isThere()).toBe(false);
    expect(await exists(own)).toBe(true);
  });

  it('a dry run tells which volumes would go', async () => {
    const planned = await ops.run(
      'delete',
      { vm: name, expectedUuid: uuid, params: { removeStorage } },
      true,
    );
    expect(planned.data).toEqual({
      plan: ['undefine', `keep ${images}/${own}: no active storage pool has it`],
    });
    await host.virsh('pool-refresh', 'images');
    const again = await ops.run('delete', { vm: name, expectedUuid: uuid, params: { removeStorage } }, true);
    expect(again.data).toEqual({ plan: ['undefine', `delete ${images}/${own}`] });
    expect(await isThere()).toBe(true);
  });

  it.each(['running', 'paused'])(
    '%s: refused; with force it ends and goes, with its storage',
    async (state) => {
      await host.virsh('start', name);
      if (state === 'paused') await host.virsh('suspend', name);
      expect((await ops.fails('delete', { vm: name, expectedUuid: uuid })).code).toBe('INVALID_STATE');
      expect(await domstate(name)).toBe(state);
      const result = await remove({ force: true, removeStorage });
      expect(volumes(result.data)).toEqual([{ target: 'vda', path: `${images}/${own}`, result: 'deleted' }]);
      expect(await isThere()).toBe(false);
      expect(await exists(own)).toBe(false);
    },
  );

  it('with a saved state and snapshots: all of it goes', async () => {
    await host.virsh('snapshot-create-as', name, 'kept');
    await host.virsh('start', name);
    await host.virsh('managedsave', name);
    await remove({ removeStorage });
    expect(await isThere()).toBe(false);
    expect(
      (await host.exec(['ls', '/var/lib/libvirt/qemu/save', '/var/lib/libvirt/qemu/snapshot'])).stdout,
    ).not.toContain(name);
  });

  it('not persistent: its end is its deletion', async () => {
    await host.virsh('undefine', name);
    await host.virsh('create', `/tmp/${name}.xml`);
    uuid = await uuidOf(name);
    const result = await remove({ force: true, removeStorage });
    expect(volumes(result.data)).toMatchObject([{ result: 'deleted' }]);
    expect(await isThere()).toBe(false);
  });

  it('never a base image, never what another VM names, stands on, or shares, never media', async () => {
    const files = ['base', 'overlay', 'named', 'under', 'over', 'shared', 'iso', 'past', 'alone'].map(
      (file) => `${file}-${count}.qcow2`,
    );
    const [base, overlay, named, under, over, shared, iso, past, alone] = files as [
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    for (const file of [base, named, under, shared, iso, past, alone]) await image(file);
    await image(overlay, base);
    await image(over, under);
    await define(`other-${count}`, [
      disk(`../images/${named}`.replace('..', '/var/lib/libvirt/x/..'), 'vda'),
      disk(over, 'vdb'),
    ]);
    const pastUuid = await define(`past-${count}`, [disk(past, 'vda')]);
    await host.virsh('snapshot-create-as', `past-${count}`, 'then');
    await host.virsh('detach-disk', `past-${count}`, 'vda', '--config');
    expect(pastUuid).toBeTruthy();
    await host.virsh('undefine', name);
    uuid = await define(name, [
      disk(overlay, 'vda'),
      disk(named, 'vdb'),
      disk(under, 'vdc'),
      disk(shared, 'vdd', { format: 'raw', more: '<shareable/>' }),
      disk(past, 'vde'),
      disk(alone, 'vdf'),
      disk(iso, 'sda', { format: 'raw', device: 'cdrom', more: '<readonly/>' }),
      disk('/run/image/data.qcow2', 'vdg'),
    ]);
    const result = await remove({ removeStorage });
    const ends = Object.fromEntries(
      volumes(result.data).map(({ path, result, why }) => [path.replace(`${images}/`, ''), [result, why]]),
    );
    expect(ends).toEqual({
      [overlay]: ['deleted', undefined],
      [base]: ['kept', 'it is a base image'],
      [named]: ['kept', `the VM other-${count} names it`],
      [under]: ['kept', expect.stringContaining('is based on it')],
      [shared]: ['kept', 'it is meant to be shared'],
      [past]: ['kept', `the VM past-${count} names it`],
      [alone]: ['deleted', undefined],
      [iso]: ['kept', 'it is a cdrom'],
      '/run/image/data.qcow2': ['kept', 'no active storage pool has it'],
    });
    const left = await Promise.all(files.map(exists));
    expect(files.filter((_file, index) => !left[index])).toEqual([overlay, alone]);
    for (const vm of [`other-${count}`, `past-${count}`]) await virsh('undefine', vm, '--snapshots-metadata');
  });

  it('an overlay that somebody made behind our back keeps its base', async () => {
    await host.virsh('pool-refresh', 'images');
    await image(`late-${count}.qcow2`, own);
    const result = await remove({ removeStorage });
    expect(volumes(result.data)).toMatchObject([
      { result: 'kept', why: expect.stringContaining('is based on it') },
    ]);
    expect(await exists(own)).toBe(true);
  });

  it('a VM that takes the volume between the acts keeps it', async () => {
    ops.gate = async (act) => {
      if (act === 'undefine') await define(`taker-${count}`, [disk(own, 'vda')]);
    };
    const result = await remove({ removeStorage });
    ops.gate = () => undefined;
    expect(volumes(result.data)).toMatchObject([{ result: 'kept', why: `the VM taker-${count} names it` }]);
    expect(await exists(own)).toBe(true);
    await host.virsh('undefine', `taker-${count}`);
  });

  it.each([
    ['destroy', procedures.domainDestroyFlags],
    ['undefine', procedures.domainUndefineFlags],
    ['volDelete', procedures.storageVolDelete],
  ])('the reply to %s is lost: it goes on from what is true, each act once', async (_act, procedure) => {
    await host.virsh('start', name);
    const before = ops.acts.length;
    ops.cutAfter(procedure);
    const result = await remove({ force: true, removeStorage });
    expect(volumes(result.data)).toMatchObject([{ path: `${images}/${own}`, result: 'deleted' }]);
    expect(await isThere()).toBe(false);
    expect(await exists(own)).toBe(false);
    const acts = ops.acts.slice(before).map(({ act }) => act);
    expect(acts).toEqual(['destroy graceful', 'undefine', `volDelete ${images}/${own}`]);
  });

  it.each([0, 1, 2])('after a crash at act %i it resumes at the recorded step', async (crashAt) => {
    await host.virsh('start', name);
    const begun: BegunAct[] = [];
    ops.gate = (act, facts) => {
      const record = { act, at: new Date().toISOString(), ...facts };
      begun.push(JSON.parse(JSON.stringify(record)) as BegunAct);
      if (begun.length > crashAt) throw new Error('killed');
    };
    const ask = { vm: name, expectedUuid: uuid, params: { force: true, removeStorage } };
    await expect(ops.run('delete', ask)).rejects.toThrow('killed');
    ops.gate = () => undefined;
    const settled = ops.settle('delete', ask, begun);
    if (crashAt === 0) {
      await expect(settled).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(await domstate(name)).toBe('running');
      await virsh('destroy', name);
      return;
    }
    expect(volumes((await settled).data)).toMatchObject([{ path: `${images}/${own}`, result: 'deleted' }]);
    expect(await isThere()).toBe(false);
    expect(await exists(own)).toBe(false);
  });

  it('after a crash, a VM made anew under the same name keeps everything', async () => {
    const recorded = {
      state: 'shutoff',
      volumes: [
        {
          target: 'vda',
          path: `${images}/${own}`,
          verdict: 'delete',
          volume: { pool: 'images', name: own, key: `${images}/${own}` },
        },
      ],
    };
    const begun = [{ act: 'undefine', at: new Date().toISOString(), vm: { name, uuid }, before: recorded }];
    await host.virsh('undefine', name);
    await define(name, [disk(own, 'vda')]);
    const result = await ops.settle(
      'delete',
      { vm: name, expectedUuid: uuid, params: { removeStorage } },
      begun,
    );
    expect(volumes(result.data)).toMatchObject([{ result: 'kept', why: `the VM ${name} names it` }]);
    expect(await isThere()).toBe(true);
    expect(await exists(own)).toBe(true);
  });
});
