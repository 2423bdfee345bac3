// `outrigger check`: the page an operator lives in on day one. A row a host, then what is wrong, host by host, and the
// mend. It refuses to change anything.
import PQueue from 'p-queue';
import { systemClock } from '../core/clock.js';
import { silentLog } from '../core/log.js';
import type { Settings } from '../core/settings.js';
import { shardText } from '../core/shard.js';
import { examineHost, type Finding, type HostReport, type Severity, worst } from '../fleet/examine.js';
import type { Host } from '../inventory/host.js';
import { SshConnector } from '../ssh/connect.js';
import { type Environment, learnedKeysFile, noSuchHost, readConfiguration } from './configuration.js';
import {
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

/** Hosts looked at together. */
const hostsAtOnceMax = 16;

export async function check(
  env: Environment,
  names: readonly string[],
  options: { offline?: boolean; json?: boolean },
): Promise<number> {
  const configuration = await readConfiguration(env);
  if (!configuration) return 1;
  const { settings, inventory } = configuration;
  const hosts = chosen(inventory.hosts, names, settings);
  if (!hosts) return 1;
  if (options.offline) {
    const of = settings.shard ? ` of shard ${shardText(settings.shard)}` : '';
    if (options.json) printJson({ hosts: hosts.map(({ name }) => name), problems: [] });
    else
      process.stdout.write(
        `${settings.inventoryFile}: ${count(hosts.length, 'host')}${of}, no problems. Nothing was connected to.\n`,
      );
    return 0;
  }
  const reports = await examineAll(hosts, learnedKeysFile(settings));
  if (options.json) printJson(reports);
  else print(reports);
  return reports.some((report) => worst(report) === 'error') ? 1 : 0;
}

function chosen(
  all: readonly Host[],
  names: readonly string[],
  settings: Settings,
): readonly Host[] | undefined {
  const unknown = names.filter((name) => !all.some((host) => host.name === name));
  for (const name of unknown) process.stderr.write(noSuchHost(name, settings));
  if (unknown.length > 0) return undefined;
  return names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
}

async function examineAll(hosts: readonly Host[], knownHostsFile: string): Promise<HostReport[]> {
  const deps = {
    knownHostsFile,
    connector: new SshConnector({ log: silentLog }),
    clock: systemClock,
    log: silentLog,
  };
  const queue = new PQueue({ concurrency: hostsAtOnceMax });
  const stop = new AbortController();
  const onInterrupt = () => stop.abort();
  process.once('SIGINT', onInterrupt);
  let done = 0;
  try {
    return await Promise.all(
      hosts.map((host) =>
        queue.add(async () => {
          const report = await examineHost(host, deps, stop.signal);
          progress(++done, hosts.length);
          return report;
        }),
      ),
    );
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

function progress(done: number, all: number): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(done < all ? `\rchecked ${done} of ${all}` : '\r\x1b[K');
}

const columns: Column[] = [
  { title: '' },
  { title: 'HOST', shrinkTo: 12 },
  { title: 'ADDRESS', shrinkTo: 15, drop: 2 },
  { title: 'SSH' },
  { title: 'LIBVIRT' },
  { title: 'FILES' },
  { title: 'JOBS' },
  { title: 'VMS', drop: 1 },
  { title: 'TIME', drop: 3 },
];

const marks: Record<Severity, { style: Style; mark: string }> = {
  ok: { style: 'green', mark: 'ok' },
  warning: { style: 'yellow', mark: 'warning' },
  error: { style: 'red', mark: 'ERROR' },
  skipped: { style: 'gray', mark: '-' },
};

function print(reports: readonly HostReport[]): void {
  const paint = painter(process.stdout);
  const cell = (report: HostReport, part: Finding['part']): string => {
    const finding = report.findings.find((finding) => finding.part === part);
    return finding ? paint(marks[finding.severity].style, printable(finding.short)) : '-';
  };
  const rows = reports.map((report) => {
    const { style, mark } = marks[worst(report)];
    const vms = report.vms ? `${report.vms.running}/${report.vms.defined}` : '-';
    const parts = (['ssh', 'libvirt', 'files', 'jobs'] as const).map((part) => cell(report, part));
    return [
      paint(style, mark),
      report.host,
      report.address,
      ...parts,
      vms,
      `${(report.durationMs / 1000).toFixed(1)} s`,
    ];
  });
  process.stdout.write(fittedTable(columns, rows, { width: widthOf(process.stdout), paint }));
  for (const report of reports) printFindings(report, paint);
  process.stdout.write(`\n${summary(reports)}\n`);
}

function printFindings(report: HostReport, paint: Paint): void {
  for (const { part, severity, message, hint } of report.findings) {
    if (!message) continue;
    const { style, mark } = marks[severity];
    process.stdout.write(
      `\n${paint(style, mark)} ${paint('bold', report.host)} ${part}: ${printable(message)}\n`,
    );
    if (hint) process.stdout.write(`  mend: ${printable(hint)}\n`);
  }
}

function summary(reports: readonly HostReport[]): string {
  const tally = (severity: Severity) => reports.filter((report) => worst(report) === severity).length;
  const wrong = tally('error');
  const warned = tally('warning');
  const said = [`${tally('ok')} of ${count(reports.length, 'host')} in order`];
  if (warned > 0) said.push(`${warned} with a warning`);
  if (wrong > 0) said.push(`${wrong} with an error`);
  return `${said.join(', ')}.`;
}
