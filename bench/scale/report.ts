// The figures as tables: a row for a figure, a column for a size.
import type { Verdict } from './bounds.js';
import type { SizeFigures } from './cases.js';
import type { Quantiles } from './window.js';

const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
const millis = (ms: number) => `${ms.toFixed(1)} ms`;

type Row = readonly [what: string, figure: (size: SizeFigures) => string | undefined];

const rows: readonly Row[] = [
  ['cold start: all fresh after', ({ coldMs }) => untilText(coldMs)],
  ['freshness p50', ({ steady }) => steady && seconds(steady.freshness.all.p50)],
  ['freshness p99', ({ steady }) => steady && seconds(steady.freshness.all.p99)],
  ['freshness max', ({ steady }) => steady && seconds(steady.freshness.all.max)],
  ['collector CPU, of a core', ({ steady }) => steady && percent(steady.cpu.service)],
  ['collector RSS, most', ({ steady }) => steady && mib(steady.residentBytes.service)],
  ['event-loop delay p50', ({ steady }) => steady && millis(steady.loop.p50Ms)],
  ['event-loop delay p99', ({ steady }) => steady && millis(steady.loop.p99Ms)],
  ['event-loop delay max', ({ steady }) => steady && millis(steady.loop.maxMs)],
  ['store CPU, of a core', ({ steady }) => steady && percent(steady.cpu.store)],
  ['store RSS, most', ({ steady }) => steady && mib(steady.residentBytes.store)],
  ['page of a host p50', ({ steady }) => steady && millis(steady.hostPage.ms.p50)],
  ['page of a host p99', ({ steady }) => steady && millis(steady.hostPage.ms.p99)],
  ['pages of hosts not served', ({ steady }) => steady && String(steady.hostPage.failed)],
  ['page of the fleet', fleetPageText],
  ['polls that did not go well', ({ steady }) => steady && String(steady.pollsNotOk)],
  ['connections that failed', ({ steady }) => steady && String(failuresOf(steady.connectFailures))],
  ['job info p50 / p99', ({ jobs }) => jobs && pair(jobs.info)],
  ['job stop (forced) p50 / p99', ({ jobs }) => jobs && pair(jobs.stop)],
  ['job start p50 / p99', ({ jobs }) => jobs && pair(jobs.start)],
  ['first job on a host p50 / p99', ({ jobs }) => jobs && pair(jobs.first)],
  ['jobs that failed', ({ jobs }) => jobs && String(jobs.failed)],
  [
    'half dead: freshness p99 of the others',
    ({ halfDead }) => halfDead && seconds(halfDead.freshness.all.p99),
  ],
  [
    'half dead: freshness max of the others',
    ({ halfDead }) => halfDead && seconds(halfDead.freshness.all.max),
  ],
  ['half dead: collector CPU, of a core', ({ halfDead }) => halfDead && percent(halfDead.cpu.service)],
  [
    'all back at once: all fresh after',
    (size) => ('allBackMs' in size ? untilText(size.allBackMs) : undefined),
  ],
  ['simulated fleet CPU, of a core', ({ steady }) => steady && percent(steady.cpu.sim)],
  ['others on the machine, of a core', ({ steady }) => steady && percent(steady.cpu.others)],
  ['taken by the hypervisor, of a core', ({ steady }) => steady && percent(steady.cpu.stolen)],
  ['collector CPU / simulated fleet CPU', ({ steady }) => steady && fleetsCpu(steady.cpu)],
];

const failuresOf = (byCode: Record<string, number>) => Object.values(byCode).reduce((a, b) => a + b, 0);
/** Tells runs on unlike machines apart from unlike code. */
const fleetsCpu = ({ service, sim }: { service: number; sim: number }) => (service / sim).toFixed(2);
const untilText = (ms: number | undefined) => (ms === undefined ? 'never' : seconds(ms));
const pair = ({ p50, p99 }: Quantiles) => `${p50.toFixed(0)} / ${p99.toFixed(0)} ms`;

function fleetPageText(size: SizeFigures): string | undefined {
  if (!('fleetPage' in size)) return undefined;
  return size.fleetPage ? `${seconds(size.fleetPage.ms)}, ${mib(size.fleetPage.bytes)}` : 'not in 60 s';
}

const sizesOf = (sizes: readonly SizeFigures[]) =>
  sizes.map(({ hosts }) => `${hosts.toLocaleString('en')} hosts`);

export function figuresTable(sizes: readonly SizeFigures[]): string {
  const body = rows
    .map(([what, figure]) => [what, ...sizes.map((size) => figure(size))])
    .filter(([, ...figures]) => figures.some((text) => text !== undefined));
  return table(['', ...sizesOf(sizes)], body);
}

/** What a host costs at each size, and what each further one costs from the size before. */
export function growthTable(all: readonly SizeFigures[], intervalMs: number): string {
  const sizes = all.filter(({ steady }) => steady).sort((a, b) => a.hosts - b.hosts);
  const cpuMs = ({ steady }: SizeFigures) => (steady?.cpu.service ?? 0) * intervalMs;
  const bytes = ({ steady }: SizeFigures) => steady?.residentBytes.service ?? 0;
  const further = (figure: (size: SizeFigures) => number, text: (value: number) => string) =>
    sizes.map((size, at) => {
      const before = sizes[at - 1];
      return before && text((figure(size) - figure(before)) / (size.hosts - before.hosts));
    });
  const kib = (value: number) => `${(value / 1024).toFixed(0)} KiB`;
  const ms = (value: number) => `${value.toFixed(2)} ms`;
  return table(
    ['What a host costs', ...sizesOf(sizes)],
    [
      ['CPU in a round', ...sizes.map((size) => ms(cpuMs(size) / size.hosts))],
      ['CPU in a round, each further host', ...further(cpuMs, ms)],
      ['memory, each further host', ...further(bytes, kib)],
    ],
  );
}

export function partsTable(sizes: readonly SizeFigures[]): string {
  const names = [...new Set(sizes.flatMap(({ profile }) => [...(profile?.parts.keys() ?? [])]))];
  const row = (what: string, figure: (size: SizeFigures) => number | undefined) => [
    what,
    ...sizes.map((size) => {
      const share = figure(size);
      return share === undefined ? undefined : percent(share);
    }),
  ];
  return table(
    ['CPU by part, of a core', ...sizesOf(sizes)],
    [
      ...names.map((name) => row(name, ({ profile }) => profile?.parts.get(name))),
      row('other threads (gc, gzip, compiler)', ({ profile }) => profile?.otherThreads),
      row('all, while profiled', ({ profile }) => profile?.cpu),
    ],
  );
}

export function verdictTable(verdicts: readonly Verdict[]): string {
  return table(
    ['Bound', 'measured', ''],
    verdicts.map(({ bound, figure, held }) => [bound, figure, held ? 'held' : 'NOT held']),
  );
}

export function topFunctions({ profile, hosts }: SizeFigures): string {
  const lines = (profile?.top ?? []).map(
    ({ what, share, part }) => `  ${percent(share).padStart(7)}  ${part.padEnd(26)} ${what}`,
  );
  return [`Self time, of a core, ${hosts} hosts (${profile?.file}):`, ...lines].join('\n');
}

/** Markdown that a terminal shows as well. */
function table(head: readonly string[], body: readonly (readonly (string | undefined)[])[]): string {
  const cells = [head, ...body].map((row) => row.map((text) => text ?? '–'));
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${row.map((text, column) => (column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  const [first = [], ...rest] = cells;
  return [line(first), rule, ...rest.map(line)].join('\n');
}
