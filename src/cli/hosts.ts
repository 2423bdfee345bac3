// `outrigger hosts` and `outrigger vms`: what the running service knows, a row each. They refuse to connect to a host:
// `check` does that.
import { suggest } from '../core/suggest.js';
import type { Host, Vm } from '../http/api/schemas.js';
import { ApiClient, ApiProblem } from './api-client.js';
import type { Environment } from './configuration.js';
import {
  age,
  bytes,
  type Column,
  count,
  fittedTable,
  type Paint,
  painter,
  printable,
  printJson,
  type Style,
  widthOf,
} from './output.js';

export type ListOptions = { json?: boolean; state?: string; label?: string[]; search?: string };

const hostColumns: Column[] = [
  { title: 'HOST', shrinkTo: 12 },
  { title: 'STATE' },
  { title: 'AGE', right: true },
  { title: 'VMS', right: true },
  { title: 'LOAD', right: true, drop: 2 },
  { title: 'MEMORY', right: true, drop: 3 },
  { title: 'FULLEST DISK', drop: 4, shrinkTo: 12 },
  { title: 'WHY', drop: 1, shrinkTo: 16 },
];

const stateStyles: Record<Host['state'], Style> = {
  up: 'green',
  connecting: 'yellow',
  degraded: 'yellow',
  maintenance: 'gray',
  down: 'red',
  'auth-failed': 'red',
  'host-key-mismatch': 'red',
};

export async function hosts(env: Environment, { json, state, label, search }: ListOptions): Promise<number> {
  const api = ApiClient.from(env);
  if (!api) return 1;
  const found = await api.list<Host>('/hosts', { state, label, q: search });
  if (json) printJson(found);
  else {
    const paint = painter(process.stdout);
    process.stdout.write(hostTable(found, { width: widthOf(process.stdout), paint }));
    process.stdout.write(`\n${hostSummary(found)}\n`);
  }
  return 0;
}

export function hostTable(rows: readonly Host[], fit: { width: number; paint: Paint }): string {
  return fittedTable(
    hostColumns,
    rows.map((host) => hostRow(host, fit.paint)),
    fit,
  );
}

export function hostSummary(rows: readonly Host[]): string {
  const up = rows.filter(({ state }) => state === 'up').length;
  const running = rows.reduce((sum, { vms }) => sum + (vms?.running ?? 0), 0);
  return `${up} of ${count(rows.length, 'host')} up, ${count(running, 'VM')} running.`;
}

function hostRow(host: Host, paint: Paint): string[] {
  const { memory, filesystems, cause } = host;
  const fullest = filesystems?.[0];
  return [
    printable(host.name),
    paint(stateStyles[host.state], host.state),
    paint(host.stale ? 'yellow' : 'gray', age(host.sampleAgeSeconds)),
    host.vms ? `${host.vms.running}/${host.vms.total}` : '-',
    host.load ? host.load.one.toFixed(2) : '-',
    memory ? share(memory.totalBytes - memory.availableBytes, memory.totalBytes) : '-',
    fullest
      ? `${share(fullest.sizeBytes - fullest.availableBytes, fullest.sizeBytes)} ${printable(fullest.mountpoint)}`
      : '-',
    cause ? printable(cause.message) : '',
  ];
}

function share(part: number, whole: number): string {
  return whole > 0 ? `${Math.round((100 * part) / whole)}%` : '-';
}

const vmColumns: Column[] = [
  { title: 'HOST', shrinkTo: 10 },
  { title: 'VM', shrinkTo: 12 },
  { title: 'STATE' },
  { title: 'VCPUS', right: true, drop: 3 },
  { title: 'MEMORY', right: true, drop: 2 },
  { title: 'DISKS', right: true, drop: 4 },
  { title: 'UUID', drop: 1 },
];

const vmStyles: Partial<Record<Vm['state'], Style>> = {
  running: 'green',
  paused: 'yellow',
  crashed: 'red',
  shutoff: 'gray',
};

export async function vms(env: Environment, host: string | undefined, options: ListOptions): Promise<number> {
  const api = ApiClient.from(env);
  if (!api) return 1;
  const found = await vmsOf(api, host, options);
  if (options.json) printJson(found);
  else {
    const paint = painter(process.stdout);
    const rows = found.map((vm) => vmRow(vm, paint));
    process.stdout.write(fittedTable(vmColumns, rows, { width: widthOf(process.stdout), paint }));
    process.stdout.write(`\n${count(found.length, 'VM')}.\n`);
  }
  return 0;
}

async function vmsOf(api: ApiClient, host: string | undefined, options: ListOptions): Promise<Vm[]> {
  const query = { state: options.state, label: options.label, q: options.search };
  if (host === undefined) return api.list<Vm>('/vms', query);
  try {
    return await api.list<Vm>(`/hosts/${encodeURIComponent(host)}/vms`, query);
  } catch (error) {
    throw await withNearestHost(api, host, error);
  }
}

/** The same error, with the host that was probably meant. */
export async function withNearestHost(api: ApiClient, host: string, error: unknown): Promise<unknown> {
  if (!(error instanceof ApiProblem) || error.type !== 'host-unknown' || error.hint) return error;
  const known = await api.list<Host>('/hosts').catch(() => []);
  const near = suggest(
    host,
    known.map(({ name }) => name),
  );
  const { type, status, message } = error;
  const hint = near ? `Did you mean ${near}?` : 'outrigger hosts lists them.';
  return new ApiProblem({ type, status, title: '', detail: message, hint }, undefined);
}

function vmRow(vm: Vm, paint: Paint): string[] {
  const style = vmStyles[vm.state];
  const state = vm.busy ? `${vm.state} (busy)` : vm.state;
  return [
    printable(vm.host),
    printable(vm.name),
    style && !vm.busy ? paint(style, state) : paint('yellow', state),
    vm.vcpus === undefined ? '-' : String(vm.vcpus),
    bytes(vm.memory.currentBytes),
    String(vm.disks.length),
    vm.uuid,
  ];
}
