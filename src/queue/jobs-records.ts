// What the store must remember of a request so that it is done once: its body, who leads, what was begun, its answer; and
// the lock of each VM. Typed calls over the scripts. It refuses to decide: each answer is the store's.
import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { ParsedJob, VmIdentity } from '../ops/job.js';
import type { BegunAct } from '../ops/operation.js';
import {
  cancelScript,
  finishScript,
  gateScript,
  jobPrefix,
  lockScript,
  openScript,
  releaseScript,
  renewScript,
  runScript,
} from './jobs-scripts.js';

/** CONTRACT: the same request answers with the same result for so long. */
export const requestKeptMs = 7 * 86_400_000;
/** An answer of a job that only reads may be large, and reading again is harmless: this long is enough for it. */
const largeReadKeptMs = 3_600_000;
const largeAnswerChars = 64 * 1024;
/** A process is taken for dead when it did not say a word for so long. */
export const lifeMs = 15_000;
/** A lock on a VM, before the first act and after: after it, whoever takes over needs time to settle. */
export const leaseMs = 15_000;
export const begunLeaseMs = 60_000;
/** A waiter of a VM that did not ask for so long has lost its place. */
const waiterMs = 30_000;

const lifePrefix = 'outrigger:life:';
const seqKey = 'outrigger:jobs:seq';
const fenceKey = 'outrigger:jobs:fence';
/** The owner of a job listens here; a message is the request's hash. */
export const cancelChannel = 'outrigger:cancel';

export type Opened =
  /** `vm`: the one that an earlier delivery had locked. */
  | { kind: 'lead' | 'cancelled' | 'begun'; seq: string; begun: BegunAct[]; vm: VmIdentity | undefined }
  | { kind: 'done'; ok: boolean; answer: string }
  /** Another job with this request leads. */
  | { kind: 'follow' }
  /** Another live engine works on this very job. */
  | { kind: 'held' }
  /** The same request was made with another body. */
  | { kind: 'other' };

export type Locked = { kind: 'held'; holder: string } | { kind: 'busy' | 'lost' };
export type Kept = 'ok' | 'lost' | 'cancelled';
export type Finished = {
  kind: 'done' | 'lost';
  ok: boolean;
  answer: string;
  /** Jobs that wait for this one. */
  wake: string[];
};

/** What identifies a run of a job in the store. */
export type Claim = {
  jobId: string;
  job: ParsedJob;
  hash: string;
  seq: string;
  begun: readonly BegunAct[];
  lock: { key: string; holder: string; vm: VmIdentity | undefined } | undefined;
};

export function requestHash(requestId: string): string {
  return createHash('sha256').update(requestId).digest('hex');
}

/** Any client may set this key, to whatever value, to cancel a job. */
export function cancelKey(jobId: string): string {
  return `outrigger:cancel:${jobId}`;
}

/** By name while there is no such VM. */
export function vmKey(job: ParsedJob, vm: VmIdentity | undefined): string {
  return `outrigger:vm:${job.host}/${vm ? vm.uuid : `name:${job.vm}`}`;
}

function recordKey(hash: string): string {
  return `outrigger:request:${hash}`;
}

const noKey = 'outrigger:none';

export class JobRecords {
  /** This run of the process; another one after a restart. */
  readonly life = randomBytes(9).toString('base64url');
  readonly #client: Redis;
  readonly #instanceKey: string;

  constructor(client: Redis, instanceId: string) {
    this.#client = client;
    this.#instanceKey = `outrigger:instance:${instanceId}`;
  }

  /** Says that this life lives. `alone`: a former life of this instance is dead for certain. */
  async beat(alone = false): Promise<void> {
    if (alone) {
      const former = await this.#client.get(this.#instanceKey);
      if (former && former !== this.life) await this.#client.del(lifePrefix + former);
    }
    await this.#client
      .pipeline()
      .set(lifePrefix + this.life, '1', 'PX', lifeMs)
      .set(this.#instanceKey, this.life, 'PX', requestKeptMs)
      .exec();
  }

  async endLife(): Promise<void> {
    await this.#client.del(lifePrefix + this.life);
  }

  async isAlive(life: string): Promise<boolean> {
    return (await this.#client.exists(lifePrefix + life)) === 1;
  }

  async isLocked(jobId: string): Promise<boolean> {
    return (await this.#client.exists(`${jobPrefix}${jobId}:lock`)) === 1;
  }

  /** Seconds since the store's process started. */
  async storeUptimeMs(): Promise<number> {
    const seconds = /^uptime_in_seconds:(\d+)/m.exec(await this.#client.info('server'))?.[1];
    return Number(seconds ?? 0) * 1_000;
  }

  /** Claims the request for this job. `busy`: this process works on the request now. */
  async open(job: ParsedJob, jobId: string, busy: boolean): Promise<Opened> {
    const key = recordKey(requestHash(job.requestId));
    const [kind, ...rest] = (await runScript(this.#client, openScript, [
      ...[key, `${key}:followers`, seqKey, cancelKey(jobId)],
      ...[job.bodyHash, jobId, this.life, lifePrefix, requestKeptMs, busy ? '1' : '0'],
    ])) as [Opened['kind'], ...unknown[]];
    const [first, second, third] = rest.map(String);
    switch (kind) {
      case 'lead':
      case 'cancelled':
      case 'begun':
        return {
          kind,
          seq: first ?? '0',
          vm: second ? JSON.parse(second) : undefined,
          begun: third ? JSON.parse(third) : [],
        };
      case 'done':
        return { kind, ok: first === '1', answer: second ?? '' };
      default:
        return { kind };
    }
  }

  async lock(claim: Claim, vm: VmIdentity | undefined): Promise<Locked & { key: string }> {
    const key = vmKey(claim.job, vm);
    const [kind, holder] = (await runScript(this.#client, lockScript, [
      ...[key, `${key}:waiters`, fenceKey, recordKey(claim.hash)],
      ...[claim.jobId, this.life, lifePrefix, leaseOf(claim), claim.seq, waiterMs],
      vm ? JSON.stringify(vm) : '',
    ])) as [Locked['kind'], string];
    return kind === 'held' ? { kind, holder, key } : { kind, key };
  }

  /** Records that an act begins, unless the job is cancelled or no longer ours. */
  async gate(claim: Claim, begun: readonly BegunAct[]): Promise<Kept> {
    const { lock } = claim;
    return (await runScript(this.#client, gateScript, [
      ...[recordKey(claim.hash), lock?.key ?? noKey, cancelKey(claim.jobId)],
      ...[this.life, claim.jobId, lock?.holder ?? '', begunLeaseMs, JSON.stringify(begun)],
    ])) as Kept;
  }

  /** Keeps the claim and the lock, and puts back what a crash of the store lost of them. */
  async renew(claim: Claim): Promise<Kept> {
    const { lock, begun } = claim;
    return (await runScript(this.#client, renewScript, [
      ...[recordKey(claim.hash), lock?.key ?? noKey, cancelKey(claim.jobId)],
      ...[this.life, claim.jobId, lock?.holder ?? '', leaseOf(claim), claim.job.bodyHash, claim.seq],
      begun.length > 0 ? JSON.stringify(begun) : '',
      lock?.vm ? JSON.stringify(lock.vm) : '',
      requestKeptMs,
    ])) as Kept;
  }

  /** Writes the answer for good, gives the lock back, and says which answer counts. */
  async finish(
    claim: Claim,
    own: { ok: boolean; answer: string },
    whenCancelled: string,
    acts: boolean,
  ): Promise<Finished> {
    const key = recordKey(claim.hash);
    const lockKey = claim.lock?.key ?? noKey;
    const large = !acts && own.answer.length > largeAnswerChars;
    const [kind, ok, answer, ...wake] = (await runScript(this.#client, finishScript, [
      ...[key, `${key}:followers`, lockKey, `${lockKey}:waiters`, cancelKey(claim.jobId)],
      ...[this.life, claim.jobId, claim.lock?.holder ?? '', claim.job.bodyHash],
      ...[own.ok ? '1' : '0', own.answer, whenCancelled, large ? largeReadKeptMs : requestKeptMs],
    ])) as [Finished['kind'], string, string, ...string[]];
    return { kind, ok: ok === '1', answer, wake: wake.filter(Boolean) };
  }

  /** Lets go of the job without an answer. Resolves with the job that waits for the VM. */
  async release(claim: Claim, keepLockMs = 0): Promise<string | undefined> {
    const lockKey = claim.lock?.key ?? noKey;
    const next = await runScript(this.#client, releaseScript, [
      ...[recordKey(claim.hash), lockKey, `${lockKey}:waiters`],
      ...[this.life, claim.jobId, claim.lock?.holder ?? '', keepLockMs],
    ]);
    return next ? String(next) : undefined;
  }

  /** Asks for the request to be cancelled, whichever job leads it. */
  async cancel(
    job: ParsedJob,
    jobId: string,
  ): Promise<{ kind: 'cancelled' | 'too late' | 'unknown'; leader?: string }> {
    const hash = requestHash(job.requestId);
    const [kind, leader] = (await runScript(this.#client, cancelScript, [
      ...[recordKey(hash), seqKey, job.bodyHash, jobId, requestKeptMs],
    ])) as ['cancelled' | 'too late' | 'unknown', string?];
    if (kind === 'cancelled') await this.#client.publish(cancelChannel, hash);
    return leader ? { kind, leader } : { kind };
  }

  /** The job that leads a request, and whether its body is this one. */
  async leader(job: ParsedJob): Promise<{ jobId: string; sameBody: boolean } | undefined> {
    const key = recordKey(requestHash(job.requestId));
    const [body, jobId] = await this.#client.hmget(key, 'body', 'job');
    return jobId ? { jobId, sameBody: body === job.bodyHash } : undefined;
  }
}

export function leaseOf({ begun }: Pick<Claim, 'begun'>): number {
  return begun.length > 0 ? begunLeaseMs : leaseMs;
}
