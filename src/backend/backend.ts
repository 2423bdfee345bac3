// The backend as the service sees it: one object to open, feed with the inventory, ask and close. It joins connection, client and
// reporter, and does no part's work.
import { join } from 'node:path';
import type { Clock } from '../core/clock.js';
import { hintOf, summary } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { Settings } from '../core/settings.js';
import { version } from '../core/version.js';
import { BackendClient, type ClientOptions } from './client.js';
import { BackendHttp, type Certificates } from './http.js';
import { proxyFor } from './proxy.js';
import { Reporter, type ReporterOptions } from './reporter.js';
import type { Agent } from './tokens.js';

export type BackendOptions = {
  settings: Settings & { backendUrl: string };
  /** For HTTPS_PROXY and NO_PROXY. */
  env: Readonly<Record<string, string | undefined>>;
  /** AGENT_ID, or the id of the data directory when that is not set. */
  collectorId: string;
  clock: Clock;
  log: Log;
} & Pick<ReporterOptions, 'sources' | 'onJobs' | 'onHeartbeat'> &
  Pick<ClientOptions, 'onCall'>;

export class Backend implements AsyncDisposable {
  readonly reporter: Reporter;
  readonly #client: BackendClient;
  readonly #http: BackendHttp;

  private constructor(http: BackendHttp, client: BackendClient, reporter: Reporter) {
    this.#http = http;
    this.#client = client;
    this.reporter = reporter;
  }

  /** Throws HostError SETTINGS (TLS files, proxy) or STORE (tokens). Does not wait for the backend. */
  static async open(options: BackendOptions): Promise<Backend> {
    const { settings, env, collectorId, clock, log, sources, onJobs, onHeartbeat, onCall } = options;
    const http = await BackendHttp.open({
      url: settings.backendUrl,
      timeoutMs: settings.apiTimeoutMs,
      verify: settings.sslVerify,
      tls: { ca: settings.sslCaPath, cert: settings.sslCertPath, key: settings.sslKeyPath },
      proxy: proxyFor(settings.backendUrl, env),
      clock,
      log,
    });
    const parts: { reporter?: Reporter } = {};
    const client = await BackendClient.open({
      http,
      folder: join(settings.dataDir, 'backend'),
      backend: settings.backendUrl,
      token: settings.token,
      tries: settings.retryAttempts,
      factor: settings.retryBackoff,
      registration: async (agent: Agent) => {
        if (!parts.reporter) throw new Error('registered before the start');
        return parts.reporter.registration(agent);
      },
      ...(onCall && { onCall }),
      clock,
      log,
    });
    parts.reporter = new Reporter({
      client,
      sources,
      collector: { id: collectorId, name: settings.agentName, version },
      heartbeatIntervalMs: settings.heartbeatIntervalMs,
      metricsIntervalMs: settings.metricsIntervalMs,
      updateCheckIntervalMs: settings.updateCheckIntervalMs,
      autoRegister: settings.autoRegister,
      ...(onJobs && { onJobs }),
      ...(onHeartbeat && { onHeartbeat }),
      clock,
      log,
    });
    return new Backend(http, client, parts.reporter);
  }

  /** For /readyz: a backend that is away is told, and makes nothing else unready. `ok` is undefined until it is known. */
  state(): { ok: boolean | undefined; detail: string; sinceMs: number } {
    const { reachable, cause, sinceMs } = this.#client.reachability;
    if (reachable === undefined) return { ok: undefined, detail: 'not called yet', sinceMs };
    if (reachable)
      return { ok: true, detail: `answers; ${this.reporter.registered()} hosts registered`, sinceMs };
    const hint = hintOf(cause);
    return { ok: false, detail: hint ? `${summary(cause)} (${hint})` : summary(cause), sinceMs };
  }

  get certificates(): Certificates {
    return this.#http.certificates;
  }

  /** Open connections. */
  get connections(): number {
    return this.#http.connections;
  }

  /** Requests that wait for a connection or for their answer. */
  get requests(): number {
    return this.#http.requests;
  }

  /** Ends calls under way; tokens are on disk afterwards. */
  async close(): Promise<void> {
    await Promise.all([this.reporter.close(), this.#http.close()]);
    await this.#client.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
