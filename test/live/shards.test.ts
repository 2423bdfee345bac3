// Two services that divide one simulated fleet and share one real Redis and one backend: each polls its own hosts, does its own
// jobs, reports them, and says where the others are.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { agentIdOf } from '../../src/backend/agent-id.js';
import { type SimFleet, simFleet } from '../../src/sim/fleet.js';
import { vmState } from '../../src/sim/vm.js';
import { type Asked, TestBackend } from '../support/backend.js';
import { JobsClient } from '../support/jobs-client.js';
import { outrigger, type Page, Service } from '../support/outrigger.js';
import { OutsideRedis } from '../support/queue.js';
import { until } from '../support/until.js';

/** As docs/operations.md has it for n = 2. */
const hostsOf = {
  1: ['kvm-03', 'kvm-08'],
  2: ['kvm-01', 'kvm-02', 'kvm-04', 'kvm-05', 'kvm-06', 'kvm-07'],
} as const;
const shards = [1, 2] as const;
type Index = (typeof shards)[number];

const hintTo = (index: Index) =>
  `This is shard ${3 - index}/2; a host of this name is in shard ${index}/2, if the inventory has it.`;

let dir: string;
let fleet: SimFleet;
let redis: OutsideRedis;
let backend: TestBackend;
let client: Redis;
const services = new Map<Index, Service>();
const clients = new Map<Index, JobsClient>();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'outrigger-shards-'));
  fleet = await simFleet({ hosts: 8, vms: 4, seed: 3, dir });
  redis = await OutsideRedis.start();
  backend = await TestBackend.start();
  client = new Redis(redis.url);
  await Promise.all(shards.map(async (index) => services.set(index, await start(index))));
  for (const index of shards) clients.set(index, new JobsClient(redis.url, `outrigger-vm-jobs-${index}`));
});

afterAll(async () => {
  await Promise.all([...clients.values()].map((jobs) => jobs.close()));
  client?.disconnect();
  await Promise.all([...services.values()].map((service) => service[Symbol.asyncDispose]()));
  await backend?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
  await fleet?.close();
  await rm(dir, { recursive: true, force: true });
});

function start(index: Index, dataDir?: string): Promise<Service> {
  return Service.start(
    fleet.inventoryFile,
    {
      AGENT_REDIS_URL: redis.url,
      AGENT_SHARD: `${index}/2`,
      AGENT_POLL_INTERVAL: '1',
      AGENT_BACKEND_URL: backend.url,
      AGENT_TOKEN: backend.bootstrapToken,
      AGENT_ID: 'north',
      AGENT_HEARTBEAT_INTERVAL: '1',
    },
    dataDir,
  );
}

/** A VM in this state, and its host's name. */
function vmIn(state: keyof typeof vmState, host: string): { host: string; vm: string } {
  const model = fleet.hosts.find(({ name }) => name === host)?.model;
  const vm = [...(model?.vms ?? [])].find((vm) => vm.state === vmState[state]);
  if (!vm) throw new Error(`${host} has no VM that is ${state}`);
  return { host, vm: vm.name };
}

function serviceOf(index: Index): Service {
  const service = services.get(index);
  if (!service) throw new Error('it was not started');
  return service;
}

function jobsOf(index: Index): JobsClient {
  const jobs = clients.get(index);
  if (!jobs) throw new Error('it was not started');
  return jobs;
}

async function get(index: Index, path: string) {
  const answer = await fetch(serviceOf(index).url + path);
  return { status: answer.status, json: await answer.json() };
}

it('each polls its own hosts, all of them, and no other', async () => {
  for (const index of shards) {
    const own = [...hostsOf[index]];
    const instances = (page: Page, name: string) =>
      page.find(name).map(([key]) => /instance="([^"]+)"/.exec(key)?.[1]);
    const ups = (page: Page) => page.find('libvirt_up').filter(([, value]) => value === 1);
    const page = await serviceOf(index).pageWhen(
      'figures of its hosts',
      (page) => ups(page).length === own.length && page.find('node_load1').length === own.length,
    );
    expect(instances(page, 'libvirt_up').sort()).toEqual(own);
    expect(page.find('outrigger_shard_info')).toEqual([
      [`outrigger_shard_info{shard="${index}",shards="2"}`, 1],
    ]);
    expect(
      page.value('outrigger_queue_jobs', { queue: `outrigger-polls-${index}`, state: 'delayed' }),
    ).toEqual(expect.any(Number));
    const { json: targets } = await get(index, '/sd/prometheus');
    const named = (targets as { labels: { instance?: string } }[]).flatMap(
      ({ labels }) => labels.instance ?? [],
    );
    expect(named.sort()).toEqual(own);
    expect((await get(index, '/readyz')).json).toMatchObject({
      checks: {
        shard: { ok: true, detail: `${index}/2 of the inventory's hosts` },
        inventory: { detail: `${own.length} hosts` },
      },
    });
  }
  // One session each: nobody else came.
  expect(fleet.hosts.map(({ connections }) => connections)).toEqual(fleet.hosts.map(() => 1));
});

it('a job in the queue of its shard is done, also when the other shard has the same request', async () => {
  const asked = shards.map((index) =>
    jobsOf(index).run('stop', {
      ...vmIn('running', hostsOf[index][0]),
      params: { force: true },
      requestId: 'the-same',
    }),
  );
  for (const [at, ended] of (await Promise.all(asked)).entries()) {
    const host = hostsOf[shards[at] ?? 1][0];
    expect(ended).toMatchObject({ state: 'completed', result: { host, outcome: 'changed' } });
    // Its result went through the outbox of its shard.
    const agentId = agentIdOf('north', { name: host });
    const isResult = (asked: Asked) => asked.agentId === agentId && /\/jobs\/.*\/result$/.test(asked.url);
    await until('the result at the backend', () =>
      backend.asked.some((asked) => isResult(asked) && asked.status === 202),
    );
  }
  await until('all agents', () => backend.state.agents.size === fleet.hosts.length);
  const agents = [...backend.state.agents.values()].map(({ id }) => id);
  expect(agents.sort()).toEqual(fleet.hosts.map((host) => agentIdOf('north', host)).sort());
});

it('a job of the other shard is refused, and told where it belongs', async () => {
  const ended = await jobsOf(1).run('stop', { host: 'kvm-02', vm: 'web-1' });
  expect(ended.state).toBe('failed');
  expect(ended.failure).toBe(`HOST_UNKNOWN: no host "kvm-02" in the inventory. ${hintTo(2)}`);
});

it('the API, the pages, the metrics and the commands say where a host of the other shard is', async () => {
  const { status, json } = await get(1, '/api/v1/hosts/kvm-02');
  expect([status, json]).toEqual([
    404,
    expect.objectContaining({ hint: expect.stringContaining(hintTo(2)) }),
  ]);
  const page = await fetch(`${serviceOf(1).url}/hosts/kvm-02`, { headers: { accept: 'text/html' } });
  expect([page.status, await page.text()]).toEqual([404, expect.stringContaining(hintTo(2))]);
  const scraped = await fetch(`${serviceOf(1).url}/metrics/hosts/kvm-02`);
  expect([scraped.status, await scraped.json()]).toEqual([404, expect.objectContaining({ hint: hintTo(2) })]);
  const api = { AGENT_API_URL: serviceOf(1).url };
  const vms = await outrigger(['vms', 'kvm-02'], api);
  expect([vms.code, vms.stderr]).toEqual([1, expect.stringContaining(hintTo(2))]);
  const own = { AGENT_INVENTORY: fleet.inventoryFile, AGENT_SHARD: '1/2' };
  const all = await outrigger(['check', '--offline', '--json'], own);
  expect(JSON.parse(all.stdout)).toMatchObject({ hosts: [...hostsOf[1]], problems: [] });
  const other = await outrigger(['check', 'kvm-02'], own);
  expect([other.code, other.stderr]).toEqual([1, expect.stringContaining(hintTo(2))]);
});

it('jobs of a shard that is down wait for it, whoever else is there', async () => {
  await serviceOf(2).stop();
  const id = await jobsOf(2).add('start', vmIn('shutoff', 'kvm-01'));
  // The other one is at work meanwhile.
  expect(await jobsOf(1).run('start', vmIn('shutoff', 'kvm-03'))).toMatchObject({ state: 'completed' });
  expect(await jobsOf(2).queue.getJobState(id)).toBe('waiting');
  services.set(2, await start(2));
  expect(await jobsOf(2).ended(id)).toMatchObject({ state: 'completed', result: { outcome: 'changed' } });
});

it('nothing in the store is without a shard', async () => {
  const keys = await until('keys of both', async () => {
    const found = await client.keys('*');
    return shards.every((index) => found.some((key) => key.startsWith(`outrigger:${index}:`)))
      ? found
      : undefined;
  });
  const ofShard = /^(bull:outrigger-(polls|vm-jobs|outbox)-[12]|outrigger:[12]):/;
  // The outbox's own keys go by data directory.
  const others = keys.filter((key) => !ofShard.test(key) && !key.startsWith('outrigger:outbox:'));
  expect(others).toEqual([]);
  expect(keys).toEqual(
    expect.arrayContaining(['bull:outrigger-outbox-1:meta', 'bull:outrigger-outbox-2:meta']),
  );
});
