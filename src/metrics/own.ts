// The collector's own figures, on a registry of their own. Figures of the present (sessions, store, inventory) are read
// when the page is asked for. It refuses labels that grow with the fleet: what concerns one host is on the host's page.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Shard } from '../core/shard.js';
import { type Format, pageEnd } from './exposition.js';
import { ownFamilies } from './families-own.js';

/** Absent figures have no series. */
export type BackendReadings = {
  up: boolean | undefined;
  registered: number;
  outboxDepth: number;
  outboxAgeMs: number;
  updateAvailable: boolean | undefined;
  /** Of the access token that expires first. */
  tokenExpiresInMs: number | undefined;
  /** Wall milliseconds. */
  certificateExpiryMs: { ours: number | undefined; backend: number | undefined };
};

/** Of one queue. */
export type QueueReadings = { jobs: Readonly<Record<string, number>>; oldestWaitMs: number };

/** What holds now. An absent figure has no series. */
export type OwnReadings = {
  /** Hosts whose sample is on show, by poller. */
  samples: Readonly<Record<string, number>>;
  /** Hosts in each session state, all states given. */
  sessions: Readonly<Record<string, number>>;
  storeUp?: boolean | undefined;
  inventoryHosts: number;
  inventoryValid: boolean;
  /** Undefined without a backend. */
  backend?: BackendReadings | undefined;
};

export type OwnMetricsOptions = {
  version: string;
  shard?: Shard | undefined;
  read: () => OwnReadings;
  /** By name; a queue whose store does not answer is left out. Resolves in bounded time. */
  readQueues: () => Promise<Readonly<Record<string, QueueReadings>>>;
};

export type ScrapeOutcome = 'ok' | 'gone' | 'late' | 'refused' | 'failed';

const jobSecondsBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const queueSecondsBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300];
const scrapeSecondsBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const pollSecondsBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Gauges that prom-client calls totals; the same figures by type stay. */
const misnamed = ['handles', 'requests', 'resources'].map((what) => `outrigger_nodejs_active_${what}_total`);

/** What prom-client says of an event loop that was not measured yet. */
const absent = /^\S+ nan\n/gim;

export class OwnMetrics {
  readonly #registry = new Registry();
  readonly #pollSeconds = new Histogram({
    ...described('outrigger_poll_duration_seconds'),
    buckets: pollSecondsBuckets,
    registers: [this.#registry],
  });
  readonly #polls = this.#counter('outrigger_polls_total');
  readonly #skipped = this.#counter('outrigger_polls_skipped_total');
  readonly #scrapes = this.#counter('outrigger_scrapes_total');
  readonly #scrapeBytes = this.#counter('outrigger_scrape_bytes_total');
  readonly #scrapeSeconds = new Histogram({
    ...described('outrigger_scrape_duration_seconds'),
    buckets: scrapeSecondsBuckets,
    registers: [this.#registry],
  });
  readonly #connectFailures = this.#counter('outrigger_connect_failures_total');
  readonly #jobs = this.#counter('outrigger_jobs_total');
  readonly #jobSeconds = new Histogram({
    ...described('outrigger_job_duration_seconds'),
    buckets: jobSecondsBuckets,
    registers: [this.#registry],
  });
  readonly #jobQueueSeconds = new Histogram({
    ...described('outrigger_job_queue_seconds'),
    buckets: queueSecondsBuckets,
    registers: [this.#registry],
  });
  readonly #dropped = this.#counter('outrigger_outbox_dropped_total');
  readonly #backendSeconds = new Histogram({
    ...described('outrigger_backend_request_duration_seconds'),
    buckets: pollSecondsBuckets,
    registers: [this.#registry],
  });
  readonly #repairs = this.#counter('outrigger_scheduler_repairs_total');

  constructor({ version, shard, read, readQueues }: OwnMetricsOptions) {
    this.#gauge('outrigger_build_info', (gauge) => gauge.set({ version, node_version: process.version }, 1));
    this.#gauge('outrigger_shard_info', (gauge) => {
      if (shard) gauge.set({ shard: String(shard.index), shards: String(shard.count) }, 1);
    });
    this.#gauge('outrigger_session_state', (gauge) => {
      gauge.reset();
      for (const [state, hosts] of Object.entries(read().sessions)) gauge.set({ state }, hosts);
    });
    this.#gauge('outrigger_samples', (gauge) => {
      gauge.reset();
      for (const [poller, hosts] of Object.entries(read().samples)) gauge.set({ poller }, hosts);
    });
    this.#queueGauges(readQueues);
    this.#gauge('outrigger_store_up', (gauge) => {
      const { storeUp } = read();
      if (storeUp === undefined) gauge.remove();
      else gauge.set(storeUp ? 1 : 0);
    });
    this.#gauge('outrigger_inventory_hosts', (gauge) => gauge.set(read().inventoryHosts));
    this.#gauge('outrigger_inventory_valid', (gauge) => gauge.set(read().inventoryValid ? 1 : 0));
    this.#backendGauge(read, 'outrigger_backend_up', ({ up }) => flag(up));
    this.#backendGauge(read, 'outrigger_backend_registered_hosts', ({ registered }) => registered);
    this.#backendGauge(read, 'outrigger_outbox_entries', ({ outboxDepth }) => outboxDepth);
    this.#backendGauge(read, 'outrigger_outbox_oldest_age_seconds', ({ outboxAgeMs }) => outboxAgeMs / 1000);
    this.#backendGauge(read, 'outrigger_update_available', ({ updateAvailable }) => flag(updateAvailable));
    this.#backendGauge(read, 'outrigger_backend_token_expiry_seconds', ({ tokenExpiresInMs }) =>
      seconds(tokenExpiresInMs),
    );
    this.#gauge('outrigger_certificate_expiry_timestamp_seconds', (gauge) => {
      gauge.reset();
      for (const [whose, expiryMs] of Object.entries(read().backend?.certificateExpiryMs ?? {})) {
        if (expiryMs !== undefined) gauge.set({ whose }, expiryMs / 1000);
      }
    });
    collectDefaultMetrics({ register: this.#registry, prefix: 'outrigger_' });
    for (const name of misnamed) this.#registry.removeSingleMetric(name);
  }

  /** A poll that ran to an end, good or bad. */
  pollDone(poller: string, outcome: string, durationMs: number): void {
    this.#polls.inc({ poller, outcome });
    this.#pollSeconds.observe({ poller }, durationMs / 1000);
  }

  /** A poll that did not run: it counts, and has no duration. */
  pollNotRun(poller: string, outcome: string): void {
    this.#polls.inc({ poller, outcome });
  }

  pollSkipped(poller: string): void {
    this.#skipped.inc({ poller });
  }

  /** `end` is the outcome, or the code of the failure. */
  jobDone(op: string, end: string, durationMs: number, queueMs: number): void {
    this.#jobs.inc({ op, end });
    this.#jobSeconds.observe({ op }, durationMs / 1000);
    this.#jobQueueSeconds.observe(queueMs / 1000);
  }

  /** `result` is 2xx, 4xx, 5xx, unreachable, tls, answer or aborted. */
  backendCalled(call: string, result: string, durationMs: number): void {
    this.#backendSeconds.observe({ call, result }, durationMs / 1000);
  }

  outboxDropped(kind: string, cause: string): void {
    this.#dropped.inc({ kind, cause });
  }

  connectFailed(code: string): void {
    this.#connectFailures.inc({ code });
  }

  /** A request for a page of metrics; `bytes` are those sent, before compression. */
  scraped(page: string, outcome: ScrapeOutcome, durationMs: number, bytes: number): void {
    this.#scrapes.inc({ page, outcome });
    this.#scrapeBytes.inc({ page }, bytes);
    if (outcome === 'ok') this.#scrapeSeconds.observe({ page }, durationMs / 1000);
  }

  schedulerRepaired(): void {
    this.#repairs.inc();
  }

  /** A page by itself, or the end of another. */
  async page(format: Format): Promise<string> {
    const text = (await this.#registry.metrics()).replaceAll(absent, '');
    return (format === 'text' ? text : asOpenMetrics(text)) + pageEnd(format);
  }

  /** Two gauges, and pages at the same time, from one reading. */
  #queueGauges(readQueues: OwnMetricsOptions['readQueues']): void {
    let asked: ReturnType<typeof readQueues> | undefined;
    const read = () => {
      asked ??= readQueues().finally(() => {
        asked = undefined;
      });
      return asked;
    };
    this.#gauge('outrigger_queue_jobs', async (gauge) => {
      const queues = await read();
      gauge.reset();
      for (const [queue, { jobs }] of Object.entries(queues)) {
        for (const [state, count] of Object.entries(jobs)) gauge.set({ queue, state }, count);
      }
    });
    this.#gauge('outrigger_queue_oldest_wait_seconds', async (gauge) => {
      const queues = await read();
      gauge.reset();
      for (const [queue, { oldestWaitMs }] of Object.entries(queues))
        gauge.set({ queue }, oldestWaitMs / 1000);
    });
  }

  #backendGauge(
    read: () => OwnReadings,
    name: keyof typeof ownFamilies,
    value: (backend: BackendReadings) => number | undefined,
  ): void {
    this.#gauge(name, (gauge) => {
      const { backend } = read();
      const now = backend && value(backend);
      if (now === undefined) gauge.remove();
      else gauge.set(now);
    });
  }

  #counter(name: keyof typeof ownFamilies): Counter {
    return new Counter({ ...described(name), registers: [this.#registry] });
  }

  #gauge(name: keyof typeof ownFamilies, collect: (gauge: Gauge) => void | Promise<void>): void {
    new Gauge({
      ...described(name),
      registers: [this.#registry],
      collect() {
        return collect(this);
      },
    });
  }
}

/** prom-client's own OpenMetrics is a switch of the whole registry, which pages at the same time would pull at. */
function asOpenMetrics(text: string): string {
  return text
    .replaceAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$/gm, (_, name: string, help: string, type: string) => {
      const family = type === 'counter' ? name.replace(/_total$/, '') : name;
      return `# HELP ${family} ${help.replaceAll('"', '\\"')}\n# TYPE ${family} ${type}`;
    })
    .replaceAll(/(?<=[{,]le="-?\d+)(?=")/g, '.0')
    .replaceAll('\n\n', '\n');
}

function flag(value: boolean | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}

function described(name: keyof typeof ownFamilies) {
  const { help, labels } = ownFamilies[name];
  return { name, help, labelNames: [...labels] };
}
