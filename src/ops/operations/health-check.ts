// health_check: whether the host can do its work and we ours: each part tried now, each with a verdict and the words for it. It
// answers for a host that is down, too: that is what it is for. The thresholds are the caller's; the defaults stand below.
import { z } from 'zod';
import { describe, hintOf } from '../../core/errors.js';
import { procedures } from '../../libvirt/procedures.js';
import { bounded, readTimeoutMs } from '../bounds.js';
import { onlyReads } from '../only-reads.js';
import type { Facts, HostResources, JobContext, Operation } from '../operation.js';

const percent = z.number().min(0).max(100);
const availablePercent = z
  .strictObject({ warning: percent.default(10), critical: percent.default(5) })
  .prefault({});
const load = z.number().min(0).max(10_000);

const Params = z.strictObject({
  /** Free, in percent of all: below them. */
  memoryAvailablePercent: availablePercent,
  /** Of each filesystem. */
  diskAvailablePercent: availablePercent,
  /** The load of 5 minutes per processor: above them. */
  loadPerCpu: z.strictObject({ warning: load.default(2), critical: load.default(4) }).prefault({}),
});
type Params = z.infer<typeof Params>;

type Status = 'ok' | 'warning' | 'critical' | 'skipped';
type Check = { check: string; status: Status; message: string; value?: number };

type HealthFacts = Facts & { checks: Check[] };

export const operation: Operation<Params, HealthFacts> = {
  name: 'health_check',
  needsVm: false,
  params: Params,

  async read(ctx) {
    const parts = await Promise.all([readOnlyLibvirt(ctx), readWriteLibvirt(ctx), resources(ctx)]);
    ctx.signal.throwIfAborted();
    return { vm: null, summary: null, checks: [ssh(ctx), ...parts.flat()] };
  },

  decide({ checks }) {
    return { kind: 'unchanged', data: { status: worst(checks), checks } };
  },
  ...onlyReads,
};

function worst(checks: readonly Check[]): Status {
  const order = ['critical', 'warning'] as const;
  return order.find((status) => checks.some((check) => check.status === status)) ?? 'ok';
}

function ssh({ readers }: JobContext<Params>): Check {
  const { ssh, state, cause } = readers.hostState();
  if (ssh) return { check: 'ssh', status: 'ok', message: state };
  return { check: 'ssh', status: 'critical', message: cause ? `${state}: ${cause}` : state };
}

async function readOnlyLibvirt(ctx: JobContext<Params>): Promise<Check> {
  return tried('libvirt_ro', 'critical', async () => {
    const args = { needResults: 1, flags: 0 };
    const { domains } = await ctx.readers
      .libvirt()
      .call(procedures.connectListAllDomains, args, bounded(ctx, readTimeoutMs));
    return `${domains.length} VMs`;
  });
}

/** Not being allowed jobs is no illness: that host is watched only. */
async function readWriteLibvirt(ctx: JobContext<Params>): Promise<Check> {
  const refused = ctx.readers.allowed().find(({ operation }) => operation === 'start');
  if (refused && !refused.allowed) {
    return {
      check: 'libvirt_rw',
      status: 'skipped',
      message: refused.why ?? 'jobs are not allowed on this host',
    };
  }
  return tried('libvirt_rw', 'warning', async () => {
    const client = await ctx.libvirt();
    await client.call(procedures.connectGetLibVersion, undefined, bounded(ctx, readTimeoutMs));
    return 'the jobs key opens it';
  });
}

async function resources(ctx: JobContext<Params>): Promise<Check[]> {
  let found: HostResources;
  try {
    found = await ctx.readers.resources(ctx.signal);
  } catch (error) {
    return [failed('files', 'critical', error)];
  }
  const { problems } = found;
  const files: Check =
    problems.length === 0
      ? { check: 'files', status: 'ok', message: 'read' }
      : { check: 'files', status: 'warning', message: problems.slice(0, 5).join('; ') };
  return [files, ...judged(found, ctx.params)];
}

/** Pure. What the host does not tell is no check. */
export function judged(found: HostResources, params: Params): Check[] {
  const checks: Check[] = [];
  if (found.memory && found.memory.totalBytes > 0) {
    const value = share(found.memory.availableBytes, found.memory.totalBytes);
    checks.push({
      check: 'memory',
      ...below(value, params.memoryAvailablePercent),
      message: `${value} % available`,
      value,
    });
  }
  for (const { mountpoint, sizeBytes, availableBytes } of found.filesystems) {
    if (sizeBytes <= 0) continue;
    const value = share(availableBytes, sizeBytes);
    checks.push({
      check: `disk ${mountpoint}`,
      ...below(value, params.diskAvailablePercent),
      message: `${value} % available`,
      value,
    });
  }
  if (found.load && found.cpus) {
    const value = Math.round((found.load.five / found.cpus) * 100) / 100;
    const { warning, critical } = params.loadPerCpu;
    const status = value > critical ? 'critical' : value > warning ? 'warning' : 'ok';
    checks.push({ check: 'load', status, message: `${value} per processor over 5 minutes`, value });
  }
  return checks;
}

function below(
  value: number,
  { warning, critical }: { warning: number; critical: number },
): { status: Status } {
  return { status: value < critical ? 'critical' : value < warning ? 'warning' : 'ok' };
}

function share(part: number, all: number): number {
  return Math.round((part / all) * 1000) / 10;
}

async function tried(check: string, status: Status, work: () => Promise<string>): Promise<Check> {
  try {
    return { check, status: 'ok', message: await work() };
  } catch (error) {
    return failed(check, status, error);
  }
}

function failed(check: string, status: Status, error: unknown): Check {
  const hint = hintOf(error);
  return { check, status, message: hint ? `${describe(error)} (${hint})` : describe(error) };
}
