// VM jobs the whole way: a BullMQ client adds them, the service runs them on real guests, virsh says whether it is true.
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { JobsClient } from '../support/jobs-client.js';
import { outrigger, Service } from '../support/outrigger.js';
import { until } from '../support/until.js';

let lab: Lab;
let service: Service;
let jobs: JobsClient;
let host: LabHost;
let other: LabHost;

beforeAll(async () => {
  lab = await raiseLab({ name: 'jobs', hosts: 2, guests: ['web-1', 'web-2'] });
  const [first, second] = lab.hosts;
  if (!first || !second) throw new Error('the lab has two hosts');
  host = first;
  other = second;
  service = await Service.start(lab.inventoryFile);
  await service.pageWhen('both hosts up', (page) =>
    page.find('libvirt_up').every(([, value]) => value === 1),
  );
  await until('the store', () => service.logged('store up')[0]);
  jobs = new JobsClient(join(service.dataDir, 'store', 'store.sock'));
});

afterAll(async () => {
  await jobs?.close();
  await service?.[Symbol.asyncDispose]();
  await lab?.down();
});

const stateOf = async (on: LabHost, vm: string) => (await on.virsh('domstate', vm)).trim();
const uuidOf = async (on: LabHost, vm: string) => (await on.virsh('domuuid', vm)).trim();

describe('a job', () => {
  it('stops a guest, says so when it is asked again, and starts it', async () => {
    const vm = { host: host.name, vm: 'web-1' };
    const stopped = await jobs.run('stop', vm);
    expect(stopped).toMatchObject({
      state: 'completed',
      result: { op: 'stop', outcome: 'changed', vm: { name: 'web-1' } },
    });
    expect(stopped.result).toMatchObject({ before: { state: 'running' }, after: { state: 'shutoff' } });
    expect(await stateOf(host, 'web-1')).toBe('shut off');
    expect(await jobs.run('stop', vm)).toMatchObject({ result: { outcome: 'unchanged' } });
    expect(await jobs.run('start', { ...vm, dryRun: true })).toMatchObject({
      result: { outcome: 'planned' },
    });
    expect(await stateOf(host, 'web-1')).toBe('shut off');
    expect(await jobs.run('start', vm)).toMatchObject({ result: { outcome: 'changed' } });
    expect(await stateOf(host, 'web-1')).toBe('running');
    await host.guestReady('web-1');
  });

  it('is one act and a hundred equal answers, however often it is asked at once', async () => {
    const data = { host: host.name, vm: 'web-2', requestId: randomUUID() };
    const ids = await Promise.all(Array.from({ length: 100 }, () => jobs.add('pause', data)));
    const ends = await Promise.all(ids.map((id) => jobs.ended(id)));
    const [first] = ends;
    expect(first).toMatchObject({ state: 'completed', result: { outcome: 'changed' } });
    for (const end of ends) expect(end).toEqual(first);
    const audit = await readFile(join(service.dataDir, 'audit', 'audit-000001.jsonl'), 'utf8');
    const begun = audit
      .split('\n')
      .filter((line) => line.includes(data.requestId) && line.includes('"begin"'));
    expect(begun).toHaveLength(1);
    expect(await jobs.run('resume', data)).toMatchObject({
      failure: expect.stringMatching(/^BAD_REQUEST: /),
    });
    expect(await jobs.run('resume', { host: host.name, vm: 'web-2' })).toMatchObject({
      result: { outcome: 'changed' },
    });
  });

  it('on one VM waits for the one before; on another host it does not', async () => {
    const slow = await jobs.add('restart', { host: host.name, vm: 'web-1', params: { mode: 'cold' } });
    const behind = await jobs.add('pause', { host: host.name, vm: 'web-1' });
    const elsewhere = await jobs.run('pause', { host: other.name, vm: 'web-1' });
    expect(elsewhere).toMatchObject({ result: { outcome: 'changed' } });
    const [first, second] = await Promise.all([jobs.ended(slow), jobs.ended(behind)]);
    expect(first).toMatchObject({ state: 'completed', failure: undefined });
    expect(second).toMatchObject({ state: 'completed', result: { before: { state: 'running' } } });
    const times = await Promise.all([slow, behind].map((id) => jobs.queue.getJob(id)));
    expect(times[1]?.finishedOn).toBeGreaterThan(times[0]?.finishedOn ?? 0);
    await jobs.run('resume', { host: host.name, vm: 'web-1' });
    await jobs.run('resume', { host: other.name, vm: 'web-1' });
  });

  it('reads: list, info, health_check, collect_metrics, agent_info', async () => {
    const list = await jobs.run('list', { host: host.name });
    expect(JSON.stringify(list.result?.data)).toContain(await uuidOf(host, 'web-2'));
    expect(await jobs.run('info', { host: host.name, vm: 'web-2' })).toMatchObject({ state: 'completed' });
    for (const op of ['health_check', 'collect_metrics', 'agent_info']) {
      expect(await jobs.run(op, { host: host.name })).toMatchObject({
        state: 'completed',
        result: { outcome: 'unchanged' },
      });
    }
  });

  it('is refused with the right word, and nothing is touched', async () => {
    const uuid = await uuidOf(host, 'web-2');
    const refusals: [string, Record<string, unknown>, RegExp][] = [
      ['stop', { host: 'nowhere', vm: 'web-1' }, /^HOST_UNKNOWN: /],
      ['stop', { host: host.name, vm: 'nobody' }, /^VM_NOT_FOUND: /],
      ['stop', { host: host.name }, /^BAD_REQUEST: vm/],
      ['stop', { host: host.name, vm: 'web-2', params: { forec: true } }, /^BAD_REQUEST: .*forec/],
      ['explode', { host: host.name, vm: 'web-2' }, /^BAD_REQUEST: /],
      ['delete', { host: host.name, vm: 'web-2' }, /^BAD_REQUEST: expectedUuid/],
      ['delete', { host: host.name, vm: 'web-2', expectedUuid: randomUUID() }, /^VM_UUID_MISMATCH: /],
      ['delete', { host: host.name, vm: 'web-2', expectedUuid: uuid }, /^INVALID_STATE: /],
      ['stop', { host: host.name, vm: 'web-2', deadline: '2020-01-01T00:00:00Z' }, /^DEADLINE_EXPIRED: /],
    ];
    for (const [op, data, failure] of refusals) {
      expect(await jobs.run(op, data), `${op} ${JSON.stringify(data)}`).toMatchObject({
        state: 'failed',
        failure: expect.stringMatching(failure),
      });
    }
    expect(await stateOf(host, 'web-2')).toBe('running');
  });

  it('is refused by a host in maintenance, one that is only watched, and one without a jobs key', async () => {
    const text = await readFile(lab.inventoryFile, 'utf8');
    const with_ = (keys: string) =>
      text.replace(`address: ${other.address}\n`, `address: ${other.address}\n${keys}`);
    try {
      for (const [keys, failure] of [
        ['    maintenance: true\n', /^HOST_MAINTENANCE: /],
        ['    ops: false\n', /^OPS_DISABLED: /],
      ] as const) {
        const before = service.lines.length;
        await writeFile(lab.inventoryFile, with_(keys));
        service.child.kill('SIGHUP');
        await until('the inventory to be taken', () =>
          service.lines
            .slice(before)
            .find(({ msg }) => msg === 'poll schedules set' || msg === 'inventory changed'),
        );
        const end = await until('the refusal', async () => {
          const end = await jobs.run('pause', { host: other.name, vm: 'web-2', dryRun: false });
          if (end.state === 'completed') await jobs.run('resume', { host: other.name, vm: 'web-2' });
          return end.state === 'failed' ? end : undefined;
        });
        expect(end.failure).toMatch(failure);
      }
    } finally {
      await writeFile(lab.inventoryFile, text);
      service.child.kill('SIGHUP');
    }
    await until('jobs to be taken again', async () => {
      const { state } = await jobs.run('pause', { host: other.name, vm: 'web-2' });
      return state === 'completed';
    });
    await jobs.run('resume', { host: other.name, vm: 'web-2' });
  });

  it('on a host whose libvirtd is stopped is refused as unreachable, and works again when it is back', async () => {
    await other.stopLibvirtd();
    try {
      const end = await jobs.run('pause', { host: other.name, vm: 'web-1' });
      expect(end).toMatchObject({ state: 'failed', failure: expect.stringMatching(/^HOST_UNREACHABLE: /) });
    } finally {
      await other.startLibvirtd();
    }
    const back = await until(
      'jobs to be taken again',
      async () => {
        const end = await jobs.run('pause', { host: other.name, vm: 'web-1' });
        return end.state === 'completed' ? end : undefined;
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
    expect(back.result).toMatchObject({ outcome: 'changed' });
    await jobs.run('resume', { host: other.name, vm: 'web-1' });
  });

  it('shows in the metrics and in an audit log that verifies', async () => {
    const page = await service.page('/metrics/collector');
    expect(page.value('outrigger_jobs_total', { op: 'stop', end: 'changed' })).toBeGreaterThan(0);
    expect(page.value('outrigger_jobs_total', { op: 'stop', end: 'VM_NOT_FOUND' })).toBe(1);
    const verified = await outrigger(['audit', 'verify'], { AGENT_DATA_DIR: service.dataDir });
    expect(verified.stderr).toBe('');
    expect(verified.code).toBe(0);
  });
});
