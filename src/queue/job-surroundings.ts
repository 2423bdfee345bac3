// What a job finds around it: its host, whether that host takes it, the connection to act over, and what the service knows
// of the host already. It refuses to decide anything about VMs.
import { HostError, summary } from '../core/errors.js';
import { otherShardHint, type Shard } from '../core/shard.js';
import { version } from '../core/version.js';
import type { Fleet } from '../fleet/fleet.js';
import type { OpsSessions } from '../fleet/ops-session.js';
import type { SampleStore } from '../fleet/samples.js';
import type { HostSession } from '../fleet/session.js';
import { type Host, hasJobsKey } from '../inventory/host.js';
import { JobError, type ParsedJob } from '../ops/job.js';
import type { HostResources, JobReaders, OperationAllowed, Operations } from '../ops/operation.js';
import type { HostPolls, PollerName, Samples } from '../pollers/runner.js';
import type { SystemSample } from '../pollers/system.js';
import type { JobSurroundings } from './jobs-work.js';

export type JobSurroundingsOptions = {
  fleet: Fleet;
  opsSessions: OpsSessions;
  polls: HostPolls;
  samples: SampleStore<Samples>;
  operations: Operations;
  /** Which part of a divided fleet is here. */
  shard: Shard | undefined;
};

/** Throws JobError HOST_UNKNOWN, HOST_MAINTENANCE or OPS_DISABLED. */
export function admitJob(
  around: Pick<JobSurroundingsOptions, 'fleet' | 'shard'>,
  job: ParsedJob,
  acts: boolean,
): void {
  const { host } = sessionOf(around, job.host);
  const refusal = acts ? refusalOf(host) : undefined;
  if (refusal) throw refusal;
}

/** Throws JobError HOST_UNKNOWN. */
export function surroundingsOf(
  options: JobSurroundingsOptions,
  job: ParsedJob,
  signal: AbortSignal,
): JobSurroundings {
  const session = sessionOf(options, job.host);
  const hold = options.opsSessions.hold(session.host);
  // A read may use the jobs key where jobs may, to ask a guest's agent; a job that acts has been admitted already.
  const refusal = options.operations.get(job.op)?.acts ? undefined : refusalOf(session.host);
  return {
    host: session.host,
    async libvirt() {
      if (refusal) throw refusal;
      try {
        return await hold.libvirt(signal);
      } catch (error) {
        throw libvirtAway(session, error) ?? error;
      }
    },
    readers: readersOf(options, session),
    release: () => hold.release(),
  };
}

/** The jobs key cannot see why its socket was refused; the polling session knows when libvirt is not there at all. */
function libvirtAway(session: HostSession, error: unknown): JobError | undefined {
  if (!(error instanceof HostError) || error.code !== 'FORWARD_DENIED' || session.has('libvirt'))
    return undefined;
  const { cause } = session.status;
  const why = cause ? `: ${summary(cause)}` : '';
  return new JobError('HOST_UNREACHABLE', `libvirt on ${session.host.name} cannot be reached${why}`, {
    cause: error,
  });
}

function sessionOf(
  { fleet, shard }: Pick<JobSurroundingsOptions, 'fleet' | 'shard'>,
  name: string,
): HostSession {
  const session = fleet.find(name);
  if (session) return session;
  const hint = otherShardHint(shard, name);
  const message = `no host ${JSON.stringify(name)} in the inventory`;
  throw new JobError('HOST_UNKNOWN', hint ? `${message}. ${hint}` : message);
}

/** Why this host takes no job that acts. */
export function refusalOf(host: Host): JobError | undefined {
  if (host.maintenance) return new JobError('HOST_MAINTENANCE', `${host.name} is in maintenance`);
  if (!host.ops)
    return new JobError('OPS_DISABLED', `the inventory says that ${host.name} is only watched (ops: false)`);
  if (host.connection === 'ssh' && !hasJobsKey(host)) {
    return new JobError(
      'OPS_DISABLED',
      `the inventory gives no key for jobs on ${host.name} (ssh.opsKeyFile)`,
    );
  }
  return undefined;
}

/** Each operation: whether this host takes it now, and if not, why not. */
export function allowedOn(host: Host, operations: Operations): OperationAllowed[] {
  const refusal = refusalOf(host);
  return [...operations.values()].map(({ name, acts }): OperationAllowed => {
    const refused = acts ? refusal : undefined;
    return { operation: name, allowed: !refused, ...(refused && { why: refused.failure }) };
  });
}

function readersOf({ polls, samples, operations }: JobSurroundingsOptions, session: HostSession): JobReaders {
  const pollNow = async <P extends PollerName>(poller: P): Promise<Samples[P]> => {
    const { name } = session.host;
    await polls.run(name, poller);
    const sample = samples.get(name, poller)?.last?.sample;
    if (sample) return sample;
    throw new HostError('HOST_DOWN', {
      host: name,
      message: 'the host left the inventory while it was polled',
    });
  };
  return {
    libvirt: () => session.libvirt(),
    pollNow,
    resources: async () => resourcesOf(await pollNow('system')),
    hostState() {
      const { state, cause, sinceMs } = session.status;
      return {
        state,
        ...(cause && { cause: summary(cause) }),
        since: new Date(sinceMs).toISOString(),
        ssh: session.has('way'),
        libvirt: session.has('libvirt'),
        files: session.has('files'),
        ...(session.via && { via: session.via }),
      };
    },
    allowed: () => allowedOn(session.host, operations),
    version,
  };
}

function resourcesOf({ loadavg, stat, meminfo, filesystems, problems }: SystemSample): HostResources {
  const { MemTotal: totalBytes, MemAvailable: availableBytes } = meminfo ?? {};
  return {
    ...(loadavg && { load: loadavg }),
    ...(stat && { cpus: stat.cpus.length }),
    ...(totalBytes !== undefined &&
      availableBytes !== undefined && { memory: { totalBytes, availableBytes } }),
    filesystems: (filesystems ?? []).flatMap(({ mountpoint, space }) =>
      space ? [{ mountpoint, sizeBytes: space.sizeBytes, availableBytes: space.availableBytes }] : [],
    ),
    problems,
  };
}
