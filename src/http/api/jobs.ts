// Routes about jobs: ask for one, look, cancel, and how the queue stands. A job that is asked for is enqueued and no more: it is
// done by the queue's worker, which judges it again. It refuses to say who asks by the body's word, and to make two jobs of one
// Idempotency-Key.
import { z } from 'zod';
import { HostError } from '../../core/errors.js';
import { requestIdLengthMax } from '../../ops/job.js';
import { type JobsCursor, jobsScannedMax } from '../../queue/jobs-list.js';
import type { JobState } from '../../queue/jobs-types.js';
import type { Principal } from '../auth/principal.js';
import { HttpProblem } from '../problem.js';
import { type ApiApp, type ApiDeps, hostUnknown, maySee, principalOf, queueOf } from './context.js';
import { bodyProblems, notModified, ok, problems } from './docs.js';
import { headOf, jobOf } from './job-view.js';
import { cursorParam, decodeCursor, encodeCursor, isKnown, limitParam, linkNext } from './paging.js';
import { Job, NewJob, pageOf, QueueState } from './schemas.js';

export const jobLimitMax = 200;
const idLengthMax = 200;
const textLengthMax = 255;

const JobPage = pageOf(Job, 'JobPage');
const listedStates = [
  'waiting',
  'active',
  'delayed',
  'completed',
  'failed',
] as const satisfies readonly JobState[];
const JobQuery = z.strictObject({
  limit: limitParam(jobLimitMax),
  cursor: cursorParam,
  state: z
    .union([z.enum(listedStates), z.array(z.enum(listedStates)).max(listedStates.length)])
    .optional()
    .describe('May be repeated'),
  host: z.string().min(1).max(textLengthMax).optional(),
  vm: z.string().min(1).max(textLengthMax).optional().describe('As it was asked for'),
  op: z.string().min(1).max(textLengthMax).optional(),
  requestedBy: z.string().min(1).max(textLengthMax).optional(),
});
const JobParams = z.object({ id: z.string().min(1).max(idLengthMax) });
const JobsPlace = z.tuple([z.enum(['unfinished', 'finished']), z.number(), z.string()]);

const IdempotencyKey = z.object({
  'idempotency-key': z
    .string()
    .max(requestIdLengthMax + 2)
    .optional()
    .describe('Yours, new for each thing that you want done; the same again within 7 days is the same job'),
});

export function addJobs(app: ApiApp, deps: ApiDeps): void {
  addReads(app, deps);
  addWrites(app, deps);
  addQueue(app, deps);
}

function addReads(app: ApiApp, deps: ApiDeps): void {
  app.get(
    '/jobs',
    {
      config: { need: 'read' },
      schema: {
        tags: ['jobs'],
        summary: 'Jobs: the unfinished first, then the last ended',
        description: `Looks at ${jobsScannedMax} jobs at most for one page: with a filter that few pass, a page may be short, or empty, and still have a \`next\`. A job that ends while you page may be seen twice. Items show the last step only.`,
        querystring: JobQuery,
        response: {
          200: ok(JobPage, 'A page of jobs'),
          304: notModified,
          ...problems('store-away'),
        },
      },
    },
    async (request, reply) => {
      const { limit, cursor, state } = request.query;
      const place = decodeCursor(cursor, JobsPlace);
      const after: JobsCursor | undefined = place && { part: place[0], ms: place[1], id: place[2] };
      const states = new Set<JobState>(state === undefined ? listedStates : [state].flat());
      const matches = filterOf(deps, principalOf(request), request.query);
      const { jobs, next } = await queueOf(deps).list({ states, limit, after, matches });
      const items = jobs.map((job) => jobOf(job, 'listed'));
      const nextCursor = next && encodeCursor([next.part, next.ms, next.id]);
      if (isKnown(request, reply, [JSON.stringify(items), nextCursor ?? ''])) return reply.code(304).send();
      linkNext(request, reply, nextCursor);
      return reply.send({ items, ...(nextCursor && { next: nextCursor }) });
    },
  );

  app.get(
    '/jobs/:id',
    {
      config: { need: 'read' },
      schema: {
        tags: ['jobs'],
        summary: 'One job',
        params: JobParams,
        response: { 200: ok(Job, 'The job'), ...problems('job-unknown', 'store-away') },
      },
    },
    async (request) => findJob(deps, principalOf(request), request.params.id),
  );
}

function addWrites(app: ApiApp, deps: ApiDeps): void {
  app.post(
    '/jobs',
    {
      config: { need: 'operate' },
      schema: {
        tags: ['jobs'],
        summary: 'Ask for a job',
        description:
          'Enqueues it. Whether it can be done is judged when it runs: look at the job, or listen to the stream. An operator may ask for what can be undone; an admin for everything.',
        headers: IdempotencyKey,
        body: NewJob,
        response: {
          202: ok(Job, 'The new job; `Location` says where it is'),
          200: ok(Job, 'The job that this Idempotency-Key stands for already'),
          ...problems(
            ...bodyProblems,
            ...([
              'idempotency-key-missing',
              'idempotency-key-reused',
              'host-unknown',
              'store-away',
              'busy',
            ] as const),
          ),
        },
      },
    },
    async (request, reply) => {
      const requestId = keyOf(request.headers['idempotency-key']);
      const { job, existing } = await askForJob(deps, principalOf(request), request.body, requestId);
      return reply
        .code(existing ? 200 : 202)
        .header('location', `/api/v1/jobs/${encodeURIComponent(job.id)}`)
        .send(job);
    },
  );

  app.post(
    '/jobs/:id/cancel',
    {
      config: { need: 'operate' },
      schema: {
        tags: ['jobs'],
        summary: 'Cancel a job',
        description:
          'A good answer is a promise that the job does nothing. It ends as failed, with the code CANCELLED.',
        params: JobParams,
        response: {
          200: ok(Job, 'The job, which does nothing'),
          ...problems('job-unknown', 'too-late', 'store-away', 'busy'),
        },
      },
    },
    async (request) => {
      const { id } = request.params;
      const principal = principalOf(request);
      const { op } = await findJob(deps, principal, id);
      const answer = await queueOf(deps).cancel(id);
      if (answer === 'unknown') throw jobUnknown(id);
      if (answer === 'too late') {
        throw new HttpProblem('too-late', `the ${op} has ended, or has begun to act: it cannot be cancelled`);
      }
      return findJob(deps, principal, id);
    },
  );
}

function addQueue(app: ApiApp, deps: ApiDeps): void {
  app.get(
    '/queue',
    {
      config: { need: 'read' },
      schema: {
        tags: ['jobs'],
        summary: 'How the queue of jobs stands',
        response: { 200: ok(QueueState, 'Counts over all hosts'), ...problems('store-away') },
      },
    },
    async () => queueState(deps),
  );
}

/**
 * How the queue stands; also for the pages.
 * @throws HostError STORE
 */
export async function queueState(deps: ApiDeps): Promise<QueueState> {
  const queue = queueOf(deps);
  const [workers, stats] = await Promise.all([queue.workers(), queue.stats()]);
  if (!stats) throw new HostError('STORE', { message: 'the store is away' });
  const { oldestWaitMs, ...counts } = stats;
  return {
    name: queue.name,
    ...counts,
    ...(workers !== undefined && { workers }),
    ...(counts.waiting > 0 && { oldestWaitingSeconds: oldestWaitMs / 1000 }),
  };
}

/**
 * Asks for a job as this principal; also for the pages' forms.
 * @throws HttpProblem host-unknown, forbidden; JobError BAD_REQUEST; RequestReused; HostError STORE
 */
export async function askForJob(
  deps: ApiDeps,
  principal: Principal,
  { op, ...body }: NewJob,
  requestId: string,
): Promise<{ job: Job; existing: boolean }> {
  const may = principal.mayHost.bind(principal);
  if (!deps.view.find(body.host, may)) throw hostUnknown(deps, body.host, may);
  if (!principal.mayOp(op)) {
    throw new HttpProblem('forbidden', `${principal.name} is ${principal.role}, and may not ask for ${op}`);
  }
  const queue = queueOf(deps);
  const data = { ...body, requestId, requestedBy: principal.name };
  const { jobId, existing } = await queue.add(op, data);
  const view = await queue.get(jobId);
  if (!view) throw new HttpProblem('job-unknown', `the job ${jobId} was removed from the queue meanwhile`);
  return { job: jobOf(view), existing };
}

/** Throws the problem `job-unknown`, also for a job on a host that may not be seen. */
export async function findJob(deps: ApiDeps, principal: Principal, id: string): Promise<Job> {
  const view = await queueOf(deps).get(id);
  const job = view && jobOf(view);
  if (!job || !maySee(deps, principal, job.host)) throw jobUnknown(id);
  return job;
}

function jobUnknown(id: string): HttpProblem {
  return new HttpProblem('job-unknown', {
    detail: `no job ${JSON.stringify(id)}`,
    hint: 'Ended jobs are kept for 7 days, 5000 of each kind.',
  });
}

function filterOf(deps: ApiDeps, principal: Principal, query: z.infer<typeof JobQuery>) {
  const { host, vm, op, requestedBy } = query;
  return (head: Parameters<typeof headOf>[0]): boolean => {
    const job = headOf(head);
    if (op !== undefined && job.op !== op) return false;
    if (host !== undefined && job.host !== host) return false;
    if (vm !== undefined && job.vm !== vm) return false;
    if (requestedBy !== undefined && job.requestedBy !== requestedBy) return false;
    return maySee(deps, principal, job.host);
  };
}

/** The header as a requestId; quotes around it, as the draft of the standard has them, are not part of it. */
function keyOf(header: string | undefined): string {
  const key = header?.replace(/^"(.*)"$/, '$1') ?? '';
  if (key === '') {
    throw new HttpProblem('idempotency-key-missing', {
      detail: 'POST /jobs wants an Idempotency-Key header',
      hint: 'Send a new UUID for each thing that you want done, and the same one when you try again.',
    });
  }
  if (key.length <= requestIdLengthMax && /^[\x21-\x7e]+$/.test(key)) return key;
  const message = `must be 1 to ${requestIdLengthMax} visible ASCII characters`;
  throw new HttpProblem('validation', {
    detail: `Idempotency-Key: ${message}`,
    errors: [{ field: 'headers.idempotency-key', message }],
  });
}
