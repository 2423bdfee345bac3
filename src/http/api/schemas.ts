// The JSON shapes of the API: what a client may rely on. Names are camelCase with the unit last; what is not known is
// absent, never 0 or null. It holds shapes only and refuses to know where values come from.
import { z } from 'zod';
import { sessionStates } from '../../fleet/session.js';
import { domainStates } from '../../libvirt/procedures.js';
import { jobCodes, operationNames } from '../../ops/job.js';

const bytes = z.number().int().nonnegative();
const seconds = z.number().nonnegative();
const time = z.iso.datetime().meta({ examples: ['2026-11-21T03:00:00.000Z'] });

/** Why something is as it is: a code for machines, words for people. */
export const Cause = z
  .object({
    code: z.string().meta({ examples: ['HOST_KEY_MISMATCH'] }),
    message: z.string(),
    hint: z.string().optional().describe('What to do about it'),
  })
  .meta({ id: 'Cause' });
export type Cause = z.infer<typeof Cause>;

export const Host = z
  .object({
    name: z.string().meta({ examples: ['kvm-01'] }),
    address: z.string(),
    groups: z.array(z.string()),
    labels: z.record(z.string(), z.string()).meta({ examples: [{ dc: 'ams1' }] }),
    state: z.enum(sessionStates),
    since: time.describe('When the state began'),
    cause: Cause.optional().describe('Why the host is not up'),
    maintenance: z.boolean(),
    ops: z.object({
      allowed: z.boolean().describe('Whether the host takes jobs that change something'),
      why: z.string().optional().describe('Why not'),
    }),
    ssh: z.boolean().describe('The way there is open'),
    libvirt: z.boolean().describe('libvirt is connected'),
    files: z.boolean().describe("The host's files can be read"),
    via: z.string().optional().describe('What carries libvirt: a socket or a helper'),
    stale: z
      .boolean()
      .describe('The figures are not news any more: of a host that is away, or that stopped answering'),
    sampledAt: time.optional().describe('Of the newest good poll of any kind'),
    sampleAgeSeconds: seconds.optional().describe('Of the same poll, when this answer was made'),
    vms: z.object({ total: z.number().int(), running: z.number().int() }).optional(),
    cpus: z.number().int().optional(),
    load: z.object({ one: z.number(), five: z.number(), fifteen: z.number() }).optional(),
    memory: z.object({ totalBytes: bytes, availableBytes: bytes }).optional(),
    filesystems: z
      .array(z.object({ mountpoint: z.string(), sizeBytes: bytes, availableBytes: bytes }))
      .optional()
      .describe('The fullest first'),
    uptimeSeconds: seconds.optional(),
    kernel: z
      .string()
      .optional()
      .meta({ examples: ['Linux 6.1.0-28-cloud-amd64'] }),
    os: z
      .string()
      .optional()
      .meta({ examples: ['Debian GNU/Linux 12 (bookworm)'] }),
    problems: z.array(z.string()).optional().describe('What the last poll could not read'),
  })
  .meta({ id: 'Host' });
export type Host = z.infer<typeof Host>;

export const VmDisk = z
  .object({
    device: z.string().meta({ examples: ['vda'] }),
    capacityBytes: bytes.optional(),
    allocationBytes: bytes.optional(),
    readBytesTotal: bytes.optional(),
    writtenBytesTotal: bytes.optional(),
    readsTotal: bytes.optional(),
    writesTotal: bytes.optional(),
  })
  .meta({ id: 'VmDisk' });
export type VmDisk = z.infer<typeof VmDisk>;

export const VmInterface = z
  .object({
    device: z.string().meta({ examples: ['vnet3'] }),
    receivedBytesTotal: bytes.optional(),
    transmittedBytesTotal: bytes.optional(),
    receivedPacketsTotal: bytes.optional(),
    transmittedPacketsTotal: bytes.optional(),
  })
  .meta({ id: 'VmInterface' });
export type VmInterface = z.infer<typeof VmInterface>;

export const Vm = z
  .object({
    host: z.string().meta({ examples: ['kvm-01'] }),
    name: z.string().meta({ examples: ['web-1'] }),
    uuid: z.string().meta({ examples: ['7d3e2c1a-0b4f-4c6d-9e8a-1f2b3c4d5e6f'] }),
    state: z.enum([...domainStates, 'unknown']),
    reason: z
      .string()
      .optional()
      .describe("libvirt's reason for the state")
      .meta({ examples: ['booted'] }),
    busy: z.boolean().describe('libvirt could not ask its QEMU process in time; some figures are missing'),
    stale: z.boolean().describe('As of the last good poll of its host, which is not news any more'),
    sampledAt: time,
    vcpus: z.number().int().optional(),
    cpuSecondsTotal: seconds.optional(),
    memory: z.object({
      maximumBytes: bytes.optional(),
      currentBytes: bytes.optional(),
      rssBytes: bytes.optional(),
      availableBytes: bytes.optional(),
      usableBytes: bytes.optional(),
    }),
    disks: z.array(VmDisk),
    interfaces: z.array(VmInterface),
  })
  .meta({ id: 'Vm' });
export type Vm = z.infer<typeof Vm>;

export const jobStates = ['waiting', 'active', 'delayed', 'completed', 'failed', 'unknown'] as const;

const VmIdentity = z.object({ name: z.string(), uuid: z.string() });
export const JobStep = z.object({ at: z.string(), step: z.string() }).meta({ id: 'JobStep' });
export type JobStep = z.infer<typeof JobStep>;

/** CONTRACT 5: the return value of a job. */
export const JobResult = z
  .object({
    op: z.string(),
    host: z.string(),
    vm: VmIdentity.nullable(),
    outcome: z.enum(['changed', 'unchanged', 'planned']),
    before: z.unknown(),
    after: z.unknown(),
    steps: z.array(JobStep),
    data: z.unknown(),
    durationMs: z.number(),
  })
  .meta({ id: 'JobResult' });
export type JobResult = z.infer<typeof JobResult>;

export const JobFailure = z
  .object({
    code: z.enum([...jobCodes, 'UNKNOWN']),
    message: z.string().meta({ examples: ['kvm-01 has no VM "web-9"'] }),
  })
  .meta({ id: 'JobFailure' });
export type JobFailure = z.infer<typeof JobFailure>;

export const Job = z
  .object({
    id: z.string().meta({ examples: ['j5f2c9a1e0b7d43c88f10'] }),
    op: z
      .string()
      .meta({ examples: ['stop'] })
      .describe('The operation; not one of ours only if somebody enqueued nonsense'),
    state: z.enum(jobStates),
    host: z.string().optional(),
    vm: z.string().optional().describe('Name or UUID, as it was asked for'),
    expectedUuid: z.string().optional(),
    params: z.record(z.string(), z.unknown()).optional(),
    dryRun: z.boolean(),
    requestId: z.string().optional().describe('The Idempotency-Key'),
    requestedBy: z.string().optional(),
    reason: z.string().optional(),
    deadline: z.string().optional(),
    createdAt: time,
    startedAt: time.optional(),
    finishedAt: time.optional(),
    steps: z.array(JobStep),
    result: JobResult.optional(),
    failure: JobFailure.optional(),
    cancel: z
      .enum(['possible', 'maybe', 'too-late'])
      .describe('maybe: it runs, and can be cancelled until its first act has been sent'),
  })
  .meta({ id: 'Job' });
export type Job = z.infer<typeof Job>;

/** The body of POST /jobs. Who asks is who is signed in; the request's id is the Idempotency-Key. */
export const NewJob = z
  .strictObject({
    op: z.enum(operationNames),
    host: z.string().min(1).max(255),
    vm: z.string().min(1).max(255).nullish().describe('Name or UUID'),
    expectedUuid: z.string().max(36).nullish().describe('Wanted for delete: the VM must be this one'),
    params: z.record(z.string(), z.unknown()).nullish(),
    reason: z.string().max(1024).nullish(),
    deadline: z.string().max(64).nullish().describe('ISO time after which the job must not begin'),
    dryRun: z.boolean().nullish(),
  })
  .meta({ id: 'NewJob' });
export type NewJob = z.infer<typeof NewJob>;

export const AuditEntry = z
  .object({
    seq: z.number().int(),
    at: time,
    kind: z.string().meta({ examples: ['begin'] }),
    requestId: z.string().optional(),
    op: z.string().optional(),
    act: z.string().optional(),
    host: z.string().optional(),
    vm: VmIdentity.optional(),
    requestedBy: z.string().optional(),
    reason: z.string().optional(),
    before: z.unknown().optional(),
    after: z.unknown().optional(),
    outcome: z.string().optional(),
    error: z.string().optional(),
    hash: z.string(),
  })
  .meta({ id: 'AuditEntry' });
export type AuditEntry = z.infer<typeof AuditEntry>;

export const QueueState = z
  .object({
    name: z.string().meta({ examples: ['outrigger-vm-jobs'] }),
    waiting: z.number().int(),
    active: z.number().int(),
    delayed: z.number().int(),
    completed: z.number().int(),
    failed: z.number().int(),
    running: z.number().int().describe('Jobs in this process'),
    workers: z
      .number()
      .int()
      .optional()
      .describe('Processes that take jobs; absent where the store does not tell'),
    oldestWaitingSeconds: seconds.optional().describe('Absent when nothing waits'),
  })
  .meta({ id: 'QueueState' });
export type QueueState = z.infer<typeof QueueState>;

/** A page of a list. `next` is the cursor of the page after; absent on the last. */
export function pageOf<T extends z.ZodType>(item: T, id: string) {
  return z
    .object({
      items: z.array(item),
      next: z
        .string()
        .optional()
        .describe('The cursor of the next page; absent on the last. Also as Link rel="next"'),
      total: z.number().int().optional().describe('How many there are on all pages, where that is known'),
    })
    .meta({ id });
}
export type Page<T> = { items: T[]; next?: string | undefined; total?: number | undefined };

export const Problem = z
  .object({
    type: z.string().meta({ examples: ['urn:outrigger:problem:host-unknown'] }),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    hint: z.string().optional(),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem' });
export type Problem = z.infer<typeof Problem>;
