// To the backend each host is an agent: registered when it first comes up, heartbeating with its true status, also while it is
// down, and reporting its figures. Only the newest matters here: nothing is queued, nothing overlaps, a report that fails is
// not made up for. It knows hosts by what the callbacks tell, and refuses to know queues and pages.
//
//   unknown ──up, or stored tokens──► registered ──► heartbeat and metrics, each at its own place in the interval
//                                        ▲ ── forgotten or refused by the backend: the client registers again ──┘
import { setMaxListeners } from 'node:events';
import type { Clock } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { agentIdOf } from './agent-id.js';
import { type HostSamples, type HostStatus, heartbeatOf, LastReport } from './agent-reports.js';
import type { HeartbeatAnswer, HypervisorFacts, RegisterRequest } from './api.js';
import { jobsPerHeartbeatMax } from './api.js';
import { BackendError } from './backend-error.js';
import type { BackendClient, CallOptions } from './client.js';
import type { HostFacts } from './facts.js';
import type { Agent } from './tokens.js';
import { Turns } from './turns.js';
import { isNewer } from './update.js';

/** Until a host has come up, it is looked at this often at the most. */
const lookEveryMsMax = 5_000;
/** The same refusal, for whichever host. */
const tellAgainMs = 5 * 60_000;
const toldMax = 100;

/** A host as the inventory has it. */
export type ReportedHost = {
  readonly name: string;
  readonly id?: string;
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly libvirt: { readonly uri: string };
};

export type ReporterSources = {
  status(host: string): HostStatus;
  samples(host: string): HostSamples;
  /** Rejects while the host is down. */
  facts(host: string): Promise<HostFacts>;
  /** What may be asked of it. */
  operations(host: string): readonly string[];
};

export type ReporterOptions = {
  client: BackendClient;
  sources: ReporterSources;
  /** AGENT_ID, or what stands in for it; AGENT_NAME; this build's. */
  collector: { id: string; name: string; version: string };
  heartbeatIntervalMs: number;
  metricsIntervalMs: number;
  /** Between two looks at the backend's `latest_version`; 0 = never. */
  updateCheckIntervalMs: number;
  autoRegister: boolean;
  /** Jobs of a heartbeat's answer, unread: see `backendJob`. */
  onJobs?: (host: string, jobs: readonly unknown[]) => void;
  onHeartbeat?: (host: string, ok: boolean) => void;
  clock: Clock;
  log: Log;
};

type Reported = {
  host: ReportedHost;
  agent: Agent;
  report: LastReport;
  facts: HostFacts | undefined;
  /** Monotonic; of the last heartbeat that arrived. */
  heartbeatAtMs: number | undefined;
  /** Monotonic; of the last attempt to register it. */
  triedAtMs: number;
  looks: Turns;
  turns: Turns[];
};

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #clock: Clock;
  readonly #hosts = new Map<string, Reported>();
  readonly #stop = new AbortController();
  readonly #told = new Map<string, number>();
  #latestVersion: string | undefined;
  #checkedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#clock = options.clock;
    // One listener for each call under way: that is no leak.
    setMaxListeners(0, this.#stop.signal);
  }

  /** Undefined until the backend has said which version is the latest. */
  get updateAvailable(): boolean | undefined {
    return this.#latestVersion === undefined
      ? undefined
      : isNewer(this.#latestVersion, this.#options.collector.version);
  }

  /** Makes the agents follow the inventory. */
  apply(hosts: readonly ReportedHost[]): void {
    const wanted = new Map(hosts.map((host) => [host.name, host]));
    for (const [name, reported] of this.#hosts) {
      const host = wanted.get(name);
      if (host && this.#agentOf(host).id === reported.agent.id) {
        reported.host = host;
        continue;
      }
      this.#hosts.delete(name);
      void end(reported);
    }
    for (const host of hosts) if (!this.#hosts.has(host.name)) this.#add(host);
  }

  /** Milliseconds since the last heartbeat that arrived; undefined when none has. */
  heartbeatAgeMs(host: string): number | undefined {
    const atMs = this.#hosts.get(host)?.heartbeatAtMs;
    return atMs === undefined ? undefined : this.#clock.monotonicMs() - atMs;
  }

  /** Until the access token of the host's agent expires; undefined without one. */
  tokenExpiresInMs(host: string): number | undefined {
    const reported = this.#hosts.get(host);
    return reported && this.#options.client.tokens.expiresInMs(reported.agent.id);
  }

  /** Hosts of the inventory that the backend has registered. */
  registered(): number {
    let count = 0;
    for (const { agent } of this.#hosts.values()) if (this.#options.client.tokens.has(agent.id)) count++;
    return count;
  }

  /**
   * Brings one report of the outbox to the backend; a result's payload holds its `job_id`. A host that left the inventory is
   * still spoken for while its tokens last. Rejects with BackendError: not `retryable` when the backend refuses it for good.
   */
  async deliver(
    kind: 'events' | 'job_result',
    host: string,
    payload: unknown,
    idempotencyKey: string,
    signal?: AbortSignal,
  ): Promise<void> {
    const agent = this.#agentFor(host);
    const options: CallOptions = {
      idempotencyKey,
      signal: signal ?? this.#stop.signal,
    };
    if (kind === 'job_result') {
      const jobId = (payload as { job_id?: unknown } | null)?.job_id;
      if (typeof jobId === 'string') options.jobId = jobId;
    }
    await this.#options.client.call(agent, kind, () => payload, options);
  }

  /** What the agent of this host is registered with. */
  async registration(agent: Agent): Promise<RegisterRequest> {
    const { collector, sources, autoRegister } = this.#options;
    const reported = this.#hosts.get(agent.name);
    if (!autoRegister || !reported) throw notRegistered(agent.name, autoRegister);
    const { host } = reported;
    try {
      reported.facts = await sources.facts(host.name);
    } catch (error) {
      this.#options.log.debug({ host: host.name, error }, 'registered without fresh facts');
    }
    const hypervisor: HypervisorFacts = reported.facts?.hypervisor ?? {};
    return {
      agent_id: agent.id,
      name: host.name,
      hostname: reported.facts?.hostname ?? host.address,
      libvirt_uri: host.libvirt.uri,
      version: collector.version,
      operations: [...sources.operations(host.name)],
      hypervisor,
      labels: { ...host.labels },
      collector,
    };
  }

  /** Ends what is under way; resolves when it has ended. */
  async close(): Promise<void> {
    this.#stop.abort(new HostError('ABORTED', { message: 'the reports to the backend end' }));
    const all = [...this.#hosts.values()];
    this.#hosts.clear();
    await Promise.all(all.map(end));
  }

  #agentOf(host: ReportedHost): Agent {
    return { id: agentIdOf(this.#options.collector.id, host), name: host.name };
  }

  #agentFor(name: string): Agent {
    const known = this.#hosts.get(name)?.agent;
    if (known) return known;
    const id = this.#options.client.tokens.idOf(name);
    if (id === undefined) throw notRegistered(name, this.#options.autoRegister);
    return { id, name };
  }

  #add(host: ReportedHost): void {
    const { name } = host;
    const { heartbeatIntervalMs, metricsIntervalMs } = this.#options;
    const reported: Reported = {
      host,
      agent: this.#agentOf(host),
      report: new LastReport(),
      facts: undefined,
      heartbeatAtMs: undefined,
      triedAtMs: Number.NEGATIVE_INFINITY,
      looks: new Turns(this.#clock, name, Math.min(heartbeatIntervalMs, lookEveryMsMax), () =>
        this.#look(reported),
      ),
      turns: [],
    };
    this.#hosts.set(name, reported);
    const heartbeat = new Turns(this.#clock, name, heartbeatIntervalMs, () => this.#heartbeat(reported));
    const metrics = new Turns(this.#clock, `${name} metrics`, metricsIntervalMs, () =>
      this.#metrics(reported),
    );
    reported.turns = [heartbeat, metrics];
    if (this.#isKnown(reported)) this.#begin(reported);
    else reported.looks.start();
  }

  #begin({ turns }: Reported): void {
    for (const turn of turns) turn.start();
  }

  #isKnown({ agent }: Reported): boolean {
    return this.#options.client.tokens.has(agent.id);
  }

  /** Registers a host that has come up, and lets it speak at once. */
  async #look(reported: Reported): Promise<void> {
    const { autoRegister, client, heartbeatIntervalMs } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    const up = isUp(this.#options.sources.status(reported.host.name));
    if (!this.#isKnown(reported) && (!up || !autoRegister)) return;
    // A backend that is away is not asked more often than by heartbeats.
    if (nowMs - reported.triedAtMs < heartbeatIntervalMs - lookEveryMsMax) return;
    reported.triedAtMs = nowMs;
    const registered = await this.#quietly(reported, 'a host was not registered yet', () =>
      client.register(reported.agent, { signal: this.#stop.signal, withinMs: heartbeatIntervalMs }),
    );
    if (!registered || this.#stop.signal.aborted || !this.#hosts.has(reported.host.name)) return;
    void reported.looks.stop();
    this.#begin(reported);
    void reported.turns[0]?.now();
  }

  async #heartbeat(reported: Reported): Promise<void> {
    const { client, sources, heartbeatIntervalMs: withinMs, onHeartbeat } = this.#options;
    const { name } = reported.host;
    const { status } = sources.status(name);
    if (status === undefined) return;
    const body = () => {
      const now = sources.status(name);
      return heartbeatOf({ ...now, status: now.status ?? status }, sources.samples(name), this.#clock);
    };
    let answer: HeartbeatAnswer = {};
    const ok = await this.#quietly(reported, 'a heartbeat did not arrive', async () => {
      answer = await client.heartbeat(reported.agent, body, { signal: this.#stop.signal, withinMs });
    });
    if (this.#stop.signal.aborted) return;
    onHeartbeat?.(name, ok);
    if (!ok) return;
    reported.heartbeatAtMs = this.#clock.monotonicMs();
    this.#takeAnswer(name, answer);
  }

  #takeAnswer(host: string, { latest_version, jobs }: HeartbeatAnswer): void {
    const { updateCheckIntervalMs, onJobs, log } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    if (latest_version && updateCheckIntervalMs > 0 && nowMs - this.#checkedAtMs >= updateCheckIntervalMs) {
      this.#checkedAtMs = nowMs;
      const before = this.updateAvailable;
      this.#latestVersion = latest_version;
      if (this.updateAvailable && !before)
        log.info({ latestVersion: latest_version }, 'there is a newer version');
    }
    if (!jobs || jobs.length === 0) return;
    if (jobs.length > jobsPerHeartbeatMax) {
      log.warn(
        { host, jobs: jobs.length, taken: jobsPerHeartbeatMax },
        'too many jobs in one answer of the backend',
      );
    }
    onJobs?.(host, jobs.slice(0, jobsPerHeartbeatMax));
  }

  async #metrics(reported: Reported): Promise<void> {
    const { client, sources, metricsIntervalMs: withinMs } = this.#options;
    const { name } = reported.host;
    let made = reported.report.next(sources.samples(name), this.#clock);
    if (!made) return;
    const body = () => {
      made = reported.report.next(sources.samples(name), this.#clock) ?? made;
      return made?.body;
    };
    const ok = await this.#quietly(reported, 'metrics did not arrive', () =>
      client.call(reported.agent, 'metrics', body, { signal: this.#stop.signal, withinMs }),
    );
    if (ok) made.told();
  }

  /** A report that fails is told to the log and forgotten: the next one says more. */
  async #quietly({ host }: Reported, what: string, report: () => Promise<unknown>): Promise<boolean> {
    try {
      await report();
      return true;
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#tell(host.name, what, error);
      return false;
    }
  }

  /** That the backend is away is the client's to tell, once. A refusal is told once for all hosts, and again after a while. */
  #tell(host: string, what: string, error: unknown): void {
    const { log } = this.#options;
    if (!(error instanceof HostError)) {
      log.error({ host, error }, what);
      return;
    }
    const key = `${what} ${error.message}`;
    const nowMs = this.#clock.monotonicMs();
    const quietMs = nowMs - (this.#told.get(key) ?? Number.NEGATIVE_INFINITY);
    if (error.code !== 'BACKEND_REFUSED' || quietMs < tellAgainMs) {
      log.debug({ host, error }, what);
      return;
    }
    if (this.#told.size >= toldMax) this.#told.clear();
    this.#told.set(key, nowMs);
    log.warn({ host, error }, what);
  }
}

function isUp({ status }: HostStatus): boolean {
  return status !== undefined && status !== 'unreachable';
}

async function end({ looks, turns }: Reported): Promise<void> {
  await Promise.all([looks, ...turns].map((turn) => turn.stop()));
}

function notRegistered(host: string, autoRegister: boolean): BackendError {
  return new BackendError('BACKEND_REFUSED', {
    host,
    message: autoRegister
      ? 'the host is not in the inventory, and the backend has no agent for it'
      : 'the host is not registered with the backend, and AGENT_AUTO_REGISTER is false',
    ...(!autoRegister && { hint: 'Set AGENT_AUTO_REGISTER=true.' }),
    outcome: 'not-sent',
    retryable: !autoRegister,
    retrySoon: false,
  });
}
