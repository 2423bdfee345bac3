// The composition root: the one file that knows everything. It starts the parts in order, joins them with plain callbacks,
// and stops them in reverse within a deadline. It refuses to do any part's work.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AuditLog } from './audit/log.js';
import { type Clock, sleep, systemClock } from './core/clock.js';
import { Closers } from './core/closers.js';
import { summary } from './core/errors.js';
import type { Log } from './core/log.js';
import { Secret } from './core/secret.js';
import type { Settings } from './core/settings.js';
import { otherShardHint, shardText } from './core/shard.js';
import { version } from './core/version.js';
import { DomainEvents } from './fleet/domain-events.js';
import { Fleet } from './fleet/fleet.js';
import { OpsForPolls } from './fleet/ops-for-polls.js';
import { OpsSessions } from './fleet/ops-session.js';
import { SampleStore } from './fleet/samples.js';
import type { ApiDeps } from './http/api/context.js';
import { makeApi } from './http/api/make.js';
import { apiRoutes } from './http/api/routes.js';
import { AccessControl } from './http/auth/access.js';
import { FleetPages } from './http/fleet-pages.js';
import { makePages, type Pages } from './http/pages/make.js';
import type { CollectorState } from './http/pages/model.js';
import { QueueBoard } from './http/queues.js';
import { readinessOf } from './http/readiness.js';
import { type Readiness, serveHttp } from './http/server.js';
import type { Inventory } from './inventory/host.js';
import { formatProblem, type Problem } from './inventory/problem.js';
import { InventoryWatcher } from './inventory/watch.js';
import { compats } from './metrics/compat.js';
import { OwnMetrics } from './metrics/own.js';
import type { FleetPageOptions } from './metrics/page.js';
import type { Operations } from './ops/operation.js';
import { loadOperations } from './ops/registry.js';
import { HostPolls, type Samples, schedulesOf } from './pollers/runner.js';
import { BackendLink } from './queue/backend-link.js';
import type { StoreAddress } from './queue/connection.js';
import { makeDirectory } from './queue/data-dir-lock.js';
import { instanceId } from './queue/instance-id.js';
import { admitJob, surroundingsOf } from './queue/job-surroundings.js';
import { JobQueue } from './queue/jobs.js';
import { jobWork } from './queue/jobs-work.js';
import { openStore } from './queue/open-store.js';
import { PollQueue } from './queue/queue.js';
import { readQueues } from './queue/queue-readings.js';
import { SshConnector } from './ssh/connect.js';

/** A service manager kills after 30 s: everything has ended before. */
const stopWithinMs = 25_000;
const queueCloseMs = 8_000;
/** Jobs that have acted get the longest: what they cannot finish is settled at the next start. */
const jobsCloseMs = 12_000;
const outboxCloseMs = 4_000;

export class Service {
  readonly #settings: Settings;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #parts = new Closers();
  readonly #samples: SampleStore<Samples>;
  readonly #events = new DomainEvents();
  readonly #fleet: Fleet;
  readonly #pages: FleetPages;
  readonly #polls: HostPolls;
  readonly #own: OwnMetrics;
  readonly #opsSessions: OpsSessions;
  readonly #opsForPolls: OpsForPolls;
  #inventory: Inventory;
  #problems: readonly Problem[] = [];
  #polled = false;
  #metricsToken: Secret | undefined;
  #queue: PollQueue | undefined;
  #jobs: JobQueue | undefined;
  #link: BackendLink | undefined;
  readonly #api: ApiDeps;
  readonly #people: Pages;
  readonly #board: QueueBoard;
  #access: AccessControl | undefined;
  #audit: AuditLog | undefined;
  #watcher: InventoryWatcher | undefined;
  #stopping: Promise<void> | undefined;
  /** Where it listens. */
  url = '';

  private constructor(settings: Settings, inventory: Inventory, log: Log, clock: Clock) {
    this.#settings = settings;
    this.#inventory = inventory;
    this.#log = log;
    this.#clock = clock;
    this.#samples = new SampleStore(clock);
    const transport = {
      connector: new SshConnector({ log, clock }),
      knownHostsFile: join(settings.dataDir, 'known_hosts'),
      clock,
      log,
    };
    this.#opsSessions = new OpsSessions(transport);
    this.#opsForPolls = new OpsForPolls(transport);
    this.#fleet = new Fleet({
      ...transport,
      onChange: ({ host, status: { state, cause } }) => {
        this.#people.chronicle.onHostState(host.name, state, cause && summary(cause));
        this.#api.changes.hostChanged(host.name);
      },
      onConnectFailure: ({ code }) => this.#own.connectFailed(code),
      onLibvirt: ({ host }) => {
        this.#events.opened(host.name);
        this.#polls.lookAgain(host.name);
      },
      onEvent: ({ host }, event) => {
        this.#events.event(host.name, event);
        this.#polls.lookAgain(host.name, 'domain' in event ? event.domain.uuid : undefined);
        this.#people.chronicle.onEvent(host.name, event);
        this.#link?.tellEvent(host.name, event);
      },
    });
    this.#pages = new FleetPages(
      this.#fleet,
      this.#samples,
      this.#events,
      (host) => this.#link?.backend.reporter.heartbeatAgeMs(host),
      compats[settings.metricsCompat],
    );
    this.#polls = new HostPolls({
      fleet: this.#fleet,
      samples: this.#samples,
      opsLibvirt: (host, signal) => this.#opsForPolls.libvirt(host, signal),
      clock,
      onSample: (host, poller, sample) => {
        this.#polled = true;
        if (poller === 'vms') this.#events.polled(host, (sample as Samples['vms']).vms, clock.wallMs());
        this.#people.chronicle.onSample(host, poller, sample);
        this.#api.changes.hostChanged(host);
      },
      onDone: (poller, outcome, durationMs) => {
        if (outcome === 'host-down') this.#own.pollNotRun(poller, outcome);
        else this.#own.pollDone(poller, outcome, durationMs);
      },
      onSkip: (poller) => this.#own.pollSkipped(poller),
    });
    this.#api = makeApi({
      ...{ fleet: this.#fleet, samples: this.#samples, clock },
      jobs: () => this.#jobs,
      auditDir: join(settings.dataDir, 'audit'),
      shard: settings.shard,
    });
    this.#people = makePages({ api: this.#api, collector: () => this.#collector(), clock });
    this.#board = new QueueBoard({ log, secrets: () => this.#secrets() });
    this.#own = new OwnMetrics({
      version,
      shard: settings.shard,
      readQueues: () => readQueues([this.#queue, this.#jobs], clock),
      read: () => ({
        samples: this.#pages.onShow(),
        sessions: this.#fleet.countByState(),
        storeUp: this.#queue?.state().state === 'up',
        inventoryHosts: this.#inventory.hosts.length,
        inventoryValid: this.#problems.length === 0,
        backend: this.#link?.readings(),
      }),
    });
  }

  /** Throws HostError SETTINGS or STORE when it cannot start; nothing stays behind then. */
  static async start(
    settings: Settings,
    inventory: Inventory,
    log: Log,
    clock = systemClock,
  ): Promise<Service> {
    const service = new Service(settings, inventory, log, clock);
    try {
      await service.#start();
      return service;
    } catch (error) {
      await service.stop();
      throw error;
    }
  }

  /** Reads the inventory and the tokens again, and tries again whatever is down. */
  async reload(): Promise<void> {
    await this.#readMetricsToken();
    await this.#access?.reload();
    await this.#watcher?.reload();
    this.#fleet.retryNow();
    this.#opsSessions.retryNow();
    this.#opsForPolls.retryNow();
  }

  /** Ends everything; resolves within `stopWithinMs`, whatever hangs. */
  stop(): Promise<void> {
    const closed = () => this.#parts.close((error) => this.#log.error({ error }, 'a part did not close'));
    this.#stopping ??= Promise.race([closed(), sleep(this.#clock, stopWithinMs)]);
    return this.#stopping;
  }

  async #start(): Promise<void> {
    await makeDirectory(this.#settings.dataDir);
    this.#parts.add(() => this.#fleet.stop());
    this.#parts.add(() => this.#opsSessions.close());
    this.#parts.add(() => this.#opsForPolls.close());
    await this.#readMetricsToken();
    await this.#listen();
    const { address: store, close } = await openStore({
      ...this.#settings,
      log: this.#log,
      clock: this.#clock,
    });
    this.#parts.add(close);
    this.#board.connect(store);
    this.#parts.add(async () => this.#board.close());
    const queue = PollQueue.start({
      store,
      log: this.#log,
      clock: this.#clock,
      run: (host, poller) => this.#polls.run(host, poller, { scheduled: true }),
      onRepair: () => this.#own.schedulerRepaired(),
      onSkip: (_host, poller) => this.#own.pollSkipped(poller),
    });
    this.#queue = queue;
    this.#parts.add(() => queue.close(queueCloseMs));
    const operations = await loadOperations();
    const id = await instanceId(this.#settings.dataDir);
    await this.#openBackend(store, operations, id);
    await this.#apply(this.#inventory);
    await this.#takeJobs(store, operations, id);
    this.#follow();
    const shard = this.#settings.shard && shardText(this.#settings.shard);
    this.#log.info({ hosts: this.#inventory.hosts.length, ...(shard && { shard }) }, 'started');
  }

  async #listen(): Promise<void> {
    const access = await AccessControl.open({
      settings: this.#settings,
      audit: () => this.#audit,
      clock: this.#clock,
      log: this.#log,
    });
    this.#access = access;
    this.#parts.add(async () => access.close());
    const http = await serveHttp({
      ...this.#settings.listen,
      access,
      trustedProxies: this.#settings.trustedProxies,
      groups: [
        (app) => access.addLogin(app, this.#people.login),
        (app) => this.#people.addRoutes(app),
        (app) => this.#board.addRoutes(app),
        apiRoutes(this.#api),
      ],
      metricsToken: () => this.#metricsToken,
      log: this.#log,
      sources: {
        fleetPage: (options) => this.#fleetPage(options),
        hostPage: (name, format) => this.#pages.one(name, format),
        hostHint: (name) => otherShardHint(this.#settings.shard, name),
        collectorPage: (format) => this.#own.page(format),
        sdHosts: () => this.#inventory.hosts,
        scraped: (page, outcome, durationMs, bytes) => this.#own.scraped(page, outcome, durationMs, bytes),
        readiness: () => this.#readiness(),
      },
    });
    this.#parts.add(() => http.close());
    this.url = http.url;
    this.#log.info({ url: http.url, version }, 'listening');
  }

  async *#fleetPage(options: FleetPageOptions): AsyncGenerator<Buffer> {
    yield* this.#pages.all(options);
    yield Buffer.from(await this.#own.page(options.format));
  }

  async #readMetricsToken(): Promise<void> {
    const file = this.#settings.metricsTokenFile;
    if (file) this.#metricsToken = new Secret((await readFile(file, 'utf8')).trim());
  }

  async #openBackend(store: StoreAddress, operations: Operations, id: string): Promise<void> {
    const { backendUrl, agentId } = this.#settings;
    if (!backendUrl) return;
    const link = await BackendLink.open({
      settings: { ...this.#settings, backendUrl },
      env: process.env,
      collectorId: agentId ?? id,
      store,
      instanceId: id,
      fleet: this.#fleet,
      samples: this.#samples,
      operations,
      jobs: () => this.#jobs,
      clock: this.#clock,
      log: this.#log,
      onCall: (call, result, durationMs) => this.#own.backendCalled(call, result, durationMs),
      onDropped: (_host, kind, cause) => this.#own.outboxDropped(kind, cause),
    });
    this.#link = link;
    this.#parts.add(() => link.close(outboxCloseMs));
  }

  async #takeJobs(store: StoreAddress, operations: Operations, id: string): Promise<void> {
    const { dataDir } = this.#settings;
    const audit = await AuditLog.open({ dir: join(dataDir, 'audit'), clock: this.#clock, log: this.#log });
    this.#parts.add(() => audit.close());
    this.#audit = audit;
    // Again, and first: refusals that were only counted are written while the log is open.
    this.#parts.add(async () => this.#access?.close());
    const around = {
      ...{ fleet: this.#fleet, opsSessions: this.#opsSessions, polls: this.#polls },
      ...{ samples: this.#samples, operations, shard: this.#settings.shard },
    };
    const jobs = JobQueue.start({
      store,
      audit,
      instanceId: id,
      log: this.#log,
      clock: this.#clock,
      work: jobWork({
        operations,
        clock: this.#clock,
        log: this.#log,
        admit: (job, acts) => admitJob(around, job, acts),
        surroundings: (job, signal) => surroundingsOf(around, job, signal),
      }),
      onEnd: async (job, ok, answer) => this.#link?.tellResult(job, ok, answer),
      onDone: (op, end, durationMs, queueMs) => this.#own.jobDone(op, end, durationMs, queueMs),
      onChange: (jobId) => this.#api.changes.jobChanged(jobId),
    });
    this.#jobs = jobs;
    const unfollow = this.#people.chronicle.followQueue(() => jobs.stats());
    this.#parts.add(() => jobs.close(jobsCloseMs));
    this.#parts.add(async () => unfollow());
  }

  #follow(): void {
    const watcher = new InventoryWatcher({
      file: this.#settings.inventoryFile,
      current: this.#inventory,
      defaults: this.#settings,
      clock: this.#clock,
      log: this.#log,
      onChange: (inventory) => this.#apply(inventory),
      onProblem: (problems) => {
        this.#problems = problems;
      },
    });
    this.#parts.add(() => watcher.close());
    this.#watcher = watcher.start();
  }

  /** Makes sessions, samples and schedules follow the inventory. */
  async #apply(inventory: Inventory): Promise<void> {
    const before = this.#inventory.hosts.map(({ name }) => name);
    this.#inventory = inventory;
    const names = new Set(inventory.hosts.map(({ name }) => name));
    this.#opsSessions.apply(inventory.hosts);
    this.#opsForPolls.apply(inventory.hosts);
    await this.#fleet.apply(inventory.hosts);
    this.#link?.backend.reporter.apply(inventory.hosts);
    this.#samples.retain(names);
    this.#events.retain(names);
    this.#people.chronicle.retain(names);
    for (const name of new Set([...before, ...names])) this.#api.changes.hostChanged(name);
    await this.#queue?.setSchedules(schedulesOf(inventory.hosts));
  }

  /** Texts that must not be shown, whatever holds them. */
  #secrets(): string[] {
    const { redisUrl, token, apiToken } = this.#settings;
    const redis = redisUrl && decodeURIComponent(new URL(redisUrl.expose()).password);
    return [redis ?? '', ...[token, apiToken, this.#metricsToken].map((secret) => secret?.expose() ?? '')];
  }

  #collector(): CollectorState {
    const store = this.#queue?.state();
    return {
      store: { up: store?.state === 'up', detail: store?.why ?? 'starting', sinceMs: store?.sinceMs },
      backend: this.#link?.backend.state(),
      inventory: { problems: this.#problems.map(formatProblem), sinceMs: this.#watcher?.problemsSinceMs },
      tokens: this.#access?.problem,
    };
  }

  #readiness(): Readiness {
    return readinessOf({
      store: this.#queue?.state(),
      inventory: this.#inventory,
      shard: this.#settings.shard,
      problems: this.#problems,
      backend: this.#link?.backend.state(),
      tokens: this.#access?.detail,
      polled: this.#polled,
    });
  }
}
