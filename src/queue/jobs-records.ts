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
  lockScript,
  openScript,
  releaseScript,
  renewScript,
  runScript,
} from './jobs-scripts.js';
import type { StoreNames } from './store-names.js';

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
/** A job that did not ask for its VM for so long has lost its place. */
const waiterMs = 30_000;

export type Opened =
  /** `vm`: the one that an earlier delivery had locked. */
  | { kind: 'lead' | 'cancelled' | 'begun'; begun: BegunAct[]; vm: VmIdentity | undefined }
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
  dueMs: number;
  begun: readonly BegunAct[];
  lock: { key: string; holder: string; vm: VmIdentity | undefined } | undefined;
};

export function requestHash(requestId: string): string {
  return createHash('sha256').update(requestId).digest('hex');
}

/** By name while there is no such VM. */
export function vmKey(
  { keys }: Pick<StoreNames, 'keys'>,
  job: ParsedJob,
  vm: VmIdentity | undefined,
): string {
  return `${keys}vm:${job.host}/${vm ? vm.uuid : `name:${job.vm}`}`;
}

export class JobRecords {
  /** This run of the process; another one after a restart. */
  readonly life = randomBytes(9).toString('base64url');
  /** The owner of a job listens here; a message is the request's hash. */
  readonly cancelChannel: string;
  readonly #client: Redis;
  readonly #names: StoreNames;
  readonly #instanceKey: string;
  readonly #lifePrefix: string;
  readonly #fenceKey: string;
  /** Where a script wants a key and there is none. */
  readonly #noKey: string;

  constructor(client: Redis, instanceId: string, names: StoreNames) {
    const { keys } = names;
    this.#client = client;
    this.#names = names;
    this.cancelChannel = `${keys}cancel`;
    this.#instanceKey = `${keys}instance:${instanceId}`;
    this.#lifePrefix = `${keys}life:`;
    this.#fenceKey = `${keys}jobs:fence`;
    this.#noKey = `${keys}none`;
  }

  /** Says that this life lives. `alone`: a former life of this instance is dead for certain. */
  async beat(alone = false): Promise<void> {
    if (alone) {
      const former = await this.#client.get(this.#instanceKey);
      if (former && former !== this.life) await this.#client.del(this.#lifePrefix + former);
    }
    await this.#client
      .pipeline()
      .set(this.#lifePrefix + this.life, '1', 'PX', lifeMs)
      .set(this.#instanceKey, this.life, 'PX', requestKeptMs)
      .exec();
  }

  async endLife(): Promise<void> {
    await this.#client.del(this.#lifePrefix + this.life);
  }

  async isAlive(life: string): Promise<boolean> {
    return (await this.#client.exists(this.#lifePrefix + life)) === 1;
  }

  async isLocked(jobId: string): Promise<boolean> {
    return (await this.#client.exists(`${this.#names.jobPrefix}${jobId}:lock`)) === 1;
  }

  /** Seconds since the store's process started. */
  async storeUptimeMs(): Promise<number> {
    const seconds = /^uptime_in_seconds:(\d+)/m.exec(await this.#client.info('server'))?.[1];
    return Number(seconds ?? 0) * 1_000;
  }

  /** Claims the request for this job. `busy`: this process works on the request now; `dueMs`: for a job that wants its VM's lock. */
  async open(
    job: ParsedJob,
    jobId: string,
    { busy, dueMs }: { busy: boolean; dueMs: number | undefined },
  ): Promise<Opened> {
    const key = this.#recordKey(requestHash(job.requestId));
    const [kind, ...rest] = (await runScript(this.#client, openScript, [
      ...[key, `${key}:followers`, this.#cancelKey(jobId), this.#lineKey(job)],
      ...[job.bodyHash, jobId, this.life, this.#lifePrefix, requestKeptMs, busy ? '1' : '0'],
      ...[job.vm === undefined ? '' : (dueMs ?? ''), waiterMs, this.#names.jobPrefix],
    ])) as [Opened['kind'], ...unknown[]];
    const [first, second] = rest.map(String);
    switch (kind) {
      case 'lead':
      case 'cancelled':
      case 'begun':
        return {
          kind,
          vm: first ? JSON.parse(first) : undefined,
          begun: second ? JSON.parse(second) : [],
        };
      case 'done':
        return { kind, ok: first === '1', answer: second ?? '' };
      default:
        return { kind };
    }
  }

  async lock(claim: Claim, vm: VmIdentity | undefined): Promise<Locked & { key: string }> {
    const key = vmKey(this.#names, claim.job, vm);
    const [kind, holder] = (await runScript(this.#client, lockScript, [
      ...[key, `${key}:waiters`, this.#fenceKey, this.#recordKey(claim.hash), this.#lineKey(claim.job)],
      ...[claim.jobId, this.life, this.#lifePrefix, leaseOf(claim), claim.dueMs, waiterMs],
      vm ? JSON.stringify(vm) : '',
      this.#names.jobPrefix,
    ])) as [Locked['kind'], string];
    return kind === 'held' ? { kind, holder, key } : { kind, key };
  }

  /** Records that an act begins, unless the job is cancelled or no longer ours. */
  async gate(claim: Claim, begun: readonly BegunAct[]): Promise<Kept> {
    const { lock } = claim;
    return (await runScript(this.#client, gateScript, [
      ...[this.#recordKey(claim.hash), lock?.key ?? this.#noKey, this.#cancelKey(claim.jobId)],
      ...[this.life, claim.jobId, lock?.holder ?? '', begunLeaseMs, JSON.stringify(begun)],
    ])) as Kept;
  }

  /** Keeps the claim and the lock, and puts back what a crash of the store lost of them. */
  async renew(claim: Claim): Promise<Kept> {
    const { lock, begun } = claim;
    return (await runScript(this.#client, renewScript, [
      ...[this.#recordKey(claim.hash), lock?.key ?? this.#noKey, this.#cancelKey(claim.jobId)],
      ...[this.life, claim.jobId, lock?.holder ?? '', leaseOf(claim), claim.job.bodyHash],
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
    const key = this.#recordKey(claim.hash);
    const lockKey = claim.lock?.key ?? this.#noKey;
    const large = !acts && own.answer.length > largeAnswerChars;
    const [kind, ok, answer, ...wake] = (await runScript(this.#client, finishScript, [
      ...[key, `${key}:followers`, lockKey, `${lockKey}:waiters`],
      ...[this.#cancelKey(claim.jobId), this.#lineKey(claim.job)],
      ...[this.life, claim.jobId, claim.lock?.holder ?? '', claim.job.bodyHash],
      ...[own.ok ? '1' : '0', own.answer, whenCancelled, large ? largeReadKeptMs : requestKeptMs],
      this.#names.jobPrefix,
    ])) as [Finished['kind'], string, string, ...string[]];
    return { kind, ok: ok === '1', answer, wake: wake.filter(Boolean) };
  }

  /** Lets go of the job without an answer. Resolves with the job that waits for the VM. */
  async release(claim: Claim, keepLockMs = 0): Promise<string | undefined> {
    const lockKey = claim.lock?.key ?? this.#noKey;
    const next = await runScript(this.#client, releaseScript, [
      ...[this.#recordKey(claim.hash), lockKey, `${lockKey}:waiters`],
      ...[this.life, claim.jobId, claim.lock?.holder ?? '', keepLockMs],
      this.#names.jobPrefix,
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
      ...[this.#recordKey(hash), job.bodyHash, jobId, requestKeptMs],
    ])) as ['cancelled' | 'too late' | 'unknown', string?];
    if (kind === 'cancelled') await this.#client.publish(this.cancelChannel, hash);
    return leader ? { kind, leader } : { kind };
  }

  /** The job that leads a request, and whether its body is this one. */
  async leader(job: ParsedJob): Promise<{ jobId: string; sameBody: boolean } | undefined> {
    const key = this.#recordKey(requestHash(job.requestId));
    const [body, jobId] = await this.#client.hmget(key, 'body', 'job');
    return jobId ? { jobId, sameBody: body === job.bodyHash } : undefined;
  }

  /** Those that came for a VM, by what they call it: which VM that is, only its host knows. */
  #lineKey({ host, vm }: ParsedJob): string {
    return `${this.#names.keys}line:${host}/${vm}`;
  }

  #recordKey(hash: string): string {
    return `${this.#names.keys}request:${hash}`;
  }

  /** Any client may set this key, to whatever value, to cancel a job. */
  #cancelKey(jobId: string): string {
    return `${this.#names.keys}cancel:${jobId}`;
  }
}

export function leaseOf({ begun }: Pick<Claim, 'begun'>): number {
  return begun.length > 0 ? begunLeaseMs : leaseMs;
}
