// Operations against a lab host, without queue and service: the jobs key's connection, opened when asked for and again after it
// ended, and a gate that writes down every act. It can cut the connection right after a call was sent, so that libvirt acts and
// its reply is lost. It refuses to invent results: what an operation says is what the test sees.
import { Duplex } from 'node:stream';
import type { LabHost } from '../../lab/lab.js';
import { systemClock } from '../../src/core/clock.js';
import { silentLog } from '../../src/core/log.js';
import type { Host } from '../../src/inventory/host.js';
import { LibvirtClient } from '../../src/libvirt/client.js';
import { FrameReader, frameType } from '../../src/libvirt/wire/frame.js';
import { JobError, type JobResult, type ParsedJob, parseRequest } from '../../src/ops/job.js';
import type {
  ActFacts,
  BegunAct,
  JobContext,
  JobReaders,
  Operation,
  Operations,
} from '../../src/ops/operation.js';
import { loadOperations } from '../../src/ops/registry.js';
import { runOperation, settleOperation } from '../../src/ops/run.js';
import { SshConnector } from '../../src/ssh/connect.js';
import type { SshConnection } from '../../src/ssh/connection.js';
import { openLibvirtChannel } from '../../src/ssh/libvirt-channel.js';

type Ask = {
  vm?: string | undefined;
  expectedUuid?: string;
  params?: object;
  deadlineMs?: number;
  requestId?: string;
};

export type Failure = { code: string; message: string };

export class OpsHarness implements AsyncDisposable {
  readonly operations: Operations;
  /** Every act that passed the gate, in order, of all runs. */
  readonly acts: (BegunAct & { requestId: string })[] = [];
  readonly steps: string[] = [];
  /** Called at each act, before it may be sent. */
  gate: (act: string, facts: ActFacts) => Promise<void> | void = () => undefined;
  readonly #host: LabHost;
  readonly #connector = new SshConnector({ agentSocket: undefined });
  readonly #connections: Promise<SshConnection>[] = [];
  #ops: Promise<SshConnection> | undefined;
  #writer: Promise<LibvirtClient> | undefined;
  #reader: LibvirtClient | undefined;
  #cutAt: number | undefined;
  #requests = 0;

  private constructor(host: LabHost, operations: Operations) {
    this.#host = host;
    this.operations = operations;
  }

  static async of(host: LabHost): Promise<OpsHarness> {
    const harness = new OpsHarness(host, await loadOperations());
    harness.#reader = await harness.#open(await harness.#connect('outrigger', host.pollKeyFile), true);
    return harness;
  }

  /** The next time that this procedure is called, the connection is cut as soon as the call is on its way. */
  cutAfter({ number }: { number: number }): void {
    this.#cutAt = number;
  }

  run(op: string, ask: Ask = {}, dryRun = false): Promise<JobResult> {
    const job = this.#parse(op, ask, dryRun);
    return runOperation(this.#operation(job), this.#context(job, ask, []), dryRun);
  }

  /** The failure of a run that must fail. */
  async fails(op: string, ask: Ask = {}): Promise<Failure> {
    return failureOf(this.run(op, ask));
  }

  settle(op: string, ask: Ask, begun: readonly BegunAct[]): Promise<JobResult> {
    const job = this.#parse(op, ask, false);
    return settleOperation(this.#operation(job), this.#context(job, ask, begun));
  }

  reader(): LibvirtClient {
    if (!this.#reader) throw new Error('not open');
    return this.#reader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#writer?.catch(() => undefined))?.close();
    await this.#reader?.close();
    for (const connection of this.#connections) await (await connection.catch(() => undefined))?.end();
  }

  #parse(op: string, { vm, expectedUuid, params, requestId }: Ask, dryRun: boolean): ParsedJob {
    const body = { host: this.#host.name, vm, expectedUuid, params, dryRun };
    return parseRequest(
      op,
      { ...body, requestId: requestId ?? `request-${++this.#requests}` },
      this.operations,
    );
  }

  #operation({ op }: ParsedJob): Operation {
    const operation = this.operations.get(op);
    if (!operation) throw new Error(`no ${op}`);
    return operation;
  }

  #context(job: ParsedJob, { deadlineMs = 110_000 }: Ask, begun: readonly BegunAct[]): JobContext {
    const endMs = performance.now() + deadlineMs;
    const expired = new AbortController();
    systemClock.after(deadlineMs, () =>
      expired.abort(new JobError('DEADLINE_EXPIRED', 'the deadline has passed')),
    );
    return {
      op: job.op,
      host: {
        name: this.#host.name,
        address: this.#host.address,
        labels: {},
        maintenance: false,
      } as unknown as Host,
      vm: job.vm,
      expectedUuid: job.expectedUuid,
      params: job.params,
      requestId: job.requestId,
      clock: systemClock,
      log: silentLog,
      libvirt: () => this.#libvirt(),
      readers: this.#readers(),
      signal: expired.signal,
      remainingMs: () => endMs - performance.now(),
      step: (text) => this.steps.push(text),
      beforeAct: async (act, facts) => {
        expired.signal.throwIfAborted();
        await this.gate(act, facts);
        this.acts.push({ act, at: new Date().toISOString(), ...facts, requestId: job.requestId });
      },
      begun,
    };
  }

  #readers(): JobReaders {
    const allowed = [...this.operations.keys()].map((operation) => ({ operation, allowed: true }));
    return {
      libvirt: () => this.reader(),
      hostState: () => ({
        state: 'up',
        since: new Date().toISOString(),
        ssh: true,
        libvirt: true,
        files: true,
      }),
      pollNow: async (poller) => ({ poller, vms: await this.reader().domainStats() }),
      resources: async () => ({ filesystems: [], problems: [] }),
      allowed: () => allowed,
      version: '0.0.0',
    };
  }

  async #libvirt(): Promise<LibvirtClient> {
    this.#ops ??= this.#connect('outrigger-ops', this.#host.opsKeyFile);
    if (!this.#writer) {
      const opened = this.#ops.then((connection) => this.#open(connection, false));
      this.#writer = opened;
      const forget = () => {
        if (this.#writer === opened) this.#writer = undefined;
      };
      opened.then(({ closed }) => closed.then(forget), forget);
    }
    return this.#writer;
  }

  #connect(user: string, keyFile: string): Promise<SshConnection> {
    const { name: host, address, port, knownHostsFile } = this.#host;
    const target = { host, address, port, user, keyFile, knownHostsFiles: [knownHostsFile] };
    const connection = this.#connector.connect(target, { timeoutMs: 10_000 });
    this.#connections.push(connection);
    return connection;
  }

  async #open(connection: SshConnection, readOnly: boolean): Promise<LibvirtClient> {
    const uri = 'qemu:///system';
    const { stream } = await openLibvirtChannel(connection, {
      transport: 'socket',
      socket: 'auto',
      daemonUri: uri,
      readOnly,
      timeoutMs: 10_000,
    });
    const way = readOnly ? stream : new Cuttable(stream, (procedure) => this.#cuts(procedure));
    return LibvirtClient.open(way, { host: this.#host.name, uri, readOnly, timeoutMs: 10_000 });
  }

  #cuts(procedure: number): boolean {
    if (procedure !== this.#cutAt) return false;
    this.#cutAt = undefined;
    return true;
  }
}

export async function failureOf(work: Promise<unknown>): Promise<Failure> {
  try {
    await work;
  } catch (error) {
    if (error instanceof JobError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('it did not fail');
}

/** Passes everything on; after a call that `cuts` names nothing comes back, and the stream ends. */
class Cuttable extends Duplex {
  readonly #inner: Duplex;
  readonly #frames = new FrameReader();
  readonly #cuts: (procedure: number) => boolean;

  constructor(inner: Duplex, cuts: (procedure: number) => boolean) {
    super();
    this.#inner = inner;
    this.#cuts = cuts;
    inner.on('data', (chunk: Buffer) => {
      if (!this.destroyed) this.push(chunk);
    });
    inner.on('end', () => this.push(null));
    inner.on('close', () => this.destroy());
    inner.on('error', (error) => this.destroy(error));
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#frames.push(Buffer.from(chunk), ({ type, procedure, serial }) => {
      if (type === frameType.call && this.#cuts(procedure)) this.#loseReply(serial);
    });
    this.#inner.write(chunk, callback);
  }

  /** From here on nothing is heard; when the reply comes, which says that libvirt has acted, the stream ends. */
  #loseReply(lost: number): void {
    const replies = new FrameReader();
    this.#inner.removeAllListeners('data');
    this.#inner.on('data', (chunk: Buffer) => {
      replies.push(chunk, ({ type, serial }) => {
        if (type === frameType.reply && serial === lost) this.destroy();
      });
    });
    systemClock.after(replyWaitMs, () => this.destroy());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#inner.destroy();
    callback(error);
  }
}

/** A call to a guest's agent has its reply when the guest obeys. */
const replyWaitMs = 5_000;
