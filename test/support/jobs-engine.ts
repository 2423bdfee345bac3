// The job engine in a process of its own, to be killed. Its one operation has two acts, each of which leaves a line in a
// file when it begins and when it is done; `params.stopAt` makes it stop at a point for good, and says so in the file.
// Arguments: store URL, directory, instance.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { JobError, type JobResult, type ParsedJob } from '../../src/ops/job.js';
import { urlAddress } from '../../src/queue/connection.js';
import { JobQueue } from '../../src/queue/jobs.js';
import type { JobAuditEntry, JobLife } from '../../src/queue/jobs-types.js';
import { FakeWork, FileAudit, note, resultOf, vmOf } from './job-work.js';

const [url = '', directory = '', instanceId = ''] = process.argv.slice(2);
const file = join(directory, 'acts');
const acts = ['destroy', 'undefine'];

type Params = { stopAt?: string; actMs?: number };

async function point(job: { requestId: string; params?: unknown }, name: string): Promise<void> {
  const { stopAt } = (job.params ?? {}) as Params;
  if (stopAt !== name || said(job.requestId, 'stopped')) return;
  note(file, `${job.requestId} stopped`);
  await new Promise(() => undefined);
}

function said(requestId: string, what: string): boolean {
  return existsSync(file) && readFileSync(file, 'utf8').split('\n').includes(`${requestId} ${what}`);
}

const asked = new Map<string, ParsedJob>();

class StoppingAudit extends FileAudit {
  override async append(entry: JobAuditEntry): Promise<void> {
    await super.append(entry);
    const job = asked.get(entry.requestId);
    if (job) await point(job, entry.kind === 'begin' ? `recorded ${entry.act}` : entry.kind);
  }
}

class FileWork extends FakeWork {
  override async run(job: ParsedJob, life: JobLife): Promise<JobResult> {
    asked.set(job.requestId, job);
    const vm = vmOf(job);
    if (vm) await life.resolved?.(vm);
    for (const act of acts) await this.#act(job, life, act);
    await point(job, 'verify');
    return resultOf(job);
  }

  override async settle(job: ParsedJob, life: JobLife): Promise<JobResult> {
    const { requestId } = job;
    for (const act of acts) {
      if (said(requestId, `${act} done`)) continue;
      if (said(requestId, `${act} begun`)) throw new JobError('OUTCOME_UNKNOWN', `interrupted in ${act}`);
      if (act === acts[0]) throw new JobError('CANCELLED', 'interrupted, and not done');
      await this.#act(job, life, act);
    }
    return resultOf(job);
  }

  async #act(job: ParsedJob, life: JobLife, act: string): Promise<void> {
    const { requestId } = job;
    const vm = vmOf(job);
    await point(job, `gate ${act}`);
    await life.beforeAct(act, { ...(vm && { vm }), before: { state: 'running' } });
    note(file, `${requestId} ${act} begun`);
    await point(job, `act ${act}`);
    await delay(((job.params ?? {}) as Params).actMs ?? 0);
    note(file, `${requestId} ${act} done`);
    await point(job, `done ${act}`);
  }
}

const queue = JobQueue.start({
  store: urlAddress(url),
  work: new FileWork(),
  audit: new StoppingAudit(join(directory, 'audit')),
  instanceId,
  exclusive: instanceId === 'alone',
  hostCap: 64,
  sweepEveryMs: 1_000,
  strangerGraceMs: 2_000,
});
const alive = setInterval(() => undefined, 60_000);
process.on('SIGTERM', () => {
  void queue.close(5_000).then(() => clearInterval(alive));
});
process.on('unhandledRejection', (error) => note(join(directory, 'unhandled'), String(error)));
while (!(await queue.stats())) await delay(10);
process.stdout.write('ready\n');
