// The figures as tables: a row for a figure, a column for a size. Of several runs each has the median, and the first table the least
// and the most as well.
import { median } from '../peers/report.js';
import type { Verdict } from './bounds.js';
import type { SizeFigures } from './cases.js';
import type { Runs } from './median.js';
import type { Quantiles } from './window.js';

type Unit = { of: number; digits: number; name: string };
const seconds: Unit = { of: 1_000, digits: 2, name: ' s' };
const millis: Unit = { of: 1, digits: 1, name: ' ms' };
const wholeMillis: Unit = { of: 1, digits: 0, name: ' ms' };
const mib: Unit = { of: 1024 ** 2, digits: 0, name: ' MiB' };
const kib: Unit = { of: 1024, digits: 0, name: ' KiB' };
const percent: Unit = { of: 0.01, digits: 1, name: ' %' };
const count: Unit = { of: 1, digits: 0, name: '' };
const ratio: Unit = { of: 1, digits: 2, name: '' };

/** What a size has no figure of is undefined; a pair is one cell. */
type Row = readonly [what: string, unit: Unit, figure: (size: SizeFigures) => Figure | undefined];
type Figure = number | readonly [number, number];

const rows: readonly Row[] = [
  ['cold start: all fresh after', seconds, ({ coldMs }) => coldMs],
  ['freshness p50', seconds, ({ steady }) => steady?.freshness.all.p50],
  ['freshness p99', seconds, ({ steady }) => steady?.freshness.all.p99],
  ['freshness max', seconds, ({ steady }) => steady?.freshness.all.max],
  ['collector CPU, of a core', percent, ({ steady }) => steady?.cpu.service],
  ['collector RSS, most', mib, ({ steady }) => steady?.residentBytes.service],
  ['event-loop delay p50', millis, ({ steady }) => steady?.loop.p50Ms],
  ['event-loop delay p99', millis, ({ steady }) => steady?.loop.p99Ms],
  ['event-loop delay max', millis, ({ steady }) => steady?.loop.maxMs],
  ['store CPU, of a core', percent, ({ steady }) => steady?.cpu.store],
  ['store RSS, most', mib, ({ steady }) => steady?.residentBytes.store],
  ['page of a host p50', millis, ({ steady }) => steady?.hostPage.ms.p50],
  ['page of a host p99', millis, ({ steady }) => steady?.hostPage.ms.p99],
  ['pages of hosts not served', count, ({ steady }) => steady?.hostPage.failed],
  ['page of the fleet', seconds, ({ fleetPage }) => fleetPage?.ms],
  ['page of the fleet, compressed', mib, ({ fleetPage }) => fleetPage?.bytes || undefined],
  ['polls that did not go well', count, ({ steady }) => steady?.pollsNotOk],
  ['connections that failed', count, ({ steady }) => steady && failuresOf(steady.connectFailures)],
  ['job info p50 / p99', wholeMillis, ({ jobs }) => jobs && pair(jobs.info)],
  ['job stop (forced) p50 / p99', wholeMillis, ({ jobs }) => jobs && pair(jobs.stop)],
  ['job start p50 / p99', wholeMillis, ({ jobs }) => jobs && pair(jobs.start)],
  ['first job on a host p50 / p99', wholeMillis, ({ jobs }) => jobs && pair(jobs.first)],
  ['jobs that failed', count, ({ jobs }) => jobs?.failed],
  ['half dead: freshness p99 of the others', seconds, ({ halfDead }) => halfDead?.freshness.all.p99],
  ['half dead: freshness max of the others', seconds, ({ halfDead }) => halfDead?.freshness.all.max],
  ['half dead: collector CPU, of a core', percent, ({ halfDead }) => halfDead?.cpu.service],
  ['all back at once: all fresh after', seconds, ({ allBackMs }) => allBackMs],
  ['simulated fleet CPU, of a core', percent, ({ steady }) => steady?.cpu.sim],
  ['others on the machine, of a core', percent, ({ steady }) => steady?.cpu.others],
  ['taken by the hypervisor, of a core', percent, ({ steady }) => steady?.cpu.stolen],
  ['collector CPU / simulated fleet CPU', ratio, ({ steady }) => steady && fleetsCpu(steady.cpu)],
];

const failuresOf = (byCode: Record<string, number>) => Object.values(byCode).reduce((a, b) => a + b, 0);
/** Tells runs on unlike machines apart from unlike code. */
const fleetsCpu = ({ service, sim }: { service: number; sim: number }) => service / sim;
const pair = ({ p50, p99 }: Quantiles) => [p50, p99] as const;

/** `never`: nothing came in the time that there was. */
const bare = (value: number, { of, digits }: Unit) =>
  Number.isFinite(value) ? (value / of).toFixed(digits) : 'never';
const written = (value: number, unit: Unit) =>
  Number.isFinite(value) ? bare(value, unit) + unit.name : bare(value, unit);

const sizesOf = (sizes: readonly SizeFigures[]) =>
  sizes.map(({ hosts }) => `${hosts.toLocaleString('en')} hosts`);

export function figuresTable(sizes: readonly Runs[]): string {
  const body = rows
    .map(([what, unit, figure]) => [what, ...sizes.map(({ all }) => cell(all.map(figure), unit))])
    .filter(([, ...figures]) => figures.some((text) => text !== undefined));
  return table(['', ...sizesOf(sizes.map((runs) => runs.median))], body);
}

/** Median (least–most) where runs differ. */
function cell(figures: readonly (Figure | undefined)[], unit: Unit): string | undefined {
  const [first, ...others] = figures
    .filter((figure) => figure !== undefined)
    .map((figure) => [figure].flat());
  if (!first) return undefined;
  const columns = first.map((value, at) => [value, ...others.map((other) => other[at] ?? value)]);
  const medians = columns.map(median);
  const text =
    columns.length === 1
      ? written(medians[0] ?? 0, unit)
      : medians.map((value) => bare(value, unit)).join(' / ') + unit.name;
  const ranges = columns.map((values) =>
    [...new Set([Math.min(...values), Math.max(...values)].map((value) => bare(value, unit)))].join('–'),
  );
  return ranges.some((range) => range.includes('–')) ? `${text} (${ranges.join(' / ')})` : text;
}

/** What a host costs at each size, and what each further one costs from the size before. */
export function growthTable(all: readonly SizeFigures[], intervalMs: number): string {
  const sizes = all.filter(({ steady }) => steady).sort((a, b) => a.hosts - b.hosts);
  const cpuMs = ({ steady }: SizeFigures) => (steady?.cpu.service ?? 0) * intervalMs;
  const bytes = ({ steady }: SizeFigures) => steady?.residentBytes.service ?? 0;
  const further = (figure: (size: SizeFigures) => number, unit: Unit) =>
    sizes.map((size, at) => {
      const before = sizes[at - 1];
      return before && written((figure(size) - figure(before)) / (size.hosts - before.hosts), unit);
    });
  const cpuUnit: Unit = { ...millis, digits: 2 };
  return table(
    ['What a host costs', ...sizesOf(sizes)],
    [
      ['CPU in a round', ...sizes.map((size) => written(cpuMs(size) / size.hosts, cpuUnit))],
      ['CPU in a round, each further host', ...further(cpuMs, cpuUnit)],
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
      return share === undefined ? undefined : written(share, percent);
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
    ({ what, share, part }) => `  ${written(share, percent).padStart(7)}  ${part.padEnd(26)} ${what}`,
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
