// The service's link to the backend: what the backend is told comes from the fleet, what must not be lost goes through the
// outbox, and jobs of a heartbeat's answer go into the job queue. It refuses to judge jobs: the queue does, and its refusal
// goes back as the job's result.
import type { AgentEvent, JobResultRequest } from '../backend/api.js';
import { backendJob } from '../backend/api.js';
import { Backend, type BackendOptions } from '../backend/backend.js';
import { factsOf, type HostFacts, readFacts } from '../backend/facts.js';
import { agentStatus, lastError } from '../backend/status.js';
import { HostError } from '../core/errors.js';
import type { Fleet } from '../fleet/fleet.js';
import type { SampleStore } from '../fleet/samples.js';
import type { HostSession } from '../fleet/session.js';
import type { LifecycleEvent } from '../libvirt/events.js';
import type { BackendReadings } from '../metrics/own.js';
import { JobError, type JobResult, type ParsedJob } from '../ops/job.js';
import type { Operations } from '../ops/operation.js';
import type { Samples } from '../pollers/runner.js';
import { allowedOn } from './job-surroundings.js';
import type { JobQueue } from './jobs.js';
import { Outbox, type OutboxOptions } from './outbox.js';
import type { OutboxEntry } from './outbox-types.js';

export type BackendLinkOptions = Omit<BackendOptions, 'sources' | 'onJobs'> &
  Pick<OutboxOptions, 'store' | 'instanceId' | 'onDropped'> & {
    fleet: Fleet;
    samples: SampleStore<Samples>;
    operations: Operations;
    /** Where jobs of the backend go; not there yet while the service starts. */
    jobs: () => JobQueue | undefined;
  };

const factsTimeoutMs = 5_000;

export class BackendLink {
  readonly backend: Backend;
  readonly outbox: Outbox;
  readonly #options: BackendLinkOptions;
  #missed = false;

  private constructor(options: BackendLinkOptions, backend: Backend, outbox: Outbox) {
    this.#options = options;
    this.backend = backend;
    this.outbox = outbox;
  }

  /** Throws HostError SETTINGS or STORE. Does not wait for the backend. */
  static async open(options: BackendLinkOptions): Promise<BackendLink> {
    const { fleet, samples, operations, store, instanceId, onDropped, clock, log } = options;
    const holder: { link?: BackendLink } = {};
    const backend = await Backend.open({
      ...options,
      sources: {
        status: (host) => statusOf(fleet.find(host)),
        samples: (host) => ({
          vms: freshOf(fleet, samples, host, 'vms'),
          system: freshOf(fleet, samples, host, 'system'),
        }),
        facts: (host) => factsFrom(fleet.get(host), samples),
        operations: (host) =>
          allowedOn(fleet.get(host).host, operations).flatMap(({ operation, allowed }) =>
            allowed ? [operation] : [],
          ),
      },
      onJobs: (host, jobs) => void holder.link?.takeJobs(host, jobs),
      onHeartbeat: (_host, ok) => holder.link?.heard(ok),
    });
    const outbox = await Outbox.start({
      ...{ store, instanceId, clock, log, dataDir: options.settings.dataDir },
      ...(onDropped && { onDropped }),
      deliver: (entry, signal) => deliver(backend, entry, signal),
    });
    holder.link = new BackendLink(options, backend, outbox);
    return holder.link;
  }

  /** What waits goes out as soon as the backend takes heartbeats again. */
  heard(ok: boolean): void {
    if (ok && this.#missed) this.outbox.retryNow();
    this.#missed = !ok;
  }

  /** A lifecycle event of a VM, to be told in its turn. */
  tellEvent(host: string, event: LifecycleEvent): void {
    const at = new Date(event.at).toISOString();
    const payload: Omit<AgentEvent, 'sequence'> =
      event.event === 'lost'
        ? { at, event: 'lost', count: event.count }
        : {
            at,
            event: event.event,
            detail: event.detail,
            vm: { name: event.domain.name, uuid: event.domain.uuid },
          };
    this.#add(host, 'event', payload);
  }

  /** How a job ended. Resolves when it is on disk: only then may the job end. */
  async tellResult(job: ParsedJob, ok: boolean, answer: string): Promise<void> {
    const result = resultOf(job, ok, answer, this.#now());
    await this.#add(
      job.host,
      'result',
      result,
      result.status === 'completed' ? { ...result, data: null } : undefined,
    );
  }

  /** Each becomes a job, or a result that says why not. */
  async takeJobs(host: string, given: readonly unknown[]): Promise<void> {
    for (const raw of given) {
      const job = backendJob(raw, host);
      if (!job) {
        this.#options.log.warn({ host }, 'the backend gave a job without op or request_id');
        continue;
      }
      const { op, requestId, data } = job;
      try {
        if (data.host !== host) throw new JobError('BAD_REQUEST', `host: this agent is ${host}`);
        await this.#options.jobs()?.add(op, data);
      } catch (error) {
        if (error instanceof JobError) await this.#refuse(host, op, requestId, error);
        else
          this.#options.log.warn(
            { host, op, requestId, error },
            'a job of the backend could not be taken now',
          );
      }
    }
  }

  /** What holds now, for the collector's own metrics. */
  readings(): BackendReadings {
    const { reporter, certificates } = this.backend;
    const { ok } = this.backend.state();
    const { depth, oldestAgeMs } = this.outbox.stats();
    const expiries = [...this.#options.fleet.sessions()].flatMap(
      ({ host }) => reporter.tokenExpiresInMs(host.name) ?? [],
    );
    return {
      up: ok,
      registered: reporter.registered(),
      outboxDepth: depth,
      outboxAgeMs: oldestAgeMs,
      updateAvailable: reporter.updateAvailable,
      tokenExpiresInMs: expiries.length > 0 ? Math.min(...expiries) : undefined,
      certificateExpiryMs: { ours: certificates.ourExpiryMs, backend: certificates.backendExpiryMs },
    };
  }

  async close(deadlineMs: number): Promise<void> {
    await Promise.all([this.outbox.close(deadlineMs), this.backend.close()]);
  }

  #refuse(host: string, op: string, requestId: string, { code, message }: JobError): Promise<void> {
    const failed: JobResultRequest = {
      status: 'failed',
      ...{ job_id: requestId, request_id: requestId, op, host, finished_at: this.#now() },
      error: { code, message },
    };
    return this.#add(host, 'result', failed);
  }

  /** `smaller` takes the place of a payload that is too large: that a job was done is told in any case. */
  async #add(host: string, kind: 'event' | 'result', payload: unknown, smaller?: unknown): Promise<void> {
    try {
      await this.outbox.add({ kind, host, payload });
    } catch (error) {
      this.#options.log.error({ host, kind, error }, 'not kept for the backend as it is');
      const tooLarge = error instanceof HostError && error.code === 'BAD_REQUEST';
      if (tooLarge && smaller !== undefined) await this.#add(host, kind, smaller);
    }
  }

  #now(): string {
    return new Date(this.#options.clock.wallMs()).toISOString();
  }
}

function statusOf(session: HostSession | undefined) {
  if (!session) return { status: undefined };
  const { state, cause } = session.status;
  return { status: agentStatus(state), lastError: lastError(cause) };
}

/** A sample of a part that is lost is no news. */
function freshOf<P extends keyof Samples>(
  fleet: Fleet,
  samples: SampleStore<Samples>,
  host: string,
  poller: P,
) {
  return fleet.find(host)?.has(poller === 'vms' ? 'libvirt' : 'files')
    ? samples.get(host, poller)?.last
    : undefined;
}

async function factsFrom(session: HostSession, samples: SampleStore<Samples>): Promise<HostFacts> {
  const system = samples.get(session.host.name, 'system')?.last?.sample;
  return factsOf(await readFacts(session.libvirt(), { timeoutMs: factsTimeoutMs }), system);
}

async function deliver(backend: Backend, entry: OutboxEntry, signal: AbortSignal): Promise<void> {
  const { kind, host, payload, sequence, id } = entry;
  if (kind === 'result') return backend.reporter.deliver('job_result', host, payload, id, signal);
  const event = { ...(payload as object), sequence };
  return backend.reporter.deliver('events', host, { events: [event] }, id, signal);
}

function resultOf(job: ParsedJob, ok: boolean, answer: string, finishedAt: string): JobResultRequest {
  const { op, host, requestId } = job;
  const head = { job_id: requestId, request_id: requestId, op, host, finished_at: finishedAt };
  if (!ok) {
    const [, code = 'OUTCOME_UNKNOWN', message = answer] = /^([A-Z_]+): ([\s\S]*)$/.exec(answer) ?? [];
    return { status: 'failed', ...head, error: { code, message } };
  }
  const { vm, outcome, before, after, steps, data, durationMs } = JSON.parse(answer) as JobResult;
  return {
    status: 'completed',
    ...head,
    ...{ vm, outcome, before, after, steps: [...steps], data, duration_ms: durationMs },
  };
}
