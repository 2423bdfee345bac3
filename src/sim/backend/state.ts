// All that the sample backend remembers: agents, jobs, events, results. In memory and bounded; a real one has a database
// here. It refuses to know HTTP and tokens.
import { randomUUID } from 'node:crypto';
import type {
  AgentEvent,
  HeartbeatJob,
  HeartbeatRequest,
  JobResultRequest,
  MetricsRequest,
  RegisterRequest,
} from '../../backend/api.js';

const eventsMax = 20_000;
const jobsMax = 5_000;
const keysMax = 50_000;
const jobsPerHeartbeat = 20;

export type Agent = {
  readonly id: string;
  facts: RegisterRequest;
  readonly registeredAt: string;
  lastHeartbeatAt?: string;
  heartbeat?: HeartbeatRequest;
  metrics?: MetricsRequest;
};

export type Job = {
  readonly agentId: string;
  readonly asked: HeartbeatJob;
  readonly askedAt: string;
  /** How often a heartbeat took it along; it goes along until its result is here. */
  sent: number;
};

export type KeptEvent = AgentEvent & { readonly agentId: string; readonly receivedAt: string };
export type KeptResult = {
  readonly agentId: string;
  readonly receivedAt: string;
  readonly result: JobResultRequest;
};

export class BackendState {
  readonly agents = new Map<string, Agent>();
  /** By request_id. */
  readonly jobs = new Map<string, Job>();
  readonly events: KeptEvent[] = [];
  /** By job_id; also of jobs that were asked for elsewhere. */
  readonly results = new Map<string, KeptResult>();
  readonly #seenKeys = new Set<string>();

  register(facts: RegisterRequest): Agent {
    const before = this.agents.get(facts.agent_id);
    const agent = before ?? { id: facts.agent_id, facts, registeredAt: now() };
    agent.facts = facts;
    this.agents.set(agent.id, agent);
    return agent;
  }

  /** Its next call is answered with 404, and it registers again. */
  forget(agentId: string): boolean {
    return this.agents.delete(agentId);
  }

  /** Keeps the heartbeat and says which jobs go with the answer. */
  heartbeat(agent: Agent, heartbeat: HeartbeatRequest): HeartbeatJob[] {
    agent.heartbeat = heartbeat;
    agent.lastHeartbeatAt = now();
    const due = [...this.jobs.values()].filter((job) => job.agentId === agent.id && !this.resultOf(job));
    const sent = due.slice(0, jobsPerHeartbeat);
    for (const job of sent) job.sent++;
    return sent.map(({ asked }) => asked);
  }

  enqueue(agentId: string, asked: Omit<HeartbeatJob, 'request_id'> & { op: string }): Job {
    const request_id = randomUUID();
    const job = { agentId, asked: { ...asked, op: asked.op, request_id }, askedAt: now(), sent: 0 };
    this.jobs.set(request_id, job);
    dropOldest(this.jobs, jobsMax);
    return job;
  }

  resultOf(job: Job): KeptResult | undefined {
    return this.results.get(job.asked.request_id);
  }

  addEvents(agent: Agent, events: readonly AgentEvent[]): void {
    for (const event of events) this.events.push({ ...event, agentId: agent.id, receivedAt: now() });
    if (this.events.length > eventsMax) this.events.splice(0, this.events.length - eventsMax);
  }

  addResult(agent: Agent, result: JobResultRequest): void {
    this.results.set(result.request_id, { agentId: agent.id, receivedAt: now(), result });
    dropOldest(this.results, jobsMax);
  }

  /** Reports come at least once: true when this one is here already. */
  isRepeat(agent: Agent, key: string): boolean {
    return this.#seenKeys.has(`${agent.id} ${key}`);
  }

  /** To be called when the report has been kept, not before: what fails half-way must be taken when it comes again. */
  markSeen(agent: Agent, key: string): void {
    this.#seenKeys.add(`${agent.id} ${key}`);
    for (const oldest of this.#seenKeys) {
      if (this.#seenKeys.size <= keysMax) break;
      this.#seenKeys.delete(oldest);
    }
  }
}

function now(): string {
  return new Date().toISOString();
}

function dropOldest(map: Map<string, unknown>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) break;
    map.delete(key);
  }
}
