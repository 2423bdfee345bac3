// The jobs as the pages see them: the same calls as the API's routes, so that a form and a script are judged alike.
import type { JobsCursor } from '../../queue/jobs-list.js';
import type { JobState } from '../../queue/jobs-types.js';
import { type ApiDeps, maySee, queueOf } from '../api/context.js';
import { headOf, jobOf } from '../api/job-view.js';
import { askForJob, findJob, queueState } from '../api/jobs.js';
import { NewJob } from '../api/schemas.js';
import { HttpProblem } from '../problem.js';
import type { PageJobs } from './model.js';

const states = ['waiting', 'active', 'delayed', 'completed', 'failed'] as const satisfies readonly JobState[];
const cursorForm = /^(unfinished|finished)-(\d{1,16})-(.{1,200})$/s;

export function pageJobs(deps: ApiDeps): PageJobs {
  return {
    async list({ host, vm, op, state }, { limit, cursor }, principal) {
      const wanted = new Set<JobState>(state ? states.filter((one) => one === state) : states);
      const matches = (head: Parameters<typeof headOf>[0]) => {
        const job = headOf(head);
        if (op !== undefined && job.op !== op) return false;
        if (host !== undefined && job.host !== host) return false;
        if (vm !== undefined && job.vm !== vm) return false;
        return maySee(deps, principal, job.host);
      };
      const page = { states: wanted, limit, after: cursorOf(cursor), matches };
      const { jobs, next } = await queueOf(deps).list(page);
      return {
        items: jobs.map((job) => jobOf(job, 'listed')),
        ...(next && { next: `${next.part}-${next.ms}-${next.id}` }),
      };
    },

    async get(id, principal) {
      try {
        return await findJob(deps, principal, id);
      } catch (error) {
        if (error instanceof HttpProblem && error.type === 'job-unknown') return undefined;
        throw error;
      }
    },

    async add(job, idempotencyKey, principal) {
      const asked = await askForJob(deps, principal, NewJob.parse(job), idempotencyKey);
      return { id: asked.job.id };
    },

    cancel: async (id) => queueOf(deps).cancel(id),

    queue: () => queueState(deps),
  };
}

function cursorOf(text: string | undefined): JobsCursor | undefined {
  const [, part, ms, id] = cursorForm.exec(text ?? '') ?? [];
  if (part === undefined || id === undefined) return undefined;
  return { part: part as JobsCursor['part'], ms: Number(ms), id };
}
