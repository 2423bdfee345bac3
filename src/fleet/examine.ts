// Looks one host over, the way an operator would on day one: each thing that Outrigger needs, tried once, with what is
// wrong and how to mend it. It keeps nothing open, changes nothing, and refuses to run a command on the host.
import { randomUUID } from 'node:crypto';
import { type ErrorCode, HostError, hintOf, summary } from '../core/errors.js';
import { type Host, hasJobsKey } from '../inventory/host.js';
import type { LibvirtClient } from '../libvirt/client.js';
import { LibvirtError, libvirtCode } from '../libvirt/errors.js';
import { procedures } from '../libvirt/procedures.js';
import { versionText } from '../libvirt/version.js';
import { openTransport, type Transport, type TransportDeps } from './transport.js';

const helper = 'virt-ssh-helper';

export type Severity = 'ok' | 'warning' | 'error' | 'skipped';

export type Finding = {
  part: 'ssh' | 'libvirt' | 'files' | 'jobs';
  severity: Severity;
  /** The table's cell: a few words. */
  short: string;
  /** The sentence under the table; absent where all is well. */
  message?: string;
  /** The mend. */
  hint?: string;
  code?: ErrorCode;
};

export type HostReport = {
  host: string;
  address: string;
  /** `ssh-ed25519 SHA256:…`, once the host has shown a key that we know. */
  hostKey?: string;
  libvirtVersion?: string;
  hypervisorVersion?: string;
  /** The socket or helper that carries libvirt. */
  via?: string;
  vms?: { running: number; defined: number };
  findings: Finding[];
  durationMs: number;
};

export async function examineHost(
  host: Host,
  deps: TransportDeps,
  signal?: AbortSignal,
): Promise<HostReport> {
  const startedMs = deps.clock.monotonicMs();
  const report: HostReport = { host: host.name, address: addressOf(host), findings: [], durationMs: 0 };
  const abort = signal ? { signal } : {};
  try {
    await examineWatching(host, deps, report, abort);
  } catch (error) {
    report.findings.push(failure('ssh', error));
    for (const part of ['libvirt', 'files'] as const) {
      report.findings.push({ part, severity: 'skipped', short: '-' });
    }
  }
  report.findings.push(await examineJobs(host, deps, report, abort));
  report.durationMs = Math.round(deps.clock.monotonicMs() - startedMs);
  return report;
}

/** The worst severity of a report. */
export function worst({ findings }: HostReport): Severity {
  if (findings.some(({ severity }) => severity === 'error')) return 'error';
  return findings.some(({ severity }) => severity === 'warning') ? 'warning' : 'ok';
}

type Abort = { signal?: AbortSignal };

async function examineWatching(
  host: Host,
  deps: TransportDeps,
  report: HostReport,
  abort: Abort,
): Promise<void> {
  const transport = await openTransport(host, deps, abort);
  try {
    if (transport.hostKey) report.hostKey = `${transport.hostKey.type} ${transport.hostKey.fingerprint}`;
    report.findings.push({
      part: 'ssh',
      severity: 'ok',
      short: host.connection === 'local' ? 'local' : 'ok',
    });
    report.findings.push(await examineLibvirt(host, transport, report, abort));
    report.findings.push(await examineFiles(transport, abort));
  } finally {
    await transport.close();
  }
}

async function examineLibvirt(
  host: Host,
  transport: Transport,
  report: HostReport,
  abort: Abort,
): Promise<Finding> {
  try {
    const { client, via } = await transport.openLibvirt({ readOnly: true, ...abort });
    report.via = via;
    try {
      await readFacts(client, report);
    } finally {
      await client.close();
    }
  } catch (error) {
    return failure('libvirt', error);
  }
  const short = `${report.libvirtVersion} RO`;
  const way = { ...abort, transport: report.via === helper ? ('helper' as const) : ('socket' as const) };
  if (host.connection === 'ssh' && (await mayWrite(transport, way).catch(() => false))) {
    return {
      part: 'libvirt',
      severity: 'warning',
      short: `${report.libvirtVersion} RW!`,
      message:
        'the polling key can also open the read-write socket: whoever holds it can stop and delete VMs',
      hint: `confine it on the host: run \`outrigger enroll ${host.name}\` and use the authorized_keys line it prints`,
    };
  }
  if (report.via === helper) {
    return {
      part: 'libvirt',
      severity: 'warning',
      short,
      message: "sshd forbids forwarding to libvirt's socket, so `virt-ssh-helper` is run on the host instead",
      hint: 'set `AllowStreamLocalForwarding yes` in sshd_config there, and nothing needs to be executed',
    };
  }
  return { part: 'libvirt', severity: 'ok', short };
}

async function readFacts(client: LibvirtClient, report: HostReport): Promise<void> {
  const library = await client.call(procedures.connectGetLibVersion, undefined);
  report.libvirtVersion = versionText(library.libVer);
  const hypervisor = await client.call(procedures.connectGetVersion, undefined);
  report.hypervisorVersion = versionText(hypervisor.hvVer);
  const stats = await client.domainStats();
  report.vms = { running: stats.filter(({ state }) => state.state === 1).length, defined: stats.length };
}

/**
 * Whether a read-write connection of this key acts on what it is told. It asks libvirt to start a VM that cannot exist: a
 * connection that may write is told that there is none, one that may not is told so. That it opens is no proof: behind a
 * forced `virt-ssh-helper -r` it only reads.
 */
async function mayWrite(
  transport: Transport,
  way: Abort & { transport?: 'socket' | 'helper' },
): Promise<boolean> {
  const { client } = await transport.openLibvirt({ readOnly: false, ...way });
  try {
    await client.call(procedures.domainCreate, {
      dom: { name: 'outrigger-check', uuid: randomUUID(), id: -1 },
    });
    return true;
  } catch (error) {
    if (error instanceof LibvirtError) return error.libvirtCode === libvirtCode.noDomain;
    throw error;
  } finally {
    await client.close();
  }
}

async function examineFiles(transport: Transport, abort: Abort): Promise<Finding> {
  try {
    const files = await transport.openFiles(abort.signal);
    await files.read('/proc/stat', abort);
    await files.statvfs('/', abort);
    return { part: 'files', severity: 'ok', short: 'ok' };
  } catch (error) {
    return failure('files', error);
  }
}

async function examineJobs(
  host: Host,
  deps: TransportDeps,
  report: HostReport,
  abort: Abort,
): Promise<Finding> {
  const unreachable = report.findings.some(
    ({ part, code }) => part === 'ssh' && code && code !== 'AUTH_FAILED',
  );
  if (unreachable) return { part: 'jobs', severity: 'skipped', short: '-' };
  if (!host.ops) return { part: 'jobs', severity: 'skipped', short: 'off' };
  if (host.connection === 'ssh' && !hasJobsKey(host))
    return { part: 'jobs', severity: 'skipped', short: 'no key' };
  try {
    const transport = await openTransport(host, deps, { purpose: 'ops', ...abort });
    try {
      if (await mayWrite(transport, abort)) return { part: 'jobs', severity: 'ok', short: 'RW' };
    } finally {
      await transport.close();
    }
    return {
      part: 'jobs',
      severity: 'error',
      short: 'RO',
      message: 'the jobs key reaches libvirt, and may only read there',
      hint: `give it the read-write socket: run \`outrigger enroll ${host.name}\` and use the second line it prints`,
    };
  } catch (error) {
    return failure('jobs', error);
  }
}

/** The few words that stand in the table for each way to fail. */
const shortOf: Partial<Record<ErrorCode, string>> = {
  DNS: 'no such name',
  REFUSED: 'refused',
  UNREACHABLE: 'unreachable',
  TIMEOUT: 'timeout',
  CLOSED: 'closed',
  HOST_KEY_UNKNOWN: 'key unknown',
  HOST_KEY_MISMATCH: 'KEY CHANGED',
  HOST_KEY_REVOKED: 'key revoked',
  KNOWN_HOSTS: 'known_hosts',
  KEY_FILE: 'key file',
  AUTH_FAILED: 'key refused',
  FORWARD_DENIED: 'forbidden',
  SOCKET_MISSING: 'no socket',
  SOCKET_DENIED: 'denied',
  POLKIT_DENIED: 'polkit',
  SFTP_DENIED: 'no SFTP',
};

function failure(part: Finding['part'], error: unknown): Finding {
  const code = error instanceof HostError ? error.code : 'INTERNAL';
  const hint = hintOf(error);
  return {
    part,
    severity: 'error',
    short: shortOf[code] ?? 'error',
    message: summary(error),
    ...(hint && { hint }),
    code,
  };
}

function addressOf(host: Host): string {
  return host.connection === 'local' ? 'local' : `${host.address}:${host.ssh.port}`;
}
