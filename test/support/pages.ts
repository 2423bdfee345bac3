// A fleet for the pages, as large and as hostile as a test wants it, without any host: what the read model and the queue would
// say. An hour of history is written with a clock that stands still otherwise.
import { createHash } from 'node:crypto';
import cookie from '@fastify/cookie';
import formbody from '@fastify/formbody';
import fastify, { type FastifyInstance } from 'fastify';
import { HostError } from '../../src/core/errors.js';
import { silentLog } from '../../src/core/log.js';
import type { Host, Job, Vm } from '../../src/http/api/schemas.js';
import type { HostGate, VmRef } from '../../src/http/api/views.js';
import { vmView } from '../../src/http/api/vm-view.js';
import { makePrincipal, type Principal } from '../../src/http/auth/principal.js';
import type { Role } from '../../src/http/auth/roles.js';
import { Chronicle } from '../../src/http/chronicle.js';
import { addErrorAnswers } from '../../src/http/errors.js';
import type { CollectorState, NewPageJob, PageSources } from '../../src/http/pages/model.js';
import { addPages } from '../../src/http/pages/routes.js';
import type { Host as InventoryHost } from '../../src/inventory/host.js';
import type { VmSample } from '../../src/pollers/vms.js';
import { domainStats, systemSample } from '../unit/metrics/fixtures.js';
import { FakeClock } from './fake-clock.js';

const hourMs = 3_600_000;
export const nowMs = Date.UTC(2026, 10, 21, 3, 0, 0);

export function principalOf(role: Role, over: Partial<Parameters<typeof makePrincipal>[0]> = {}): Principal {
  return makePrincipal({ name: `a ${role}`, role, via: 'token', ...over });
}

export function aHost(name: string, over: Partial<Host> = {}): Host {
  const GiB = 2 ** 30;
  return {
    name,
    address: '192.0.2.11',
    groups: ['ams1'],
    labels: { dc: 'ams1', rack: 'r1' },
    state: 'up',
    since: new Date(nowMs - 7_200_000).toISOString(),
    maintenance: false,
    ops: { allowed: true },
    ssh: true,
    libvirt: true,
    files: true,
    via: '/run/libvirt/libvirt-sock-ro',
    stale: false,
    sampledAt: new Date(nowMs - 4_000).toISOString(),
    sampleAgeSeconds: 4,
    vms: { total: 2, running: 2 },
    cpus: 32,
    load: { one: 3.2, five: 3, fifteen: 2.8 },
    memory: { totalBytes: 256 * GiB, availableBytes: 96 * GiB },
    filesystems: [{ mountpoint: '/var/lib/libvirt', sizeBytes: 2000 * GiB, availableBytes: 500 * GiB }],
    uptimeSeconds: 86_400 * 40,
    kernel: 'Linux 6.1.0-28-amd64',
    os: 'Debian GNU/Linux 12 (bookworm)',
    ...over,
  };
}

export function aVm(name: string, over: Partial<VmSample> = {}): VmSample {
  const hash = createHash('sha256').update(name).digest('hex');
  const uuid = `${hash.slice(0, 8)}-${hash.slice(8, 12)}-4${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
  const stats = domainStats(name);
  return { ...stats, domain: { name, uuid, id: 3 }, busy: false, ...over };
}

export function aJob(id: string, over: Partial<Job> = {}): Job {
  const at = new Date(nowMs - 20_000).toISOString();
  return {
    id,
    op: 'stop',
    state: 'completed',
    host: 'kvm-01',
    vm: 'web-1',
    dryRun: false,
    requestId: `request-${id}`,
    requestedBy: 'billing',
    createdAt: at,
    startedAt: at,
    finishedAt: at,
    steps: [{ at, step: 'shutdown requested' }],
    cancel: 'too-late',
    ...over,
  };
}

export type FleetFixture = {
  hosts?: Host[];
  /** By host. */
  vms?: Record<string, VmSample[]>;
  jobs?: Job[] | 'store away';
  collector?: Partial<CollectorState>;
};

export type Asked = NewPageJob & { idempotencyKey: string; by: string };

/** `asked`: the jobs that forms asked for. */
export function pageSources({ hosts = [], vms = {}, jobs = [], collector }: FleetFixture): PageSources & {
  asked: Asked[];
  clock: FakeClock;
} {
  const clock = new FakeClock(nowMs - hourMs);
  const chronicle = new Chronicle(clock);
  const asked: Asked[] = [];
  const seen = (may?: HostGate) => hosts.filter((host) => !may || may(host as unknown as InventoryHost));
  const refs = function* (may?: HostGate, only?: string): Generator<VmRef> {
    for (const host of seen(may)) {
      if (only !== undefined && host.name !== only) continue;
      for (const sample of vms[host.name] ?? []) {
        yield {
          host: host as unknown as InventoryHost,
          sample,
          stale: host.stale,
          sampledAtMs: nowMs - 4_000,
        };
      }
    }
  };
  const known = () => {
    if (jobs === 'store away') throw storeAway();
    return jobs;
  };
  return {
    asked,
    clock,
    view: {
      hosts: (may) => seen(may),
      host: (name, may) => seen(may).find((host) => host.name === name),
      vm: (host, vm, may): Vm | undefined => {
        const ref = [...refs(may, host)].find(
          ({ sample: { domain } }) => domain.uuid === vm || domain.name === vm,
        );
        return ref && vmView(ref);
      },
      vmRefs: refs,
    },
    chronicle,
    jobs: {
      list: async (filter, { limit }, principal) => {
        const found = known().filter(
          (job) =>
            (!filter.state || job.state === filter.state) &&
            (!filter.host || job.host === filter.host) &&
            (!filter.vm || job.vm === filter.vm) &&
            (!filter.op || job.op === filter.op) &&
            principal.mayHost(
              hosts.find(({ name }) => name === job.host) ?? { name: job.host ?? '', labels: {} },
            ),
        );
        return { items: found.slice(0, limit) };
      },
      get: async (id) => known().find((job) => job.id === id),
      add: async (job, idempotencyKey, principal) => {
        asked.push({ ...job, idempotencyKey, by: principal.name });
        return { id: 'j1' };
      },
      cancel: async () => 'cancelled',
      queue: async () => ({
        name: 'outrigger-vm-jobs',
        waiting: 2,
        active: 1,
        delayed: 0,
        completed: 40,
        failed: 1,
        running: 1,
        workers: 1,
        ...(known().length > 0 && { oldestWaitingSeconds: 3 }),
      }),
    },
    collector: () => ({
      store: { up: jobs !== 'store away', detail: 'connection refused' },
      inventory: { problems: [] },
      ...collector,
    }),
    nowMs: () => nowMs,
  };
}

function storeAway(): Error {
  return new HostError('STORE', { message: 'the store is away' });
}

/** The pages alone, behind a door that lets this principal in. */
export async function pagesApp(sources: PageSources, principal: Principal): Promise<FastifyInstance> {
  const app = fastify({ routerOptions: { maxParamLength: 1024 } });
  await app.register(cookie);
  await app.register(formbody);
  app.decorateRequest('principal', undefined);
  app.decorateRequest('session', undefined);
  app.addHook('onRequest', async (request) => {
    request.principal = principal;
    request.session = { csrf: 'c5rf', principal };
  });
  addErrorAnswers(app, silentLog);
  addPages(app, sources);
  await app.ready();
  return app;
}

/** An hour of samples of each host and VM up to `nowMs`, one every `everyMs`. */
export async function writeHistory(
  { chronicle, clock }: ReturnType<typeof pageSources>,
  { hosts = [], vms = {} }: FleetFixture,
  everyMs = 60_000,
): Promise<void> {
  const steps = Math.floor(hourMs / everyMs);
  let grown = 0;
  for (let step = 0; step <= steps; step++) {
    const wave = 1 + Math.sin(step / 7) / 2;
    grown += everyMs * wave;
    for (const host of hosts) {
      const silent = host.state === 'down' && step > steps - 10;
      if (silent) continue;
      chronicle.onSample(host.name, 'system', systemAt(host, wave, grown));
      const all = (vms[host.name] ?? []).map((vm, at) => vmAt(vm, grown * (1 + at / 5)));
      chronicle.onSample(host.name, 'vms', { takenAtMs: clock.wallMs(), vms: all });
    }
    const jobsWaiting = Math.max(0, Math.round(6 * Math.sin(step / 5)));
    chronicle.history.putFleet({ jobsWaiting, jobsActive: step % 3 });
    if (step < steps) await clock.advance(everyMs);
  }
}

function systemAt({ load, memory }: Host, wave: number, grown: number) {
  const base = systemSample({ loadavg: { one: (load?.one ?? 1) * wave, five: 1, fifteen: 1 } });
  const { totalBytes = 1, availableBytes = 1 } = memory ?? {};
  const [cpu] = base.stat?.cpus ?? [];
  return {
    ...base,
    ...(base.stat &&
      cpu && { stat: { ...base.stat, cpus: [{ ...cpu, user: grown / 3_000, idle: grown / 1_000 }] } }),
    meminfo: { MemTotal: totalBytes, MemAvailable: availableBytes * (0.7 + wave / 5) },
    disks:
      base.disks?.map((disk) => ({ ...disk, readBytes: grown * 900, writtenBytes: grown * 2_000 })) ?? [],
    netDevices:
      base.netDevices?.map((net) => ({
        ...net,
        receiveBytes: grown * 3_000,
        transmitBytes: grown * 1_200,
      })) ?? [],
  };
}

function vmAt(vm: VmSample, grown: number): VmSample {
  if (vm.domain.id < 0) return vm;
  return {
    ...vm,
    cpu: { time: grown * 0.4e6 },
    blocks: [
      {
        name: 'vda',
        'rd.bytes': grown * 40,
        'wr.bytes': grown * 100,
        capacity: 2 ** 34,
        allocation: 2 ** 32,
      },
    ],
    nets: [{ name: 'vnet0', 'rx.bytes': grown * 80, 'tx.bytes': grown * 30 }],
  };
}
