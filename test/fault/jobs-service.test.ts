// The service is killed while it works on jobs: before, during and after each act. After the next start every job has an end
// that is true, no act was begun twice, and what belongs to others is there.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { type Ended, JobsClient } from '../support/jobs-client.js';
import { Service } from '../support/outrigger.js';
import { until } from '../support/until.js';

const images = '/var/lib/libvirt/images';

let lab: Lab;
let host: LabHost;
let service: Service;

beforeAll(async () => {
  lab = await raiseLab({ name: 'killed', hosts: 1, guests: ['web-1'] });
  const [first] = lab.hosts;
  if (!first) throw new Error('the lab has no host');
  host = first;
  await host.virsh('pool-create-as', 'images', 'dir', '--target', images);
  service = await started();
});

afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  await lab?.down();
});

afterEach(() => host.resumeLibvirtd());

async function started(dataDir?: string): Promise<Service> {
  const fresh = await Service.start(lab.inventoryFile, {}, dataDir);
  await until('the store', () => fresh.logged('store reached')[0], { timeoutMs: 30_000 });
  return fresh;
}

const client = () => new JobsClient(join(service.dataDir, 'store', 'store.sock'));

type AuditLine = { kind: string; requestId: string; act?: string };

function audit(requestId: string): AuditLine[] {
  const text = readFileSync(join(service.dataDir, 'audit', 'audit-000001.jsonl'), 'utf8');
  const lines = text.split('\n').slice(0, -1);
  return lines.filter((line) => line.includes(`"${requestId}"`)).map((line) => JSON.parse(line) as AuditLine);
}

type Moment = 'before an act' | 'when an act begins' | 'in the middle of an act' | 'when it has ended';
const moments: Moment[] = [
  'before an act',
  'when an act begins',
  'in the middle of an act',
  'when it has ended',
];

let requests = 0;

/** Adds a job, kills the service at the moment, starts it again and waits for the job's end. */
async function killedAt(
  moment: Moment,
  op: string,
  data: Record<string, unknown>,
): Promise<{ end: Ended; begun: string[] }> {
  const requestId = `killed-${requests++}`;
  const seen = (kind: string) => audit(requestId).some((line) => line.kind === kind);
  let id: string;
  {
    await using jobs = client();
    if (moment === 'before an act') host.pauseLibvirtd();
    id = await jobs.add(op, { host: host.name, ...data, requestId });
    if (moment === 'before an act') {
      await until('the job to run', async () => (await jobs.active()) === 1);
    } else {
      const kind = moment === 'when it has ended' ? 'end' : 'begin';
      await until(`the audit line ${kind}`, () => seen(kind), { timeoutMs: 30_000, everyMs: 1 });
      if (moment === 'in the middle of an act') host.pauseLibvirtd();
    }
    await service.kill();
    host.resumeLibvirtd();
  }
  service = await started(service.dataDir);
  await using jobs = client();
  const end = await jobs.ended(id, 60_000);
  const begun = audit(requestId)
    .filter(({ kind }) => kind === 'begin')
    .map(({ act }) => act ?? '');
  // A VM that is still defined with its own UUID has not been undefined: that may be begun again, after that look.
  const once = begun.filter((act) => act !== 'undefine');
  expect(new Set(once).size, `acts begun: ${begun.join(', ')}`).toBe(once.length);
  const again = await jobs.run(op, { host: host.name, ...data, requestId });
  expect({ state: again.state, result: again.result }).toEqual({ state: end.state, result: end.result });
  return { end, begun };
}

const state = async (vm: string) => (await host.virsh('domstate', vm)).trim();

describe.each(moments)('killed %s', (moment) => {
  it('of stop: says what the VM is', async () => {
    const { end, begun } = await killedAt(moment, 'stop', { vm: 'web-1', params: { timeoutSeconds: 30 } });
    const now = await state('web-1');
    if (end.state === 'completed') expect(now).toBe('shut off');
    else if (end.failure?.startsWith('CANCELLED: ')) expect(begun).toEqual([]);
    else expect(end.failure).toMatch(/^OUTCOME_UNKNOWN: /);
    if (moment === 'before an act') expect(now).toBe('running');
    await host.exec(['virsh', 'destroy', 'web-1']);
    await host.virsh('start', 'web-1');
    await host.guestReady('web-1');
  });

  it('of snapshot: there is one or none, as it says', async () => {
    const name = `snap-${moments.indexOf(moment)}`;
    const { end } = await killedAt(moment, 'snapshot', { vm: 'web-1', params: { name, diskOnly: true } });
    const names = (await host.virsh('snapshot-list', '--name', 'web-1'))
      .split('\n')
      .filter((found) => found === name);
    if (end.state === 'completed') expect(names).toHaveLength(1);
    else if (end.failure?.startsWith('CANCELLED: ')) expect(names).toHaveLength(0);
    else expect(end.failure).toMatch(/^OUTCOME_UNKNOWN: /);
  });

  it('of delete with its storage: all gone or all there, and no foreign volume touched', async () => {
    const vm = `gone-${moments.indexOf(moment)}`;
    await host.virsh('vol-create-as', 'images', `${vm}-base.qcow2`, '1M', '--format', 'qcow2');
    for (const disk of ['a', 'b']) {
      await host.virsh(
        ...['vol-create-as', 'images', `${vm}-${disk}.qcow2`, '1M', '--format', 'qcow2'],
        ...['--backing-vol', `${vm}-base.qcow2`, '--backing-vol-format', 'qcow2'],
      );
    }
    const disks = ['a', 'b'].map(
      (disk) => `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
        <source file='${images}/${vm}-${disk}.qcow2'/><target dev='vd${disk}' bus='virtio'/></disk>`,
    );
    const xml = `<domain type='qemu'><name>${vm}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>${disks.join('')}</devices></domain>`;
    const { code, stderr } = await host.exec([
      'sh',
      '-c',
      `printf '%s' "$1" > /run/${vm}.xml && virsh -q define /run/${vm}.xml`,
      'sh',
      xml,
    ]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const uuid = (await host.virsh('domuuid', vm)).trim();
    const { end, begun } = await killedAt(moment, 'delete', {
      vm,
      expectedUuid: uuid,
      params: { removeStorage: true },
    });
    const defined = (await host.virsh('list', '--all', '--name')).split('\n').includes(vm);
    const volumes = (await host.virsh('vol-list', 'images')).match(/\S+\.qcow2(?=\s)/g) ?? [];
    const own = volumes.filter((volume) => volume === `${vm}-a.qcow2` || volume === `${vm}-b.qcow2`);
    expect(volumes).toContain(`${vm}-base.qcow2`);
    expect(volumes).toContain('web-1.qcow2');
    if (end.state === 'completed') {
      expect(defined).toBe(false);
      expect(own).toEqual([]);
    } else if (end.failure?.startsWith('CANCELLED: ')) {
      expect(defined).toBe(true);
      expect(own).toHaveLength(2);
    } else {
      expect(end.failure, `begun: ${begun.join(', ')}`).toMatch(/^OUTCOME_UNKNOWN: /);
    }
  });
});
