// What goes over the wire to the backend and what comes back, each call once, as data: the one source for the client and
// for docs/backend-openapi.yaml. Strict for what we send, tolerant for what comes: unknown keys of an answer are dropped. It
// knows no socket, and it refuses to judge a job of a heartbeat's answer: the job queue does that.
import { z } from 'zod';
import { domainStates } from '../libvirt/procedures.js';

/** Characters of a token, and of an id. */
export const tokenLengthMax = 16_384;
export const idLengthMax = 255;
const textLengthMax = 4_096;
/** Jobs taken from one heartbeat's answer; more stay unread. */
export const jobsPerHeartbeatMax = 100;
/** Events in one report. */
export const eventsPerReportMax = 500;

const count = z.int().min(0);
const figure = z.number().min(0);
const id = z.string().min(1).max(idLengthMax);
/** Agent ids go into paths and into the header of requests. */
const agentId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);
const at = z.iso.datetime({ offset: true });
const text = z.string().max(textLengthMax);
const token = z
  .string()
  .min(1)
  .max(tokenLengthMax)
  .regex(/^[\x21-\x7e]+$/);
const vm = z.strictObject({ name: text, uuid: z.guid() });

/** What libvirt and the kernel say of the host. What they do not say is absent. */
export const HypervisorFacts = z
  .strictObject({
    type: text.meta({ description: 'The driver: QEMU, Test.' }),
    version: text.meta({ description: 'Of the hypervisor: 7.2.19.' }),
    libvirt_version: text,
    uri: text,
    arch: text,
    cpu_model: text,
    cpus: count,
    mhz: count,
    numa_nodes: count,
    sockets: count.meta({ description: 'Per NUMA node.' }),
    cores_per_socket: count,
    threads_per_core: count,
    memory_bytes: count,
    guests: z.array(z.strictObject({ os: text, arch: text, accelerators: z.array(text) })),
    host_uuid: text,
    os: text.meta({ description: 'PRETTY_NAME of /etc/os-release.' }),
    kernel: text,
  })
  .partial();
export type HypervisorFacts = z.infer<typeof HypervisorFacts>;

export const RegisterRequest = z.strictObject({
  agent_id: agentId,
  name: text.meta({ description: 'The host’s name in the inventory.' }),
  hostname: text.meta({ description: 'What the host calls itself; its address while that is not known.' }),
  libvirt_uri: text,
  version: text.meta({ description: 'Of the collector.' }),
  operations: z.array(text).meta({ description: 'VM jobs that may be asked of this host.' }),
  hypervisor: HypervisorFacts,
  labels: z.record(z.string(), z.string()),
  collector: z.strictObject({ id: text, name: text, version: text }),
});
export type RegisterRequest = z.infer<typeof RegisterRequest>;

export const RefreshRequest = z.strictObject({ refresh_token: token });
export type RefreshRequest = z.infer<typeof RefreshRequest>;

export const Tokens = z.object({
  agent_id: agentId.optional(),
  access_token: token.meta({ description: 'A JWT, sent as `Authorization: Bearer`.' }),
  expires_in: z
    .number()
    .positive()
    .max(10 * 365 * 86_400)
    .meta({ description: 'Life of the access token, seconds.' }),
  refresh_token: token
    .optional()
    .meta({ description: 'Absent in the answer to a refresh: the old one stays good.' }),
});
export type Tokens = z.infer<typeof Tokens>;

export const agentStatuses = ['online', 'degraded', 'unreachable', 'maintenance'] as const;
export const AgentStatus = z.enum(agentStatuses);
export type AgentStatus = z.infer<typeof AgentStatus>;

export const LastError = z.strictObject({
  code: text.meta({ description: 'For machines: HOST_KEY_MISMATCH, TIMEOUT, AUTH_FAILED, …' }),
  message: text,
  hint: text.optional().meta({ description: 'What to do about it.' }),
});
export type LastError = z.infer<typeof LastError>;

export const HeartbeatRequest = z.strictObject({
  status: AgentStatus,
  at,
  sample_age_seconds: figure
    .optional()
    .meta({ description: 'Age of the newest good sample of the VMs. Absent when there never was one.' }),
  vms: z
    .strictObject({ total: count, by_state: z.record(z.string(), count) })
    .optional()
    .meta({ description: 'As of that sample.' }),
  last_error: LastError.optional().meta({
    description: 'Why it is not online. Absent when nothing is wrong.',
  }),
});
export type HeartbeatRequest = z.infer<typeof HeartbeatRequest>;

/** A VM job as CONTRACT section 5 has it, in snake_case; `host` is the agent's own and may be left out. */
export const HeartbeatJob = z.looseObject({
  op: z.string().meta({ description: 'start, stop, restart, … ' }),
  request_id: z.string().meta({
    description: 'Names the job for good: given twice, it is done once. Also the job_id of its result.',
  }),
  host: z.string().nullish(),
  vm: z.string().nullish().meta({ description: 'Name or UUID.' }),
  expected_uuid: z.string().nullish(),
  params: z
    .record(z.string(), z.unknown())
    .nullish()
    .meta({ description: 'The operation’s own, spelt as in the documentation of the jobs.' }),
  requested_by: z.string().nullish(),
  reason: z.string().nullish(),
  deadline: z.string().nullish(),
  dry_run: z.boolean().nullish(),
});
export type HeartbeatJob = z.infer<typeof HeartbeatJob>;

export const HeartbeatAnswer = z.object({
  latest_version: z.string().max(100).nullish(),
  jobs: z.array(z.unknown()).nullish().meta({ description: 'Each a HeartbeatJob.' }),
});
export type HeartbeatAnswer = z.infer<typeof HeartbeatAnswer>;

/** Bytes and counts since the VM or the host started (totals), and per second since the last report (rates). */
const DiskFigures = z.strictObject({
  device: text,
  read_bytes_total: figure.optional(),
  written_bytes_total: figure.optional(),
  reads_total: figure.optional(),
  writes_total: figure.optional(),
  read_bytes_per_second: figure.optional(),
  written_bytes_per_second: figure.optional(),
  reads_per_second: figure.optional(),
  writes_per_second: figure.optional(),
  capacity_bytes: figure.optional(),
  allocation_bytes: figure.optional(),
});

const InterfaceFigures = z.strictObject({
  device: text,
  received_bytes_total: figure.optional(),
  transmitted_bytes_total: figure.optional(),
  received_packets_total: figure.optional(),
  transmitted_packets_total: figure.optional(),
  received_bytes_per_second: figure.optional(),
  transmitted_bytes_per_second: figure.optional(),
  received_packets_per_second: figure.optional(),
  transmitted_packets_per_second: figure.optional(),
});

export const VmFigures = z.strictObject({
  name: text,
  uuid: z.guid(),
  state: z.enum([...domainStates, 'unknown']),
  busy: z.boolean().meta({
    description: 'libvirt could not ask its QEMU process: figures that come from there are absent.',
  }),
  vcpus: count.optional(),
  cpu_seconds_total: figure.optional(),
  cpu_percent: figure.optional().meta({ description: '100 is one processor.' }),
  memory_maximum_bytes: figure.optional(),
  memory_current_bytes: figure.optional(),
  memory_rss_bytes: figure.optional(),
  memory_available_bytes: figure.optional().meta({ description: 'As the guest’s balloon driver says.' }),
  memory_usable_bytes: figure.optional(),
  disks: z.array(DiskFigures),
  interfaces: z.array(InterfaceFigures),
});
export type VmFigures = z.infer<typeof VmFigures>;

export const SystemFigures = z.strictObject({
  uptime_seconds: figure.optional(),
  cpus: count.optional(),
  cpu_percent: figure.optional().meta({ description: '100 is all processors.' }),
  cpu_iowait_percent: figure.optional(),
  load1: figure.optional(),
  load5: figure.optional(),
  load15: figure.optional(),
  memory_total_bytes: figure.optional(),
  memory_available_bytes: figure.optional(),
  swap_total_bytes: figure.optional(),
  swap_free_bytes: figure.optional(),
  filesystems: z
    .array(
      z.strictObject({
        mountpoint: text,
        device: text,
        type: text,
        size_bytes: figure,
        available_bytes: figure,
      }),
    )
    .optional(),
  disks: z.array(DiskFigures).optional(),
  interfaces: z.array(InterfaceFigures).optional(),
});
export type SystemFigures = z.infer<typeof SystemFigures>;

export const MetricsRequest = z.strictObject({
  at,
  system: z
    .strictObject({ at, interval_seconds: figure.optional(), figures: SystemFigures })
    .optional()
    .meta({ description: 'Absent when there is no fresh sample. `at`: when the host was read.' }),
  vms: z
    .strictObject({ at, interval_seconds: figure.optional(), figures: z.array(VmFigures) })
    .optional()
    .meta({ description: 'Absent when there is no fresh sample; rates are over interval_seconds.' }),
});
export type MetricsRequest = z.infer<typeof MetricsRequest>;

export const AgentEvent = z.strictObject({
  sequence: z
    .int()
    .min(1)
    .meta({ description: 'Per agent, rising by one; kept over restarts. A gap: events were dropped.' }),
  at,
  event: text.meta({
    description:
      'defined, undefined, started, suspended, resumed, stopped, shutdown, pmsuspended, crashed, rebooted, unknown; or lost: `count` events went by unseen, look again at every VM.',
  }),
  detail: text.optional().meta({ description: 'The reason, in libvirt’s words: destroyed, migrated, …' }),
  vm: vm.optional(),
  count: count.optional(),
});
export type AgentEvent = z.infer<typeof AgentEvent>;

export const EventsRequest = z.strictObject({ events: z.array(AgentEvent).min(1).max(eventsPerReportMax) });
export type EventsRequest = z.infer<typeof EventsRequest>;

const job = { job_id: id, request_id: id, op: text, host: text, finished_at: at };

/** The return value of CONTRACT section 5 in snake_case, or the error. `before`, `after` and `data` are the operation’s own. */
export const JobResultRequest = z.discriminatedUnion('status', [
  z.strictObject({
    status: z.literal('completed'),
    ...job,
    vm: vm.nullable(),
    outcome: z.enum(['changed', 'unchanged', 'planned']),
    before: z.unknown(),
    after: z.unknown(),
    steps: z.array(z.looseObject({ at: z.string(), step: z.string() })),
    data: z.unknown(),
    duration_ms: figure,
  }),
  z.strictObject({
    status: z.literal('failed'),
    ...job,
    error: z.strictObject({
      code: z.string().meta({ description: 'VM_NOT_FOUND, GUEST_TIMEOUT, OUTCOME_UNKNOWN, …' }),
      message: z.string(),
    }),
  }),
]);
export type JobResultRequest = z.infer<typeof JobResultRequest>;

/** Any answer whose content does not matter to us. */
export const Accepted = z.unknown();

/** GET /api/agent/status, for people; the collector never calls it. */
export const StatusAnswer = z.object({
  agents: z.array(
    z.looseObject({
      agent_id: z.string(),
      name: z.string(),
      status: AgentStatus.optional(),
      registered_at: at.optional(),
      last_heartbeat_at: at.optional(),
    }),
  ),
});
export type StatusAnswer = z.infer<typeof StatusAnswer>;

/** RFC 9457; what else an error's body says is not read. */
export const Problem = z.object({
  title: z.string().optional(),
  detail: z.string().optional(),
  message: z.string().optional(),
  error: z.string().optional(),
});

export const callNames = [
  'register',
  'token_refresh',
  'heartbeat',
  'metrics',
  'events',
  'job_result',
] as const;
export type CallName = (typeof callNames)[number];

/** `path`: with `{id}` and `{job_id}`. `auth`: what the bearer token is. */
export type Call = {
  readonly path: string;
  readonly body: z.ZodType;
  readonly answer: z.ZodType;
  readonly status: 200 | 201 | 202;
  readonly auth: 'bootstrap' | 'none' | 'agent';
};

/** All are POST. Answers with any 2xx status are taken. */
export const calls = {
  register: {
    path: '/api/agent/register',
    body: RegisterRequest,
    answer: Tokens.extend({ refresh_token: token }),
    status: 201,
    auth: 'bootstrap',
  },
  token_refresh: {
    path: '/api/agent/token/refresh',
    body: RefreshRequest,
    answer: Tokens,
    status: 200,
    auth: 'none',
  },
  heartbeat: {
    path: '/api/agent/{id}/heartbeat',
    body: HeartbeatRequest,
    answer: HeartbeatAnswer,
    status: 200,
    auth: 'agent',
  },
  metrics: {
    path: '/api/agent/{id}/metrics',
    body: MetricsRequest,
    answer: Accepted,
    status: 202,
    auth: 'agent',
  },
  events: {
    path: '/api/agent/{id}/events',
    body: EventsRequest,
    answer: Accepted,
    status: 202,
    auth: 'agent',
  },
  job_result: {
    path: '/api/agent/{id}/jobs/{job_id}/result',
    body: JobResultRequest,
    answer: Accepted,
    status: 202,
    auth: 'agent',
  },
} as const satisfies Record<CallName, Call>;

/** Of events and results, which come at least once: the same value is the same report. */
export const idempotencyHeader = 'idempotency-key';

/** The keys of a job as the job queue spells them; keys that are not known stay as they are, for the queue to refuse. */
const jobKeys: Readonly<Record<string, string>> = {
  request_id: 'requestId',
  expected_uuid: 'expectedUuid',
  requested_by: 'requestedBy',
  dry_run: 'dryRun',
};

export type BackendJob = { op: string; requestId: string; data: Record<string, unknown> };

const AnyJob = z.looseObject({ op: z.string(), request_id: z.string() });

/** A job of a heartbeat's answer as JobQueue takes it; undefined when it has no `op` or no `request_id`. */
export function backendJob(given: unknown, host: string): BackendJob | undefined {
  const parsed = AnyJob.safeParse(given);
  if (!parsed.success) return undefined;
  const { op, ...rest } = parsed.data;
  const entries = Object.entries(rest)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => [Object.hasOwn(jobKeys, key) ? `${jobKeys[key]}` : key, value]);
  return { op, requestId: parsed.data.request_id, data: { host, ...Object.fromEntries(entries) } };
}
