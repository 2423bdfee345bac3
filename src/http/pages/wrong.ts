// What is wrong now, worst first: each with its cause, since when, and what helps. Pure. It refuses to raise alarm about what an
// operator decided: a host in maintenance is not wrong, and a VM that somebody switched off is not wrong.
import type { Host, Job } from '../api/schemas.js';
import { path } from './html.js';
import type { CollectorState, VmRow } from './model.js';

/** Severe: something does not work or may be lost now. Minor: it will be, or is not seen. */
export type Severity = 'severe' | 'minor';

export type Wrong = {
  /** The same problem has the same key on every page. */
  key: string;
  severity: Severity;
  /** The kind, in two words. */
  label: string;
  what: string;
  href?: string | undefined;
  why?: string | undefined;
  sinceMs?: number | undefined;
  /** What to do, as a sentence. */
  hint?: string | undefined;
  /** What to run. */
  command?: string | undefined;
  /** The section of the runbooks that helps. */
  runbook: string;
};

type Ranked = Wrong & { rank: number };

export type WrongInput = {
  collector: CollectorState;
  hosts: readonly Host[];
  vms: readonly VmRow[];
  /** Newest first; undefined while the store is away. */
  failedJobs: readonly Job[] | undefined;
  nowMs: number;
};

/** A host that is still connecting after this long is wrong. */
const connectingMsMax = 60_000;
/** A VM that libvirt cannot ask for this long hangs. */
const busyMsMax = 60_000;
/** A failed job is news for this long. */
const failedJobsMs = 3_600_000;

export function whatIsWrong({ collector, hosts, vms, failedJobs, nowMs }: WrongInput): Wrong[] {
  const found: Ranked[] = [
    ...ofCollector(collector),
    ...hosts.flatMap((host) => ofHost(host, nowMs) ?? []),
    ...vms.flatMap((vm) => ofVm(vm, nowMs) ?? []),
    ...(failedJobs ?? []).flatMap((job) => ofJob(job, nowMs) ?? []),
  ];
  found.sort((a, b) => a.rank - b.rank || (a.sinceMs ?? 0) - (b.sinceMs ?? 0) || (a.key < b.key ? -1 : 1));
  return found.map(({ rank: _rank, ...wrong }) => wrong);
}

function ofCollector({ store, backend, inventory, tokens }: CollectorState): Ranked[] {
  const found: Ranked[] = [];
  if (!store.up) {
    const what = 'The store is away: no jobs run, polls go on without it';
    const hint = 'See whether Redis or Valkey runs and can write its disk; look at the log for “store”.';
    found.push({
      rank: 0,
      key: 'store',
      severity: 'severe',
      label: 'Store',
      what,
      why: store.detail,
      sinceMs: store.sinceMs,
      hint,
      runbook: 'OutriggerStoreDown',
    });
  }
  if (backend?.ok === false) {
    const what = 'The backend is away: results and events wait on disk';
    const { detail: why, sinceMs } = backend;
    const runbook = 'OutriggerBackendDown';
    found.push({
      rank: 4,
      key: 'backend',
      severity: 'severe',
      label: 'Backend',
      what,
      why,
      sinceMs,
      runbook,
    });
  }
  const file = {
    rank: 6,
    severity: 'minor' as const,
    hint: 'Correct the file: it is read again by itself.',
    command: 'outrigger check --offline',
    runbook: 'OutriggerInventoryInvalid',
  };
  const [first, ...more] = inventory.problems;
  if (first !== undefined) {
    const why = more.length > 0 ? `${first} (and ${more.length} more)` : first;
    const what = 'The inventory file has a problem: the one before stays in force';
    const { sinceMs } = inventory;
    found.push({ ...file, key: 'inventory', label: 'Inventory', what, why, sinceMs });
  }
  if (tokens !== undefined) {
    const what = 'The tokens file has a problem: the tokens before stay in force';
    found.push({ ...file, key: 'tokens', label: 'Tokens', what, why: tokens.what, sinceMs: tokens.sinceMs });
  }
  return found;
}

function ofHost(host: Host, nowMs: number): Ranked | undefined {
  const since = Date.parse(host.since);
  const check = `outrigger check ${host.name}`;
  const base = {
    key: `host ${host.name}`,
    label: 'Host',
    href: path('hosts', host.name),
    sinceMs: since,
    why: host.cause?.message,
    hint: host.cause?.hint,
    runbook: 'OutriggerHostStale',
  };
  switch (host.state) {
    case 'host-key-mismatch': {
      const what = `${host.name}: its SSH host key is not the one we know`;
      const command = `outrigger enroll ${host.name}`;
      return { ...base, rank: 1, severity: 'severe', what, command, runbook: 'OutriggerHostKeyMismatch' };
    }
    case 'down':
      return { ...base, rank: 2, severity: 'severe', what: `${host.name} is down`, command: check };
    case 'auth-failed':
      return {
        ...base,
        rank: 2,
        severity: 'severe',
        what: `${host.name} refuses our key`,
        command: check,
        runbook: 'OutriggerAuthenticationFailing',
      };
    case 'degraded': {
      const what = host.libvirt
        ? `${host.name}: its files cannot be read`
        : `${host.name}: libvirt does not answer`;
      const rank = host.libvirt ? 7 : 3;
      return { ...base, rank, severity: host.libvirt ? 'minor' : 'severe', what, command: check };
    }
    case 'connecting':
      if (nowMs - since < connectingMsMax) return undefined;
      return {
        ...base,
        rank: 5,
        severity: 'minor',
        what: `${host.name} is still connecting`,
        command: check,
      };
    case 'up': {
      if (!host.stale) return undefined;
      const sinceMs = host.sampledAt ? Date.parse(host.sampledAt) : since;
      if (!host.sampledAt && nowMs - since < connectingMsMax) return undefined;
      const what = `${host.name} is connected, but its figures are old`;
      return { ...base, rank: 5, severity: 'minor', what, sinceMs, command: check };
    }
    case 'maintenance':
      return undefined;
  }
}

function ofVm(vm: VmRow, nowMs: number): Ranked | undefined {
  if (vm.stale) return undefined;
  const base = () => ({
    key: `vm ${vm.host} ${vm.uuid}`,
    label: 'VM',
    href: path('vms', vm.host, vm.uuid),
    severity: 'severe' as const,
  });
  if (vm.state === 'crashed') {
    const what = `${vm.name} on ${vm.host} has crashed`;
    const hint = 'Look at its events and console; then start it again.';
    return { ...base(), rank: 3, what, sinceMs: vm.stateSinceMs, hint, runbook: 'OutriggerVmCrashed' };
  }
  if (vm.busySinceMs !== undefined && nowMs - vm.busySinceMs >= busyMsMax) {
    const what = `${vm.name} on ${vm.host} hangs: libvirt cannot ask its QEMU process`;
    const hint = 'Look for a stuck disk, backup or migration on the host (virsh domjobinfo).';
    return { ...base(), rank: 4, what, sinceMs: vm.busySinceMs, hint, runbook: 'OutriggerVmStuck' };
  }
  return undefined;
}

function ofJob(job: Job, nowMs: number): Ranked | undefined {
  const sinceMs = Date.parse(job.finishedAt ?? job.createdAt);
  if (job.state !== 'failed' || nowMs - sinceMs > failedJobsMs) return undefined;
  const on = job.vm ? `${job.vm} on ${job.host ?? 'an unknown host'}` : (job.host ?? 'an unknown host');
  const base = {
    key: `job ${job.id}`,
    label: 'Job',
    href: path('jobs', job.id),
    sinceMs,
    why: job.failure && `${job.failure.code}: ${job.failure.message}`,
  };
  if (job.failure?.code === 'OUTCOME_UNKNOWN') {
    const what = `${job.op} of ${on}: whether it was done is not known`;
    const hint = 'Look at the VM itself before asking for anything again.';
    return { ...base, rank: 3, severity: 'severe', what, hint, runbook: 'OutriggerJobOutcomeUnknown' };
  }
  if (job.failure?.code === 'CANCELLED') return undefined;
  return {
    ...base,
    rank: 8,
    severity: 'minor',
    what: `${job.op} of ${on} failed`,
    runbook: 'OutriggerJobsFailing',
  };
}
