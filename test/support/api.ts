// The HTTP side with a fleet that is there and a queue that is not: hosts without a way to them, samples put by hand, jobs in
// memory, tokens in a file. For tests that ask over HTTP and need no store and no host.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, RouteOptions } from 'fastify';
import { HostError } from '../../src/core/errors.js';
import { type Log, silentLog } from '../../src/core/log.js';
import { Fleet } from '../../src/fleet/fleet.js';
import { SampleStore } from '../../src/fleet/samples.js';
import type { ApiDeps } from '../../src/http/api/context.js';
import { makeApi } from '../../src/http/api/make.js';
import { apiRoutes } from '../../src/http/api/routes.js';
import { AccessControl } from '../../src/http/auth/access.js';
import { hashToken } from '../../src/http/auth/tokens.js';
import { buildHttp, type RouteGroup } from '../../src/http/server.js';
import type { Host } from '../../src/inventory/host.js';
import { type ParsedJob, parseRequest } from '../../src/ops/job.js';
import type { Operations } from '../../src/ops/operation.js';
import { loadOperations } from '../../src/ops/registry.js';
import type { Samples } from '../../src/pollers/runner.js';
import { RequestReused } from '../../src/queue/jobs.js';
import type { JobsQuery } from '../../src/queue/jobs-list.js';
import type { JobView } from '../../src/queue/jobs-types.js';
import { storeNames } from '../../src/queue/store-names.js';
import { noAccessSettings, smallSources } from './access.js';
import { FakeClock } from './fake-clock.js';

export const apiTokens = {
  viewer: 'viewer-token',
  operator: 'operator-token',
  admin: 'admin-token',
  /** An operator who may see kvm-01 alone. */
  confined: 'confined-token',
} as const;

/** Jobs that never run. */
export class FakeJobs implements NonNullable<ReturnType<ApiDeps['jobs']>> {
  readonly name = storeNames().jobs;
  readonly views: JobView[] = [];
  readonly #parsed = new Map<string, ParsedJob>();
  readonly #operations: Operations;
  away = false;

  constructor(operations: Operations) {
    this.#operations = operations;
  }

  async add(name: string, data: unknown) {
    this.#there();
    const job = parseRequest(name, data, this.#operations);
    const known = this.views.find(({ id }) => this.#parsed.get(id)?.requestId === job.requestId);
    if (known && this.#parsed.get(known.id)?.bodyHash !== job.bodyHash) throw new RequestReused();
    if (known) return { jobId: known.id, existing: true };
    const id = `j${this.views.length}`;
    this.#parsed.set(id, job);
    this.put({ id, name, data });
    return { jobId: id, existing: false };
  }

  put(view: Partial<JobView>): void {
    this.views.push({
      ...{ id: `j${this.views.length}`, name: 'stop', state: 'waiting', data: {}, progress: 0 },
      ...{ result: undefined, failure: undefined, startedMs: undefined, finishedMs: undefined },
      addedMs: 1_000 + this.views.length,
      ...view,
    });
  }

  async get(id: string) {
    this.#there();
    return this.views.find((view) => view.id === id);
  }

  async list({ states, limit, after, matches }: JobsQuery) {
    this.#there();
    const all = this.views
      .filter((view) => view.state !== 'unknown' && states.has(view.state) && matches(view))
      .filter(({ addedMs }) => !after || addedMs < after.ms)
      .sort((a, b) => b.addedMs - a.addedMs);
    const jobs = all.slice(0, limit);
    const last = jobs.at(-1);
    const next =
      last && all.length > limit ? { part: 'unfinished' as const, ms: last.addedMs, id: last.id } : undefined;
    return { jobs, next };
  }

  async cancel(id: string) {
    const view = await this.get(id);
    if (!view) return 'unknown' as const;
    return view.state === 'waiting' ? ('cancelled' as const) : ('too late' as const);
  }

  async stats() {
    if (this.away) return undefined;
    return {
      waiting: this.views.length,
      active: 0,
      delayed: 0,
      completed: 0,
      failed: 0,
      running: 0,
      oldestWaitMs: this.views.length > 0 ? 1_500 : 0,
    };
  }

  async workers() {
    this.#there();
    return 1;
  }

  #there(): void {
    if (this.away) throw new HostError('STORE', { message: 'the store is away' });
  }
}

export type ApiRig = AsyncDisposable & {
  app: FastifyInstance;
  deps: ApiDeps;
  jobs: FakeJobs;
  fleet: Fleet;
  samples: SampleStore<Samples>;
  clock: FakeClock;
  auditDir: string;
  /** What was written for each write over HTTP. */
  written: unknown[];
};

type RigOptions = {
  log?: Log;
  onRoute?: (route: RouteOptions) => void;
  requestsPerMinute?: number;
  /** Routes beside the API's. */
  more?: (parts: { access: AccessControl; deps: ApiDeps; clock: FakeClock }) => readonly RouteGroup[];
};

export async function apiRig(
  hosts: readonly Host[],
  { log = silentLog, onRoute = () => undefined, requestsPerMinute, more = () => [] }: RigOptions = {},
): Promise<ApiRig> {
  const directory = await mkdtemp(join(tmpdir(), 'api-test-'));
  const tokensFile = join(directory, 'tokens.yaml');
  const entries = Object.entries(apiTokens).map(
    ([name, token]) =>
      `  - { name: ${name}, role: ${name === 'confined' ? 'operator' : name}, sha256: ${hashToken(token)}${
        name === 'confined' ? ', hosts: [kvm-01]' : ''
      } }`,
  );
  await writeFile(tokensFile, `version: 1\ntokens:\n${entries.join('\n')}\n`, { mode: 0o600 });
  const clock = new FakeClock();
  const fleet = new Fleet({
    ...{ clock, log: silentLog, knownHostsFile: '/kh', connector: undefined as never },
    openTransport: async ({ name }) => {
      throw new HostError('REFUSED', { host: name, message: 'cannot connect', hint: 'Start sshd.' });
    },
  });
  await fleet.apply(hosts);
  const samples = new SampleStore<Samples>(clock);
  const jobs = new FakeJobs(await loadOperations());
  const auditDir = join(directory, 'audit');
  const deps = makeApi({ fleet, samples, clock, jobs: () => jobs, auditDir });
  const written: unknown[] = [];
  const access = await AccessControl.open({
    settings: { ...noAccessSettings, apiTokensFile: tokensFile },
    audit: () => ({ append: async (entry) => void written.push(entry) }),
  });
  const app = await buildHttp({
    metricsToken: () => undefined,
    sources: smallSources,
    access,
    limits: { ...(requestsPerMinute && { requestsPerMinute }) },
    groups: [
      (app) => void app.addHook('onRoute', onRoute),
      ...more({ access, deps, clock }),
      apiRoutes(deps),
    ],
    log,
  });
  await app.ready();
  return {
    ...{ app, deps, jobs, fleet, samples, clock, auditDir, written },
    async [Symbol.asyncDispose]() {
      await app.close();
      access.close();
      await fleet.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export function bearer(who: keyof typeof apiTokens): { authorization: string } {
  return { authorization: `Bearer ${apiTokens[who]}` };
}

export function newKey(): { 'idempotency-key': string } {
  return { 'idempotency-key': randomUUID() };
}
